"""The command line: `python -m burncloud_images` is `burncloud-images`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

EXTRA = ("cyclopts", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit code.

    Args:
        argv: Words after the program's name; by default the process's own.
    """
    if any(find_spec(name) is None for name in EXTRA):
        sys.stderr.write("error: the command line is an extra: pip install 'burncloud-images[cli]'\n")
        return 2
    from burncloud_images.cli.app import run

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
