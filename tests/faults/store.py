"""A file host behind result URLs, whose every answer a case can spoil, and the gateway that points to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import attrs
from faults.gateway import Gateway, Step, header, http
from faults.listener import Listener
from faults.stage import World
from pictures import png

from burncloud_images import Network

RANGE = re.compile(rb"bytes=(\d+)-")
IMAGE = png(pad=1024 * 1024)
TAG = '"strong"'
NEW = '"new"'


@attrs.frozen(kw_only=True)
class Serve:
    """
    How one GET is answered.

    Attributes:
        status: In place of 200 or 206.
        headers: Added, in place of the store's own; None takes one away.
        cut: Bytes of the body after which the connection ends; a share of it if less than 1.
        ranges: Whether a range is served.
        start: Where the part begins that is served, in place of the one asked for.
        data: The file.
        length: Whether the length is told.
        stall: Whether nothing more is said at the cut, in place of its end.
        drip: Seconds between two bytes.
    """

    status: int | None = None
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    cut: float | None = None
    ranges: bool = True
    start: int | None = None
    data: bytes = IMAGE
    length: bool = True
    stall: bool = False
    drip: float | None = None


WELL = Serve()


@attrs.define
class Got:
    """One GET: the path, the head as it arrived, and how many bytes of a body were sent."""

    path: str
    head: bytes
    sent: int = 0


class Store(Listener):
    """
    Serves GET number k by step k, and those beyond by the last one.

    Attributes:
        gets: What was asked for.
    """

    def __init__(self, *script: Serve, plain: bool = False) -> None:
        super().__init__(plain=plain)
        self.script: Sequence[Serve] = script or (WELL,)
        self.gets: list[Got] = []

    @property
    def url(self) -> str:
        """Where the image is."""
        return f"{self.way.url(self.port)}/image.png?sig=secret"

    @property
    def sent(self) -> int:
        """Bytes of bodies in all."""
        return sum(got.sent for got in self.gets)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got = Got(path=head.split(b" ", 2)[1].decode(), head=head)
        self.gets.append(got)
        await self.serve(self.script[min(len(self.gets), len(self.script)) - 1], got, writer)

    async def serve(self, step: Serve, got: Got, writer: asyncio.StreamWriter) -> None:
        status, headers, body = compose(step, got.head)
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        end = len(body) if step.cut is None else int(step.cut * len(body) if step.cut < 1 else step.cut)
        if step.drip is not None:
            for byte in body[:end]:
                writer.write(bytes([byte]))
                await writer.drain()
                got.sent += 1
                await wait(step.drip)
            return
        for start in range(0, end, 65_536):
            piece = body[start : min(end, start + 65_536)]
            writer.write(piece)
            await writer.drain()
            got.sent += len(piece)
        if step.stall:
            await asyncio.Event().wait()


def compose(step: Serve, head: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    found = RANGE.fullmatch(header(head, b"range"))
    tag = str({"ETag": TAG, **step.headers}["ETag"])
    wanted = header(head, b"if-range")
    ranged = found is not None and step.ranges and wanted in {b"", tag.encode()}
    own = {"Content-Type": "image/png", "ETag": TAG, "Accept-Ranges": "bytes"}
    status, body = 200, step.data
    if ranged and found is not None:
        start = int(found[1]) if step.start is None else step.start
        status, body = 206, step.data[start:]
        own["Content-Range"] = f"bytes {start}-{len(step.data) - 1}/{len(step.data)}"
        if start >= len(step.data):
            status, body = 416, b""
            own["Content-Range"] = f"bytes */{len(step.data)}"
    if step.length:
        own["Content-Length"] = str(len(body))
    if step.status is not None:
        status = step.status
        if status >= 300:
            body = b"no"
            own["Content-Length"] = "2"
    headers = {name: value for name, value in {**own, **step.headers}.items() if value is not None}
    return status, headers, body


async def wait(seconds: float) -> None:
    """Wait for a fault's own time."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
    except TimeoutError:
        return


def md5(data: bytes) -> str:
    """Return what stores send as `Content-MD5`."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def links(*urls: str, **fields: Any) -> bytes:
    """Return an answer of the API that holds URLs."""
    now = datetime.now(UTC)
    document = {"created": int(now.timestamp()), "data": [{"url": url} for url in urls], **fields}
    return http(json.dumps(document).encode(), f"Date: {format_datetime(now, usegmt=True)}")


def stored(
    *script: Serve, fields: Callable[[], Mapping[str, Any]] = dict, suffix: str = "", **options: Any
) -> Callable[[bool], AbstractAsyncContextManager[World]]:
    """Return a setting in which the store answers each GET as *script* says."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        async with Store(*(script if faulty else ())) as store:
            body = links(store.url + (suffix if faulty else ""), **(fields() if faulty else {}))
            async with Gateway(Step(answer=body, closes=False)) as gateway:
                yield World(
                    base_url=gateway.base_url,
                    count=lambda: (gateway.posts, gateway.billed),
                    fired=lambda: len(store.gets) >= len(script),
                    gateway=gateway,
                    store=store,
                    options={"network": Network(allowed_result_hosts=(f"127.0.0.1:{store.port}",)), **options},
                )

    return setting
