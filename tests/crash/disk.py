"""
A disk that is made of a run's system calls, and can lose its power.

What was synced is there for good. Of what was written later to a file, and of the names that were later given in a
folder, a beginning is there, chosen by chance: none of it, all of it, or anything between; the last write may be cut.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
from crash.syscalls import Call

FROM_FOLDERS = frozenset({"openat", "renameat", "renameat2", "linkat", "unlinkat", "mkdirat"})
"""Calls that name a path from an open folder on."""
FORGOTTEN = ("-shm", ".ballast")
"""Endings of files that hold nothing that has to last."""


@attrs.frozen
class Write:
    """Bytes at a place; None for a new length."""

    begin: int
    end: int
    offset: int
    data: bytes | None


@attrs.define(eq=False)
class File:
    """What was written to a file, and how much of it was synced."""

    writes: list[Write] = attrs.field(factory=list)
    syncs: list[Call] = attrs.field(factory=list)

    def content(self, kept: Callable[[Sequence[Write]], Sequence[Write]], until: int) -> bytes:
        """Return what is in it after a power cut at line *until*; *kept* says what is of the unsynced writes."""
        synced = max((call.begin for call in self.syncs if call.end <= until), default=-1)
        begun = [write for write in self.writes if write.begin <= until]
        safe = [write for write in begun if write.end < synced]
        data = bytearray()
        for write in (*safe, *kept([write for write in begun if write.end >= synced])):
            apply(write, data)
        return bytes(data)


def apply(write: Write, data: bytearray) -> None:
    if write.data is None:
        del data[write.offset :]
        data.extend(bytes(write.offset - len(data)))
        return
    data.extend(bytes(max(0, write.offset - len(data))))
    data[write.offset : write.offset + len(write.data)] = write.data


@attrs.frozen(eq=False)
class Naming:
    """
    A name that is given, moved or taken away.

    Attributes:
        call: Which does it.
        gone: The path that is no more.
        given: The path that is new.
        file: What it leads to; None for a folder.
    """

    call: Call
    gone: Path | None = None
    given: Path | None = None
    file: File | None = None

    @property
    def folders(self) -> set[Path]:
        """Where the names are."""
        return {path.parent for path in (self.gone, self.given) if path is not None}


@attrs.define
class Opened:
    """What a descriptor stands for."""

    path: Path
    file: File | None
    position: int = 0
    appends: bool = False


@attrs.define
class Disk:
    """
    Everything below one folder.

    Attributes:
        root: The folder.
        namings: In their order.
        syncs: Of folders, with the folder.
        length: Lines of the log.
    """

    root: Path
    namings: list[Naming] = attrs.field(factory=list)
    syncs: list[tuple[Call, Path]] = attrs.field(factory=list)
    length: int = 0
    names: dict[Path, File | None] = attrs.field(factory=dict)
    opened: dict[int, Opened] = attrs.field(factory=dict)
    folders: set[Path] = attrs.field(factory=set)

    @classmethod
    def read(cls, root: Path, calls: Sequence[Call]) -> Disk:
        """Return the disk that *calls* made."""
        disk = cls(root)
        for call in sorted(calls, key=moment):
            if call.result >= 0 and (take := getattr(disk, f"take_{call.name}", None)) is not None:
                take(call)
            disk.length = max(disk.length, call.end + 1)
        return disk

    # --- what the calls do -------------------------------------------------------------------------------------------

    def inside(self, path: Path) -> bool:
        return path.is_relative_to(self.root)

    def path_of(self, call: Call, place: int = 0) -> Path:
        """Return the path in this place among the strings of a call, from the folder that is named before it."""
        path = Path(os.fsdecode(call.strings[place]))
        folder = call.numbers[2 * place] if call.name in FROM_FOLDERS else ""
        found = self.opened.get(int(folder)) if folder.isdigit() else None
        return found.path / path if found is not None else path

    def take_openat(self, call: Call) -> None:
        path = self.path_of(call)
        flags = call.numbers[2]
        if not self.inside(path):
            self.opened.pop(call.result, None)
            return
        if "O_DIRECTORY" in flags or path in self.folders or path == self.root:
            self.opened[call.result] = Opened(path, None)
            return
        file = self.names.get(path)
        if file is None:
            file = self.names[path] = File()
            self.namings.append(Naming(call, given=path, file=file))
        elif "O_TRUNC" in flags:
            file.writes.append(Write(call.begin, call.end, 0, None))
        self.opened[call.result] = Opened(path, file, appends="O_APPEND" in flags)

    def take_close(self, call: Call) -> None:
        self.opened.pop(call.descriptor, None)

    def file_of(self, call: Call) -> Opened | None:
        return self.opened.get(call.descriptor)

    def take_write(self, call: Call) -> None:
        found = self.file_of(call)
        if found is None or found.file is None:
            return
        if found.appends:
            found.position = len(found.file.content(lambda writes: writes, call.end))
        found.file.writes.append(Write(call.begin, call.end, found.position, call.data[: call.result]))
        found.position += call.result

    take_writev = take_write

    def take_pwrite64(self, call: Call) -> None:
        found = self.file_of(call)
        if found is not None and found.file is not None:
            offset = int(call.numbers[-1])
            found.file.writes.append(Write(call.begin, call.end, offset, call.data[: call.result]))

    def take_lseek(self, call: Call) -> None:
        if (found := self.file_of(call)) is not None:
            found.position = call.result

    def take_ftruncate(self, call: Call) -> None:
        found = self.file_of(call)
        if found is not None and found.file is not None:
            found.file.writes.append(Write(call.begin, call.end, int(call.numbers[-1]), None))

    def take_fsync(self, call: Call) -> None:
        found = self.file_of(call)
        if found is None:
            return
        if found.file is None:
            self.syncs.append((call, found.path))
        else:
            found.file.syncs.append(call)

    take_fdatasync = take_fsync

    def take_rename(self, call: Call) -> None:
        gone, given = self.path_of(call, 0), self.path_of(call, 1)
        if self.inside(given):
            file = self.names.pop(gone, None)
            self.names[given] = file
            self.namings.append(Naming(call, gone=gone, given=given, file=file))

    take_renameat = take_renameat2 = take_rename

    def take_link(self, call: Call) -> None:
        old, given = self.path_of(call, 0), self.path_of(call, 1)
        if self.inside(given):
            file = self.names[given] = self.names.get(old)
            self.namings.append(Naming(call, given=given, file=file))

    take_linkat = take_link

    def take_unlink(self, call: Call) -> None:
        gone = self.path_of(call)
        if self.inside(gone):
            self.names.pop(gone, None)
            self.namings.append(Naming(call, gone=gone))

    take_unlinkat = take_unlink

    def take_mkdir(self, call: Call) -> None:
        given = self.path_of(call)
        if self.inside(given):
            self.folders.add(given)
            self.namings.append(Naming(call, given=given))

    take_mkdirat = take_mkdir

    # --- what is there after a power cut -----------------------------------------------------------------------------

    def cut(self, until: int, dice: random.Random) -> dict[Path, bytes | None]:
        """Return what is there when the power goes at line *until*: contents by path, None for a folder."""

        def kept(writes: Sequence[Write]) -> Sequence[Write]:
            count = dice.choice((0, len(writes), dice.randint(0, len(writes))))
            last = writes[count : count + 1]
            torn = [shorten(write, dice) for write in last if write.data and dice.random() < 0.5]
            return [*writes[:count], *torn]

        return self.state(until, kept, lambda count: dice.choice((0, count, dice.randint(0, count))))

    def synced(self, until: int) -> dict[Path, bytes | None]:
        """Return the least that is there."""
        return self.state(until, lambda _writes: (), lambda _count: 0)

    def written(self, until: int) -> dict[Path, bytes | None]:
        """Return the most that is there."""
        return self.state(until, lambda writes: writes, lambda count: count)

    def state(
        self, until: int, kept: Callable[[Sequence[Write]], Sequence[Write]], named: Callable[[int], int]
    ) -> dict[Path, bytes | None]:
        names: dict[Path, File | None] = {}
        for naming in self.durable(until, named):
            if naming.gone is not None:
                names.pop(naming.gone, None)
            if naming.given is not None:
                names[naming.given] = naming.file
        return {
            path: None if file is None else file.content(kept, until)
            for path, file in names.items()
            if not path.name.endswith(FORGOTTEN) and all(folder in names for folder in self.above(path))
        }

    def above(self, path: Path) -> Iterator[Path]:
        """Yield the folders that have to be there for *path* to be."""
        return (folder for folder in path.parents if folder != self.root and self.inside(folder))

    def durable(self, until: int, named: Callable[[int], int]) -> list[Naming]:
        """Return the names that are there: those whose folder was synced, and a beginning of the others in each."""
        begun = [naming for naming in self.namings if naming.call.begin <= until]
        chosen: set[Naming] = set()
        for folder in {folder for naming in begun for folder in naming.folders}:
            here = [naming for naming in begun if folder in naming.folders]
            synced = max((call.begin for call, path in self.syncs if path == folder and call.end <= until), default=-1)
            safe = [naming for naming in here if naming.call.end < synced]
            rest = [naming for naming in here if naming.call.end >= synced]
            chosen.update(safe, rest[: named(len(rest))])
        return [naming for naming in begun if naming in chosen]


def moment(call: Call) -> int:
    """
    Return the line at which *call* takes effect.

    A descriptor that is closed is free at once: the log may show that another thread had it again before the first one
    is seen to have closed it.
    """
    return call.begin if call.name == "close" else call.end


def shorten(write: Write, dice: random.Random) -> Write:
    return attrs.evolve(write, data=(write.data or b"")[: dice.randint(0, len(write.data or b""))])


def lay_out(state: dict[Path, bytes | None], root: Path, target: Path) -> None:
    """Write what is there below *target*, as it was below *root*."""
    target.mkdir(parents=True)
    for path, content in sorted(state.items()):
        place = target / path.relative_to(root)
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
