"""One call from its caller to an endpoint and back. Read `Gateway` from top to bottom.

Owns the attempt loop: who is asked, how often, until when, and what the caller gets. It alone
retries. Must never send without a claim and a row, change a model the route does not let it change,
go on with another endpoint once the caller has seen part of an answer, or outlive the caller's
deadline. Tests: tests/unit/application/gateway, tests/property/application/gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from caopan.application.gateway.adapting import adapt, tells_stream_usage
from caopan.application.gateway.assembling import DONE
from caopan.application.gateway.attempt import Attempt, GatewayParts, record_refusal
from caopan.application.gateway.calls import JSON_TYPE, Answered, Call, CallRefused
from caopan.application.gateway.clients import may_ask
from caopan.application.gateway.course import AUDIT_UNAVAILABLE, RECORDED, Course, too_late
from caopan.application.gateway.estimating import answer_bound
from caopan.application.gateway.fetching import Answer, LiveStream, broken, fetch, open_stream
from caopan.application.gateway.reading import Failure
from caopan.application.gateway.streaming import error_event
from caopan.application.ports.gateway import (
    Bound,
    Claim,
    Granted,
    Path,
    UpstreamFailed,
)
from caopan.domain.gateway.breaker import Admission
from caopan.domain.gateway.budget import budget_claims
from caopan.domain.gateway.endpoint import Endpoint, EndpointKind
from caopan.domain.gateway.outcome import FailureClass, Outcome
from caopan.domain.gateway.profile import Profile
from caopan.domain.gateway.retry import next_rest
from caopan.domain.gateway.routing import WELL, Choice, Health, PassedOver, choose, rank
from caopan.kernel.errors import Unavailable

POLL_MS = 100
"""How soon an endpoint is asked for room again whose calls under way are too many."""
_CLAIM_OUTLIVES_MS = 60_000
_STREAM_TYPE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Streamed:
    """A stream for the caller: status 200, these headers, then whole events as they come.

    Read `chunks` once, inside the context it came from.
    """

    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Gateway:
    """The model gateway without its wire. One for a process; calls run beside each other."""

    def __init__(self, parts: GatewayParts) -> None:
        """Keep what it works with."""
        self._parts = parts

    async def complete(self, call: Call) -> Answered:
        """Return the whole answer to a call, or the refusal as an answer."""
        course: Course | None = None
        try:
            course = self._course(call)
            async with asyncio.timeout(course.remaining_ms() / 1000) as course.bound:
                while True:
                    attempt = await self._next_attempt(course)
                    with attempt:
                        found = await fetch(attempt)
                        if isinstance(found, Answer):
                            attempt.end(Outcome.OK, reading=found.reading)
                            await self._made_durable(course)
                            return Answered(200, _headers(JSON_TYPE, attempt), found.body)
                        attempt.end(Outcome.FAILED, failure=found)
                    course.fail(attempt.endpoint, found)
        except TimeoutError:
            return self._refusal(call, course, too_late(course))
        except CallRefused as refused:
            return self._refusal(call, course, refused)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[Answered | Streamed]:
        """Give the stream that answers a call, or the refusal as an answer.

        Leaving early cancels the call: the endpoint is left, the attempt recorded and settled.
        """
        course: Course | None = None
        refusal: Answered
        try:
            course = self._course(call)
            bound = course.bound = asyncio.timeout(course.remaining_ms() / 1000)
            async with bound, AsyncExitStack() as open_attempt:
                attempt, live = await self._opened(course, open_attempt)
                # From here on the stream's own bounds hold: a timer that cancels would hit
                # whoever passes the pieces on.
                bound.reschedule(None)
                chunks = self._passed_on(attempt, live)
                try:
                    yield Streamed(_headers(_STREAM_TYPE, attempt), chunks)
                finally:
                    await chunks.aclose()
                if live.relay.has_ended:
                    await live.drain()
                return
        except TimeoutError:
            refusal = self._refusal(call, course, too_late(course))
        except CallRefused as refused:
            refusal = self._refusal(call, course, refused)
        yield refusal

    async def _opened(
        self, course: Course, open_attempt: AsyncExitStack
    ) -> tuple[Attempt, LiveStream]:
        """Return the first attempt whose stream has begun; it stays open in `open_attempt`."""
        while True:
            attempt = await self._next_attempt(course)
            async with AsyncExitStack() as held:
                held.enter_context(attempt)
                found = await open_stream(attempt, held)
                if isinstance(found, LiveStream):
                    open_attempt.push_async_exit(held.pop_all())
                    return attempt, found
                attempt.end(Outcome.FAILED, failure=found)
            course.fail(attempt.endpoint, found)

    # --- before an attempt ---

    def _course(self, call: Call) -> Course:
        """Begin a call under the configuration in force. Raises CallRefused (403, 404)."""
        if not may_ask(call.client, call.alias):
            message = f"This API key may not ask for {call.alias!r:.100}."
            raise CallRefused(403, "model_not_allowed", message, kind="permission", param="model")
        snapshot = self._parts.snapshot()
        route = snapshot.routes.get(call.alias)
        if route is None:
            message = f"There is no model {call.alias!r:.100}."
            raise CallRefused(404, "model_not_found", message, param="model")
        ranking = rank(route, snapshot.endpoints, self._parts.draw, call.sticky_key)
        return Course(call, snapshot, route, ranking, self._parts.monotonic_ms)

    async def _next_attempt(self, course: Course) -> Attempt:
        """Return an attempt at whoever is asked next. Raises CallRefused where nobody is."""
        while True:
            if not course.remaining_ms():
                raise too_late(course)
            choice = self._choice(course)
            if choice.endpoint is None:
                await self._rest_until_room(course, choice)
            elif course.rested:
                attempt = await self._claimed(course, choice.endpoint)
                if attempt is not None:
                    return attempt
            else:
                await self._rest_after_failure(course, choice, choice.endpoint)

    def _choice(self, course: Course) -> Choice:
        """Return who is asked next. Nearly always that is the first, and it is well."""
        places = course.ranking.places
        if places and not course.failed and self._health(course, places[0].endpoint) is WELL:
            return Choice(places[0].endpoint)
        return choose(course.ranking, lambda one: self._health(course, one), course.failed)

    def _health(self, course: Course, endpoint: Endpoint) -> Health:
        """Return whether an endpoint can be asked; who was just disabled by hand cannot."""
        blocked = course.blocked.get(endpoint.name)
        if blocked is not None:
            return blocked.health
        newest = self._parts.snapshot().endpoints.get(endpoint.name)
        if newest is not None and not newest.enabled:
            return Health(PassedOver.DISABLED)
        return self._parts.board.health(endpoint)

    async def _rest_after_failure(self, course: Course, choice: Choice, endpoint: Endpoint) -> None:
        """Rest before the same endpoint is asked again; elsewhere may be asked at once.

        The first attempt is always made. A further one only where the endpoint's usual time is
        left: it would take another's place and be cut off.
        """
        assert course.last is not None, "there was a failure"
        failed, failure = course.last
        rest_ms = next_rest(
            failed.retry,
            attempts=course.attempts,
            retry_after_ms=failure.retry_after_ms if choice.again else None,
            remaining_ms=course.remaining_ms(),
            minimum_ms=max(1, self._parts.board.typical_ms(endpoint.name) or 0),
            draw=self._parts.draw() if choice.again else 0.0,
        )
        if rest_ms is None:
            raise course.refusal(choice, self._now())
        await self._rest(course, rest_ms)

    async def _rest_until_room(self, course: Course, choice: Choice) -> None:
        """Rest until the first limit that stands in the way has passed, if that is in time.

        Where nothing but open breakers stands in the way nobody waits: the caller is told at once.
        """
        now = self._now()
        rest_ms = None
        if choice.retry_at is not None:
            first = course.ranking.places[0].endpoint if course.last is None else course.last[0]
            rest_ms = next_rest(
                first.retry,
                attempts=course.attempts,
                retry_after_ms=max(1, choice.retry_at - now),
                remaining_ms=course.remaining_ms(),
                minimum_ms=1,
                draw=self._parts.draw(),
            )
        if rest_ms is None:
            raise course.refusal(choice, now)
        await self._rest(course, rest_ms)

    async def _rest(self, course: Course, rest_ms: int) -> None:
        if rest_ms:
            started = self._parts.monotonic_ms()
            await self._parts.clock.pause(timedelta(milliseconds=rest_ms))
            course.waited_ms += self._parts.monotonic_ms() - started
        course.blocked.clear()
        course.rested = True

    async def _claimed(self, course: Course, endpoint: Endpoint) -> Attempt | None:
        """Return an attempt that has room, money and a row; None where another must be chosen."""
        parts, call = self._parts, course.call
        at = parts.clock.now()
        budgets = budget_claims(
            course.snapshot,
            course.route,
            endpoint,
            client=(call.client.client_id, call.client.daily_budget),
            decision_id=call.decision_id,
        )
        tokens = cost = 0
        if budgets or endpoint.rate_limit.tpm is not None:
            # Counted only where something hangs on it: that takes as long as reading the body.
            answer = answer_bound(call, endpoint)
            tokens = course.prompt_tokens + answer
            worst = parts.prices.worst(course.snapshot, endpoint, tokens - answer, answer, at)
            if worst is None and budgets:
                course.block_unpriced(endpoint)
                return None
            cost = worst or 0
        profile = parts.profile(endpoint.provider)
        streams = _is_streamed(course, endpoint, profile)
        adapted = adapt(call, endpoint, profile, streams=streams)
        claim = Claim(
            claim_id=parts.new_id(),
            endpoint=endpoint.name,
            limit=endpoint.rate_limit,
            tokens=tokens,
            cost=cost,
            budgets=budgets,
            client_rpm=_client_rpm(course),
            at=at,
            expires_ms=course.remaining_ms() + _CLAIM_OUTLIVES_MS,
        )
        admission = await parts.board.admit(endpoint)
        if admission is Admission.REFUSED:
            course.block_open(endpoint)
            return None
        probe = admission is Admission.PROBE
        granted = await self._granted(course, endpoint, claim, probe=probe)
        if granted is None:
            return None
        for scope in granted.soft_reached:
            parts.on_soft_budget(scope)
        try:
            return Attempt(parts, course, endpoint, profile, adapted, granted, at=at, probe=probe)
        except Unavailable as error:
            raise CallRefused(503, AUDIT_UNAVAILABLE, error.message, kind="server_error") from error

    async def _granted(
        self, course: Course, endpoint: Endpoint, claim: Claim, *, probe: bool
    ) -> Granted | None:
        """Return the claim granted; None where the endpoint has no room, which the course notes."""
        try:
            found = await self._parts.limits.claim(claim)
        except BaseException:
            self._released(endpoint, probe=probe)
            raise
        if isinstance(found, Granted):
            return found
        self._released(endpoint, probe=probe)
        if found.bound is Bound.CLIENT_RPM:
            raise CallRefused(
                429,
                "rate_limit_exceeded",
                f"This API key may ask {found.limit} times a minute.",
                kind="requests",
                retry_after_ms=found.retry_after_ms,
            )
        wait_ms = found.retry_after_ms
        if wait_ms is None and found.bound is Bound.CONCURRENCY:
            wait_ms = POLL_MS
        course.block(endpoint, found, None if wait_ms is None else self._now() + max(1, wait_ms))
        return None

    def _released(self, endpoint: Endpoint, *, probe: bool) -> None:
        if probe:
            self._parts.board.release(endpoint)

    # --- after an answer ---

    async def _passed_on(self, attempt: Attempt, live: LiveStream) -> AsyncGenerator[bytes]:
        """Pass a stream on whose answer has begun, and end the attempt as it ends."""
        course, relay, ready = attempt.course, live.relay, live.first
        while relay.failure is None and not relay.has_ended:
            left_ms = attempt.now_ms()
            if ready:
                yield ready
            try:
                chunk = await anext(live.chunks, None)
            except UpstreamFailed as failed:
                relay.failure, ready = broken(failed), b""
                break
            finally:
                course.waited_ms += attempt.now_ms() - left_ms
            ready = relay.close() if chunk is None else relay.feed(chunk)
            if not course.remaining_ms() and relay.failure is None and not relay.has_ended:
                relay.failure = Failure(FailureClass.TIMEOUT, "The deadline passed.")
        if relay.failure is not None:
            attempt.end(Outcome.TRUNCATED, failure=relay.failure)
            yield ready + error_event(relay.failure.refusal())
            return
        reading = relay.reading(wants_json=course.call.wants_json)
        attempt.end(Outcome.OK, reading=reading)
        try:
            await self._made_durable(course)
        except CallRefused as refused:
            yield ready + error_event(refused)
            return
        # The row is complete before the last words leave: a caller that hangs up on reading
        # [DONE] has not gone away.
        yield ready + DONE

    async def _made_durable(self, course: Course) -> None:
        """Wait for the record where the route wants it. Raises CallRefused (503)."""
        if not course.route.strict_audit:
            return
        try:
            async with asyncio.timeout(course.remaining_ms() / 1000):
                await self._parts.log.durable(course.call.call_id)
        except (TimeoutError, Unavailable) as error:
            message = "There is an answer, but no durable record of it, which this route demands."
            raise CallRefused(503, AUDIT_UNAVAILABLE, message, kind="server_error") from error

    def _refusal(self, call: Call, course: Course | None, refused: CallRefused) -> Answered:
        """Return a refusal as an answer, and keep it where no attempt tells of it."""
        headers = {"x-caopan-call": str(call.call_id)}
        if course is not None:
            headers["x-gw-overhead-ms"] = f"{course.overhead_ms():.3f}"
            if course.attempts == 0 and refused.code in RECORDED:
                record_refusal(self._parts, course, refused)
        return refused.answer(headers)

    def _now(self) -> int:
        """Return the wall clock in Unix milliseconds."""
        return int(self._parts.clock.now().timestamp() * 1000)


def _is_streamed(course: Course, endpoint: Endpoint, profile: Profile) -> bool:
    """Tell whether an endpoint is asked for a stream: as the caller asks, or for its bounds.

    Not where the stream would keep its usage to itself.
    """
    if course.call.stream:
        return True
    return (
        course.route.buffered
        and course.call.wants_json
        and course.call.path is Path.CHAT
        and endpoint.kind is EndpointKind.OPENAI
        and tells_stream_usage(endpoint, profile)
    )


def _client_rpm(course: Course) -> tuple[str, int] | None:
    """Return the caller's own bound; a call counts once, however often it is tried."""
    client = course.call.client
    return None if client.rpm is None or course.attempts else (client.client_id, client.rpm)


def _headers(kind: Mapping[str, str], attempt: Attempt) -> dict[str, str]:
    course = attempt.course
    return {
        **kind,
        "x-caopan-call": course.call_name,
        "x-caopan-endpoint": attempt.endpoint.name,
        "x-gw-overhead-ms": f"{course.overhead_ms():.3f}",
    }
