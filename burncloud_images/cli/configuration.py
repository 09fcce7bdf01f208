"""
Values that come from a file: flags win over the environment, that over the file, and the file over the defaults.

The file is TOML. Its keys are the names of options; a table `[profile.NAME]` is laid over them when asked for:

    model = "gpt-image-2"
    into = "pictures"

    [profile.cheap]
    quality = "low"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs

from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.options import kind_of, option_name
from burncloud_images.client import BASE_URL_VARIABLES, DIALECT_VARIABLES, KEY_VARIABLES, MODEL_VARIABLES

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "base_url": BASE_URL_VARIABLES,
    "model": MODEL_VARIABLES,
    "api_key_file": KEY_VARIABLES,
    "dialect": DIALECT_VARIABLES,
}
"""Options that the environment can give; it wins over the file."""

REFUSED: Mapping[str, str] = {
    "api_key": "a key does not belong into a file that is shared; name its file by api-key-file",
    "emulator": "the emulator is chosen on the command line only",
    "dry_run": "it is for the command line only",
    "directory": "it is for the command line only",
    "config": "it is for the command line only",
    "prompt": "it is for the command line only",
    "image": "it is for the command line only",
}

RIVALS = frozenset({"output", "into"})
"""Options of which one excludes the other: a flag drops the file's."""


def user_file() -> Path:
    """Return where the user's file is, whether there is one or not."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "burncloud-images" / "config.toml"


def add_defaults(given: Mapping[str, Any], owners: Iterable[type], known: Iterable[type]) -> dict[str, Any]:
    """
    Return *given* with what the file adds.

    Args:
        given: The flags.
        owners: Classes whose fields are options of this command.
        known: Classes whose fields are options of any command.

    Raises:
        UsageError: The file cannot be used.
    """
    path, content = read(given.get("config"))
    profile = given.get("profile")
    profiles = content.pop("profile", {})
    chosen = profiles.get(profile, {}) if isinstance(profiles, dict) else None
    if not isinstance(chosen, dict):
        raise UsageError(f"In {path}, profiles have to be tables [profile.NAME].")
    if profile is not None and not chosen:
        raise UsageError(f"There is no [profile.{profile}] in {path}.")
    defaults = {key.replace("-", "_"): value for key, value in {**content, **chosen}.items()}
    kinds = {field.name: kind_of(owner, field.name)[0] for owner in known for field in attrs.fields(owner)}
    for name, value in defaults.items():
        check(path, name, value, kinds)
    own = {field.name for owner in owners for field in attrs.fields(owner)}
    silent = {name for name, variables in VARIABLES.items() if any(os.environ.get(key) for key in variables)}
    if RIVALS & given.keys():
        silent |= RIVALS
    added = {name: value for name, value in defaults.items() if name in own and name not in silent}
    return {**added, **given}


def read(named: str | None) -> tuple[Path, dict[str, Any]]:
    path = Path(named) if named is not None else user_file()
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is None:
            return path, {}
        raise UsageError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise UsageError(f"The configuration file {path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:  # neither UTF-8 nor TOML
        raise UsageError(f"The configuration file {path} is no TOML: {error}.") from None


def check(path: Path, name: str, value: object, kinds: Mapping[str, Any]) -> None:
    """Refuse what no option takes: a misspelt key would be a setting that silently does not hold."""
    if name in REFUSED:
        raise UsageError(f"In {path}, {name} cannot be set: {REFUSED[name]}.")
    if name not in kinds:
        raise UsageError(f"In {path}, {name} is no option; its keys are names of options without dashes in front.")
    if not fits(value, kinds[name]):
        raise UsageError(f"In {path}, {name} has a value that {option_name(name)} cannot take.")


def fits(value: object, kind: Any) -> bool:  # noqa: ANN401 (annotations have no type of their own)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind in {int, float}:
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    return isinstance(value, kind)
