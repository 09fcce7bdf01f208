"""The system calls of one run, as strace writes them down: in which order they began, and in which they ended."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

TRACED = (
    *("openat", "close", "write", "pwrite64", "writev", "lseek", "ftruncate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat"),
    *("connect", "sendto", "sendmsg"),
)
LONGEST = 8 * 1024 * 1024
"""Bytes of a buffer that are written down."""

BEGUN = re.compile(r"(\d+)\s+(\w+)\((.*?)\s*<unfinished \.\.\.>$", re.DOTALL)
ENDED = re.compile(r"(\d+)\s+<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+|\?).*$", re.DOTALL)
WHOLE = re.compile(r"(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+|\?).*$", re.DOTALL)
QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@attrs.frozen(kw_only=True)
class Call:
    """
    One system call.

    Attributes:
        thread: Which made it.
        name: Of the call.
        arguments: As strace shows them.
        result: What it returned.
        begin: Line at which it began.
        end: Line at which it had ended.
    """

    thread: int
    name: str
    arguments: str = attrs.field(repr=False)
    result: int
    begin: int
    end: int

    @property
    def strings(self) -> list[bytes]:
        """The buffers and paths among its arguments."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in QUOTED.findall(self.arguments)]

    @property
    def data(self) -> bytes:
        """What it wrote or sent."""
        return b"".join(self.strings)

    @property
    def numbers(self) -> list[str]:
        """Its arguments without the strings."""
        return [part.strip() for part in QUOTED.sub("", self.arguments).split(",")]

    @property
    def descriptor(self) -> int:
        """The first argument of a call on an open file."""
        return int(self.numbers[0])


def unavailable() -> str | None:
    """Return why no system calls can be looked at here; None if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True, text=True
    )
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[:200]}"


def tracing(log: Path) -> list[str]:
    """Return what to put before a command."""
    return [
        *("strace", "-f", "-qq", "--seccomp-bpf", "-s", str(LONGEST), "-xx", "-o", str(log)),
        *("-e", f"trace={','.join(TRACED)}", "-e", "signal=none"),
    ]


def read_log(path: Path) -> list[Call]:
    """Return the calls that came to an end, in the order in which they began."""
    return sorted(calls(path.read_text(encoding="ascii").splitlines()), key=lambda call: call.begin)


def calls(lines: Sequence[str]) -> Iterator[Call]:
    begun: dict[int, tuple[int, str, str]] = {}
    for number, line in enumerate(lines):
        if found := ENDED.match(line):
            thread = int(found[1])
            begin, name, arguments = begun.pop(thread)
            yield to_call(thread, name, arguments + found[3], found[4], begin, number)
        elif found := BEGUN.match(line):
            begun[int(found[1])] = number, found[2], found[3]
        elif found := WHOLE.match(line):
            yield to_call(int(found[1]), found[2], found[3], found[4], number, number)


def to_call(thread: int, name: str, arguments: str, result: str, begin: int, end: int) -> Call:
    return Call(
        thread=thread,
        name=name,
        arguments=arguments,
        result=-1 if result == "?" else int(result),
        begin=begin,
        end=end,
    )
