"""What the documentation shows is what was measured."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import attrs
import pytest

from benchmarks.page import PAGE, PICTURE, fill, newest, read, sections
from benchmarks.plot import draw


@pytest.fixture(scope="module")
def results():
    """Return the newest results that are kept."""
    return read(newest())


def test_page_shows_the_newest_results(results):
    """The page's tables are exactly those that the newest results give."""
    page = PAGE.read_text(encoding="utf-8")

    assert fill(page, sections(results)) == page
    assert results.date in page


def test_page_has_every_table():
    """The page still has a place for every table."""
    places = ["summary", "goals", "scales", "lists", "growth", "figures"]
    assert places == re.findall(r"<!-- begin (\w+) -->\n", PAGE.read_text("utf-8"))


def test_other_results_change_the_page(results):
    """Other results give another page, so the comparison above can fail."""
    page = PAGE.read_text(encoding="utf-8")

    assert page != fill(page, sections(attrs.evolve(results, date="1999-01-01")))


def test_picture_shows_the_newest_results(results):
    """The picture is drawn from the newest results, and is well-formed."""
    picture = PICTURE.read_text(encoding="utf-8")

    assert draw(results) == picture
    assert ET.fromstring(picture).tag.endswith("svg")


def test_picture_says_which_goals_are_missed(results):
    """The picture marks missed goals by more than colour."""
    picture = draw(results)

    assert picture.count('class="missed"') == picture.count(", missed<")


NEWER = {"upload-tls", "downloads-tls", "links-64"}
"""Jobs that the results that are kept may lack: they are of before these were added."""


def test_kept_results_are_of_everything(results):
    """The results behind the page are of a full run, with all jobs."""
    from benchmarks.jobs import JOBS, SCALES

    assert not results.quick
    assert [job.name for job in JOBS if job.name not in NEWER or job.name in results.jobs] == list(results.jobs)
    assert [scale.name for scale in SCALES] == list(results.scales)
    assert {"python", "burncloud-images", "openai", "aiohttp", "nginx"} <= results.versions.keys()
