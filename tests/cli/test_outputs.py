"""`--partials` and `--via-stream`: previews on the way, and answers that come as streams."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from burncloud_images.cli.options import ReportingOptions
from burncloud_images.cli.reporting import Reporter
from burncloud_images.emulator import Fault
from burncloud_images.results import SavedImage

FOX = ("generate", "a red fox", "-m", "gpt-image-2", "--size", "1024x640")


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestPartials:
    def test_are_saved_whole_beside_the_image(self, cli, serve, tmp_path):
        """Named by the request, the image and their number; stdout has the image alone."""
        serve()
        ran = cli(*FOX, "--into", "out", "--partials", "early", "--partial-images", "2")

        assert 0 == ran.code
        stem = ran.paths[0].stem
        assert [f"{stem}-partial0.png", f"{stem}-partial1.png"] == names(tmp_path / "here" / "early")
        assert [f"{stem}.png"] == names(tmp_path / "here" / "out")
        assert f"note: preview 2 of image 1 is early/{stem}-partial1.png" in ran.err

    def test_are_as_many_as_there_can_be(self, cli, serve, tmp_path):
        """The maximum of previews is requested unless a number is given, and existing files are kept."""
        server = serve()
        for _ in range(2):
            assert 0 == cli(*FOX, "-o", "fox.png", "--exists", "overwrite", "--partials", "early").code

        assert 6 == len(names(tmp_path / "here" / "early"))
        assert ("partial_images", "3") in [tuple(field) for field in server.ledger.requests[0].fields]

    def test_of_an_edit_on_the_way_to_stdout(self, cli, serve, photo, tmp_path):
        """Previews go to their folder, and stdout gets only the image."""
        serve()
        words = ("edit", photo, "-p", "add snow", "-m", "gpt-image-2", "-o", "-", "--partials", tmp_path / "early")
        ran = cli(*words, "--partial-images", "1")

        assert 0 == ran.code
        assert ran.out.startswith(b"\x89PNG")
        assert 1 == len(names(tmp_path / "early"))

    def test_are_events_for_programs(self, cli, serve):
        """With `--progress json` partial images are events that have their paths."""
        serve()
        ran = cli(*FOX, "--partials", "early", "--progress", "json")

        partials = [event for event in ran.events if event["event"] == "partial"]
        assert [f"preview {number} of image 1" for number in (1, 2, 3)] == [item["message"] for item in partials]
        assert all(item["path"].startswith("early/") for item in partials)

    def test_stay_when_the_image_does_not_come(self, cli, serve, tmp_path):
        """Previews are kept if the image does not arrive, as they may be paid for."""
        serve(Fault(cut="reset", place="answer", after=2))
        ran = cli(*FOX, "--into", "out", "--partials", "early")

        assert 10 == ran.code
        assert 2 == len(names(tmp_path / "here" / "early"))
        assert [] == list((tmp_path / "here" / "out").glob("*.png"))

    def test_need_a_folder(self, cli, serve):
        """--partial-images without a folder is refused."""
        server = serve()
        ran = cli(*FOX, "--partial-images", "2")

        assert 2 == ran.code
        assert "--partials" in ran.errors[0]
        assert not server.ledger.requests

    def test_a_folder_that_cannot_be_made(self, cli, serve, tmp_path):
        """If the folder cannot be created, nothing is sent."""
        server = serve()
        (tmp_path / "here" / "early").write_bytes(b"")
        ran = cli(*FOX, "--partials", "early")

        assert 11 == ran.code
        assert not server.ledger.requests

    def test_variations_have_none(self, cli, serve, photo):
        """Variations have no option for previews, as their endpoint does not stream."""
        serve()

        assert 2 == cli("variation", photo, "--partials", "early").code


class TestKeepAlive:
    def test_streams_inside(self, cli, serve):
        """--via-stream gives the same result as a plain answer."""
        server = serve(Fault(pings=3))
        ran = cli(*FOX, "--via-stream")

        assert 0 == ran.code
        assert ran.paths[0].is_file()
        assert ("stream", "true") in [tuple(field) for field in server.ledger.requests[0].fields]

    @pytest.mark.parametrize("words", [("--via-stream",), ("--partials", "early")])
    def test_is_shown_by_a_dry_run(self, cli, photo, words):
        """A dry run shows the request for a stream, in JSON and in a form."""
        plain = cli(*FOX, *words, "--dry-run")
        form = cli("edit", photo, "-p", "snow", "-m", "gpt-image-2", *words, "--dry-run", "--json")

        assert b'"stream":true' in plain.out
        assert b"text/event-stream" in plain.out
        assert {"name": "stream", "value": "true"} in json.loads(form.out)["parts"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestTheBar:
    def test_tells_of_the_latest_preview(self, monkeypatch, tmp_path):
        """On a terminal the bar names the latest preview and disappears at the end."""
        monkeypatch.setenv("TERM", "xterm")
        terminal = Terminal()
        reporter = Reporter(options=ReportingOptions(progress="bar"), stream=terminal)
        saved = SavedImage(path=tmp_path / "a\x1b[2Jb.png", size=1)

        async def work():
            with reporter.working("generating"):
                reporter.show_partial("preview 1 of image 1", saved)

        asyncio.run(work())

        assert "generating, preview 1 of image 1" in terminal.getvalue()
        assert "\x1b[2J" not in terminal.getvalue()
        assert reporter.describe is None
