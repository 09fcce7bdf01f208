"""
Where the programs come from: PATH, Debian's archive without an installation, PyPI and npm into folders of their own.

Whatever is fetched stays in one folder, so that it is fetched once.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["MissingBoxError", "Program", "from_debian", "from_npm", "from_pypi"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("MIDDLEBOXES_FOLDER") or ROOT / ".nox" / "boxes")
"""Read before any test clears the environment."""
SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian puts servers, outside an ordinary user's PATH."""
PATIENCE = 600.0


class MissingBoxError(Exception):
    """A program is not here and cannot be fetched."""


@attrs.frozen(kw_only=True)
class Program:
    """
    A program that can be started.

    Attributes:
        path: Of the program.
        root: What stands for `/` in the paths of its own files.
        environment: What it needs beside the usual variables.
    """

    path: str
    root: Path = Path("/")
    environment: Mapping[str, str] = attrs.field(factory=dict)

    def file(self, path: str) -> Path:
        """Return where a file of its package is, given where Debian has it."""
        return self.root / path.lstrip("/")


def from_debian(package: str, program: str) -> Program:
    """
    Return a program of Debian's: the one on PATH, else one that is unpacked into a folder.

    Raises:
        MissingBoxError: It is neither here nor in the archive.
    """
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM))
    if found := shutil.which(program, path=places):
        return Program(path=found)
    root = unpack(package)
    found = shutil.which(program, path=os.pathsep.join(str(root / place) for place in ("usr/sbin", "usr/bin")))
    if found is None:
        raise MissingBoxError(f"Debian's package {package} has no program {program}")
    libraries = root / "usr/lib" / (sysconfig.get_config_var("MULTIARCH") or "")
    places = os.pathsep.join(map(str, (libraries, libraries / package)))
    return Program(path=found, root=root, environment={"LD_LIBRARY_PATH": places})


@functools.cache
def unpack(package: str) -> Path:
    """Unpack a package and those that it needs and that are not installed; nothing is installed."""
    root = FOLDER / "debian" / package
    if is_done(root):
        return root
    if shutil.which("apt-get") is None:
        raise MissingBoxError(f"it is not on PATH, and there is no apt-get to fetch Debian's package {package} with")
    try:
        fetch(package, begin(root))
    except MissingBoxError:
        if os.geteuid() != 0:
            raise
        run("apt-get", "--quiet", "update")  # the lists of the archive are not here, or are too old
        fetch(package, begin(root))
    return finish(root)


def fetch(package: str, root: Path) -> None:
    """Download what an installation would add, and unpack it; what it would only replace is here already."""
    plan = run("apt-get", "--simulate", "--no-install-recommends", "install", package)
    words = [line.split() for line in plan.splitlines() if line.startswith("Inst ")]
    archives = root / "archives"
    archives.mkdir()
    run("apt-get", "--quiet", "download", *(word[1] for word in words if not word[2].startswith("[")), cwd=archives)
    for archive in archives.glob("*.deb"):
        run("dpkg", "-x", str(archive), str(root))
    shutil.rmtree(archives)


@functools.cache
def from_pypi(requirement: str, program: str) -> Program:
    """
    Return a program of a Python package, in a virtual environment of its own.

    Raises:
        MissingBoxError: It cannot be installed.
    """
    folder = FOLDER / "python" / program
    if not is_done(folder):
        begin(folder)
        run(sys.executable, "-m", "venv", str(folder))
        pip = (str(folder / "bin/python"), "-m", "pip", "install", "--quiet")
        run(*pip, "--upgrade", "pip")  # the one that comes with Python can be years old, and slow
        run(*pip, requirement)
        finish(folder)
    return Program(path=str(folder / "bin" / program))


@functools.cache
def from_npm(requirement: str, script: str) -> Program:
    """
    Return a script of an npm package, in a folder of its own; `node` runs it.

    Raises:
        MissingBoxError: It cannot be installed, or there is no node.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingBoxError("node and npm are not on PATH")
    package = requirement.rpartition("@")[0]
    folder = FOLDER / "node" / package.replace("/", "-").lstrip("@")
    if not is_done(folder):
        run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(begin(folder)), requirement)
        finish(folder)
    return Program(path=str(folder / "node_modules" / package / script))


def is_done(folder: Path) -> bool:
    """Whether everything was fetched, and not only the first part before something failed."""
    return (folder / "done").exists()


def begin(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def finish(folder: Path) -> Path:
    (folder / "done").touch()
    return folder


def run(*command: str, cwd: Path | None = None) -> str:
    """
    Run a command to its end and return what it printed.

    Raises:
        MissingBoxError: It failed.
    """
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingBoxError(f"{command[0]}: {error}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()[-60:])
        raise MissingBoxError(f"{' '.join(command[:4])} failed: {said}")
    return done.stdout
