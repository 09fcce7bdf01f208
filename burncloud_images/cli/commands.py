"""The commands: signatures derived from classes; the module that does the work is imported when one is called."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Group, Parameter

from burncloud_images.cli.options import (
    BudgetOptions,
    ConfigurationOptions,
    ConnectionOptions,
    EmulatorOptions,
    ExtraFields,
    JobFolderOptions,
    JsonOptions,
    ListOptions,
    MeasureOptions,
    OutputOptions,
    RateOptions,
    ReportingOptions,
    RunOptions,
    ShapeOptions,
    StreamOptions,
    TaskOptions,
    WatchOptions,
    as_command,
    build_options,
    derive,
    help_of,
)
from burncloud_images.model.operations import EditRequest, GenerationRequest, ImagesRequest, VariationRequest

if TYPE_CHECKING:
    from burncloud_images.cli.reporting import Reporter

Values = Mapping[str, Any]

# `extra` is what -O fills.
NO_OPTIONS = frozenset({"extra"})

# `show` sends no request and does not know which request made an image.
NOT_OF_SHOW = frozenset({"sidecar", "dry_run"})
NOT_OF_FETCH = NOT_OF_SHOW | {"emulator", "timeout", "validation"}

API = Group("API fields", sort_key=1)
DEFAULTS = Group("API fields, for rows without them", sort_key=4)
JOB = Group("Job", sort_key=1)
MONEY = Group("Pace and money", sort_key=2)
OUTPUT = Group("Output", sort_key=3)
CONNECTION = Group("Connection", sort_key=5)
REPORTING = Group("Reporting", sort_key=6)

GROUPS: Mapping[type, Group] = {
    ExtraFields: API,
    ShapeOptions: API,
    EmulatorOptions: Group("Serving", sort_key=1),
    JobFolderOptions: JOB,
    ListOptions: JOB,
    RunOptions: JOB,
    WatchOptions: JOB,
    TaskOptions: OUTPUT,
    RateOptions: MONEY,
    BudgetOptions: MONEY,
    MeasureOptions: MONEY,
    OutputOptions: OUTPUT,
    StreamOptions: OUTPUT,
    JsonOptions: OUTPUT,
    ConnectionOptions: CONNECTION,
    ReportingOptions: REPORTING,
    ConfigurationOptions: REPORTING,
}
REQUESTS = (GenerationRequest, EditRequest, VariationRequest)
SHARED = (ConnectionOptions, ReportingOptions, ConfigurationOptions)
KNOWN = (*REQUESTS, *GROUPS)

HOW_TO_GIVE: Mapping[str, str] = {
    "image": "A file, an https:// URL, or - for stdin.",
    "prompt": "The text, @FILE, or - for stdin.",
}
LISTS = "Lists of prompts: text, CSV, TSV, JSON, JSONL, Parquet or .xlsx, or - for stdin."
ADDRESSES = (
    "Result URLs; @FILE or - reads URLs from a file or stdin, one per line. Anyone who has a signed URL can download "
    "its image, and other users of this machine can see your command line."
)
RESPONSES = "Files with API responses: JSON, event streams, or the output lines of a batch; - for stdin."


def request_parameters(kind: type[ImagesRequest]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a request: its first required field is positional, the others are options."""
    first = next(field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING)
    words = tuple[str, ...] if kind is EditRequest else str
    yield by_position(first, words, f"{help_of(kind)[first]} {HOW_TO_GIVE[first]}")
    yield from derive(kind, API, without=NO_OPTIONS | {first})


def by_position(name: str, words: Any, text: str, *, required: bool = True) -> inspect.Parameter:  # noqa: ANN401 (annotations have no type of their own)
    """Return a positional parameter."""
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[
            words if required else words | None, Parameter(help=text, negative=(), show_default=False)
        ],
    )


def row_parameters(*, required: bool) -> Iterator[inspect.Parameter]:
    """Yield the lists, and the fields of all requests as defaults for rows."""
    yield by_position("inputs", tuple[str, ...], LISTS, required=required)
    seen = set(NO_OPTIONS)
    for owner in (*REQUESTS, ExtraFields):
        parameters = list(derive(owner, DEFAULTS, without=seen, needed=False))
        seen.update(parameter.name for parameter in parameters)
        yield from parameters


def make(
    name: str,
    owners: tuple[type, ...],
    place: str,
    *,
    own: Iterable[inspect.Parameter] = (),
    unseen: Iterable[type] = (),
    without: frozenset[str] = frozenset(),
    more: Values = MappingProxyType({}),
) -> Any:  # noqa: ANN401 (cyclopts reads its attributes)
    """
    Return a command.

    Args:
        name: The name of the command.
        owners: Classes whose fields are its options.
        place: The coroutine function that does the work and returns the exit code, as `module:function`.
        own: Its other parameters.
        unseen: Classes whose fields are among the other parameters.
        without: Fields that this command does not offer.
        more: Further arguments of the function.
    """
    shared = [parameter for owner in owners for parameter in derive(owner, GROUPS[owner], without=without)]

    def command(given: dict[str, Any]) -> int:
        import asyncio

        from burncloud_images.cli.configuration import add_defaults
        from burncloud_images.cli.exit_codes import ABANDONED, INTERRUPTED, USAGE, UsageError, to_exit
        from burncloud_images.cli.interrupts import Abandoned, Interrupted
        from burncloud_images.cli.reporting import Reporter
        from burncloud_images.errors import ImagesError

        reporter = Reporter(options=build_options(ReportingOptions, given))
        try:
            values = add_defaults(given, (*unseen, *owners), KNOWN)
            reporter = Reporter(options=build_options(ReportingOptions, values))
            with reporter.showing_warnings(), asyncio.Runner() as runner:
                return runner.run(call(place, {**values, **more}, reporter))
        except UsageError as error:
            reporter.fail(error)
            return USAGE
        except ImagesError as error:
            reporter.fail(error)
            return to_exit(error)
        except (Interrupted, Abandoned) as reason:
            reporter.say("error", str(reason))
            return INTERRUPTED if isinstance(reason, Interrupted) else ABANDONED

    return as_command(name, [*own, *shared], command)


async def call(place: str, values: Values, reporter: Reporter) -> int:
    """Import a function and call it, with options by the types of its parameters and other values by their names."""
    from importlib import import_module
    from typing import get_type_hints

    module, _, name = place.partition(":")
    function = getattr(import_module(f"burncloud_images.cli.{module}"), name)
    known = {**values, "values": values, "reporter": reporter}
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    code: int = await function(
        **{name: build_options(hint, values) if hint in GROUPS else known.get(name) for name, hint in hints.items()}
    )
    return code


def request_command(name: str, kind: type[ImagesRequest]) -> Any:  # noqa: ANN401 (as above)
    streaming = (StreamOptions,) if "partial_images" in attrs.fields_dict(kind) else ()
    shape = (ShapeOptions,) if kind is not VariationRequest else ()
    owners = (*shape, ExtraFields, OutputOptions, *streaming, *SHARED)
    return make(name, owners, "requests:send", more={"kind": kind}, own=request_parameters(kind), unseen=(kind,))


JOB_FOLDER = [by_position("directory", str, "The job's folder.")]
JOB_FOLDERS = [by_position("directory", tuple[str, ...], "The job's folder, or those of all shards of a job.")]

generate = request_command("generate", GenerationRequest)
edit = request_command("edit", EditRequest)
variation = request_command("variation", VariationRequest)
batch = make(
    "batch",
    (ShapeOptions, JobFolderOptions, ListOptions, RunOptions, RateOptions, BudgetOptions, *SHARED),
    "batch:run",
    own=row_parameters(required=False),
    unseen=(*REQUESTS, ExtraFields),
)
plan = make(
    "plan",
    (ShapeOptions, ListOptions, RateOptions, BudgetOptions, MeasureOptions, JsonOptions, *SHARED),
    "plan:print_plan",
    own=row_parameters(required=True),
    unseen=(*REQUESTS, ExtraFields),
)
status = make(
    "status",
    (WatchOptions, JsonOptions, ReportingOptions, ConfigurationOptions),
    "job_views:print_status",
    own=JOB_FOLDERS,
)
verify = make(
    "verify", (JsonOptions, ReportingOptions, ConfigurationOptions), "job_views:verify_images", own=JOB_FOLDERS
)
redo = make(
    "redo",
    (JsonOptions, ReportingOptions, ConfigurationOptions),
    "redo:redo",
    own=[*JOB_FOLDER, by_position("name", tuple[str, ...], "Ids or keys of rows, or file names of images.")],
)
usage = make("usage", (JsonOptions, ReportingOptions, ConfigurationOptions), "job_views:print_usage", own=JOB_FOLDERS)
fetch = make(
    "fetch",
    (TaskOptions, OutputOptions, *SHARED),
    "fetch:fetch",
    own=[by_position("url", tuple[str, ...], ADDRESSES, required=False)],
    without=NOT_OF_FETCH,
)
show = make(
    "show",
    (OutputOptions, ReportingOptions, ConfigurationOptions),
    "show:show",
    own=[by_position("response", tuple[str, ...], RESPONSES)],
    without=NOT_OF_SHOW,
)
models = make("models", (JsonOptions, *SHARED), "models:print_models")
emulator = make("emulator", (EmulatorOptions, ReportingOptions, ConfigurationOptions), "emulator:serve")
doctor = make("doctor", (JsonOptions, *SHARED), "doctor:examine")
