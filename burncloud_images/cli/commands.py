"""The commands: each is a signature read off classes, and a room that does the work, entered when it is called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Group, Parameter

from burncloud_images.cli.arguments import (
    Configuration,
    Connection,
    Fetching,
    Free,
    Listing,
    Output,
    Reporting,
    Serving,
    Showing,
    Streaming,
)
from burncloud_images.cli.options import as_command, derive, help_of, kind_of, take
from burncloud_images.model.operations import EditRequest, GenerationRequest, ImagesRequest, VariationRequest

if TYPE_CHECKING:
    from burncloud_images.cli.reporting import Reporter

__all__ = ["doctor", "edit", "emulator", "fetch", "generate", "models", "show", "variation"]

Values = Mapping[str, Any]
Work = Callable[[Values, "Reporter"], Awaitable[int]]

# `extra` is what -O fills.
NO_OPTIONS = frozenset({"extra"})

# Nothing is asked of the API, and nothing is known of how an image came to be.
NOT_OF_SHOW = frozenset({"sidecar", "dry_run"})
NOT_OF_FETCH = NOT_OF_SHOW | {"api_key_file", "emulator", "timeout", "rules"}

API = Group("API fields", sort_key=1)
OUTPUT = Group("Output", sort_key=2)
CONNECTION = Group("Connection", sort_key=3)
REPORTING = Group("Reporting", sort_key=4)

GROUPS: Mapping[type, Group] = {
    Free: API,
    Serving: Group("Serving", sort_key=1),
    Output: OUTPUT,
    Streaming: OUTPUT,
    Listing: OUTPUT,
    Connection: CONNECTION,
    Reporting: REPORTING,
    Configuration: REPORTING,
}
SHARED = (Connection, Reporting, Configuration)
KNOWN = (GenerationRequest, EditRequest, VariationRequest, Fetching, Showing, *GROUPS)

HOW_TO_GIVE: Mapping[str, str] = {
    "image": "A file, an https:// address, or - for stdin.",
    "prompt": "The text itself, @FILE, or - for stdin.",
}


def own_parameters(kind: type) -> Iterator[inspect.Parameter]:
    """Yield what a request is made of, or what else a command is for: its first required field by position."""
    first = next(field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING)
    text = f"{help_of(kind)[first]} {HOW_TO_GIVE.get(first, '')}".rstrip()
    annotation: Any = Annotated[kind_of(kind, first)[0], Parameter(help=text, negative=())]
    yield inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY, annotation=annotation)
    yield from derive(kind, API, without=NO_OPTIONS | {first})


def conduct(owners: tuple[type, ...], work: Work) -> Callable[[dict[str, Any]], int]:
    """Return what a command does with what it is given: settle the options, run, and turn errors into exit codes."""

    def command(given: dict[str, Any]) -> int:
        import asyncio

        from burncloud_images.cli.configuration import settle
        from burncloud_images.cli.exits import ABANDONED, INTERRUPTED, USAGE, UsageError, to_exit
        from burncloud_images.cli.interrupts import Abandoned, Interrupted
        from burncloud_images.cli.reporting import Reporter
        from burncloud_images.errors import ImagesError

        reporter = Reporter(options=take(Reporting, given))
        try:
            values = settle(given, owners, KNOWN)
            reporter = Reporter(options=take(Reporting, values))
            with reporter.listening(), asyncio.Runner() as runner:
                return runner.run(begin(work, values, reporter))
        except UsageError as error:
            reporter.fail(error)
            return USAGE
        except ImagesError as error:
            reporter.fail(error)
            return to_exit(error)
        except (Interrupted, Abandoned) as reason:
            reporter.say("error", str(reason))
            return INTERRUPTED if isinstance(reason, Interrupted) else ABANDONED

    return command


async def begin(work: Work, values: Values, reporter: Reporter) -> int:
    return await work(values, reporter)


def make(name: str, owners: tuple[type, ...], work: Work, *, without: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401 (cyclopts reads its attributes)
    own = [parameter for owner in owners if owner not in GROUPS for parameter in own_parameters(owner)]
    groups = [(owner, GROUPS[owner]) for owner in owners if owner in GROUPS]
    shared = [parameter for owner, group in groups for parameter in derive(owner, group, without=without)]
    return as_command(name, [*own, *shared], conduct(owners, work))


def sending(name: str, kind: type[ImagesRequest]) -> Any:  # noqa: ANN401 (as above)
    async def work(values: Values, reporter: Reporter) -> int:
        from burncloud_images.cli.sending import send

        return await send(kind, values, reporter)

    streaming = (Streaming,) if "partial_images" in attrs.fields_dict(kind) else ()
    return make(name, (kind, Free, Output, *streaming, *SHARED), work)


async def list_models(values: Values, reporter: Reporter) -> int:
    from burncloud_images.cli.catalogue import print_models

    return await print_models(take(Connection, values), take(Listing, values), reporter)


async def diagnose(values: Values, reporter: Reporter) -> int:
    from burncloud_images.cli.doctor import examine

    return await examine(take(Connection, values), take(Listing, values), reporter)


async def host(values: Values, reporter: Reporter) -> int:
    from burncloud_images.cli.serving import serve

    return await serve(take(Serving, values), reporter)


async def fetch_images(values: Values, reporter: Reporter) -> int:
    from burncloud_images.cli.fetching import fetch

    return await fetch(values["url"], take(Connection, values), take(Output, values), reporter)


async def show_images(values: Values, reporter: Reporter) -> int:
    from burncloud_images.cli.showing import show

    return await show(values["response"], take(Output, values), reporter)


generate = sending("generate", GenerationRequest)
edit = sending("edit", EditRequest)
variation = sending("variation", VariationRequest)
fetch = make("fetch", (Fetching, Output, *SHARED), fetch_images, without=NOT_OF_FETCH)
show = make("show", (Showing, Output, Reporting, Configuration), show_images, without=NOT_OF_SHOW)
models = make("models", (Listing, *SHARED), list_models)
emulator = make("emulator", (Serving, Reporting, Configuration), host)
doctor = make("doctor", (Listing, *SHARED), diagnose)
