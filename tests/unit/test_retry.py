"""Which requests are sent again, after how long, and which error is raised: without a clock, a network or chance."""

from __future__ import annotations

import math
import pickle
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statuses import ROWS

from burncloud_images.errors import (
    APIError,
    AuthenticationError,
    Billing,
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    InputChangedError,
    InvalidRequestError,
    OutcomeUnknownError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StorageError,
    Violation,
)
from burncloud_images.results import DamagedImage, Image, PartialImage
from burncloud_images.retry import PacingGate, RetryBudget, RetryPolicy, to_names
from burncloud_images.retry_loop import repeat
from burncloud_images.wire.failures import to_error

POLICY = RetryPolicy()


def error_of(kind, **attributes):
    error = kind("it failed", status=attributes.pop("status", 500)) if issubclass(kind, APIError) else kind("it failed")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


REFUSED = InvalidRequestError([Violation("prompt", "no")])


class TestKinds:
    """The kind of a failure decides, after the caller's own codes."""

    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (error_of(ConnectionFailedError), "retry"),
            (error_of(ConnectionFailedError, billed=Billing.YES), "stop"),
            (error_of(ConnectionFailedError, retryable=False), "stop"),
            (error_of(OutcomeUnknownError), "stop"),
            (error_of(OutcomeUnknownError, retryable=True), "stop"),
            (error_of(OutcomeUnknownError, in_flight=True), "throttled"),
            (error_of(OutcomeUnknownError, in_flight=True, retryable=False), "stop"),
            (error_of(RateLimitError, status=429), "throttled"),
            (error_of(RateLimitError, status=429, retryable=False), "stop"),
            (error_of(RateLimitError, status=429, billed=Billing.MAYBE), "stop"),
            (error_of(ServerError, status=503), "retry"),
            (error_of(ServerError, status=400), "retry"),
            (error_of(ServerError, status=200), "retry"),
            (error_of(ServerError, status=200, billed=Billing.MAYBE), "stop"),
            (error_of(ServerError, status=500, retryable=False), "stop"),
            (error_of(ServerError, status=500, billed=Billing.MAYBE), "stop"),
            (error_of(QuotaExceededError, status=429), "stop"),
            (error_of(QuotaExceededError, status=429, retryable=True), "retry"),
            (error_of(AuthenticationError, status=401), "stop"),
            (error_of(AuthenticationError, status=401, key_changed=True), "retry"),
            (error_of(DownloadError), "stop"),
            (error_of(DownloadError, retryable=True), "retry"),
            (error_of(ProtocolError), "stop"),
            (error_of(StorageError), "stop"),
            (error_of(InputChangedError), "stop"),
            (REFUSED, "stop"),
        ],
    )
    def test_decides(self, error, verdict):
        """Each kind of failure is retried, retried as throttled, or raised."""
        assert verdict == POLICY.judge(error)

    @pytest.mark.sampled(3)
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
    def test_of_an_answer_decides(self, row):
        """What may be billed is sent again only to a server that recognises keys, or if the caller pays twice."""
        error = to_error(row.reply)

        assert row.means.verdict == POLICY.judge(error)
        for idempotency in ("replay", "reject"):
            assert row.means.replayed == RetryPolicy(server_idempotency=idempotency).judge(error)
        if row.means.billed:
            assert row.means.verdict == "stop" or error.in_flight
        else:
            assert row.means.verdict == RetryPolicy(on_unknown="retry").judge(error)

    @pytest.mark.parametrize(
        ("options", "error", "verdict"),
        [
            ({"retry_codes": "busy"}, error_of(APIError, status=400, code="busy"), "retry"),
            ({"retry_codes": "busy"}, error_of(APIError, status=400, code="b"), "stop"),
            ({"retry_codes": "busy"}, error_of(APIError, status=400), "stop"),
            ({"retry_codes": "late"}, error_of(OutcomeUnknownError, code="late"), "retry"),
            ({"fail_codes": "busy"}, error_of(ServerError, code="busy"), "stop"),
            ({"fail_codes": "busy"}, error_of(ServerError, code="busy", retryable=True), "stop"),
            ({"fail_codes": "busy"}, error_of(ServerError, code="idle"), "retry"),
            ({"fail_codes": "slow"}, error_of(RateLimitError, code="slow"), "stop"),
            ({"fail_codes": "x", "on_unknown": "retry"}, error_of(OutcomeUnknownError, code="x"), "stop"),
            ({"unknown_codes": "late"}, error_of(ServerError, code="late"), "stop"),
            ({"unknown_codes": "late"}, error_of(ServerError, code="late", retryable=True), "stop"),
            ({"unknown_codes": "late", "on_unknown": "retry"}, error_of(ServerError, code="late"), "retry"),
            ({"on_unknown": "retry"}, error_of(OutcomeUnknownError), "retry"),
            ({"on_unknown": "retry"}, error_of(OutcomeUnknownError, retryable=False), "stop"),
            ({"on_unknown": "retry"}, error_of(ServerError, billed=Billing.MAYBE), "retry"),
            ({"server_idempotency": "replay"}, error_of(OutcomeUnknownError), "retry"),
            ({"server_idempotency": "reject"}, error_of(OutcomeUnknownError), "retry"),
            ({"server_idempotency": "replay"}, error_of(ProtocolError), "stop"),
            ({"server_idempotency": "replay"}, error_of(APIError, status=400), "stop"),
        ],
    )
    def test_can_be_changed(self, options, error, verdict):
        """Codes of a gateway change the verdict, as does what the caller accepts or knows of the server."""
        assert verdict == RetryPolicy(**options).judge(error)


class TestWaits:
    """Waits double with full jitter, and are never shorter than the server asks for."""

    @pytest.mark.parametrize(
        ("attempt", "jitter", "expected"),
        [(1, 1.0, 0.5), (2, 1.0, 1.0), (3, 1.0, 2.0), (3, 0.5, 1.0), (1, 0.0, 0.1), (2, 0.05, 0.1)],
    )
    def test_after_failures_begin_at_half_a_second(self, attempt, jitter, expected):
        """The wait is a random part of its maximum, but at least a tenth of a second."""
        wait = POLICY.wait(error_of(ServerError), attempt=attempt, elapsed=0, jitter=jitter)
        assert expected == wait

    def test_after_failures_grow_to_their_most(self):
        """Waits after failures grow to eight seconds and no further."""
        patient = RetryPolicy(attempts=2000)
        for attempt in (5, 6, 1100):
            assert 8.0 == patient.wait(error_of(ServerError), attempt=attempt, elapsed=0, jitter=1.0)

    @pytest.mark.parametrize(("attempt", "expected"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (400, 30.0)])
    def test_after_throttling_begin_at_a_second(self, attempt, expected):
        """Waits after throttling start at one second, grow to thirty, and are not limited in number."""
        assert expected == POLICY.wait(error_of(RateLimitError), attempt=attempt, elapsed=0, jitter=1.0)

    def test_may_all_be_zero(self):
        """The shortest wait gives way to a policy that wants no waits."""
        eager = RetryPolicy(first_wait=0, max_wait=0, throttle_wait=0)
        assert 0 == eager.wait(error_of(ServerError), attempt=1, elapsed=0, jitter=0.5)
        assert 0 == eager.wait(error_of(RateLimitError), attempt=1, elapsed=0, jitter=0.5)

    @pytest.mark.parametrize("kind", [RateLimitError, ServerError, OutcomeUnknownError, ConnectionFailedError])
    @pytest.mark.parametrize(
        ("asked", "jitter", "expected"),
        [(3, 0.0, 3.0), (3, 1.0, 3.3), (100, 1.0, 105.0), (120, 0.5, 122.5)],
    )
    def test_that_the_server_asks_for_are_exceeded_a_little(self, kind, asked, jitter, expected):
        """A wait that the server asks for is exceeded by at most a tenth, and by at most five seconds."""
        error = error_of(kind, retry_after=asked)
        wait = RetryPolicy(on_unknown="retry").wait(error, attempt=1, elapsed=0, jitter=jitter)
        assert expected == pytest.approx(wait)

    @pytest.mark.parametrize("asked", [None, 0, 0.001, 0.006, 1])
    @pytest.mark.parametrize(("attempt", "least", "most"), [(1, 0.5, 1.1), (2, 1, 1.1), (4, 4, 4), (9, 15, 15)])
    def test_of_throttling_grow_whatever_the_server_asks_for(self, asked, attempt, least, most):
        """Waits grow even if the server asks for the same short wait again and again."""
        wait = POLICY.wait(error_of(RateLimitError, retry_after=asked), attempt=attempt, elapsed=0, jitter=0.5)
        assert least <= wait <= most

    def test_of_a_download_follow_its_server(self):
        """A download waits as long as its host asks for."""
        assert 7 == POLICY.wait(error_of(DownloadError, retryable=True, retry_after=7), attempt=1, elapsed=0, jitter=0)

    @pytest.mark.parametrize(("asked", "expected"), [(120, 120), (120.5, None), (3600, None), (3600.5, 0.5)])
    def test_that_are_too_long_are_raised_and_absurd_ones_ignored(self, asked, expected):
        """The client waits up to two minutes, raises up to an hour, and ignores more."""
        wait = POLICY.wait(error_of(RateLimitError, retry_after=asked), attempt=1, elapsed=0, jitter=0)
        assert (0.1 if expected == 0.5 else expected) == wait

    def test_for_a_request_in_flight_are_five_seconds(self):
        """A request in flight is asked for after five seconds, unless the server names a time."""
        in_flight = error_of(OutcomeUnknownError, in_flight=True)
        assert 5 == POLICY.wait(in_flight, attempt=9, elapsed=0, jitter=0)
        for asked, expected in ((2, 2), (0, 5), (0.001, 1)):
            in_flight.retry_after = asked
            assert expected == POLICY.wait(in_flight, attempt=9, elapsed=0, jitter=0)

    @given(
        attempt=st.integers(1, 10_000),
        elapsed=st.floats(0, 1e6),
        jitter=st.floats(0, 1, exclude_max=True),
        asked=st.none() | st.floats(0, 1e9),
        kind=st.sampled_from([RateLimitError, ServerError, ConnectionFailedError, OutcomeUnknownError]),
    )
    def test_are_finite_and_within_the_deadline(self, attempt, elapsed, jitter, asked, kind):
        """For any failure, a wait is finite, ends before the deadline, and honours the server."""
        wait = POLICY.wait(error_of(kind, retry_after=asked), attempt=attempt, elapsed=elapsed, jitter=jitter)
        if wait is not None:
            assert 0 <= wait <= 132
            assert elapsed + wait <= 900
            assert asked is None or asked > 3600 or wait >= asked


class TestEnds:
    """The number of attempts, and the deadline for the start of the last one."""

    @pytest.mark.parametrize(("attempt", "goes_on"), [(3, True), (4, False), (5, False)])
    def test_after_four_attempts(self, attempt, goes_on):
        """The fourth failure is raised."""
        wait = POLICY.wait(error_of(ServerError), attempt=attempt, elapsed=0, jitter=0)
        assert goes_on == (wait is not None)

    @pytest.mark.parametrize("kind", [ServerError, RateLimitError, ConnectionFailedError])
    def test_at_once_if_one_attempt_is_all(self, kind):
        """With one attempt nothing is retried, throttling included."""
        assert RetryPolicy(attempts=1).wait(error_of(kind), attempt=1, elapsed=0, jitter=0) is None

    @pytest.mark.parametrize(("most", "attempt", "goes_on"), [(2, 1, True), (2, 2, False), (9, 4, False)])
    def test_sooner_where_a_failure_is_worth_less(self, most, attempt, goes_on):
        """A failure can allow fewer attempts than the policy, but not more."""
        wait = POLICY.wait(error_of(ConnectionFailedError, most_attempts=most), attempt=attempt, elapsed=0, jitter=0)
        assert goes_on == (wait is not None)

    @pytest.mark.parametrize(("elapsed", "goes_on"), [(895, True), (895.1, False), (1e9, False)])
    def test_at_the_deadline(self, elapsed, goes_on):
        """An attempt may start at the deadline and not after it."""
        wait = POLICY.wait(error_of(RateLimitError, retry_after=5), attempt=1, elapsed=elapsed, jitter=0)
        assert goes_on == (wait is not None)

    def test_never_without_a_deadline(self):
        """Without a deadline a year of throttling is waited for."""
        patient = RetryPolicy(deadline=None)
        assert 30 == patient.wait(error_of(RateLimitError), attempt=10**6, elapsed=3e7, jitter=1.0)


class TestValues:
    """A policy refuses values that make no sense."""

    @pytest.mark.parametrize("name", ["first_wait", "max_wait", "throttle_wait", "deadline"])
    @pytest.mark.parametrize("value", [-1, math.nan, math.inf, -0.001])
    def test_refuses_what_is_no_duration(self, name, value):
        """A wait of nan or infinite seconds is refused, since it would never end."""
        with pytest.raises(ValueError, match=f"^{name} has to be a number of seconds from 0 on, not {value}$"):
            RetryPolicy(**{name: value})

    @pytest.mark.parametrize("attempts", [0, -1, 2.5, math.nan])
    def test_refuses_what_is_no_number_of_attempts(self, attempts):
        """The number of attempts is an integer of at least one."""
        with pytest.raises((ValueError, TypeError)):
            RetryPolicy(attempts=attempts)

    @pytest.mark.parametrize("options", [{"on_unknown": "ask"}, {"server_idempotency": "perhaps"}])
    def test_refuses_unknown_words(self, options):
        """Options that decide about money take only the words they know."""
        with pytest.raises(ValueError, match=next(iter(options))):
            RetryPolicy(**options)

    def test_takes_the_documented_ones(self):
        """The defaults are those of the documentation."""
        documented = RetryPolicy(
            attempts=4,
            first_wait=0.5,
            max_wait=8,
            throttle_wait=30,
            deadline=900,
            on_unknown="raise",
            retry_codes=(),
            fail_codes=(),
            unknown_codes=(),
            server_idempotency="none",
        )
        assert documented == POLICY
        assert POLICY == pickle.loads(pickle.dumps(POLICY))
        assert hash(documented) == hash(POLICY)

    @pytest.mark.parametrize(
        ("given_names", "kept"), [("slow_down", ("slow_down",)), (["a", "b"], ("a", "b")), ((), ()), ("", ("",))]
    )
    def test_takes_one_name_for_one_name(self, given_names, kept):
        """A string is one name and not its letters."""
        assert kept == to_names(given_names)
        assert kept == RetryPolicy(retry_codes=given_names).retry_codes

    @pytest.mark.parametrize(
        ("codes", "said"),
        [
            ({"1113": ValueError}, "1113 cannot mean ValueError; it can mean one of AuthenticationError"),
            ({"1113": APIError}, "cannot mean APIError"),
            ({"1113": OutcomeUnknownError}, "cannot mean OutcomeUnknownError"),
            ({"1113": "QuotaExceededError"}, "cannot mean 'QuotaExceededError'"),
            ({"": QuotaExceededError}, "'' is not an error code"),
            ({True: QuotaExceededError}, "True is not an error code"),
            ({None: QuotaExceededError}, "None is not an error code"),
            (["1113"], "codes has to map error codes to classes of errors"),
        ],
    )
    def test_refuses_codes_that_mean_no_error(self, codes, said):
        """At construction, with what can be given."""
        with pytest.raises(ConfigurationError, match=said) as caught:
            RetryPolicy(codes=codes)
        assert isinstance(caught.value, ValueError)

    def test_takes_codes_as_text_or_number(self):
        """Servers write both; a policy with codes is still a value."""
        policy = RetryPolicy(codes={1113: QuotaExceededError, "busy": RateLimitError})
        assert {"1113": QuotaExceededError, "busy": RateLimitError} == policy.codes
        assert policy == pickle.loads(pickle.dumps(policy))
        assert hash(policy) == hash(RetryPolicy())


class TestBudget:
    """The retries of all calls draw on one budget, which success refills."""

    def test_is_good_for_thirty_five_retries(self):
        """The budget allows 35 retries, by the numbers of the AWS SDKs."""
        budget = RetryBudget()
        assert 35 == sum(budget.take() for _ in range(1000))
        assert 10 == budget.tokens

    def test_a_retry_that_succeeds_costs_nothing(self):
        """A call that succeeds gets back the tokens of its retries."""
        budget = RetryBudget(most=100)
        assert budget.take()
        assert budget.take()
        budget.refund(2)
        assert 100 == budget.tokens

    def test_a_call_without_retries_earns_a_token(self):
        """A call without retries earns a token, up to the maximum."""
        budget = RetryBudget(most=100, tokens=98)
        for expected in (99, 100, 100):
            budget.refund(0)
            assert expected == budget.tokens

    def test_pays_with_its_last_tokens(self):
        """The last tokens pay for a retry if they are enough."""
        budget = RetryBudget(most=14)
        assert budget.take()
        assert not budget.take()
        assert 0 == budget.tokens


class TestGate:
    """A gate opens by the clock of the calls that ask it."""

    def test_is_open_at_first(self):
        """A new gate is open at any time."""
        assert 0 == PacingGate().remaining(-1e9)

    def test_is_closed_until_then(self):
        """An earlier end does not open a gate that is closed for longer."""
        gate = PacingGate()
        gate.close(10)
        gate.close(5)
        assert [10, 1, 0, 0] == [gate.remaining(now) for now in (0, 9, 10, 11)]


class Loop:
    """A loop's ports, with a clock that moves when somebody sleeps."""

    def __init__(self, *outcomes, jitter=0.0):
        self.outcomes = list(outcomes)
        self.now = 100.0
        self.slept = []
        self.seen = []
        self.jitter = jitter
        self.attempts = 0

    async def attempt(self):
        self.attempts += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def see(self, error, wait):
        self.seen.append((error, wait))

    async def run(self, policy=POLICY, **options):
        return await repeat(
            self.attempt,
            policy,
            clock=self,
            jitter=lambda: self.jitter,
            on_failure=self.see,
            **options,
        )


class TestLoop:
    """The loop does what the policy says, and reports every failure."""

    async def test_returns_what_comes_of_the_last_attempt(self):
        """Each failure is seen with the wait that follows."""
        first, second = error_of(ServerError), error_of(RateLimitError, retry_after=3)
        loop = Loop(first, second, "image", jitter=0.5)
        assert "image" == await loop.run()
        assert [(first, 0.25), (second, 3.15)] == loop.seen
        assert [0.25, 3.15] == loop.slept

    async def test_tells_what_failed_where_nothing_can_be_loaded(self, monkeypatch):
        """If tenacity cannot be loaded, the call raises its own error, which is seen like any other."""

        class Exhausted:
            @staticmethod
            def find_spec(name, *_):
                if name == "tenacity":
                    raise OSError(24, "Too many open files")

        monkeypatch.setattr(sys, "meta_path", [Exhausted, *sys.meta_path])
        monkeypatch.delitem(sys.modules, "tenacity", raising=False)
        error = error_of(ConnectionFailedError)
        loop = Loop(error, "image")
        with pytest.raises(ConnectionFailedError) as caught:
            await loop.run()

        assert error is caught.value
        assert [(error, None)] == loop.seen

    async def test_counts_an_exception_that_is_raised_twice_as_two_failures(self):
        """A transport that raises the same object again loses none of its retries."""
        cached = error_of(ConnectionFailedError)
        loop = Loop(cached, cached, cached, "image")
        assert "image" == await loop.run()
        assert 4 == loop.attempts

        loop = Loop(*[cached] * 9)
        with pytest.raises(ConnectionFailedError) as caught:
            await loop.run()
        assert (cached, 4) == (caught.value, loop.attempts)

    async def test_an_attempt_that_got_further_starts_the_count_again(self):
        """Failures count in a row, so a download that moves on is never given up for their number."""
        progress = iter([False, True, True, False, False, False])
        loop = Loop(*[error_of(ServerError) for _ in range(6)])
        with pytest.raises(ServerError):
            await loop.run(made_progress=lambda: next(progress))
        assert 6 == loop.attempts

    async def test_waits_although_nothing_is_asked_for(self):
        """A refusal with a wait of zero is followed by the shortest wait."""
        loop = Loop(error_of(RateLimitError, retry_after=0), "image")
        await loop.run()
        assert [0.1] == loop.slept

    async def test_counts_failures_and_pace_apart(self):
        """Ten throttled attempts do not count against four failures."""
        outcomes = [error_of(ServerError), *[error_of(RateLimitError, retry_after=1) for _ in range(10)]]
        last = error_of(ServerError)
        loop = Loop(*outcomes, error_of(ServerError), error_of(ServerError), last)
        with pytest.raises(ServerError) as caught:
            await loop.run()
        assert last is caught.value
        assert 14 == loop.attempts
        assert (last, None) == loop.seen[-1]

    async def test_raises_anything_else_at_once(self):
        """An exception of another kind is raised at once, also by a retry."""
        loop = Loop(error_of(ServerError), MemoryError())
        with pytest.raises(MemoryError):
            await loop.run()
        assert 2 == loop.attempts

    async def test_hides_no_error_behind_another(self):
        """The traceback shows the error itself and nothing of tenacity's own."""
        with pytest.raises(ServerError) as caught:
            await Loop(*[error_of(ServerError) for _ in range(4)]).run()
        assert caught.value.__cause__ is None
        assert "RetryError" not in "".join(traceback.format_exception(caught.value))

    async def test_says_that_the_deadline_ended_it(self):
        """A note says that the deadline ended the call; the error is the last one."""
        loop = Loop(*[error_of(RateLimitError, retry_after=10) for _ in range(9)])
        with pytest.raises(RateLimitError) as caught:
            await loop.run(RetryPolicy(deadline=35))
        assert 4 == loop.attempts
        assert ["It was not tried again: that would have been after the deadline of 35 s."] == caught.value.__notes__

    async def test_says_so_too_where_a_wait_is_longer_than_all_the_time(self):
        """The note is there even if the first wait is longer than the deadline."""
        loop = Loop(error_of(RateLimitError, retry_after=10))
        with pytest.raises(RateLimitError) as caught:
            await loop.run(RetryPolicy(deadline=5))
        assert "deadline of 5 s" in caught.value.__notes__[0]

    @pytest.mark.parametrize("error", [error_of(RateLimitError, retry_after=121), error_of(APIError, status=400)])
    async def test_says_nothing_of_a_deadline_that_did_not_end_it(self, error):
        """There is no note if something other than the deadline ended the call."""
        with pytest.raises(APIError) as caught:
            await Loop(error).run()
        assert not hasattr(caught.value, "__notes__")

    async def test_stops_when_the_budget_is_spent(self):
        """A note says that the budget ended the call; throttled attempts cost nothing."""
        budget = RetryBudget(most=500, tokens=20)
        loop = Loop(error_of(RateLimitError), error_of(ServerError), error_of(ServerError), "never")
        with pytest.raises(ServerError) as caught:
            await loop.run(budget=budget)
        assert 3 == loop.attempts
        assert 6 == budget.tokens
        assert (caught.value, None) == loop.seen[-1]
        assert ["It was not tried again: too many calls of this client have failed."] == caught.value.__notes__

    async def test_gives_back_what_a_success_paid(self):
        """A success gives back its tokens, or earns one if it paid none."""
        budget = RetryBudget(most=500, tokens=100)
        await Loop(error_of(ServerError), error_of(ServerError), "image").run(budget=budget)
        assert 100 == budget.tokens
        await Loop("image").run(budget=budget)
        assert 101 == budget.tokens
        await Loop(error_of(RateLimitError), "image").run(budget=budget)
        assert 102 == budget.tokens

    async def test_asks_for_nothing_where_the_policy_gives_up(self):
        """A failure that is not retried takes nothing from the budget."""
        budget = RetryBudget(tokens=100)
        with pytest.raises(APIError):
            await Loop(error_of(APIError, status=400)).run(budget=budget)
        assert 100 == budget.tokens


class TestGates:
    """A wait that the server asks of one call holds for all calls."""

    async def test_a_servers_pace_closes_the_gate(self):
        """The gate closes for the time the server asked for, without jitter."""
        gate = PacingGate()
        await Loop(error_of(RateLimitError, retry_after=8), "image", jitter=0.5).run(gate=gate)
        assert 108 == gate.opens_at

    @pytest.mark.parametrize(
        "error",
        [
            error_of(RateLimitError),
            error_of(RateLimitError, retry_after=121),
            error_of(ServerError, retry_after=5),
            error_of(OutcomeUnknownError, in_flight=True),
        ],
    )
    async def test_nothing_else_does(self, error):
        """Our own waits, waits that are too long, and failures do not close the gate."""
        gate = PacingGate()
        with pytest.raises(ImagesError):
            await Loop(*[error] * 20).run(RetryPolicy(deadline=1), gate=gate)
        assert 0 == gate.remaining(100)

    async def test_the_longest_wait_that_is_honoured_closes_it(self):
        """A wait of two minutes closes the gate."""
        gate = PacingGate()
        await Loop(error_of(RateLimitError, retry_after=120), "image").run(gate=gate)
        assert 220 == gate.opens_at

    async def test_a_first_attempt_waits_for_it(self):
        """A first attempt waits until the gate opens, without jitter of its own."""
        gate = PacingGate()
        gate.close(110)
        loop = Loop("image", jitter=0.5)
        assert "image" == await loop.run(gate=gate)
        assert [10] == loop.slept

    async def test_is_waited_for_however_short(self):
        """A gate that is closed for half a second is waited for."""
        gate = PacingGate()
        gate.close(100.5)
        loop = Loop("image")
        await loop.run(gate=gate)
        assert [0.5] == loop.slept

    async def test_waits_again_if_it_was_closed_meanwhile(self):
        """A call waits again if another call was asked for a longer wait."""
        gate = PacingGate()
        gate.close(110)
        loop = Loop("image")
        sleep = loop.sleep

        async def sleep_and_close(seconds):
            await sleep(seconds)
            if len(loop.slept) == 1:
                gate.close(130)

        loop.sleep = sleep_and_close
        await loop.run(gate=gate)
        assert [10, 20] == loop.slept

    async def test_a_first_attempt_asks_for_itself_beyond_the_deadline(self):
        """A first attempt does not wait for a gate that opens after the deadline."""
        gate = PacingGate()
        gate.close(160)
        loop = Loop("image")
        assert "image" == await loop.run(RetryPolicy(deadline=59), gate=gate)
        assert [] == loop.slept

    async def test_is_waited_for_up_to_the_deadline(self):
        """An attempt may start at the deadline, when the gate opens."""
        gate = PacingGate()
        gate.close(160)
        loop = Loop("image")
        await loop.run(RetryPolicy(deadline=60), gate=gate)
        assert [60] == loop.slept

    async def test_another_attempt_ends_the_call_beyond_the_deadline(self):
        """The last error is raised with a note, and is seen only once."""
        gate = PacingGate()
        error = error_of(ServerError)
        loop = Loop(error_of(ServerError), error, "never")
        sleep = loop.sleep

        async def sleep_and_close(seconds):
            await sleep(seconds)
            if loop.attempts == 2:
                gate.close(1000)

        loop.sleep = sleep_and_close
        with pytest.raises(ServerError) as caught:
            await loop.run(RetryPolicy(deadline=60), gate=gate)
        assert error is caught.value
        assert 2 == len(loop.seen)
        assert 2 == loop.attempts
        assert ["It was not tried again: that would have been after the deadline of 60 s."] == error.__notes__


class TestMoney:
    """An attempt that may have been billed is not forgotten because a later one was not."""

    TWICE = RetryPolicy(on_unknown="retry", attempts=3)

    @pytest.mark.parametrize(
        "last",
        [error_of(ConnectionFailedError, retryable=False), error_of(QuotaExceededError), error_of(InputChangedError)],
    )
    async def test_the_unknown_attempt_is_raised(self, last):
        """An earlier attempt that may have been billed is raised from the one that ended the call."""
        unknown = error_of(OutcomeUnknownError)
        with pytest.raises(OutcomeUnknownError) as caught:
            await Loop(unknown, last).run(self.TWICE)
        assert unknown is caught.value
        assert last is caught.value.__cause__

    @pytest.mark.parametrize("last", [error_of(ProtocolError), error_of(StorageError)])
    async def test_an_error_that_may_hold_images_is_raised_itself(self, last):
        """An error that says itself that it may have been billed is raised as it is."""
        with pytest.raises(type(last)) as caught:
            await Loop(error_of(OutcomeUnknownError), last).run(self.TWICE)
        assert last is caught.value
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(("held", "raised"), [((0, 0, 0), 2), ((1, 0, 0), 0), ((0, 2, 1), 1), ((1, 1, 1), 2)])
    async def test_of_several_the_one_that_holds_most_is_raised(self, held, raised):
        """Of several unknown outcomes the one with the most images is raised, otherwise the last."""
        unknown = [error_of(OutcomeUnknownError, images=(Image(data=b""),) * count) for count in held]
        with pytest.raises(OutcomeUnknownError) as caught:
            await Loop(*unknown).run(self.TWICE)
        assert unknown[raised] is caught.value

    @pytest.mark.parametrize(
        "last",
        [
            error_of(OutcomeUnknownError),
            error_of(QuotaExceededError),
            error_of(APIError, status=422, key_already_used=True),
        ],
    )
    @pytest.mark.parametrize(
        "held",
        [
            {"damaged": (DamagedImage(index=0, reason="cut"),)},
            {"partials": (PartialImage(image=Image(data=b"")),)},
            {"images": (Image(data=b""),)},
        ],
        ids=["damaged", "partials", "images"],
    )
    async def test_fragments_and_previews_count(self, held, last):
        """Damaged images and previews count as images, since they are paid for."""
        second = error_of(OutcomeUnknownError, **held)
        with pytest.raises(OutcomeUnknownError) as caught:
            await Loop(error_of(OutcomeUnknownError), second, last).run(self.TWICE)
        assert second is caught.value

    async def test_an_error_in_the_middle_of_a_stream_is_one(self):
        """An error in the middle of a stream may have been billed, whatever its class."""
        midway = error_of(ServerError, billed=Billing.MAYBE)
        with pytest.raises(ServerError) as caught:
            await Loop(midway, error_of(ConnectionFailedError, retryable=False)).run(self.TWICE)
        assert midway is caught.value

    async def test_a_key_that_is_taken_raises_the_first_error(self):
        """If the key is already used, the first error is raised, since its attempt had arrived."""
        first, taken = error_of(ConnectionFailedError), error_of(APIError, status=422, key_already_used=True)
        with pytest.raises(ConnectionFailedError) as caught:
            await Loop(first, error_of(ServerError), taken).run()
        assert first is caught.value
        assert taken is caught.value.__cause__
        assert ["A later attempt was refused: it failed So an earlier one may have been billed."] == first.__notes__

    async def test_a_key_that_is_taken_raises_the_unknown_error_before_the_first(self):
        """An unknown outcome is raised before the first error if the key is already used."""
        unknown = error_of(OutcomeUnknownError)
        taken = error_of(APIError, status=409, key_already_used=True, billed=Billing.MAYBE)
        with pytest.raises(OutcomeUnknownError) as caught:
            await Loop(error_of(ServerError), unknown, taken).run(RetryPolicy(server_idempotency="reject"))
        assert unknown is caught.value

    async def test_a_key_that_is_taken_at_once_is_raised_itself(self):
        """A first attempt whose key is already used raises that error."""
        taken = error_of(APIError, status=422, key_already_used=True)
        with pytest.raises(APIError) as caught:
            await Loop(taken).run()
        assert taken is caught.value
        assert not hasattr(taken, "__notes__")

    async def test_without_an_unknown_attempt_the_last_error_is_raised(self):
        """Without an unknown outcome the last error is raised."""
        last = error_of(QuotaExceededError)
        with pytest.raises(QuotaExceededError) as caught:
            await Loop(error_of(ServerError), last).run()
        assert last is caught.value
