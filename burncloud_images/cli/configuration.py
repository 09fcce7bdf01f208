"""
The configuration file: flags win over the environment, the environment over the file, the file over defaults.

The file is TOML. Its keys are option names; the values of a chosen table `[profile.NAME]` override the others:

    model = "gpt-image-2"
    into = "pictures"

    [profile.cheap]
    quality = "low"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs

from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.options import kind_of, option_name
from burncloud_images.client import BASE_URL_VARIABLES, DIALECT_VARIABLES, KEY_VARIABLES, MODEL_VARIABLES

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "base_url": BASE_URL_VARIABLES,
    "model": MODEL_VARIABLES,
    "api_key_file": KEY_VARIABLES,
    "dialect": DIALECT_VARIABLES,
}
"""Options that environment variables can set; they win over the file."""

SWITCH_ON, SWITCH_OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def to_switch(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in SWITCH_ON | SWITCH_OFF:
        raise UsageError(f"{variable} has to be 1 or 0, not {text!r}.")
    return word in SWITCH_ON


OWN_VARIABLES: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "header": ("BURNCLOUD_HEADERS", lambda _, text: tuple(filter(None, map(str.strip, text.splitlines())))),
    "query": ("BURNCLOUD_QUERY", lambda _, text: tuple(filter(None, text.strip().removeprefix("?").split("&")))),
    "allow_http": ("BURNCLOUD_ALLOW_HTTP", to_switch),
    "result_host": ("BURNCLOUD_RESULT_HOSTS", lambda _, text: tuple(re.split(r"[\s,]+", text.strip(" \n\t,")))),
}
"""Options whose variables the client does not read itself, and how; they win over the file."""

ADDED = frozenset({"header", "query", "result_host"})
"""Options that add to what the environment says."""

REFUSED: Mapping[str, str] = {
    "api_key": "keep the key out of a file that may be shared; name the file that holds it with api-key-file",
    "emulator": "the emulator can only be chosen on the command line",
    "dry_run": "it can only be given on the command line",
    "directory": "it can only be given on the command line",
    "config": "it can only be given on the command line",
    "prompt": "it can only be given on the command line",
    "image": "it can only be given on the command line",
}

RIVALS = (frozenset({"output", "into"}), frozenset({"size", "aspect", "megapixels"}))
"""Options that exclude each other: a flag drops the values of the others from the file."""


def user_file() -> Path | None:
    """Return the path of the user's file, which may not exist; None for a user without a home."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return Path(folder).expanduser() / "burncloud-images" / "config.toml"
    except RuntimeError:
        return None


def add_defaults(given: Mapping[str, Any], owners: Iterable[type], known: Iterable[type]) -> dict[str, Any]:
    """
    Return *given* and the values that the file adds.

    Args:
        given: The values of the flags.
        owners: Classes whose fields are options of this command.
        known: Classes whose fields are options of any command.

    Raises:
        UsageError: The file cannot be used.
    """
    path, content = read(given.get("config"))
    defaults = choose_profile(path, content, given.get("profile"))
    kinds = {field.name: kind_of(owner, field.name)[0] for owner in known for field in attrs.fields(owner)}
    for name, value in defaults.items():
        check(path, name, value, kinds)
    own = {field.name for owner in owners for field in attrs.fields(owner)}
    silent = find_silent(given)
    added = {name: value for name, value in defaults.items() if name in own and name not in silent}
    environment = {name: value for name, value in read_environment() if name in own}
    further = {name: (*environment[name], *given[name]) for name in ADDED & environment.keys() & given.keys()}
    return {**added, **environment, **given, **further}


def choose_profile(path: Path, content: Mapping[str, Any], profile: str | None) -> dict[str, Any]:
    """
    Return the options of a file by their fields, with those of *profile* over those at the top.

    Raises:
        UsageError: The configuration has no profile of this name.
    """
    profiles = content.get("profile", {})
    chosen = profiles.get(profile, {}) if isinstance(profiles, dict) else None
    if not isinstance(chosen, dict):
        raise UsageError(f"In {path}, each profile has to be a table [profile.NAME].")
    if profile is not None and not chosen:
        raise UsageError(f"There is no [profile.{profile}] in {path}.")
    top = {key: value for key, value in content.items() if key != "profile"}
    return {key.replace("-", "_"): value for key, value in {**top, **chosen}.items()}


def find_silent(given: Mapping[str, Any]) -> set[str]:
    """Return the options that the file may not add: a variable says them, or a flag excludes them."""
    variables = {name for name, names in VARIABLES.items() if any(map(os.environ.get, names))}
    return variables.union(*(rivals for rivals in RIVALS if rivals & given.keys()))


def read_environment() -> Iterator[tuple[str, Any]]:
    """
    Yield the options that the environment sets for the command line alone.

    Raises:
        UsageError: A variable cannot be used.
    """
    for name, (variable, read) in OWN_VARIABLES.items():
        if text := os.environ.get(variable, "").strip():
            yield name, read(variable, text)


def read(named: str | None) -> tuple[Path, dict[str, Any]]:
    path = Path(named) if named is not None else user_file()
    if path is None:
        return Path("~/.config/burncloud-images/config.toml"), {}
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if named is None and not is_visible(path):
            return path, {}
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"There is no configuration file {path}.") from None
        raise UsageError(f"The configuration file {path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:  # neither UTF-8 nor TOML
        raise UsageError(f"The configuration file {path} is not valid TOML: {error}.") from None


def is_visible(path: Path) -> bool:
    """Return whether there is a file, as far as this user can tell: the home may be another's, or no folder at all."""
    try:
        return path.is_file()
    except OSError:
        return False


def check(path: Path, name: str, value: object, kinds: Mapping[str, Any]) -> None:
    """Refuse a key or value that no option accepts: a misspelt key would silently have no effect."""
    if name in REFUSED:
        raise UsageError(f"In {path}, {name} cannot be set: {REFUSED[name]}.")
    if name not in kinds:
        raise UsageError(f"In {path}: unknown option {name!r}{suggest(name, kinds)}.")
    if not fits(value, kinds[name]):
        raise UsageError(f"In {path}, {name} has a value that {option_name(name)} does not accept.")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the option that was probably meant."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def fits(value: object, kind: Any) -> bool:  # noqa: ANN401 (annotations have no type of their own)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind in {int, float}:
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    return isinstance(value, kind)
