"""What listens for a case: each connection has a task, and all end with the block."""

from __future__ import annotations

import asyncio
from typing import Self

from ways import Way, here


class Listener:
    """
    A server on loopback; a subclass says what is said in `converse`.

    Args:
        plain: Whether it speaks no TLS on any way.

    Attributes:
        way: How it is reached.
        port: Where it listens, within its block.
        connections: How many were accepted.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.way = Way(name="plain") if plain else here()
        self.port = 0
        self.connections = 0
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.accepted, "127.0.0.1", 0, backlog=256, ssl=self.way.server)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        assert self.server is not None
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            await self.converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the case is over
        finally:
            self.tasks.discard(task)
            writer.close()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk until the connection has served its end."""
        raise NotImplementedError
