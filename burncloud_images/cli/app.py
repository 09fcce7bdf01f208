"""The program: its commands by name, each loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError

from burncloud_images.cli.exits import ABANDONED, STORAGE, USAGE
from burncloud_images.cli.options import STDIN
from burncloud_images.cli.streams import escaped, silence, unfailing

COMMANDS: Mapping[str, str] = {
    "generate": "Make images from a prompt, and print where they are.",
    "edit": "Change images, or make a new one of them, as a prompt says.",
    "variation": "Make variations of an image.",
    "batch": "Make the images of whole lists, as a job that can be stopped and gone on with.",
    "plan": "Say what lists ask for and may cost; nothing is sent.",
    "status": "Say how far a job is, what failed and what is in doubt.",
    "verify": "Read every image of a job and compare it with what came.",
    "usage": "Say what a job used and cost, by day and model.",
    "fetch": "Fetch images from result URLs, before those expire; no key is needed.",
    "show": "Take the images out of saved answers of the API.",
    "models": "List the models that the key may use.",
    "emulator": "Serve the API on this machine until Ctrl-C.",
    "doctor": "Check what is installed, set up and reachable; nothing is billed.",
}

HELP = frozenset({"--help", "-h", "--version"})

EPILOGUE = """\
Results go to stdout, everything else to stderr.

Exit codes: 0 all done, 1 all failed, 2 usage or configuration, 3 some parts failed, 4 authentication, 5 out of quota, \
6 gave up on rate limit, timeout or network, 7 interrupted, 8 budget or --max-images reached, 9 refused by \
moderation, 10 outcome unknown (may be billed), 11 output exists or cannot be written, 12 paid images \
were not fetched, 130 abandoned."""


def build() -> App:
    """Return the program; the help of all commands together loads none of them."""
    app = App(
        name="burncloud-images",
        help="Images by Burncloud's API: nothing paid is lost, nothing is bought twice.",
        help_epilogue=EPILOGUE,
        # Markdown would load a parser and a highlighter for a few words.
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
        return fail("standard output is closed; send it to /dev/null if nobody needs the results.", USAGE)
    try:
        words_seen = [STDIN if word == "-" else word for word in words]
        code = build()(words_seen, print_error=False, exit_on_error=False, verbose=False, result_action="return_value")
    except CycloptsError as error:
        # One sentence, and the command that shows what is possible.
        text = "".join(character if character.isprintable() else " " for character in str(error).replace(STDIN, "-"))
        return fail(f"{text} See `{help_for(words)}`.", USAGE)
    except KeyboardInterrupt:
        return ABANDONED
    except BrokenPipeError:  # the reader of our stdout has gone
        silence(sys.stdout)
        return 1
    except OSError as error:
        if words and HELP.isdisjoint(words):
            raise
        # Commands turn this into an exit code themselves; help and version are printed by cyclopts.
        silence(sys.stdout)
        return fail(f"standard output cannot be written: {error.strerror or error}.", STORAGE)
    return code if isinstance(code, int) else 0


def fail(text: str, code: int) -> int:
    unfailing(sys.stderr).write(f"error: {escaped(text)}\n")
    return code


def help_for(words: Sequence[str]) -> str:
    command = f" {words[0]}" if words and words[0] in COMMANDS else ""
    return f"burncloud-images{command} --help"
