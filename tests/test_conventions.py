"""How tests are written: each has a docstring that is a whole sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
FILES = sorted(TESTS.rglob("test_*.py"))
FEWEST_WORDS = 4
CONTINUING = {"also", "and", "but", "else", "even", "nor", "or", "so", "which"}
"""Words with which a docstring goes on where the test's name stopped."""


def find_docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of each test of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, ast.get_docstring(node) or ""


def is_sentence(docstring: str) -> bool:
    """Return whether the first paragraph can be a sentence that stands without the test's name."""
    words = docstring.partition("\n\n")[0].split()
    ends = docstring.partition("\n\n")[0].endswith((".", ":"))
    return len(words) >= FEWEST_WORDS and ends and words[0].lower().strip(",") not in CONTINUING


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_each_test_says_what_it_shows(path):
    """Every test has a docstring that is a whole sentence."""
    assert [] == [name for name, docstring in find_docstrings(path) if not is_sentence(docstring)]


@pytest.mark.parametrize("docstring", ["", "At once.", "And so on, for all of them.", "A file is written whole"])
def test_what_is_no_sentence_is_noticed(docstring):
    """The check refuses docstrings that are missing, short, unfinished, or continue the name."""
    assert not is_sentence(docstring)
