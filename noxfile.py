"""
Everything that is checked, one session each.

`nox -s tests` is the one to begin with; `nox` alone runs what every change needs, and `.ci/run` whatever can be run
without a person. Every session makes a virtual environment of its own from the running Python, so that nothing but nox
has to be there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"  # what is installed is looked over each time
nox.options.sessions = ["tests", "lint", "typing", "docs"]

PACKAGE = "burncloud_images"
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = ("cli", "cloud", "data", "emulator", "images")
# Editable, so that tests, command-line subprocesses and coverage all see the one package in the checkout;
# `build` tries the wheel.
EDITABLE = ("--editable", f".[{','.join(EXTRAS)}]")


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def lowest() -> list[str]:
    """Return the direct requirements, each pinned to its lower bound."""
    project = PROJECT["project"]
    requirements = set(project["dependencies"])
    for extra in EXTRAS:
        requirements.update(project["optional-dependencies"][extra])
    return sorted(re.sub(r"\s*>=\s*", "==", requirement) for requirement in requirements)


# Half as many processes again as there are cores, since tests also wait; a file of tests, or a document, stays whole in
# one of them.
PROCESSES = min(8, -(-3 * (os.cpu_count() or 1) // 2))
PARALLEL = (f"--numprocesses={PROCESSES}", "--dist=loadfile")
BRIEF = PROJECT["tool"]["pytest"]["addopts"][-1]


def install_for_tests(session: nox.Session, *groups: str) -> None:
    """
    Install what the tests need, and what *groups* name.

    The many processes that tests start compile each module once, even where Python is told to write no bytecode.
    """
    session.install(*EDITABLE, *group("tests"), *(requirement for name in groups for requirement in group(name)))
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.env["PYTHONPYCACHEPREFIX"] = str(Path(session.cache_dir).resolve() / "bytecode" / session.name)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the package, and the Python examples of the documentation."""
    install_for_tests(session)
    session.run("pytest", *PARALLEL, "-m", f"{BRIEF} and not contract and not slow", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run all tests but those of folders with a session of their own, in development mode; measure what they cover."""
    install_for_tests(session)
    session.env["PYTHONDEVMODE"] = "1"
    session.run("coverage", "erase")
    # A dump of all threads reads their frames while they run, which has cost a process.
    everywhere = ("-o", "norecursedirs=.* __pycache__", "-o", "faulthandler_timeout=0")
    folders = ("benchmarks", "browser", "crash", "examples", "faults", "frameworks", "middleboxes", "storage")
    elsewhere = [f"--ignore=tests/{folder}" for folder in folders]
    how = (*PARALLEL, "--hypothesis-profile=full", *everywhere, *elsewhere)
    session.run("coverage", "run", "-m", "pytest", *how, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    # A part of the tests may cover a part of the lines.
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def contract(session: nox.Session) -> None:
    """Compare what is sent and answered with the API document, where there is one, and with the official client's."""
    install_for_tests(session)
    folders = ("tests/contract", "tests/golden", "tests/emulator")
    session.run("pytest", "-m", "contract or golden", *folders, *session.posargs)


EFFECTS = ("tests/system", "tests/calls", "tests/files", "tests/transport")


@nox.session
def tests_tls(session: nox.Session) -> None:
    """Run the system tests over TLS; those that upload, download and stream through an HTTP CONNECT proxy as well."""
    install_for_tests(session)
    session.run("pytest", *PARALLEL, "--ways=tls,connect", *EFFECTS, *session.posargs)


VERSIONS = ("3.12", "3.13")
PORTABLE = ("files/test_uploads.py", "transport/test_http.py", "system/test_tls.py", "system/test_connect.py")


@nox.session
def tests_versions(session: nox.Session) -> None:
    """Run uploads over TLS in uvloop, and on other versions of Python; one that is not installed is skipped by name."""
    files = [f"tests/{name}" for name in PORTABLE]
    install_for_tests(session)
    session.run("pytest", "--uvloop", "--ways=plain,tls", *files, *session.posargs)
    for version in VERSIONS:
        if (interpreter := find_python(version)) is None:
            session.warn(f"Python {version} is not installed: skipped")
            continue
        folder = Path(session.create_tmp()).resolve() / version
        session.run(interpreter, "-m", "venv", "--clear", str(folder), external=True)
        python = str(folder / "bin" / "python")
        session.run(python, "-m", "pip", "install", "--quiet", *EDITABLE, *group("tests"), external=True)
        session.run(python, "-m", "pytest", "--ways=plain,tls", *files, *session.posargs, external=True)


def find_python(version: str) -> str | None:
    """Return an interpreter that starts, of those on PATH and pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True)]
    for path in filter(None, found):
        if subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:  # noqa: S603
            return path
    return None


@nox.session
def faults(session: nox.Session) -> None:
    """Play the whole fault matrix and write docs/reliability.md; `-- -m quick` plays what every change has to pass."""
    install_for_tests(session)
    if not session.posargs:
        session.env["FAULTS_REPORT"] = "docs/reliability.md"
    columns = "--ways=plain,tls,connect"
    # Some cases last minutes, in which they need not say where they are.
    session.run("pytest", "-m", "", "-o", "faulthandler_timeout=0", columns, "tests/faults", *session.posargs)


@nox.session
def middleboxes(session: nox.Session) -> None:
    """Put real programs between client and server and write docs/reliability.md; `-- -m quick` tries a few of them."""
    install_for_tests(session)
    if not session.posargs:
        session.env["MIDDLEBOXES_REPORT"] = "docs/reliability.md"
    session.run("pytest", "-m", "", "-o", "faulthandler_timeout=0", "tests/middleboxes", *session.posargs)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Serve FastAPI, Starlette and Django applications that paint, and let their visitors leave."""
    install_for_tests(session, "frameworks")
    session.run("pytest", "tests/frameworks", *session.posargs)


@nox.session
def cloud(session: nox.Session) -> None:
    """Put images into a bucket of moto's S3 server, which the session starts, over TLS."""
    install_for_tests(session, "cloud")
    session.run("pytest", "tests/storage", *session.posargs)


@nox.session
def uploads(session: nox.Session) -> None:
    """Upload images of every size and kind, whole and cut, in each column, and write it down in docs/reliability.md."""
    install_for_tests(session)
    session.env["UPLOADS_REPORT"] = "docs/reliability.md"
    columns = "--ways=plain,tls,connect"
    session.run("pytest", "-m", "", columns, "tests/faults/test_uploads.py", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Open the gallery in Chromium, measure it, and draw its picture for the documentation; needs Debian's chromium."""
    install_for_tests(session, "browser")
    session.env["GALLERY_PICTURE"] = "docs/pictures/gallery.png"
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def readers(session: nox.Session) -> None:
    """Let Hugging Face's datasets and webdataset read what bulk jobs write."""
    install_for_tests(session, "readers")
    session.run("pytest", "tests/bulk/outputs/test_readers.py", *session.posargs)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill bulk jobs wherever they can be killed and write docs/reliability.md; `-- -m quick` kills some."""
    install_for_tests(session)
    if not session.posargs:
        session.env["CRASH_REPORT"] = "docs/reliability.md"
    # A sweep lasts minutes, in which it need not say where it is.
    session.run("pytest", "-m", "", "-o", "faulthandler_timeout=0", "tests/crash", *session.posargs)


@nox.session
def tests_lowest(session: nox.Session) -> None:
    """Run the tests against the lowest versions that are allowed."""
    session.install(*EDITABLE, *group("tests"), *lowest())
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, layers, spelling and security."""
    session.install("--editable", ".", *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("codespell")
    session.run("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", PACKAGE)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with mypy and pyright."""
    session.install(*EDITABLE, *group("typing"))
    further = [folder for folder in ("benchmarks", "examples", "tests/typing") if Path(folder).is_dir()]
    session.run("mypy", PACKAGE, "noxfile.py", *further)
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, where a warning or a broken reference is an error, and run its commands."""
    install_for_tests(session, "docs")
    shutil.rmtree("docs/_build", ignore_errors=True)
    session.run("sphinx-build", "-nW", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("pytest", "-o", "faulthandler_timeout=0", "tests/examples", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel from the source distribution, and use it where nothing else is installed."""
    session.install(*group("build"))
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        if f"{PACKAGE}/py.typed" not in archive.namelist():
            session.error("py.typed is not in the wheel")
    fresh = dist.parent / "fresh"
    session.run("python", "-m", "venv", "--clear", str(fresh))
    python = str(next(path for path in (fresh / "bin/python", fresh / "Scripts/python.exe") if path.exists()))
    session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[cli]", external=True)
    session.chdir(fresh)  # away from the checkout
    session.run(python, "-c", f"import {PACKAGE}", external=True)
    session.run(str(Path(python).with_name("burncloud-images")), "--help", external=True)


@nox.session
def audit(session: nox.Session) -> None:
    """Ask whether anything that is installed is known to be vulnerable; asks the package index."""
    session.install(".[cli,emulator,images]", *group("audit"))
    session.run("pip-audit", "--strict", "--skip-editable")


@nox.session
def bench(session: nox.Session) -> None:
    """
    Measure this client beside others; needs nginx and curl.

    `-- --quick` takes less than a minute. `-- --check` measures nothing: it runs the benchmarks' own tests.
    """
    if "--check" in session.posargs:
        install_for_tests(session, "bench")
        session.run("pytest", "tests/benchmarks", *(word for word in session.posargs if word != "--check"))
        return
    session.install("--editable", ".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def bench_bulk(session: nox.Session) -> None:
    """Measure jobs beside `client.map`, and as lists grow; `-- --quick` takes less than a minute."""
    session.install("--editable", ".[cli,emulator]")
    session.run("python", "-m", "benchmarks.bulk", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoders, guided by coverage, a million inputs each, or those that are named."""
    session.install("--editable", ".", *group("fuzz"))
    answers = ("answer", "events", "body", "shapes", "calls", "compression", "failures")
    names = session.posargs or [*answers, "headers", "downloads", "media", "rows"]
    session.chdir("tests")
    for name in names:
        session.run("python", "-m", "fuzz", name)
