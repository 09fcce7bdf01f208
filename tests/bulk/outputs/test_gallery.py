"""What the gallery shows of each request, and the scripts that it loads."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import attrs
import pytest
from jobs import MemoryStore, done, failed, in_doubt, to_image, to_key, to_record

from burncloud_images.bulk.outputs.gallery import CARDS, GalleryWriter, to_cards
from burncloud_images.bulk.outputs.report import ReportContents
from burncloud_images.bulk.records import RequestFailure, RequestState, RowNotes, UnfetchedLink


def test_every_image_is_a_card_and_bears_its_share_of_the_cost() -> None:
    """Every image has a card with its share of the cost."""
    cards = list(to_cards([done(1, images=3, label="otter-1")]))

    assert [(1, 3), (2, 3), (3, 3)] == [(card["image"], card["of"]) for card in cards]
    assert 0.04 == round(sum(card["cost"] for card in cards), 9)
    assert {"64x48"} == {card["size"] for card in cards}
    assert {"otter-1"} == {card["id"] for card in cards}


def test_a_card_is_without_what_is_not_known() -> None:
    """A card has no fields for unknown values."""
    (card,) = to_cards([done(1, cost=None, request_id=None, document={})])

    assert not {"cost", "request", "prompt", "model", "quality", "id", "error", "inputs"} & set(card)


def test_a_card_has_texts_only() -> None:
    """A card has no fields of another type than the page expects, and columns as pairs in their order."""
    columns = {"z": 1, "__proto__": "of old", "1": None}
    asked = {"prompt": 7, "model": ["a"], "size": 1024, "quality": {}}
    (card,) = to_cards([failed(1, document=asked, notes=RowNotes(columns=columns))])

    assert not {"prompt", "model", "size", "quality"} & set(card)
    assert [["z", "1"], ["__proto__", "of old"], ["1", "null"]] == card["columns"]


def test_a_failed_request_says_why_and_what_to_do() -> None:
    """The card of a failed request shows the error and what to do."""
    (card,) = to_cards([failed(1)])

    assert ("failed", "ModerationError", "moderation_blocked", 400) == tuple(
        card[name] for name in ("state", "error", "code", "status")
    )
    assert "The prompt was refused." == card["message"]
    assert "Change the prompt or the input images." in card["advice"]
    assert "--retry-failed" in card["advice"]
    assert "file" not in card


def test_advice_that_the_message_gives_is_not_given_twice() -> None:
    """Advice that is in the message is not repeated."""
    (card,) = to_cards([failed(1, message="It was refused. Change the prompt or the input images.")])

    assert "Change the prompt" not in card["advice"]


def test_an_error_that_this_version_does_not_know_has_a_card_all_the_same() -> None:
    """An error class that this version does not know has a card, too."""
    for failure in (RequestFailure(error="StrangeError", message="Odd."), RequestFailure(error="T", message=""), None):
        (card,) = to_cards([attrs.evolve(failed(1), failure=failure)])

        assert "--retry-failed" in card["advice"]


def test_a_request_in_doubt_says_what_to_ask_the_provider_by() -> None:
    """The card of a request in doubt shows the ids to ask the provider by."""
    (card,) = to_cards([in_doubt(1)])

    assert ("in_doubt", to_key(1), "req_1", 0.19) == tuple(
        card[name] for name in ("state", "key", "request", "reserved")
    )
    assert "may have been billed" in card["advice"]
    assert "--on-unknown retry" in card["advice"]


def test_images_of_a_request_in_doubt_are_shown_beside_it() -> None:
    """Images of a request in doubt have cards beside its own."""
    image = to_image(to_key(1), 1, of=2)
    cards = list(to_cards([in_doubt(1, images=(image,), document={"n": 2})]))

    assert [image.path, None] == [card.get("file") for card in cards]
    assert (2, 2) == (cards[0]["image"], cards[0]["of"])


def test_what_is_paid_and_not_fetched_is_shown_without_its_address() -> None:
    """An image that is paid for and not fetched has a card without its URL."""
    link = UnfetchedLink(index=0, url="https://cdn.example/a.png?signature=secret")
    record = attrs.evolve(to_record(1), state=RequestState.RECEIVED, links=(link,))
    (card,) = to_cards([record])

    assert "paid" in card["advice"]
    assert "secret" not in str(card)


def test_what_was_not_sent_has_no_card() -> None:
    """A request that was not sent has no card."""
    waiting = [
        attrs.evolve(to_record(number), state=state)
        for number, state in enumerate((RequestState.PENDING, RequestState.LEASED))
    ]

    assert [] == list(to_cards(waiting))


def test_input_images_are_named_without_folders_and_secrets() -> None:
    """Input images are shown by name, without folders and secrets."""
    document = {
        "operation": "edits",
        "image": [
            {"path": "/home/me/cat.png"},
            {"url": "https://me:pw@cdn.example:8443/dog.png?sig=x#y"},
            {"file_id": "f"},
        ],
        "mask": {"path": "mask.png"},
        "markup": {"url": "data:image/png;base64,AAAA"},
    }
    (card,) = to_cards([done(1, document=document)])

    assert ["cat.png", "cdn.example/dog.png", "mask.png", "an address"] == card["inputs"]


def test_an_address_that_cannot_be_read_is_not_shown() -> None:
    """A URL that cannot be parsed is not shown."""
    (card,) = to_cards([done(1, document={"image": {"url": "http://[broken"}})])

    assert ["an address"] == card["inputs"]


def read(path: Path) -> tuple[int, list[dict[str, object]]]:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("addCards(")
    number, _, cards = text.removeprefix("addCards(").removesuffix(");\n").partition(", ")
    return int(number), json.loads(cards)


def write(folder: Path, count: int) -> GalleryWriter:
    gallery = GalleryWriter(folder)
    for start in range(0, count, 300):
        gallery.add([done(number) for number in range(start, min(count, start + 300))])
    gallery.commit()
    return gallery


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_cards_come_in_scripts_of_500(tmp_path: Path) -> None:
    """Cards are written in scripts of 500."""
    write(tmp_path, 1_234)
    scripts = [read(tmp_path / "gallery" / name) for name in names(tmp_path / "gallery")]

    assert [(1, CARDS), (2, CARDS), (3, 234)] == [(number, len(cards)) for number, cards in scripts]
    assert list(range(1_234)) == [card["number"] for _, cards in scripts for card in cards]


def test_a_prompt_cannot_end_its_script(tmp_path: Path) -> None:
    """A prompt cannot end the script that it is in."""
    prompt = "</script><script>alert(1)</script><!-- \u2028 \ud83d"
    gallery = GalleryWriter(tmp_path)
    gallery.add([done(1, document={"prompt": prompt})])
    gallery.commit()
    path = tmp_path / "gallery" / "0001.js"

    assert not {"<", ">", "\u2028"} & set(path.read_text(encoding="utf-8"))
    assert prompt.replace("\ud83d", "�") == read(path)[1][0]["prompt"]


def test_a_smaller_gallery_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    """A smaller gallery removes the scripts of a larger one."""
    write(tmp_path, 1_600)
    (tmp_path / "gallery" / ".0009.js.part").write_bytes(b"of a killed run")
    (tmp_path / "gallery" / "notes.txt").write_bytes(b"mine")
    write(tmp_path, 600)

    assert ["0001.js", "0002.js", "notes.txt"] == names(tmp_path / "gallery")


def test_the_earlier_gallery_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """The earlier gallery stays until the new one is committed."""
    write(tmp_path, 600)
    gallery = GalleryWriter(tmp_path)
    gallery.add([done(number) for number in range(5_000, 5_600)])

    assert 0 == read(tmp_path / "gallery" / "0001.js")[1][0]["number"]
    gallery.discard()
    assert ["0001.js", "0002.js"] == names(tmp_path / "gallery")


def test_a_full_disk_leaves_the_earlier_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the earlier gallery as it was."""
    write(tmp_path, 600)
    gallery = GalleryWriter(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            gallery.add([done(number) for number in range(5_000, 5_600)])
    gallery.discard()

    assert ["0001.js", "0002.js"] == names(tmp_path / "gallery")
    assert 0 == read(tmp_path / "gallery" / "0001.js")[1][0]["number"]


async def test_the_page_and_all_that_it_loads_are_written(tmp_path: Path) -> None:
    """The page and all files that it loads are written."""
    gallery = write(tmp_path, 3)
    store = MemoryStore([done(number) for number in range(3)])
    summary = ReportContents({"started": 1.0, "ended": 3.5, "stopped": "finished"})
    gallery.write_page(summary, await store.totals())
    text = (tmp_path / "gallery" / "summary.js").read_text(encoding="utf-8")
    described = json.loads(text.removeprefix("describeJob(").removesuffix(");\n"))
    parts = {part.name for part in files("burncloud_images.bulk.outputs").joinpath("page").iterdir()}

    assert {"0001.js", "summary.js", *parts - {"gallery.html"}} == set(names(tmp_path / "gallery"))
    assert (tmp_path / "gallery.html").is_file()
    assert (tmp_path.name, 3, 1, 0.12, 2.5, "finished") == tuple(
        described[name] for name in ("name", "cards", "scripts", "cost", "seconds", "stopped")
    )
