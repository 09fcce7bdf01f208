"""
The options that are not the API's, as classes like the requests': fields, and their help in the `Args`.

This module imports next to nothing, because `--help` reads it.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = [
    "Configuration",
    "Connection",
    "Fetching",
    "Free",
    "Listing",
    "Output",
    "Reporting",
    "Serving",
    "Showing",
    "Streaming",
]


@attrs.frozen(kw_only=True)
class Fetching:
    """
    What is fetched.

    Args:
        url: Where images are, as an answer said; @FILE or - for lists of addresses, one a line. A signed address is a
            key to its image, and other users of the machine can see it on the command line.
    """

    url: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Showing:
    """
    What is looked into.

    Args:
        response: Files with answers of the API, as JSON, as event streams, or as lines of a batch; - for stdin.
    """

    response: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Free:
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
        keep_alive: Let the answer come as a stream, for gateways that cut connections on which nothing moves.
    """

    partials: str | None = attrs.field(default=None, metadata={"metavar": "DIR"})
    keep_alive: bool = False


@attrs.frozen(kw_only=True)
class Listing:
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
        deadline: No retry starts later than this after the first attempt; 900 by default.
        retries: Attempts in all, at least 1; 4 by default. What may have been billed is never sent again.
        rules: What to do about requests that the API's document does not allow; warn by default.
        proxy: URL of an HTTP proxy. By default HTTPS_PROXY and NO_PROXY.
        cacert: A PEM file of certificate authorities to trust besides the system's.
        allow_http: Let the key and images travel unencrypted to hosts other than this machine.
    """

    base_url: str | None = attrs.field(default=None, metadata={"metavar": "URL"})
    api_key_file: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    emulator: bool = False
    timeout: float = 600.0
    deadline: float = 900.0
    retries: int = 4
    rules: Literal["warn", "strict", "off"] = "warn"
    proxy: str | None = attrs.field(default=None, metadata={"metavar": "URL"})
    cacert: str | None = attrs.field(default=None, metadata={"metavar": "FILE"})
    allow_http: bool = False


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
    """

    host: str = attrs.field(default="127.0.0.1", metadata={"metavar": "ADDRESS"})
    port: int = 0
    fault: tuple[str, ...] = attrs.field(default=(), metadata={"metavar": "SPEC"})
    latency: float = 0.0
    url_lifetime: float = 3600.0
