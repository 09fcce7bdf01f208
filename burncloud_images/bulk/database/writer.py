"""
A thread that owns a connection, and does there what it is asked to, in order.

Changes that wait are made in one transaction, so that they share one sync of the disk, and their callers go on
together. One that fails takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from typing import Any, Generic, Self, TypeVar

import attrs

from burncloud_images.bulk.database.codec import is_disk_error, translate_error
from burncloud_images.disk import finish_whatever_happens
from burncloud_images.errors import StorageError

T = TypeVar("T")


class Promise(asyncio.Future[T]):
    """
    What comes of a command. It is carried out whether or not anybody waits, also if whoever waits is cancelled.

    Attributes:
        heard: Whether somebody waits, or has waited.
    """

    heard = False

    def __await__(self) -> Generator[Any, None, T]:
        self.heard = True
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        self.heard = True
        super().add_done_callback(fn, context=context)


@attrs.frozen(eq=False)
class Command(Generic[T]):
    """
    Something to do.

    Attributes:
        function: Does it, and returns what came of it.
        promise: For whoever ordered it.
        changes: Whether it writes.
    """

    function: Callable[[sqlite3.Connection], T]
    promise: Promise[T]
    changes: bool


@attrs.frozen
class Refused:
    """A command that was not carried out, and left nothing behind."""

    error: Exception


class Writer:
    """
    Carries out commands on a connection of its own.

    Attributes:
        failures: What failed when nobody waited for it.
        told: Whether somebody has heard of that since.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        disconnect: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close,
        on_full: Callable[[], bool] | None = None,
    ) -> None:
        """
        Begin to connect.

        Args:
            connect: Opens the connection; called in the thread, as is all that concerns it.
            disconnect: Closes it.
            on_full: Gives the disk some room, and says whether it could; then what failed is tried once more.
        """
        self.connect = connect
        self.disconnect = disconnect
        self.on_full = on_full
        self.loop = asyncio.get_running_loop()
        self.commands: queue.SimpleQueue[Command[Any] | None] = queue.SimpleQueue()
        self.opened: Promise[None] = Promise(loop=self.loop)
        self.closed: Promise[None] = Promise(loop=self.loop)
        self.closing = False
        self.going_on = True
        self.failures: list[tuple[Promise[Any], Exception]] = []
        self.told = False
        self.thread = threading.Thread(target=self.live, name="burncloud-store", daemon=True)
        self.thread.start()

    # --- in the event loop -------------------------------------------------------------------------------------------

    def read(self, function: Callable[[sqlite3.Connection], T]) -> Promise[T]:
        """Command something that only reads; it sees every change that was ordered before."""
        return self.command(function, changes=False)

    def change(self, function: Callable[[sqlite3.Connection], T]) -> Promise[T]:
        """Command a change; it is durable once its promise is fulfilled."""
        return self.command(function, changes=True)

    def begin(self, function: Callable[[sqlite3.Connection], T]) -> Promise[T]:
        """Command a change that begins something new; refused once a change has failed that nobody waited for."""
        unheard = self.unheard
        if unheard is None or self.closing:
            return self.change(function)
        self.told = True
        promise: Promise[T] = Promise(loop=self.loop)
        self.loop.call_soon(self.deliver, promise, Refused(again(unheard)))
        return promise

    def command(self, function: Callable[[sqlite3.Connection], T], *, changes: bool) -> Promise[T]:
        if self.closing:
            raise RuntimeError("The job's store is closed.")
        promise: Promise[T] = Promise(loop=self.loop)
        self.commands.put(Command(function, promise, changes))
        return promise

    def dismiss(self) -> None:
        """Take no more commands; the connection is closed once all are carried out."""
        if not self.closing:
            self.closing = True
            self.commands.put(None)

    async def aclose(self) -> None:
        """Carry out what was ordered, and close the connection; cancellation does not hurry that."""
        self.dismiss()
        await finish_whatever_happens(self.closed)

    def tell(self) -> None:
        """Raise why something failed that nobody has heard of."""
        unheard = self.unheard
        if unheard is not None and not self.told:
            self.told = True
            raise again(unheard)

    def deliver(self, promise: Promise[Any], outcome: object) -> None:
        """Tell whoever waits; a failure that nobody waits for is kept."""
        if not isinstance(outcome, Refused):
            if not promise.cancelled():
                promise.set_result(outcome)
            return
        if promise.cancelled():
            promise.heard = False
        else:
            promise.set_exception(outcome.error)
            promise.exception()  # else asyncio complains, later, that nobody looked at it
        if not promise.heard:
            self.failures.append((promise, outcome.error))

    @property
    def unheard(self) -> Exception | None:
        """Why something failed that nobody has waited for to this day."""
        return next((error for promise, error in self.failures if not promise.heard), None)

    def deliver_all(self, commands: Sequence[Command[Any]], outcomes: Sequence[object]) -> None:
        for command, outcome in zip(commands, outcomes, strict=True):
            self.deliver(command.promise, outcome)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def live(self) -> None:
        try:
            connection = self.connect()
        except Exception as error:  # noqa: BLE001 (whoever closes it hears of it)
            self.call(self.deliver, self.opened, Refused(translate_error(error)))
            self.call(self.deliver, self.closed, None)
            return
        self.call(self.deliver, self.opened, None)
        try:
            while commands := self.take():
                self.call(self.deliver_all, commands, self.carry_out(connection, commands))
        finally:
            self.call(self.deliver, self.closed, self.end(connection))

    def call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop was closed before the store: nobody waits any more
            return

    def take(self) -> list[Command[Any]]:
        """Wait for commands, and return all there are; none when it is time to end."""
        if not self.going_on:
            return []
        commands: list[Command[Any]] = []
        command = self.commands.get()
        while command is not None:
            commands.append(command)
            try:
                command = self.commands.get_nowait()
            except queue.Empty:
                return commands
        self.going_on = False
        return commands

    def carry_out(self, connection: sqlite3.Connection, commands: Sequence[Command[Any]]) -> list[object]:
        """Return what came of each command."""
        if not any(command.changes for command in commands):
            return [self.attempt(connection, command) for command in commands]
        for is_last in (False, True):
            try:
                return self.commit(connection, commands)
            except Exception as error:  # noqa: BLE001 (told to everybody who waits)
                trouble = error
            if is_last or not is_disk_error(trouble) or not self.make_room():
                break
        return [self.settle(connection, command, trouble) for command in commands]

    def settle(self, connection: sqlite3.Connection, command: Command[Any], trouble: Exception) -> object:
        """Tell a change why it failed; whatever only reads is not concerned."""
        return Refused(translate_error(trouble)) if command.changes else self.attempt(connection, command)

    def make_room(self) -> bool:
        try:
            return self.on_full is not None and self.on_full()
        except Exception:  # noqa: BLE001 (the full disk is the news)
            return False

    def commit(self, connection: sqlite3.Connection, commands: Sequence[Command[Any]]) -> list[object]:
        """Carry commands out in one transaction; all of it fails if it cannot be made durable."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self.attempt_within(connection, command) for command in commands]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def attempt_within(self, connection: sqlite3.Connection, command: Command[Any]) -> object:
        """Carry a command out as part of a transaction, which ends if SQLite has undone all of it."""
        outcome = self.attempt(connection, command)
        if isinstance(outcome, Refused) and not connection.in_transaction:
            raise outcome.error
        return outcome

    def attempt(self, connection: sqlite3.Connection, command: Command[Any]) -> object:
        try:
            return command.function(connection)
        except Exception as error:
            if command.changes and is_disk_error(error):  # the whole transaction is to be tried again
                raise
            return Refused(translate_error(error))

    def end(self, connection: sqlite3.Connection) -> object:
        try:
            self.disconnect(connection)
        except Exception as error:  # noqa: BLE001 (whoever closes it hears of it)
            return Refused(translate_error(error))
        return None


def again(error: Exception) -> Exception:
    """Return what tells of *error* once more, to somebody else."""
    if isinstance(error, StorageError):
        return StorageError(error.message)
    found = RuntimeError(f"An earlier change failed, and nobody waited for it: {error}")
    found.__cause__ = error
    return found
