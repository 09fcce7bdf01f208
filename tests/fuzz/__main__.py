"""
Fuzz the decoders under a coverage-guided fuzzer: `python -m fuzz TARGET [RUNS [FOLDER]]`, in the folder `tests`.

Inputs that reached something new are kept in FOLDER, if one is named. An input that fails is written to the current
folder, and its path shown.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["burncloud_images"]):
    from fuzz import targets

RUNS = 1_000_000


def quote(word: str) -> str:
    """Return a line of a fuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n'


def main(name: str, runs: str = str(RUNS), folder: str = "") -> None:
    with tempfile.TemporaryDirectory() as place:
        corpus, dictionary = Path(folder or place) / "corpus", Path(place) / "words"
        corpus.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(targets.SEEDS[name]):
            (corpus / str(index)).write_bytes(seed)
        dictionary.write_text("".join(map(quote, targets.WORDS[name])))
        options = [f"-atheris_runs={runs}", f"-dict={dictionary}", "-max_len=512", "-timeout=5", "-rss_limit_mb=1024"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name])
        atheris.Fuzz()


main(*sys.argv[1:])
