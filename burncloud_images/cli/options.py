"""The options of all commands: the command line's own as classes, and how classes become options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import Group, Parameter

from burncloud_images.model.parameters import describe_parameters


@attrs.frozen(kw_only=True)
class ExtraFields:
    """
    Fields that have no option.

    Args:
        field: Any field of the API as key=value, the value as JSON or text; for fields that this version does not know.
            Repeatable.
    """

    field: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "KEY=VALUE"})


@attrs.frozen(kw_only=True)
class Output:
    """
    Where results go.

    Args:
        output: A file, a folder (with a final slash, or one that is there), a name with fields as in --name, or - for
            the bytes of one image on stdout. The extension follows the image.
        into: A folder; it is made if it is not there. By default the current one.
        name: File names within the folder, made of {id}, {index}, {ext}, {slug}, {sha8}, {model} and {date}.
        exists: What to do about names that are taken: error (before anything is sent), skip (the request, if all of its
            images are there), rename or overwrite. By default error.
        sidecar: Write what is known about an image to NAME.json beside it.
        json: Print one JSON object instead of paths.
        dry_run: Print the request and send nothing; no key is needed.
    """

    output: str | None = attrs.field(default=None, metadata={"metavar": "PATH"})
    into: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    name: str | None = attrs.field(default=None, metadata={"metavar": "TEMPLATE"})
    exists: Literal["error", "skip", "rename", "overwrite"] = "error"
    sidecar: Literal["json"] | None = None
    json: bool = False
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class Streaming:
    """
    Whether the answer is a stream.

    Args:
        partials: A folder for previews of images that are being made, as many as --partial-images says, 3 by default;
            it is made if it is not there.
        via_stream: Let the answer come as a stream, for gateways that cut connections on which nothing moves.
    """

    partials: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    via_stream: bool = False


@attrs.frozen(kw_only=True)
class Rows:
    """
    How lists are read.

    Args:
        input_root: The folder that rows may name images in; by default that of the list.
        input_format: txt (a prompt a line), csv, tsv, jsonl or parquet; by default as the name of the list ends, and
            for stdin as its first line looks.
    """

    input_root: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    input_format: Literal["txt", "csv", "tsv", "jsonl", "parquet"] | None = None


@attrs.frozen(kw_only=True)
class JobFolder:
    """
    The folder that a job is.

    Args:
        directory: The folder of the job: images, gallery, and what is known of every row. A folder that holds a job
            already goes on with it.
        layout: How images are kept: as files, or as webdataset, tar files of many images each. Said by
            --format webdataset as well.
        metadata: The table of all images: jsonl, or parquet, which needs the extra data.
    """

    directory: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    layout: Literal["files", "webdataset"] | None = None
    metadata: Literal["jsonl", "parquet"] = "jsonl"


@attrs.frozen(kw_only=True)
class Running:
    """
    How a job is run.

    Args:
        retry_failed: Send rows that failed in earlier runs again; those of them that may have been billed are bought
            again.
        on_unknown: What to do about rows that may have been billed and brought nothing: hold lists them and buys none
            again; retry accepts to pay twice. By default hold.
        server_idempotency: What the server does with an idempotency key that it has seen: none (it may make the image
            again, the default), replay (it repeats its answer) or reject (it refuses). With the latter two rows in
            doubt are sent again, since that buys nothing twice.
        limit: Start at most so many rows in this run.
        fail_fast: Stop at the first row that fails.
        via_stream: Let answers come as streams, for gateways that cut connections on which nothing moves.
        allow_input_change: Take a list that has changed since the job first read it, or that is read with other fields;
            what is new in it is bought besides.
        dry_run: Print the plan and the first request, and send nothing; no key is needed.
        json: Print one JSON object for each row as it ends, and one for the job.
    """

    retry_failed: bool = False
    on_unknown: Literal["hold", "retry"] = "hold"
    server_idempotency: Literal["none", "replay", "reject"] = "none"
    limit: int | None = None
    fail_fast: bool = False
    via_stream: bool = False
    allow_input_change: bool = False
    dry_run: bool = False
    json: bool = False


@attrs.frozen(kw_only=True)
class Pace:
    """
    How fast a job goes.

    Args:
        concurrency: Most requests under way at once; fewer are while the API pushes back. 16 by default.
        rpm: Most requests in any minute, over restarts too.
        ipm: Most images asked for in any minute.
        tpm: Most tokens in any minute, as far as they can be told before.
    """

    concurrency: int = 16
    rpm: float | None = attrs.field(default=None, metadata={"metavar": "N"})
    ipm: float | None = attrs.field(default=None, metadata={"metavar": "N"})
    tpm: float | None = attrs.field(default=None, metadata={"metavar": "N"})


@attrs.frozen(kw_only=True)
class Spending:
    """
    What a job may cost.

    Args:
        budget: Most dollars for all runs of the job together, as 5.00; what is in doubt counts as spent.
        prices: A file that says what images cost, as docs/bulk-jobs.md describes it. By default the list prices that
            come with this version; your gateway may charge otherwise.
        max_images: Most images for all runs of the job together, those in doubt included; the only limit for
            models without a price.
    """

    budget: str | None = attrs.field(default=None, metadata={"metavar": "DOLLARS"})
    prices: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    max_images: int | None = None


@attrs.frozen(kw_only=True)
class Watching:
    """
    How long a job is looked at.

    Args:
        watch: Look again and again, until no run is alive or Ctrl-C.
    """

    watch: bool = False


@attrs.frozen(kw_only=True)
class JsonOutput:
    """
    How a list is printed.

    Args:
        json: Print one JSON object.
    """

    json: bool = False


@attrs.frozen(kw_only=True)
class Connection:
    """
    How the API is reached.

    Args:
        base_url: Where the API is: a host or a URL. By default BURNCLOUD_API_BASE_URL, else https://ai.burncloud.com/v1.
        api_key_file: A file that holds the API key, or - for stdin. By default the key is BURNCLOUD_API_KEY.
        emulator: Start the API on this machine and use it: no key, no cost, drawn pictures.
        timeout: Longest wait for an answer to begin; 600 by default. A request that is given up may be billed.
        deadline: No retry starts later than this after the first attempt; a job gives up after as long without a
            success. 900 by default.
        retries: Attempts in all, at least 1; 4 by default. What may have been billed is never sent again.
        validation: What to do about requests that the API's document does not allow; warn by default.
        proxy: URL of an HTTP proxy. By default HTTPS_PROXY and NO_PROXY.
        cacert: A PEM file of certificate authorities to trust besides the system's.
        allow_http: Let the key and images travel unencrypted to hosts other than this machine.
        result_host: A host, or host:port, from which results may come wherever it is: on a private address, unencrypted
            or at another port than 443. Repeatable.
        dialect: Which server it is, where the base URL does not tell: burncloud, newapi, openai. It decides what errors
            say about money. By default BURNCLOUD_DIALECT.
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
    dialect: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})


@attrs.frozen(kw_only=True)
class Reporting:
    """
    What is said on the way.

    Args:
        progress: `auto` shows a bar on a terminal and lines elsewhere; `json` writes one event a line to stderr.
        quiet: Say nothing but errors.
        verbose: Say more; twice, show where an error comes from.
    """

    progress: Literal["auto", "bar", "lines", "json", "none"] = "auto"
    quiet: bool = False
    verbose: int = 0


@attrs.frozen(kw_only=True)
class Configuration:
    """
    Where defaults come from.

    Args:
        config: A TOML file whose keys are names of options. By default burncloud-images/config.toml in the user's
            configuration folder.
        profile: Take the values of the file's table [profile.NAME] first.
    """

    config: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    profile: str | None = attrs.field(default=None, metadata={"metavar": "NAME"})


@attrs.frozen(kw_only=True)
class Serving:
    """
    How the emulator is served.

    Args:
        host: Address to listen on; 127.0.0.1 by default.
        port: Port to listen on; 0, the default, takes any that is free.
        fault: Let something go wrong once, or with a probability: 429, 500:0.1, reset-after-billing:0.05. Repeatable.
        latency: Seconds before each answer.
        url_lifetime: Seconds for which result URLs are good; 3600 by default.
        tls: Serve HTTPS, with a certificate made for the occasion; what is printed tells clients to trust it.
    """

    host: str = attrs.field(default="127.0.0.1", metadata={"metavar": "ADDRESS"})
    port: int = 0
    fault: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "SPEC"})
    latency: float = 0.0
    url_lifetime: float = 3600.0
    tls: bool = False


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
"""Names that are not the field's own with dashes."""

STDIN = "\0-"
"""
What cyclopts sees in place of a lone dash, which it would take for an option. No argument of a process holds a NUL.
"""

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
        group: Panel of the help.
        without: Fields that are no options.
        needed: Whether a field without a default is required.
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
            # Choices are offered and not enforced: the server may know more.
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
    # JSON is parsed where its errors can be told in a sentence.
    return str if kind is dict else kind


def offer(choices: tuple[str, ...]) -> Callable[[object], tuple[str, ...]]:
    return lambda _context: choices


def with_choices(text: str, choices: tuple[str, ...]) -> str:
    """Return *text* with the values that are known, unless it names them all itself."""
    said = all(choice in text for choice in choices)
    return text if said else f"{text} Known: {', '.join(choices)}."


def kind_of(owner: type, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return the type of the words for a field, and the values that its literals offer beside any text."""
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
    """Return an instance of the option class *owner* made of those of *values* that are given and its own."""
    names = {field.name for field in attrs.fields(owner)}  # type: ignore[arg-type]
    return owner(**{name: value for name, value in values.items() if name in names and value is not None})


def with_dashes(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(with_dashes, value))
    return "-" if value == STDIN else value


def as_command(name: str, parameters: list[inspect.Parameter], work: Callable[..., int]) -> Any:  # noqa: ANN401 (cyclopts reads its attributes)
    """
    Return a function that cyclopts sees with *parameters*, and that hands what was given to *work* as one mapping.

    Args:
        name: Of the command.
        parameters: Its options.
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
