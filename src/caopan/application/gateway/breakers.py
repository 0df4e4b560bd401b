"""The breakers of all endpoints, as this process sees them, in step with the other processes.

Owns BreakerBoard: the state, rate-limit gate, recent moves and pace of each endpoint, by its name,
so that a new configuration keeps them, unless it gives the name to another server, model or key: a
refused key that was replaced is no reason to wait. Must never decide what opens or closes a
breaker: that is caopan.domain.gateway.breaker. Tests:
tests/unit/application/gateway/test_breakers.py.

A move is told at once, counts every TELL_EVERY_MS, and what is open again every REPEAT_EVERY: news
may be lost, and a process that has just started has heard none.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from caopan.application.gateway.reading import Failure
from caopan.application.ports.gateway import Bus
from caopan.domain.gateway.breaker import (
    Admission,
    BreakerState,
    Gate,
    Phase,
    Transition,
    admit,
    adopt,
    adopt_gate,
    limited,
    merge,
    new_breaker,
    own_slices,
    release,
    report,
    shut,
    went_through,
)
from caopan.domain.gateway.breaker_news import (
    tallies_body,
    tallies_of,
    transition_body,
    transition_of,
)
from caopan.domain.gateway.endpoint import Endpoint, Snapshot
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.routing import WELL, Health, PassedOver, health_of
from caopan.kernel.canonical import sha256_hex

TELL_EVERY_MS = 200
REPEAT_EVERY = 25
"""Tellings after which what is open is told again."""
_MOVES_KEPT = 50
_PACES_KEPT = 63

MOVED, COUNTED, LIMITED = "breaker", "counts", "gate"
"""Kinds of news."""
ACCESS = "access"
"""Field of all news: which server, model and key of the endpoint it is about."""
_ACCESS_DIGITS = 12


@dataclass(slots=True)
class _Post:
    """What this process knows of one endpoint."""

    access: str
    """Which server, model and key it is about: of another nothing is known yet."""
    state: BreakerState
    gate: Gate = field(default_factory=Gate)
    moves: deque[Transition] = field(default_factory=lambda: deque(maxlen=_MOVES_KEPT))
    paces: deque[int] = field(default_factory=lambda: deque(maxlen=_PACES_KEPT))
    has_news: bool = False
    last_failure: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is shown of one endpoint."""

    phase: Phase
    reason: str
    since: int
    """Unix milliseconds of the last move; 0: it never moved."""
    until: int | None
    """When an open breaker may be probed."""
    limited_until: int | None
    """Until when the vendor asked to be left alone."""
    share: float
    """Part of its weight it has after a recovery."""
    last_failure: str
    typical_ms: int | None
    """Median of its last good answers."""
    moves: tuple[Transition, ...]
    """Newest last."""


class BreakerBoard:
    """All breakers of one process. Nothing here waits but `admit`, and only for a probe's token."""

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        now_ms: Callable[[], int],
        draw: Callable[[], float],
        bus: Bus,
        process: str,
        on_move: Callable[[Transition], None] | None = None,
    ) -> None:
        """Start with every breaker closed.

        `now_ms` is the wall clock in Unix milliseconds, `draw` gives numbers in [0, 1), `process`
        is this process's own name, `on_move` hears of every move, also those of other processes.
        """
        self._snapshot = snapshot
        self._now_ms = now_ms
        self._draw = draw
        self._bus = bus
        self._process = process
        self._on_move = on_move
        self._posts: dict[str, _Post] = {}

    # --- for calls ---

    def health(self, endpoint: Endpoint) -> Health:
        """Return whether an endpoint can be asked now. Nothing is taken."""
        post = self._posts.get(endpoint.name)
        if post is None or post.access != access_of(endpoint):
            return WELL if endpoint.enabled else Health(PassedOver.DISABLED)
        return health_of(endpoint, post.state, post.gate, self._now_ms())

    async def admit(self, endpoint: Endpoint) -> Admission:
        """Let a call leave or not. PROBE: `report` or `release` must follow."""
        post = self._post(endpoint)
        post.state, admission, moved = admit(post.state, endpoint.breaker, self._now_ms())
        self._moved(post, moved)
        if admission is not Admission.PROBE:
            return admission
        # One token for each probe in turn, so that one process can go on to the next at once.
        # It is free again before the breaker could be half-open anew.
        last, passed = post.state.last, post.state.trial.passed
        token = f"probe:{endpoint.name}:{last.openings}:{passed}"
        lasts_ms = min(endpoint.breaker.open_ms, endpoint.timeouts.total_ms)
        try:
            is_ours = await self._bus.take_token(token, lasts_ms)
        except BaseException:
            self.release(endpoint)
            raise
        if not is_ours:
            self.release(endpoint)
            return Admission.REFUSED
        return Admission.PROBE

    def release(self, endpoint: Endpoint) -> None:
        """Give back a probe that told nothing."""
        post = self._post(endpoint)
        post.state = release(post.state)

    def report(
        self,
        endpoint: Endpoint,
        failure: Failure | None,
        *,
        waited_ms: int,
        total_ms: int,
        probe: bool,
    ) -> None:
        """Count how an attempt ended; `failure` None: well.

        `waited_ms` is what makes a call slow: until the first token of a stream, until the end of
        a whole answer. `total_ms` is until the end.
        """
        post = self._post(endpoint)
        now, kind = self._now_ms(), None if failure is None else failure.failure
        post.state, moved = report(
            post.state,
            endpoint.breaker,
            failure=kind,
            latency_ms=waited_ms,
            probe=probe,
            now=now,
            draw=self._draw(),
        )
        post.has_news = True
        if failure is None:
            post.paces.append(total_ms)
            post.gate = went_through(post.gate)
        else:
            post.last_failure = f"{failure.code}: {failure.message}"
            if kind is FailureClass.RATE_LIMIT:
                post.gate = limited(post.gate, failure.retry_after_ms, now, self._draw())
                told = {"endpoint": endpoint.name, "until": post.gate.until}
                self._bus.publish(LIMITED, {**told, ACCESS: post.access})
        self._moved(post, moved)

    def phase(self, name: str) -> Phase:
        """Return the state of an endpoint's breaker."""
        post = self._present(name)
        return Phase.CLOSED if post is None else post.state.phase

    def typical_ms(self, name: str) -> int | None:
        """Return the median time of an endpoint's last good answers; None before the first."""
        post = self._present(name)
        return None if post is None or not post.paces else int(statistics.median(post.paces))

    def standing(self, name: str) -> Standing:
        """Return what is shown of an endpoint."""
        post = self._present(name) or _Post("", new_breaker(name))
        last = post.state.last
        return Standing(
            phase=last.after,
            reason=last.reason.value,
            since=last.at,
            until=last.until if last.after is Phase.OPEN else None,
            limited_until=post.gate.until if shut(post.gate, self._now_ms()) else None,
            share=post.state.share,
            last_failure=post.last_failure,
            typical_ms=self.typical_ms(name),
            moves=tuple(post.moves),
        )

    # --- with other processes ---

    async def keep_in_step(self) -> None:
        """Tell other processes and hear from them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_for_ever())
            tasks.create_task(self._listen())

    async def _tell_for_ever(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(TELL_EVERY_MS / 1000)
            told += 1
            self.tell(again=told % REPEAT_EVERY == 0)

    def tell(self, *, again: bool) -> None:
        """Publish what was counted since the last telling, and what is not closed if `again`."""
        for name in [name for name in self._posts if self._present(name) is None]:
            # Removed from the configuration: what is kept must not grow with its history.
            del self._posts[name]
        for name, post in self._posts.items():
            if post.has_news:
                post.has_news = False
                body = tallies_body(name, self._process, own_slices(post.state))
                self._bus.publish(COUNTED, {**body, ACCESS: post.access})
            if again and post.state.phase is not Phase.CLOSED:
                self._publish_move(post, post.state.last)

    async def _listen(self) -> None:
        async for kind, body in self._bus.news():
            self.hear(kind, body)

    def hear(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take over what another process told; what makes no sense is no news.

        What is of another server, model or key is no news either: that process has yet to hear of
        the configuration that we have, or we of its.
        """
        endpoint = self._known(body.get("endpoint"))
        if endpoint is None or body.get(ACCESS) != access_of(endpoint):
            return
        post = self._post(endpoint)
        if kind == MOVED:
            self._hear_move(post, transition_of(body))
        elif kind == COUNTED:
            counted = tallies_of(body)
            if counted is not None:
                post.state, moved = merge(
                    post.state,
                    endpoint.breaker,
                    counted[1],
                    now=self._now_ms(),
                    draw=self._draw(),
                )
                self._moved(post, moved)
        elif kind == LIMITED:
            until = body.get("until")
            if isinstance(until, int):
                post.gate = adopt_gate(post.gate, until, self._now_ms())

    def _hear_move(self, post: _Post, told: Transition | None) -> None:
        if told is None:
            return
        before = post.state.last
        post.state = adopt(post.state, told)
        if post.state.last != before:
            self._noted(post, told)

    def _moved(self, post: _Post, moved: Transition | None) -> None:
        """Keep a move of our own, and tell it."""
        if moved is not None:
            self._noted(post, moved)
            self._publish_move(post, moved)

    def _publish_move(self, post: _Post, moved: Transition) -> None:
        self._bus.publish(MOVED, {**transition_body(moved), ACCESS: post.access})

    def _noted(self, post: _Post, moved: Transition) -> None:
        post.moves.append(moved)
        if self._on_move is not None:
            self._on_move(moved)

    def _known(self, name: object) -> Endpoint | None:
        return self._snapshot().endpoints.get(name) if isinstance(name, str) else None

    def _present(self, name: str) -> _Post | None:
        """Return what is known of the endpoint of that name as it is configured now."""
        post, endpoint = self._posts.get(name), self._known(name)
        if post is None or endpoint is None or post.access != access_of(endpoint):
            return None
        return post

    def _post(self, endpoint: Endpoint) -> _Post:
        """Return what is known of an endpoint.

        A call that began under another server, model or key tells nothing of the present one: its
        report goes to a post that nobody keeps.
        """
        access, present = access_of(endpoint), self._known(endpoint.name)
        post = self._posts.get(endpoint.name)
        if post is not None and post.access == access:
            return post
        post = _Post(access, new_breaker(endpoint.name))
        if present is not None and access_of(present) == access:
            self._posts[endpoint.name] = post
        return post


def access_of(endpoint: Endpoint) -> str:
    """Return a short digest of which server, model and key an endpoint is."""
    return _access(endpoint.url, endpoint.model, endpoint.auth, endpoint.secret_ref or "")


@lru_cache(maxsize=1024)
def _access(*parts: str) -> str:
    return sha256_hex(chr(0).join(parts).encode())[:_ACCESS_DIGITS]
