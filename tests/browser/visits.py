"""One look at a gallery, and what went wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

PATIENCE = 10_000
"""Milliseconds for anything that is waited for."""


@attrs.define(kw_only=True, slots=False)  # Playwright keeps its wrappers of listeners on the object
class Visit:
    """
    A page that is open.

    Attributes:
        page: To look at.
        problems: What went wrong so far; a test that expects it empties the list.
        requests: All that was asked for.
        base: What every address has to begin with.
    """

    context: BrowserContext
    page: Page
    problems: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)
    base: str = "file://"

    @classmethod
    def start(cls, browser: Browser, folder: Path, *, fragment: str = "", base: str = "", **options: object) -> Self:
        """
        Open the gallery of *folder* and wait for its cards.

        Without the *base* of a server it is opened from disk, without a network.
        """
        context = browser.new_context(**{"offline": not base, "viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        visit = cls(context=context, page=page, base=base or "file://")
        visit.listen()
        page.goto((f"{base}/gallery.html" if base else (folder / "gallery.html").as_uri()) + fragment)
        page.locator("#loading").wait_for(state="hidden")
        return visit

    def listen(self) -> None:
        """Take down what happens."""
        for event in ("console", "pageerror", "dialog", "request", "requestfailed"):
            self.page.on(event, getattr(self, f"on_{event}"))

    def on_console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def on_pageerror(self, error) -> None:
        self.problems.append(f"error: {error}")

    def on_dialog(self, dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_request(self, request) -> None:
        self.requests.append(request.url)

    def on_requestfailed(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # an image that was scrolled away, or a page that was left
            self.problems.append(f"failed: {request.url} {request.failure}")

    def end(self) -> list[str]:
        """Close the page, and return all that went wrong, requests to anywhere else among it."""
        self.context.close()
        return [*self.problems, *(f"asked for: {url}" for url in self.requests if not url.startswith(self.base))]

    def until(self, expression: str) -> None:
        """Wait until JavaScript says yes; Playwright's own way needs `eval`, which the page forbids."""
        self.page.evaluate(
            f"""() => new Promise((resolve, reject) => {{
              const end = performance.now() + {PATIENCE};
              const look = () => {{
                if ({expression}) resolve();
                else if (performance.now() > end) reject(new Error("it never came true"));
                else setTimeout(look, 20);
              }};
              look();
            }})"""
        )

    @property
    def cards(self) -> Locator:
        """The cards that are there."""
        return self.page.locator(".card")

    @property
    def count(self) -> str:
        """How many are shown, in words."""
        return self.page.locator("#count").inner_text()

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements, also of those off the screen."""
        return [(text or "").strip() for text in self.page.locator(selector).all_text_contents()]

    def fill(self, query: str) -> None:
        """Type into the filter box."""
        self.page.locator("#query").fill(query)

    def chip(self, name: str) -> Locator:
        """Return the chip that begins with *name*."""
        return self.page.locator(".chip", has_text=name).first
