"""The design page: its table of modules is the package's."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "burncloud_images"
ROW = re.compile(r"^\| (?:\*\*)?`([\w.]+)`(?:\*\*)? \| \S", re.MULTILINE)


def named_modules() -> list[str]:
    """Return the modules and packages of the table, in its order."""
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    return ROW.findall(page.split("## The modules")[1].split("\n## ")[0])


def existing_modules() -> set[str]:
    """Return the modules and packages of the folder, without the package itself."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return {".".join(path.parent.parts if path.name == "__init__" else path.parts) for path in paths} - {""}


def test_table_names_each_module_once():
    """The page's table has one row for each module and package, and no other rows."""
    assert sorted(existing_modules()) == sorted(named_modules())
