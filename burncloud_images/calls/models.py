"""The models that the API lists."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import partial

from burncloud_images.calls.attempt import read_error, read_into
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.unbilled import free_of_charge
from burncloud_images.errors import NOT_BILLED, ConnectionFailedError, OutcomeUnknownError, ProtocolError
from burncloud_images.results import ModelInfo
from burncloud_images.retry_loop import repeat
from burncloud_images.settings import Settings
from burncloud_images.transport.interface import AttemptState, Response
from burncloud_images.transport.secret import RedactedResponse, forgetting_locals, to_headers
from burncloud_images.wire.answer import to_datetime, to_text
from burncloud_images.wire.failures import ErrorResponse, to_error
from burncloud_images.wire.redaction import KeyRedactor

MAX_BYTES = 16 * 1024 * 1024
# OpenAI's list is in `data`; Together's is the whole answer, and others' is in `models`, also of names alone.
LISTS = ("data", "models")
NAMES = ("id", "name", "model")


async def list_models(settings: Settings, resources: Resources) -> tuple[ModelInfo, ...]:
    """
    Return the models that `GET /v1/models` lists, in the server's order.

    Raises:
        ImagesError: As for any request; nothing is ever billed.
    """
    with free_of_charge(NOT_BILLED), forgetting_locals():
        models = await repeat(
            partial(request_models, settings, resources),
            settings.retry,
            clock=resources.clock,
            jitter=random.random,
            budget=resources.budget,
            gate=resources.gate,
        )
    resources.retirements.learn(models)
    return models


async def request_models(settings: Settings, resources: Resources) -> tuple[ModelInfo, ...]:
    """Send the request once; an unknown outcome is raised as a failed connection, since asking again is free."""
    key = await settings.key()
    redaction = resources.redactors(key, settings.secrets)
    state = AttemptState(clock=resources.clock)
    url, headers = settings.url("/models"), to_headers(key, settings.network.headers, settings.key_header)
    try:
        async with resources.transport.get(url, headers, state, settings.timeouts, kind="api") as answered:
            body = redaction.body(await read_list(RedactedResponse(answered, redaction), redaction, state, settings))
    except OutcomeUnknownError as error:
        raise ConnectionFailedError(error.message, phase=error.phase) from None
    if is_cut(body):
        raise ConnectionFailedError("The list of models did not arrive whole.", phase=state.phase)
    return tuple(to_models(body))


async def read_list(response: Response, redaction: KeyRedactor, state: AttemptState, settings: Settings) -> bytes:
    """
    Return the body of an answer 200.

    Raises:
        ImagesError: It has another status, does not arrive whole, or is too large.
    """
    if response.status != 200:
        text = redaction.body(await read_error(response, MAX_BYTES))
        error = to_error(
            ErrorResponse(
                status=response.status,
                headers=response.headers,
                body=text,
                phase=state.phase,
                operation=None,
                codes=settings.retry.codes,
                received_at=state.clock.now(),
            )
        )
        redaction.error(error)
        raise error
    body = bytearray()
    await read_into(body, response, MAX_BYTES)
    if len(body) >= MAX_BYTES:
        raise ProtocolError(f"The list of models is larger than {MAX_BYTES:,} bytes.", status=response.status)
    return bytes(body)


def is_cut(body: bytes) -> bool:
    """Return whether *body* is the beginning of JSON; a connection may end so without an error."""
    text = body.strip()
    end = {b"{": b"}", b"[": b"]"}.get(text[:1])
    return end is not None and not text.endswith(end)


def find_list(document: object) -> list[object] | None:
    """Return the list of models in an answer; None if it holds none."""
    if isinstance(document, Mapping):
        found = [document.get(name) for name in LISTS]
        document = next((items for items in found if isinstance(items, (list, Mapping))), None)
        if isinstance(document, Mapping):  # by their names, or a page of it
            return find_list(document) or [
                {"id": name, **fields} for name, fields in document.items() if isinstance(fields, Mapping)
            ]
    return document if isinstance(document, list) else None


def to_models(body: bytes) -> Iterator[ModelInfo]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    items = find_list(document)
    if items is None:
        raise ProtocolError("The answer does not hold a list of models.", raw=body[: 1024 * 1024])
    for item in items:
        fields = {"id": item} if isinstance(item, str) else item if isinstance(item, Mapping) else {}
        if name := next(filter(None, (to_text(fields.get(key)) for key in NAMES)), None):
            yield ModelInfo(
                id=name,
                created=to_datetime(fields.get("created")),
                owned_by=to_text(fields.get("owned_by")),
                shutdown_date=to_text(fields.get("shutdown_date")),
            )
