"""The options of all commands: classes for those that are not API fields, and how a class becomes options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import Group, Parameter

from burncloud_images.model.parameter_docs import describe_parameters


@attrs.frozen(kw_only=True)
class ExtraFields:
    """
    API fields without an option of their own.

    Args:
        field: Any API field as key=value; the value is JSON or text. For fields that this version does not know.
            Repeatable.
    """

    field: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "KEY=VALUE"})


@attrs.frozen(kw_only=True)
class ShapeOptions:
    """
    The shape of the images, from which their size is found.

    Args:
        aspect: Width to height, such as 16:9, in place of --size: the size of that shape that the model takes.
        megapixels: About how many million pixels an image of that shape has. Default: 1.
    """

    aspect: str | None = attrs.field(default=None, metadata={"metavar": "RATIO"})
    megapixels: float | None = attrs.field(default=None, metadata={"metavar": "N"})


@attrs.frozen(kw_only=True)
class OutputOptions:
    """
    Where results go.

    Args:
        output: A file, a folder (existing, or with a trailing slash), a name with fields as in --name, or - to write
            one image to stdout. The extension follows the image's format.
        into: A folder; created if missing. Default: the current folder.
        name: Template for file names, from {id}, {index}, {ext}, {slug}, {sha8}, {model} and {date}.
        exists: If a file exists already: error (before anything is sent), skip (the request, if all its images
            exist), rename or overwrite. Default: error.
        sidecar: Also write the request and the result of each image to NAME.json.
        json: Print one JSON object instead of paths.
        dry_run: Print the request and send nothing; needs no key.
    """

    output: str | None = attrs.field(default=None, metadata={"metavar": "PATH"})
    into: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    name: str | None = attrs.field(default=None, metadata={"metavar": "TEMPLATE"})
    exists: Literal["error", "skip", "rename", "overwrite"] = "error"
    sidecar: Literal["json"] | None = None
    json: bool = False
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class StreamOptions:
    """
    Whether the answer is a stream.

    Args:
        partials: A folder for preview images; created if missing. --partial-images sets how many, 3 by default.
        via_stream: Receive the answer as a stream, for gateways that close idle connections.
    """

    partials: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    via_stream: bool = False


@attrs.frozen(kw_only=True)
class ListOptions:
    """
    How lists are read.

    Args:
        input_root: The folder of the images that rows name. Default: the folder of the list.
        input_format: txt (one prompt per line), csv, tsv, json, jsonl, parquet or xlsx. Default: by the extension of
            the list; for stdin, and text that looks like a table or JSON, by its first lines.
        delimiter: What stands between the cells of a table: comma, semicolon, tab, pipe or another character. Default:
            found out by the first row.
        column: What a list calls a column, as prompt="Prompt Text". Repeatable.
        sheet: The sheet of a spreadsheet. Default: the first.
        template: A prompt with places for the columns of a row, as "{animal} in the style of {style}"; {{ and }} are
            braces.
        encoding: The encoding of lists, such as utf-8, gb18030, big5, euc-kr, shift_jis or windows-1252. Default: found
            out, or refused if it is not certain.
    """

    input_root: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    input_format: Literal["txt", "csv", "tsv", "json", "jsonl", "parquet", "xlsx"] | None = None
    delimiter: str | None = attrs.field(default=None, metadata={"metavar": "CHARACTER"})
    column: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "COLUMN=NAME"})
    template: str | None = attrs.field(default=None, metadata={"metavar": "TEXT"})
    sheet: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})
    encoding: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})


@attrs.frozen(kw_only=True)
class JobFolderOptions:
    """
    The folder of a job.

    Args:
        directory: The job's folder: images, gallery and the state of every row. If it holds a job already, that job
            resumes.
        layout: How images are stored: files, or webdataset (tar files of many images each). --format webdataset
            means the same.
        name: Template for readable names: the folder named/ gets all images under them. Fields are {id}, {index},
            {ext}, {slug}, {sha8}, {model}, {date}, {key} and {row.COLUMN} with any column of the list's own.
        metadata: Format of the table of all images: jsonl, or parquet (needs the extra `data`).
    """

    directory: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    layout: Literal["files", "webdataset"] | None = None
    name: str | None = attrs.field(default=None, metadata={"metavar": "TEMPLATE"})
    metadata: Literal["jsonl", "parquet"] = "jsonl"


@attrs.frozen(kw_only=True)
class RunOptions:
    """
    How a job is run.

    Args:
        retry_failed: Send rows again that failed in earlier runs. Those that may have been billed are bought again.
        on_unknown: What to do with rows in doubt, which may have been billed but have no image: hold (list them,
            never resend) or retry (resend, and possibly pay twice). Default: hold.
        server_idempotency: What the server does with an idempotency key that it has seen: none (it may make the image
            again, the default), replay (it repeats its answer) or reject (it refuses). With replay or reject, rows in
            doubt are sent again, because that cannot buy an image twice.
        limit: Start at most this many rows in this run.
        fail_fast: Stop at the first row that fails.
        via_stream: Receive answers as streams, for gateways that close idle connections.
        allow_input_change: Accept a list that has changed since the job first read it, or is read with other fields.
            New rows are bought in addition.
        shard: Take only this part of the rows, as 2/8 for the second of eight, and an eighth of --budget, --max-images
            and the rates: for several machines, each with a folder of its own. The folder remembers it.
        replace: Let rows take the place of other requests with their ids, as when a prompt was corrected. The images of
            those stay in the folder, and leave gallery and metadata.
        dry_run: Print the plan and the first request and send nothing; needs no key.
        json: Print one JSON object per finished row, and one for the job.
    """

    retry_failed: bool = False
    on_unknown: Literal["hold", "retry"] = "hold"
    server_idempotency: Literal["none", "replay", "reject"] = "none"
    limit: int | None = None
    fail_fast: bool = False
    via_stream: bool = False
    allow_input_change: bool = False
    shard: str | None = attrs.field(default=None, metadata={"metavar": "I/N"})
    replace: bool = False
    dry_run: bool = False
    json: bool = False


@attrs.frozen(kw_only=True)
class RateOptions:
    """
    How fast a job runs.

    Args:
        concurrency: Maximum number of requests in flight; lowered while the API throttles. Default: 16.
        rpm: Maximum requests per minute, across restarts.
        ipm: Maximum images requested per minute.
        tpm: Maximum tokens per minute, as far as they can be estimated before sending.
    """

    concurrency: int = 16
    rpm: float | None = attrs.field(default=None, metadata={"metavar": "N"})
    ipm: float | None = attrs.field(default=None, metadata={"metavar": "N"})
    tpm: float | None = attrs.field(default=None, metadata={"metavar": "N"})


@attrs.frozen(kw_only=True)
class BudgetOptions:
    """
    What a job may cost.

    Args:
        budget: Maximum cost of all runs of the job together in dollars, such as 5.00. Requests in doubt count as
            spent.
        prices: A price file, described in docs/bulk-jobs.md. Default: the list prices of this version; your gateway
            may charge differently.
        price: The price of one image in dollars, such as 0.04, or of one model's, as gpt-image-2.6-flare=0.07. It
            counts before all other prices. Repeatable.
        max_images: Maximum images of all runs of the job together, including those in doubt.
    """

    budget: str | None = attrs.field(default=None, metadata={"metavar": "DOLLARS"})
    prices: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    price: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "[MODEL=]DOLLARS"})
    max_images: int | None = None


@attrs.frozen(kw_only=True)
class MeasureOptions:
    """
    Whether a few requests are bought to measure what the others will cost.

    Args:
        measure: Buy this many requests of the lists, the dearest kinds first, and measure what an image of them costs.
            --budget then limits models without a price, too, in a job in the same folder.
        directory: The folder of the bought images. `batch` with the same folder keeps them and does not buy them
            again. Default for --measure: the list's name and -measured. Without --measure, what was measured there
            counts.
    """

    measure: int | None = None
    directory: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})


@attrs.frozen(kw_only=True)
class WatchOptions:
    """
    Whether the status is shown repeatedly.

    Args:
        watch: Refresh until the run ends or Ctrl-C.
    """

    watch: bool = False


@attrs.frozen(kw_only=True)
class TaskOptions:
    """
    A task whose images are asked for.

    Args:
        task: The id of a task that an error named: its images are asked for until they come, which is free.
    """

    task: str | None = attrs.field(default=None, metadata={"metavar": "ID"})


@attrs.frozen(kw_only=True)
class JsonOptions:
    """
    Whether the result is printed as JSON.

    Args:
        json: Print one JSON object.
    """

    json: bool = False


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """
    How the API is reached.

    Args:
        base_url: The API's host or URL. Default: BURNCLOUD_API_BASE_URL, else https://ai.burncloud.com/v1.
        api_key_file: A file with the API key, or - for stdin. Default: the key in BURNCLOUD_API_KEY.
        emulator: Start a local emulator of the API and use it: no key, no cost, drawn pictures.
        timeout: Maximum time until an answer begins. Default: 600. A request that times out may be billed.
        deadline: Seconds after the first attempt in which retries may start; for a job, seconds without any success
            before it gives up. Default: 900.
        retries: Maximum number of attempts, including the first. Default: 4. A request that may have been billed is
            never resent.
        validation: What to do with requests that the API's documentation does not allow. Default: warn.
        proxy: URL of an HTTP proxy. Default: HTTPS_PROXY and NO_PROXY.
        cacert: A PEM file of additional certificate authorities to trust.
        allow_http: Allow the key and images to travel unencrypted to other machines. Default: BURNCLOUD_ALLOW_HTTP.
        result_host: A host or host:port that results may come from even if its address is private, its port is not
            443, or the connection is unencrypted. Repeatable. Default: BURNCLOUD_RESULT_HOSTS, separated by commas.
        header: A header that the gateway wants with each request, as 'NAME: VALUE'; 'NAME: @FILE' reads the value from
            a file, which other users of this machine cannot see. Repeatable. Default: the lines of BURNCLOUD_HEADERS.
        query: A parameter for the URL of each request, as NAME=VALUE. Repeatable. Default: BURNCLOUD_QUERY.
        no_key: Send no API key. That is also what happens without a key if the API is on this machine.
        dialect: The kind of server, if the base URL does not tell: burncloud, newapi, openai, azure, openrouter,
            ark, together, siliconflow and others. Paths, fields, the header of the key and what errors say about
            billing depend on it. Default: BURNCLOUD_DIALECT.
        error_code: What an error code of your gateway means, as 1113=quota; one of authentication, bad-request,
            moderation, not-found, permission, quota, rate-limit, server or unsupported. Repeatable.
    """

    base_url: str | None = attrs.field(default=None, metadata={"metavar": "URL"})
    api_key_file: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    emulator: bool = False
    timeout: float = 600.0
    deadline: float = 900.0
    retries: int = 4
    validation: Literal["warn", "strict", "off"] = "warn"
    proxy: str | None = attrs.field(default=None, metadata={"metavar": "URL"})
    cacert: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    allow_http: bool = False
    result_host: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "HOST"})
    header: tuple[str, ...] = attrs.field(default=(), repr=False, metadata={"metavar": "'NAME: VALUE'"})
    query: tuple[str, ...] = attrs.field(default=(), repr=False, metadata={"metavar": "NAME=VALUE"})
    no_key: bool = False
    dialect: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})
    error_code: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "CODE=MEANING"})


@attrs.frozen(kw_only=True)
class ReportingOptions:
    """
    What is reported on stderr.

    Args:
        progress: `auto` shows a bar on a terminal and lines elsewhere; `json` writes one event per line to stderr.
        quiet: Print errors only.
        verbose: Print details; given twice, also print tracebacks of errors.
    """

    progress: Literal["auto", "bar", "lines", "json", "none"] = "auto"
    quiet: bool = False
    verbose: int = 0


@attrs.frozen(kw_only=True)
class ConfigurationOptions:
    """
    Where defaults come from.

    Args:
        config: A TOML file whose keys are option names. Default: burncloud-images/config.toml in the user's
            configuration folder.
        profile: Prefer the values in the file's table [profile.NAME].
    """

    config: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    profile: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})


@attrs.frozen(kw_only=True)
class EmulatorOptions:
    """
    How the emulator is served.

    Args:
        host: Address to listen on. Default: 127.0.0.1.
        port: Port to listen on. Default: 0, any free port.
        fault: A fault to inject once, or with a probability: 429, 500:0.1, reset-after-billing:0.05. Repeatable.
        latency: Seconds before each answer.
        url_lifetime: Seconds until result URLs expire. Default: 3600.
        tls: Serve HTTPS with a temporary certificate; the printed variables make clients trust it.
        tasks: Accept requests as tasks, whose images are asked for later.
    """

    host: str = attrs.field(default="127.0.0.1", metadata={"metavar": "ADDRESS"})
    port: int = 0
    fault: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "SPEC"})
    latency: float = 0.0
    url_lifetime: float = 3600.0
    tls: bool = False
    tasks: bool = False


T = TypeVar("T")

NAMES: Mapping[str, tuple[str, ...]] = {
    "model": ("--model", "-m"),
    "n": ("-n",),
    "prompt": ("--prompt", "-p"),
    "output_format": ("--format",),
    "output_compression": ("--compression",),
    "output": ("--output", "-o"),
    "directory": ("--into",),
    "concurrency": ("--concurrency", "-j"),
    "quiet": ("--quiet", "-q"),
    "verbose": ("--verbose", "-v"),
    "field": ("--field", "-O"),
}
"""Options whose names are not the field's name with dashes."""

STDIN = "\0-"
"""Stands for a lone dash, which cyclopts would read as an option. No argument of a process contains a NUL."""

METAVARS: Mapping[type, str] = {int: "N", float: "SECONDS", str: "TEXT", dict: "JSON"}


def option_name(field: str) -> str:
    """Return what users type for *field*."""
    return NAMES.get(field, (f"--{field.replace('_', '-')}",))[0]


def derive(
    owner: type, group: Group, *, without: AbstractSet[str] = frozenset(), needed: bool = True
) -> Iterator[inspect.Parameter]:
    """
    Yield a keyword parameter for each field of an attrs class.

    Args:
        owner: The class.
        group: Panel in the help.
        without: Fields to leave out.
        needed: Whether fields without a default are required.
    """
    texts = help_of(owner)
    for field in attrs.fields(owner):
        if field.name in without:
            continue
        kind, choices = kind_of(owner, field.name)
        option = Parameter(
            name=NAMES.get(field.name, (f"--{field.name.replace('_', '-')}",)),
            help=with_choices(texts[field.name], choices),
            group=group,
            negative=(),
            count=field.name == "verbose",
            show_default=False,
            # Choices are suggested and not enforced: the server may know more.
            completer=offer(choices) if choices else None,
            metavar=field.metadata.get("metavar") or METAVARS.get(kind),
        )
        required = needed and field.default is attrs.NOTHING
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if required else None,
            annotation=Annotated[text_for(kind) if required else text_for(kind) | None, option],
        )


def text_for(kind: Any) -> Any:  # noqa: ANN401 (annotations have no type of their own)
    # JSON is parsed later, where an error becomes one sentence.
    return str if kind is dict else kind


def offer(choices: tuple[str, ...]) -> Callable[[object], tuple[str, ...]]:
    return lambda _context: choices


def with_choices(text: str, choices: tuple[str, ...]) -> str:
    """Return *text* with the known values, unless it names all of them."""
    said = all(choice in text for choice in choices)
    return text if said else f"{text} Known: {', '.join(choices)}."


def kind_of(owner: type, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return the type of a field on the command line, and the values its literals suggest if it takes any text."""
    members = tuple(flatten(hints(owner)[name]))
    choices = tuple(choice for member in members if get_origin(member) is Literal for choice in get_args(member))
    for kind in (bool, int, float):
        if kind in members:
            return kind, ()
    if any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in map(get_origin, members)):
        return dict, ()
    if choices and str not in members:
        return Literal[choices], ()
    if any(get_origin(member) is tuple for member in members):
        return tuple[str, ...], ()
    return str, choices


@cache
def hints(owner: type) -> dict[str, Any]:
    return get_type_hints(owner)


def flatten(hint: Any) -> Iterator[Any]:  # noqa: ANN401 (as above)
    if get_origin(hint) in {Union, UnionType}:
        for member in get_args(hint):
            yield from flatten(member)
    elif hint is not type(None):
        yield hint


def help_of(owner: type) -> dict[str, str]:
    """Return the description of each field as plain text."""
    return {name: " ".join(text.replace("`", "").split()) for name, text in describe_parameters(owner).items()}


def build_options(owner: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of the option class *owner*, with those of *values* that are its fields."""
    names = {field.name for field in attrs.fields(owner)}  # type: ignore[arg-type]
    return owner(**{name: value for name, value in values.items() if name in names and value is not None})


def with_dashes(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(with_dashes, value))
    return "-" if value == STDIN else value


def as_command(name: str, parameters: list[inspect.Parameter], work: Callable[..., int]) -> Any:  # noqa: ANN401 (cyclopts reads its attributes)
    """
    Return a function with the signature *parameters* that passes its arguments to *work* as one mapping.

    Args:
        name: The name of the command.
        parameters: Its parameters.
        work: Returns the exit code.
    """
    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    signature = inspect.Signature(ordered)

    def command(*words: object, **values: object) -> int:
        return work({name: with_dashes(value) for name, value in signature.bind(*words, **values).arguments.items()})

    command.__name__ = name
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command
