"""
The thread that owns a connection to SQLite and executes commands on it, in order.

Changes that are waiting are made in one transaction, so they share one sync of the disk, and their callers resume
together. A change that fails does not undo the others.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from burncloud_images.bulk.database.codec import is_disk_error, translate_error
from burncloud_images.disk import finish_whatever_happens

T = TypeVar("T")


@attrs.frozen(eq=False)
class Command(Generic[T]):
    """A function to execute on the connection, and the future of its result."""

    function: Callable[[sqlite3.Connection], T]
    future: asyncio.Future[T]
    changes: bool


@attrs.frozen
class FailedCommand:
    """The result of a command that raised and changed nothing."""

    error: Exception


class DatabaseWriter:
    """Executes commands on a connection of its own, whether or not they are awaited or their callers are cancelled."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        disconnect: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close,
        on_full: Callable[[], bool] | None = None,
    ) -> None:
        """
        Start the thread, which connects.

        Args:
            connect: Opens the connection; called in the thread, as are the other two.
            disconnect: Closes it.
            on_full: Frees some room on the disk and returns whether it could; then the failed changes are retried once.
        """
        self.connect = connect
        self.disconnect = disconnect
        self.on_full = on_full
        self.loop = asyncio.get_running_loop()
        self.commands: queue.SimpleQueue[Command[Any] | None] = queue.SimpleQueue()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.closing = False
        self.is_open = True
        self.thread = threading.Thread(target=self.run, name="burncloud-store", daemon=True)
        self.thread.start()

    # --- in the event loop -------------------------------------------------------------------------------------------

    def read(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a function that only reads; it sees every change that was queued before it."""
        return self.put(function, changes=False)

    def change(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a change, which is durable once the future has its result."""
        return self.put(function, changes=True)

    def put(self, function: Callable[[sqlite3.Connection], T], *, changes: bool) -> asyncio.Future[T]:
        if self.closing:
            raise RuntimeError("The job's store is closed.")
        future: asyncio.Future[T] = self.loop.create_future()
        self.commands.put(Command(function, future, changes))
        return future

    def close(self) -> None:
        """Accept no more commands; the thread executes those in the queue and closes the connection."""
        if not self.closing:
            self.closing = True
            self.commands.put(None)

    async def aclose(self) -> None:
        """Close, and wait until the connection is closed, also when cancelled."""
        self.close()
        await finish_whatever_happens(self.closed)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Execute commands until the writer is closed."""
        try:
            connection = self.connect()
        except Exception as error:  # noqa: BLE001 (raised to the caller who opens the store)
            self.call(set_result, self.opened, FailedCommand(translate_error(error)))
            self.call(set_result, self.closed, None)
            return
        self.call(set_result, self.opened, None)
        try:
            while commands := self.take():
                self.call(set_results, commands, self.execute(connection, commands))
        finally:
            self.call(set_result, self.closed, self.finish(connection))

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Call *function* in the event loop."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop was closed before the store: nobody waits any more
            return

    def take(self) -> list[Command[Any]]:
        """Wait for commands and return all that are queued; none once the writer is closed."""
        commands: list[Command[Any]] = []
        while self.is_open:
            try:
                command = self.commands.get(block=not commands)
            except queue.Empty:
                break
            if command is None:
                self.is_open = False
            else:
                commands.append(command)
        return commands

    def execute(self, connection: sqlite3.Connection, commands: Sequence[Command[Any]]) -> list[object]:
        """Return the result of each command, or `FailedCommand`."""
        if not any(command.changes for command in commands):
            return [self.attempt(connection, command) for command in commands]
        for is_last in (False, True):
            try:
                return self.commit(connection, commands)
            except Exception as error:  # noqa: BLE001 (raised to each caller)
                failure = error
            if is_last or not is_disk_error(failure) or not self.make_room():
                break
        return [
            FailedCommand(translate_error(failure)) if command.changes else self.attempt(connection, command)
            for command in commands
        ]

    def make_room(self) -> bool:
        try:
            return self.on_full is not None and self.on_full()
        except Exception:  # noqa: BLE001 (the full disk is reported)
            return False

    def commit(self, connection: sqlite3.Connection, commands: Sequence[Command[Any]]) -> list[object]:
        """Execute commands in one transaction; all of them fail if it cannot be committed."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [self.attempt_within(connection, command) for command in commands]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def attempt_within(self, connection: sqlite3.Connection, command: Command[Any]) -> object:
        """Execute a command as part of a transaction, and raise if SQLite rolled the whole transaction back."""
        result = self.attempt(connection, command)
        if isinstance(result, FailedCommand) and not connection.in_transaction:
            raise result.error
        return result

    def attempt(self, connection: sqlite3.Connection, command: Command[Any]) -> object:
        try:
            return command.function(connection)
        except Exception as error:
            if command.changes and is_disk_error(error):  # the whole transaction is to be retried
                raise
            return FailedCommand(translate_error(error))

    def finish(self, connection: sqlite3.Connection) -> object:
        try:
            self.disconnect(connection)
        except Exception as error:  # noqa: BLE001 (raised to the caller who closes the store)
            return FailedCommand(translate_error(error))
        return None


def set_result(future: asyncio.Future[Any], result: object) -> None:
    """Resolve *future*, unless its caller was cancelled."""
    if future.cancelled():
        return
    if isinstance(result, FailedCommand):
        future.set_exception(result.error)
    else:
        future.set_result(result)


def set_results(commands: Sequence[Command[Any]], results: Sequence[object]) -> None:
    for command, result in zip(commands, results, strict=True):
        set_result(command.future, result)
