"""A program between client and emulator, from its start to its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import attrs
from middleboxes.provisions import Program

__all__ = ["Box", "BrokenBoxError", "Kind", "Place", "free_port", "printed"]

Way = Literal["reverse", "tls", "proxy", "tunnel", "decrypting", "headers"]

STARTING = 120.0
"""Seconds until a program has to listen; the slowest imports for half a minute on a busy machine."""
STOPPING = 5.0
PAUSE = 0.02


class BrokenBoxError(Exception):
    """A program ended, or does not listen."""


@attrs.frozen(kw_only=True)
class Place:
    """
    Where a program runs.

    Attributes:
        folder: For its files.
        port: To listen on.
        further: Another port, for programs that need two.
        upstream: The emulator's port.
        program: What is run.
    """

    folder: Path
    port: int
    further: int
    upstream: int
    program: Program

    def write(self, name: str, text: str) -> Path:
        """Write a file of the program and return its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@attrs.frozen(kw_only=True)
class Kind:
    """
    A program with one configuration.

    Attributes:
        id: Of the configuration.
        name: Of the program, as people write it.
        about: What is special about the configuration.
        find: Returns the program.
        version: Reads the program's version.
        configure: Writes its files and returns the command.
        way: How a client reaches the emulator by it.
        quick: Whether it is among the few that every change is tried with.
        times_out: Whether it gives up on a slow server before the client does.
        starts_slowly: Whether it is not started again more often than has to be.
        is_gateway: Whether it speaks the API itself, and may refuse what it does not know.
        headers: What every request needs.
        environment: What the program needs.
    """

    id: str
    name: str
    about: str = ""
    find: Callable[[], Program]
    version: Callable[[Program], str]
    configure: Callable[[Place], Sequence[str]]
    way: Way = "reverse"
    quick: bool = False
    times_out: bool = True
    starts_slowly: bool = False
    is_gateway: bool = False
    headers: Callable[[Place], Mapping[str, str]] = lambda _: {}
    environment: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def title(self) -> str:
        """Return its name for tables."""
        return f"{self.name} ({self.about})" if self.about else self.name

    @property
    def is_tls(self) -> bool:
        """Whether the emulator behind it has to serve HTTPS."""
        return self.way in {"tls", "tunnel", "decrypting"}


@attrs.define(kw_only=True)
class Box:
    """
    A program that runs.

    Attributes:
        kind: Which.
        place: Where.
        version: As it prints it.
        process: None while it is down.
    """

    kind: Kind
    place: Place
    version: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def set_up(cls, kind: Kind, folder: Path) -> Box:
        """
        Find the program and give it a place; it does not run yet.

        Raises:
            MissingBoxError: It is not here and cannot be fetched.
        """
        program = kind.find()
        folder.chmod(0o755)  # servers that root starts read their files as somebody else
        place = Place(folder=folder, port=free_port(), further=free_port(), upstream=free_port(), program=program)
        return cls(kind=kind, place=place, version=kind.version(program))

    @property
    def log(self) -> Path:
        """What the program says."""
        return self.place.folder / "output.log"

    @property
    def base_url(self) -> str:
        """What to give a client that does not take it for a proxy."""
        return f"{'https' if self.kind.way == 'tls' else 'http'}://127.0.0.1:{self.place.port}/v1"

    @property
    def proxy(self) -> str | None:
        """What to give a client as its proxy."""
        return f"http://127.0.0.1:{self.place.port}" if self.kind.way in {"proxy", "tunnel", "decrypting"} else None

    @property
    def ca(self) -> Path | None:
        """What a client has to trust, unless it is the emulator's own authority."""
        names = {"tls": "authority.pem", "decrypting": "mitmproxy-ca-cert.pem"}
        name = names.get(self.kind.way)
        return None if name is None else self.place.folder / name

    def start(self) -> None:
        """
        Start it and wait until it listens.

        Raises:
            BrokenBoxError: It does not.
        """
        command = self.kind.configure(self.place)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.place.folder,
                env=to_environment(self.kind, self.place.program, self.place.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + STARTING
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.place.port), timeout=1):
                return
            time.sleep(PAUSE)
        self.kill()
        raise BrokenBoxError(f"{self.kind.title} does not start: {self.read_log()}")

    def read_log(self) -> str:
        """Return the end of what the program said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""

    def kill(self) -> None:
        """End it at once, with its children."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self.end(signal.SIGTERM)

    def end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOPPING)
        with suppress(ProcessLookupError):  # children that have outlived it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def to_environment(kind: Kind, program: Program, folder: Path) -> dict[str, str]:
    """Return the variables of a program; those of the caller that concern its own network are left out."""
    usual = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**usual, "HOME": str(folder), "TMPDIR": str(folder), **program.environment, **kind.environment}


def printed(*arguments: str) -> Callable[[Program], str]:
    """Return what reads the version of a program from what it prints: the first number with dots."""

    def read(program: Program) -> str:
        done = subprocess.run(
            [program.path, *arguments],
            env={**os.environ, **program.environment},
            capture_output=True,
            text=True,
            timeout=STARTING,
            check=False,
        )
        found = re.search(r"\d+(\.\d+)+", f"{done.stdout}\n{done.stderr}")
        return found[0] if found else "unknown"

    return read


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
