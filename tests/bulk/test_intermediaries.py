"""A job behind something that errs after the work: it spends what it was allowed, and lists what it cannot know."""

from __future__ import annotations

import pytest
from intermediaries import AFTER_THE_WORK
from workshop import prompts

from burncloud_images.bulk import RequestState
from burncloud_images.emulator import Fault

NOON = "Wed, 21 Oct 2015 12:00:00 GMT"
SHORT = ("Cloudflare 524 as JSON", "Varnish 503, backend fetch failed", "LiteLLM 500", "Portkey 500", "Envoy 503 UC")
"""Of the intermediaries those that were bought again, up to twelve times a row."""
OVERLOADED = {"error": {"message": "m", "type": "service_unavailable_error", "code": "server_is_overloaded"}}


def after_the_work(answer):
    return Fault(status=answer.status, headers=answer.headers, body=answer.body, billed=True, times=None)


@pytest.mark.parametrize("name", SHORT)
class TestAfterTheWork:
    """Every attempt is billed, and answered with an error."""

    @pytest.mark.sampled(3)
    async def test_no_more_is_billed_than_was_allowed(self, workshop, name):
        """Each row is sent once, is in doubt, and its worst case stays set aside."""
        (answer,) = [answer for answer in AFTER_THE_WORK if answer.vendor == name]
        shop = await workshop(after_the_work(answer))

        report = await shop.run(prompts(5), max_images=2)

        assert ("budget", 2, 2) == (report.stopped, shop.posts, shop.billed)
        assert {RequestState.IN_DOUBT: 2, RequestState.PENDING: 3} == await shop.states()
        assert 2 == report.totals.committed

    @pytest.mark.sampled(3)
    async def test_another_run_sends_none_of_them_again(self, workshop, name):
        """What is in doubt is bought again with consent only."""
        (answer,) = [answer for answer in AFTER_THE_WORK if answer.vendor == name]
        shop = await workshop(after_the_work(answer))

        await shop.run(prompts(2), max_images=9)
        await shop.run(max_images=9)

        assert (2, 2) == (shop.posts, shop.billed)
        assert 1 == max(shop.billed_keys.values())


async def test_a_refusal_before_the_work_is_tried_again(workshop):
    """It sets nothing aside, and the row is done in the end."""
    shop = await workshop(Fault(status=503, body=OVERLOADED, times=3))

    report = await shop.run(prompts(2), max_images=2)

    assert {RequestState.DONE: 2} == await shop.states()
    assert (2, 2) == (shop.billed, report.totals.committed)


class TestPatience:
    """The deadline ends a wait as well."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"retry-after": "100"},
            {"retry-after": "3599"},
            {"retry-after": "3601"},
            {"retry-after": "999999999"},
            {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": NOON},
        ],
        ids=lambda headers: headers["retry-after"],
    )
    async def test_ends_as_soon_as_the_pause_passes_it(self, workshop, headers):
        """Nobody sleeps through it first; what waits is there for another run."""
        shop = await workshop(Fault(status=429, headers=headers, times=None))

        report = await shop.run(prompts(3), patience=5, concurrency=1)

        assert "gave_up" == report.stopped
        assert 1 == shop.posts
        assert {RequestState.PENDING: 3} == await shop.states()

    async def test_a_pause_within_it_is_waited_for(self, workshop):
        """As the API asks."""
        shop = await workshop(Fault(status=429, retry_after=30))

        report = await shop.run(prompts(2), patience=60, concurrency=1)

        assert "finished" == report.stopped
        assert {RequestState.DONE: 2} == await shop.states()

    @pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}, {"retry-after-ms": "1"}])
    async def test_a_job_that_is_throttled_does_not_hammer(self, workshop, headers):
        """Each row's attempts grow apart, whatever the API says."""
        shop = await workshop(Fault(status=429, headers=headers, times=None))

        report = await shop.run(prompts(4), patience=10)

        assert "gave_up" == report.stopped
        assert shop.posts <= 50
