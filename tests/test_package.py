"""The package as a whole: what it exports, what its errors promise, and what it says about itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pickle
import pkgutil
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

import burncloud_images
from burncloud_images import errors, results
from burncloud_images.settings import VERSION

ROOT = Path(__file__).resolve().parents[1]
# Where users import from. A name that stands in two of them would have two addresses.
PUBLIC = ("burncloud_images", "burncloud_images.errors", "burncloud_images.emulator", "burncloud_images.bulk")
SECRET = "s3cr3t"
NOT_PICKLED = ("images", "partials", "damaged", "kept", "unfetched", "url")


def modules() -> Iterator[ModuleType]:
    """Yield every module of the package; `__main__` would run."""
    yield burncloud_images
    for found in pkgutil.walk_packages(burncloud_images.__path__, "burncloud_images."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


MODULES = {module.__name__: module for module in modules()}
PUBLIC_MODULES = {name: MODULES[name] for name in PUBLIC}


def exported(module: ModuleType) -> dict[str, object]:
    return {name: getattr(module, name) for name in module.__all__}


def rank(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest: as the linter does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


# --- exports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_exports_are_sorted(name):
    """Every `__all__` is sorted, and what it names is there."""
    names = PUBLIC_MODULES[name].__all__

    assert sorted(set(names), key=rank) == list(names)
    assert set(names) == set(exported(PUBLIC_MODULES[name]))


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_exports_are_complete(name):
    """A public module exports every class that it defines and, if it is a package, every class that it imports."""
    module = PUBLIC_MODULES[name]
    own = module.__name__ + "." if hasattr(module, "__path__") else module.__name__
    classes = {
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and not key.startswith("_") and f"{value.__module__}.".startswith(own)
    }

    assert set() == classes - set(module.__all__)


def test_each_name_has_one_address():
    """No public name is exported by two public modules."""
    places: dict[str, list[str]] = {}
    for module_name, module in PUBLIC_MODULES.items():
        for name in module.__all__:
            places.setdefault(name, []).append(module_name)

    assert {} == {name: where for name, where in places.items() if len(where) > 1}


# --- documentation ---------------------------------------------------------------------------------------------------


def public_things() -> Iterator[tuple[str, object]]:
    """Yield what users can name: exported classes and functions, and the public members that the classes define."""
    for module in PUBLIC_MODULES.values():
        for name, value in exported(module).items():
            if inspect.isclass(value) or inspect.isroutine(value):
                yield name, value
            if inspect.isclass(value):
                yield from ((f"{name}.{key}", member) for key, member in documentable(value))


def documentable(owner: type) -> Iterator[tuple[str, object]]:
    for key, member in vars(owner).items():
        if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            yield key, member


def test_everything_public_has_a_docstring():
    """Every public class, function, method and property says what it is."""
    assert [] == [name for name, value in public_things() if not inspect.getdoc(value)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name):
    """Every module says what it is for."""
    assert MODULES[name].__doc__


def test_version():
    """The installed version and that of the code are the project file's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
    try:
        installed = importlib.metadata.version(project["name"])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("run from a checkout that is not installed")

    assert project["version"] == installed


# --- imports ---------------------------------------------------------------------------------------------------------

# What an import of the package may load, and with these whatever they load themselves on any Python: attrs alone of
# the dependencies, and small things of the standard library.
MAY_LOAD = (
    "attrs",
    "binascii",
    "collections.abc",
    "datetime",
    "enum",
    "inspect",
    "math",
    "os",
    "pathlib",
    "re",
    "struct",
    "typing",
)
OWN = {
    "burncloud_images",
    "burncloud_images.calls",
    "burncloud_images.calls.hooks",
    "burncloud_images.client",
    "burncloud_images.disk",
    "burncloud_images.errors",
    "burncloud_images.files",
    "burncloud_images.files.image_files",
    "burncloud_images.files.sinks",
    "burncloud_images.model",
    "burncloud_images.model.exif",
    "burncloud_images.model.inputs",
    "burncloud_images.model.media",
    "burncloud_images.model.operations",
    "burncloud_images.model.parameter_docs",
    "burncloud_images.model.sizes",
    "burncloud_images.results",
    "burncloud_images.retry",
    "burncloud_images.settings",
}
HEAVY = {"aiofiles", "aiohttp", "asyncio", "logging", "sqlite3", "ssl", "tenacity"}


def loaded_by(*names: str) -> set[str]:
    """Return the modules of a fresh process that has imported these, without those of `.pth` files."""
    code = "import sys, importlib; sys.path[:], names = sys.argv[1].split(chr(10)), sys.argv[2:]\n"
    code += "for name in names: importlib.import_module(name)\nprint(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, "\n".join([str(ROOT), *sys.path]), *names]
    return set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def test_import_loads_little():
    """An import of the package loads a list of modules that is known, and no others."""
    allowed = loaded_by(*MAY_LOAD) | OWN

    assert set() == allowed & HEAVY
    assert set() == loaded_by("burncloud_images") - allowed


def test_first_use_loads_the_rest():
    """What an import leaves out is what sending needs: the check above can fail."""
    assert {"aiohttp", "asyncio", "logging", "ssl"} <= loaded_by("burncloud_images.transport.http")


OPENED = """
import asyncio, sys
from burncloud_images import AsyncImagesClient

async def main():
    client = AsyncImagesClient("key", "http://127.0.0.1:1")
    client._lifecycle.open()
    await client.aclose()
    print(*sys.modules)

asyncio.run(main())
"""


def test_what_keeps_an_image_is_loaded_before_it_is_paid():
    """Where file descriptors have run out no module can be loaded, and the image would be lost."""
    command = [sys.executable, "-c", OPENED]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout.split()

    assert "burncloud_images.files.sinks" in loaded


ONE_CALL = """
import asyncio, sys
from burncloud_images import AsyncImagesClient, RetryPolicy
from burncloud_images.emulator import Emulator, Fault

async def main():
    faults = [Fault(status=503)] * int(sys.argv[1])
    async with Emulator(faults=faults) as server, AsyncImagesClient(
        server.api_key, server.base_url, retry=RetryPolicy(first_wait=0, max_wait=0)
    ) as client:
        await client.generate("an otter", model="gpt-image-2", size="1024x640")
    print("tenacity" in sys.modules)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("failures", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_only_a_failure_loads_the_retry_loop(failures):
    """A call whose first attempt succeeds builds no loop: the library that makes it is not even imported."""
    command = [sys.executable, "-c", ONE_CALL, str(failures)]

    ran = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)

    assert str(failures > 0) == ran.stdout.strip()


# --- errors ----------------------------------------------------------------------------------------------------------

SAMPLES = {
    "message": "the sea otter is gone",
    "violations": (errors.Violation("n", "must be 1 or more"),),
    "status": 429,
    "code": "rate_limit_exceeded",
    "type": "requests",
    "param": "n",
    "body": {"error": {"message": SECRET}},
    "retry_after": 1.5,
    "retryable": True,
    "url": f"https://images.example/otter.png?signature={SECRET}",
    "expired_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "images": (results.Image(data=SECRET.encode(), url=f"https://images.example/otter.png?signature={SECRET}"),),
    "partials": (),
    "raw": SECRET.encode(),
    "request_id": "req-1",
    "phase": errors.Phase.BODY,
}


def error_classes() -> list[type[errors.ImagesError]]:
    """Return the whole tree, whoever defines its classes."""
    found = [errors.ImagesError]
    for kind in found:
        found += [child for child in kind.__subclasses__() if child not in found]
    return found


def make_error(kind: type[errors.ImagesError]) -> errors.ImagesError:
    """Return an error with every argument that its class takes, and what is set later."""
    arguments = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in SAMPLES:
            arguments[name] = SAMPLES[name]
        else:
            assert parameter.default is not parameter.empty, f"add a sample of {name} to SAMPLES"
    positional = [arguments.pop(name) for name in ("message", "violations") if name in arguments]
    error = kind(*positional, **arguments)
    error.history = (results.Attempt(number=1, phase=errors.Phase.BODY, elapsed=0.5, status=429),)
    error.idempotency_key = "key-1"
    error.unfetched = (results.Unfetched(index=1, url=SAMPLES["url"], reason="no"),)
    return error


@pytest.mark.parametrize("kind", error_classes())
def test_error_is_pickled(kind):
    """An error survives pickling as it is, but for image bytes, raw answers and signed addresses."""
    error = make_error(kind)

    pickled = pickle.dumps(error)
    copy = pickle.loads(pickled)

    assert b"signature" not in pickled
    assert type(error) is type(copy)
    assert error.args == copy.args
    kept = {name: value for name, value in vars(error).items() if name not in NOT_PICKLED}
    assert kept == vars(copy)


@pytest.mark.parametrize("kind", error_classes())
def test_error_has_the_message_alone_as_arguments(kind):
    """`args` is the message, whatever else the constructor takes."""
    error = make_error(kind)

    assert (error.message,) == error.args
    assert isinstance(error.message, str)


@pytest.mark.parametrize("kind", error_classes())
def test_error_shows_no_secret(kind):
    """Neither repr, str nor a traceback shows image bytes, raw answers or the query of a signed URL."""
    error = make_error(kind)
    shown = [repr(error), str(error), *traceback.format_exception(error), repr(error.unfetched)]

    assert [] == [text for text in shown if SECRET in text]


@pytest.mark.parametrize("kind", error_classes())
def test_error_says_what_happened_and_the_request_id(kind):
    """The sentence begins with what happened, and quotes the request id if there is one."""
    error = make_error(kind)

    assert str(error).startswith(error.message)
    assert not error.request_id or error.request_id in str(error)


def test_every_error_is_in_the_tree():
    """Every exception that a public module exports derives from `ImagesError`, unless it is a warning."""
    strays = {
        f"{module_name}.{name}"
        for module_name, module in PUBLIC_MODULES.items()
        for name, value in exported(module).items()
        if isinstance(value, type) and issubclass(value, BaseException)
        if not issubclass(value, errors.ImagesError | Warning)
    }

    assert set() == strays


def test_every_error_is_exported():
    """Users find every exception class in `errors`."""
    assert set() == {kind.__name__ for kind in error_classes()} - set(errors.__all__)


# --- the checkout ----------------------------------------------------------------------------------------------------


def test_every_folder_of_tests_has_a_session():
    """What `nox -s tests` leaves out is named by another session."""
    left_out = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["norecursedirs"]
    folders = [name for name in left_out if not name.startswith(("_", "."))]
    sessions = (ROOT / "noxfile.py").read_text("utf-8")

    assert [] == [name for name in folders if (ROOT / name).is_dir() and f'"{name}' not in sessions]
