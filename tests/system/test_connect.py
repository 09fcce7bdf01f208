"""Through an HTTP CONNECT proxy: one that refuses, breaks, stalls, or takes in more than it passes on."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback

import pytest
from fakes import FakeClock
from pictures import png
from tunnels import Break, Tunnels

from burncloud_images import AsyncImagesClient, Network, Timeouts, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Phase

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
MB = 1_000_000
BIG = png(pad=8 * MB)
HALF = len(BIG) // 2
USER, PASSWORD = "otter", "canary-9c1d"
LOG_IN = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def client_of(emulator: Emulator, tunnels: Tunnels, credentials: str = "") -> AsyncImagesClient:
    proxy = tunnels.url.replace("//", f"//{credentials}")
    network = Network(proxy=proxy, ca=emulator.ca)
    return AsyncImagesClient(emulator.api_key, emulator.base_url, network=network, clock=FakeClock(0.1))


def assert_hidden(error: BaseException, log: str) -> None:
    """No text of the error shows what the proxy was told."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    history = repr(getattr(error, "history", ()))
    texts = [str(error), repr(error), repr(error.args), history, shown, pickle.dumps(error).decode("latin-1"), log]
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert not [text for text in texts if PASSWORD in text or token in text]


class TestRefusals:
    """Nothing has reached the API, so nothing can have been billed."""

    async def test_a_proxy_that_wants_a_password_is_asked_once(self, caplog):
        """A proxy that refuses the password is asked once, and the error shows neither the password nor the key."""
        caplog.set_level(logging.DEBUG)
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(refusals=(LOG_IN,) * 9) as tunnels,
            client_of(emulator, tunnels, f"{USER}:{PASSWORD}@") as client,
        ):
            with pytest.raises(errors.ConnectionFailedError, match="proxy refuses") as caught:
                await client.edit(BIG, "a beret", **SMALL)

        assert (1, 0) == (len(tunnels.heads), len(emulator.ledger.requests))
        assert b"Proxy-Authorization: Basic" in tunnels.heads[0]
        assert emulator.api_key.encode() not in tunnels.heads[0]
        assert_hidden(caught.value, caplog.text)

    async def test_a_password_goes_to_the_proxy_alone(self):
        """The proxy gets the password, and the server behind it does not."""
        async with (
            Emulator(tls=True) as emulator,
            Tunnels() as tunnels,
            client_of(emulator, tunnels, f"{USER}:{PASSWORD}@") as client,
        ):
            await client.edit(png(), "a beret", **SMALL)

        assert b"Proxy-Authorization: Basic" in tunnels.heads[0]
        assert "proxy-authorization" not in {name.lower() for name in emulator.ledger.requests[0].headers}
        assert PASSWORD not in repr(Network(proxy=f"http://{USER}:{PASSWORD}@127.0.0.1:1"))

    async def test_a_proxy_that_is_broken_is_asked_again(self):
        """A broken proxy is asked again, since no attempt so far was billed."""
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(refusals=(BROKEN,)) as tunnels,
            client_of(emulator, tunnels) as client,
        ):
            result = await client.edit(BIG, "a beret", **SMALL)

        assert [Phase.CONNECTING, Phase.COMPLETE] == [attempt.phase for attempt in result.history]
        assert (2, 1) == (len(tunnels.heads), tunnels.opened)
        assert (1, 1) == (len(emulator.ledger.requests), emulator.ledger.billed_requests)

    async def test_a_proxy_that_stays_broken_is_given_up(self, caplog):
        """A proxy that stays broken is given up after four attempts, and the error shows no password."""
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(refusals=(BROKEN,) * 9) as tunnels,
            client_of(emulator, tunnels, f"{USER}:{PASSWORD}@") as client,
        ):
            with pytest.raises(errors.ConnectionFailedError) as caught:
                await client.generate("an otter", **SMALL)

        assert (4, 0) == (len(tunnels.heads), len(emulator.ledger.requests))
        assert_hidden(caught.value, caplog.text)


class TestBreaks:
    """How far a request got is known through a tunnel as well."""

    @pytest.mark.slow
    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("how", ["cut", "stall"])
    async def test_a_tunnel_that_breaks_at_half_is_opened_anew(self, how):
        """An upload whose tunnel breaks at half is sent again."""
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(Break(how=how, after=HALF)) as tunnels,
            client_of(emulator, tunnels) as client,
        ):
            result = await client.edit(BIG, "a beret", **SMALL)

        assert 1 == len(tunnels.broken)
        assert [Phase.BODY, Phase.COMPLETE] == [attempt.phase for attempt in result.history]
        assert 2 == tunnels.opened
        assert 1 == emulator.ledger.billed_requests

    async def test_a_tunnel_that_is_cut_after_the_last_byte_is_not(self):
        """An upload whose tunnel is cut after the last byte is not sent again."""
        order = Break(how="cut", after=len(BIG), answered=True)
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(order) as tunnels,
            client_of(emulator, tunnels) as client,
        ):
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await client.edit(BIG, "a beret", **SMALL)

        assert [order] == tunnels.broken
        assert Phase.FINAL_RELEASED == caught.value.phase
        assert (1, 1) == (len(emulator.ledger.requests), emulator.ledger.billed_requests)

    async def test_a_tunnel_that_stalls_after_the_last_byte_is_not(self):
        """A tunnel that stalls after the last byte is given up, and the outcome is unknown."""
        order = Break(how="stall", after=len(BIG), answered=True)
        async with (
            Emulator(tls=True) as emulator,
            Tunnels(order) as tunnels,
            client_of(emulator, tunnels) as client,
        ):
            hurried = client.with_options(timeouts=Timeouts(first_byte=5))
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await hurried.edit(BIG, "a beret", **SMALL)

        assert [order] == tunnels.broken
        assert Phase.FINAL_RELEASED == caught.value.phase
        assert 1 == emulator.ledger.billed_requests

    async def test_a_proxy_that_hoards_makes_an_outcome_unknown_at_worst(self):
        """What a buffering proxy took and could not pass on is unknown and is not sent again."""
        fault = Fault(cut="reset", place="upload", byte=0.5)
        async with (
            Emulator(tls=True, faults=[fault]) as emulator,
            Tunnels(hoards=True) as tunnels,
            client_of(emulator, tunnels) as client,
        ):
            try:
                await client.edit(BIG, "a beret", **SMALL)
                seen = (2, 1)
            except errors.OutcomeUnknownError:
                seen = (1, 0)

        assert seen == (len(emulator.ledger.requests), emulator.ledger.billed_requests)
