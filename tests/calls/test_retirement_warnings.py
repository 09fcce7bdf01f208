"""A client warns of models that end: once for each, before it is asked for, and never as an error."""

import warnings
from datetime import UTC, date, datetime, timedelta

import pytest

from burncloud_images import AsyncImagesClient, GenerationRequest, errors
from burncloud_images.calls.retirement_warnings import RetirementWarnings
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.results import ModelInfo

TODAY = date(2026, 11, 30)
FOX = {"size": "1024x1024", "quality": "low"}
ENDED = "gpt-image-1 has been shut down by its provider since 2026-10-23; use gpt-image-2.6-sunburst or "


@pytest.fixture(params=["default", "always", "error"])
def said(request):
    """Yield what is said, under each of the filters that users set."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(request.param)
        yield caught


def texts(caught):
    return [str(warning.message) for warning in caught if issubclass(warning.category, errors.ImagesWarning)]


def listing(*models):
    """Return a list of models as a server gives it."""
    return Fault(body={"object": "list", "data": list(models)}, operation="models")


class TestClient:
    """A client of an emulator, with a retired model."""

    async def test_it_warns_once_for_all_its_calls_and_copies(self, said):
        """Of each model, however many requests ask for it and whoever names it."""
        async with Emulator() as server, AsyncImagesClient(server.api_key, server.base_url) as client:
            for _ in range(2):
                await client.generate("a fox", model="gpt-image-1", **FOX)
            await client.with_options(model="gpt-image-1").generate("an owl", **FOX)
            async for _ in client.map(GenerationRequest(f"otter {n}", model="dall-e-2") for n in range(3)):
                pass

            assert 6 == server.ledger.billed_images
        first, second = texts(said)
        assert first.startswith(ENDED)
        assert second.startswith("dall-e-2 has been shut down by its provider since 2026-05-12; use ")

    async def test_the_warning_comes_before_the_request(self, said):
        """It stands also where the request then fails."""
        async with (
            Emulator(faults=[Fault(status=400)]) as server,
            AsyncImagesClient(server.api_key, server.base_url) as client,
        ):
            with pytest.raises(errors.BadRequestError):
                await client.generate("a fox", model="gpt-image-1", **FOX)
        assert 1 == len(texts(said))

    async def test_dates_of_the_servers_list_count_if_it_was_asked_for(self, said):
        """They come before the table, and no request is made to learn them."""
        soon = f"{datetime.now(UTC).date() + timedelta(days=9)}"
        ends = [{"id": "gpt-image-2", "shutdown_date": soon}, {"id": "gpt-image-1", "shutdown_date": "2099-01-01"}]
        async with (
            Emulator(faults=[listing(*ends)]) as server,
            AsyncImagesClient(server.api_key, server.base_url) as client,
        ):
            await client.generate("a fox", model="gpt-image-2", **FOX)
            assert [] == texts(said)
            await client.models()
            await client.generate("a fox", model="gpt-image-2", **FOX)
            await client.generate("a fox", model="gpt-image-1", **FOX)
        (text,) = texts(said)
        assert f"gpt-image-2 is shut down by its provider in 9 days, on {soon}" in text


@pytest.mark.parametrize("model", [None, "", 7, "gpt-image-2", "their-own"])
def test_models_that_go_on_are_not_mentioned(model, said):
    """Neither are requests that name none, as the server decides."""
    RetirementWarnings().warn(model, TODAY)
    assert [] == texts(said)


@pytest.mark.parametrize("dated", ["soon", "", None, "0", "2026-13-45", "2099-01-01"])
def test_dates_that_are_none_or_far_off_say_nothing(dated, said):
    """What a server writes there may be anything."""
    seen = RetirementWarnings()
    seen.learn([ModelInfo(id="their-own", shutdown_date=dated)])
    seen.warn("their-own", TODAY)
    assert [] == texts(said)


def test_a_list_that_is_read_again_does_not_warn_again(said):
    """Only once for each model, also if its date changes."""
    seen = RetirementWarnings()
    for day in ("2026-12-01", "2026-12-01", "2026-12-02"):
        seen.learn([ModelInfo(id="their-own", shutdown_date=day)])
        seen.warn("their-own", TODAY)
    assert ["in 1 day, on 2026-12-01"] == [text.split("provider ")[1][:23] for text in texts(said)]
