"""The program: its commands by name, each imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError

from burncloud_images.cli.exit_codes import ABANDONED, STORAGE, USAGE
from burncloud_images.cli.options import STDIN
from burncloud_images.cli.standard_streams import escaped, silence, unfailing

COMMANDS: Mapping[str, str] = {
    "generate": "Generate images from a prompt and print their paths.",
    "edit": "Edit images, or combine them into a new one, by a prompt.",
    "variation": "Make variations of an image.",
    "batch": "Generate images for a list of prompts, as a resumable job.",
    "plan": "Show what lists ask for and may cost; send nothing.",
    "status": "Show the progress of a job, its failures and its requests in doubt.",
    "redo": "Let images of a job be made again by its next run.",
    "verify": "Check that every image of a job is intact.",
    "usage": "Show what a job used and cost, by day and model.",
    "fetch": "Download images from result URLs before they expire, which needs no key, or of a task.",
    "show": "Extract the images from saved API responses.",
    "models": "List the models that the key may use.",
    "emulator": "Serve the API on this machine until Ctrl-C.",
    "doctor": "Check the installation, the settings and the connection; nothing is billed.",
}

HELP = frozenset({"--help", "-h", "--version"})

EPILOGUE = """\
Results go to stdout, everything else to stderr.

Exit codes: 0 all done, 1 all failed, 2 usage or configuration, 3 some parts failed, 4 authentication, 5 out of quota, \
6 gave up on rate limit, timeout or network, 7 interrupted, 8 budget or --max-images reached, 9 refused by \
moderation, 10 outcome unknown (may be billed), 11 output exists or cannot be written, 12 paid images \
were not fetched, 130 abandoned."""


def build() -> App:
    """Return the program; its own help imports no command."""
    app = App(
        name="burncloud-images",
        help="Create images with Burncloud's API. A paid image is never lost and never silently bought twice.",
        help_epilogue=EPILOGUE,
        # Markdown would load a parser and a highlighter.
        help_format="plaintext",
        version=find_version,
        suppress_keyboard_interrupt=False,
        version_format="plaintext",
    )
    for place, (name, text) in enumerate(COMMANDS.items()):
        app.command(f"burncloud_images.cli.commands:{name}", name=name, help=text, sort_key=place, help_epilogue="")
    return app


def find_version() -> str:
    from importlib.metadata import version

    return version("burncloud-images")


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if sys.stdout is None:
        return fail("standard output is closed; redirect it to /dev/null to discard the results.", USAGE)
    try:
        words_seen = [STDIN if word == "-" else word for word in words]
        code = build()(words_seen, print_error=False, exit_on_error=False, verbose=False, result_action="return_value")
    except CycloptsError as error:
        # One sentence, and the command that lists the options.
        text = "".join(character if character.isprintable() else " " for character in str(error).replace(STDIN, "-"))
        return fail(f"{text} See `{help_for(words)}`.", USAGE)
    except KeyboardInterrupt:
        return ABANDONED
    except BrokenPipeError:  # the reader of stdout has closed it
        silence(sys.stdout)
        return 1
    except OSError as error:
        if words and HELP.isdisjoint(words):
            raise
        # Commands map this to an exit code themselves; cyclopts prints help and version.
        silence(sys.stdout)
        return fail(f"standard output cannot be written: {error.strerror or error}.", STORAGE)
    return code if isinstance(code, int) else 0


def fail(text: str, code: int) -> int:
    unfailing(sys.stderr).write(f"error: {escaped(text)}\n")
    return code


def help_for(words: Sequence[str]) -> str:
    command = f" {words[0]}" if words and words[0] in COMMANDS else ""
    return f"burncloud-images{command} --help"
