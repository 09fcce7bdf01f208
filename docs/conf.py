"""How Sphinx builds the documentation: without a network, and with every reference checked."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.util.inspect import stringify_signature

from burncloud_images.model import rule_kinds as limits
from burncloud_images.model import rules
from burncloud_images.model.operations import ImagesRequest

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]

project = PROJECT["name"]
author = "The burncloud-images authors"
project_copyright = author
release = version = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings write `code` in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "notes_style")]

# Builds have no network, so other projects' pages cannot be looked up; our own names have no such excuse.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(abc|aiohttp|asyncio|collections|contextlib|datetime|enum|io|os|pathlib|types|typing|yarl)\..*"),
    ("py:.*", r"(.*\.)?(P|T|T_co|Q|M|R|R_co|E_co)"),  # type variables
    ("py:class", r"(datetime|Path|Executor|ssl\.SSLContext)"),
    # Text that editors complete, and unions; api.md says what they are.
    (
        "py:class",
        r"(Model|Size|ResponseFormat|Quality|Background|Moderation|OutputFormat|Complexity|Style|InputFidelity)",
    ),
    (
        "py:class",
        r"(Decimal|Key|OnAttempt|OnEvent|OnExit|OnUnclaimed|Session|Tasks|Validation|Watch|concurrent\..*\.Executor)",
    ),
    ("py:class", r"(_asyncio\.Task|(burncloud_images\.calls\.background\.)?BackgroundTasks)"),
    (
        "py:class",
        r"burncloud_images\.(bulk|prices|wire)\..*\.(Run|JobDirectory|JobStore|ModelPrices|RowNotes|TaskReport)",
    ),
    ("py:class", r"burncloud_images\.model\.inputs\.(\w+Source|Picture)"),
]


# --- the documented limits, from the table that the client goes by ----------------------------------------------------

FAMILIES = {
    rules.KNOWN: "all that are known",
    rules.GPT: "all GPT image models",
    rules.DALLE: "DALL·E",
    rules.FREE_SIZE: "gpt-image-2 and later",
    rules.GPT_2_5 + rules.GPT_2_6: "gpt-image-2.5 and later",
    rules.GPT_2_6: "gpt-image-2.6",
    rules.GPT_2_5: "gpt-image-2.5",
    rules.FIXED_SIZE: "gpt-image-1 to 1.5",
    rules.GPT_1_5: "gpt-image-1.5",
}
"""Names for several models at once, longest first."""


def models(names: tuple[str, ...]) -> str:
    """Return a cell that names *names*, families by their own name."""
    found, left = [], names
    for family, title in FAMILIES.items():
        if left and set(family) <= set(left):
            found.append(title)
            left = tuple(name for name in left if name not in family)
    return ", ".join([*left, *found]) or "every model"


def listed(values: Iterable[str]) -> str:
    """Return values as code."""
    return " · ".join(f"`{value}`" for value in values)


def needs(limit: limits.RequiredField) -> str:
    """Return which value of another field is needed."""
    wanted = " or ".join("unset" if value is None else f"`{value}`" for value in limit.values)
    return f"{f'`{limit.only_for}`' if limit.only_for else 'only'} with `{limit.other}` {wanted}"


WORDS: Mapping[object, Callable[[Any], str]] = {
    limits.OneOf: lambda limit: listed(limit.values),
    limits.Between: lambda limit: f"{limit.low:,}" if limit.low == limit.high else f"{limit.low:,} to {limit.high:,}",
    limits.MaxCharacters: lambda limit: f"at most {limit.most:,} characters",
    limits.UnsupportedField: lambda limit: limit.reason,
    limits.FlexibleSize: lambda limit: (
        f"`auto`, or multiples of {limit.step} up to {limit.long}, at most {limit.ratio}:1, "
        f"and {limit.least_pixels:,} to {limit.most_pixels:,} pixels"
    ),
    limits.RequiredField: needs,
    limits.BytesBelow: lambda limit: f"less than {limit.size / limits.MB:g} MB",
    limits.MediaTypes: lambda limit: listed(limit.types),
    limits.square: lambda _: "square",
    limits.whole: lambda _: "whole, not cut off",
    limits.upright_as_first: lambda _: "as wide and high as the first image is seen",
    limits.transparent: lambda _: "with an alpha channel",
    limits.as_large_as_first: lambda _: "as wide and high as the first image",
}
"""What each kind of limit allows; a kind that is missing here fails the build."""


def words(limit: object) -> str:
    """Return what a limit allows."""
    return WORDS[limit if inspect.isfunction(limit) else type(limit)](limit)


def field_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of fields."""
    yield "field", "models", "allowed", "endpoints", "source"
    for row in sorted(rules.RULES, key=lambda row: row.field):
        where = "all" if row.operations == rules.EVERYWHERE else ", ".join(row.operations)
        yield f"`{row.field}`", models(row.models), words(row.limit), where, f"{row.source}, {row.date}"


def upload_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of uploads."""
    yield "field", "models", "allowed", "always", "source"
    for names, most, source in rules.MOST_IMAGES:
        yield "`image`", models(names), f"at most {most}", "", source
    for row in rules.UPLOAD_RULES:
        always = "always" if row.certain else ""
        yield f"`{row.field}`", models(row.models), words(row.limit), always, f"{row.source}, {row.date}"


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]]


class LimitsTable(Directive):
    """Shows what the client checks, so that the page cannot differ from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        which = directives.choice(self.arguments[0], ("fields", "uploads"))
        lines = table(field_rows() if which == "fields" else upload_rows())
        holder = nodes.container()
        self.state.nested_parse(StringList(lines, source="burncloud_images.model.rules"), self.content_offset, holder)
        return [holder]


# --- the command line's own help --------------------------------------------------------------------------------------


class HelpText(Directive):
    """Shows what a command says of itself."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the text."""
        command = [sys.executable, "-m", "burncloud_images", self.arguments[0], "--help"]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "88", "TERM": "dumb"}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603
        return [nodes.literal_block(said, said, language="text")]


# --- request classes show the names of their types -------------------------------------------------------------------


def name_types(
    _app: object, what: str, _name: str, documented: object, _options: object, _signature: str, _returns: str
) -> tuple[str, str] | None:
    """Show a request's signature with the names of its types; spelled out, one image takes five lines."""
    if what != "class" or not isinstance(documented, type) or not issubclass(documented, ImagesRequest):
        return None
    return stringify_signature(inspect.signature(documented)), ""


def setup(app: Sphinx) -> None:
    """Add what is above to Sphinx."""
    app.add_directive("limits", LimitsTable)
    app.add_directive("help", HelpText)
    app.connect("autodoc-process-signature", name_types)
