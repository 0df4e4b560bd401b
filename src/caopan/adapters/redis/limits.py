"""SharedLimits on Valkey: claims of one moment travel together; alone where Valkey is gone.

Owns RedisLimits: what was claimed is judged by one script, whole or not at all, one exchange at a
time, and whatever was asked meanwhile goes with the next. Each process also counts for itself what
it took (Counters). Where Valkey does not answer in time it goes by that: of each budget it may then
use a small share (`SharePolicy.budget_pct`), never more than was left when it was last seen, of
each rate its part by the number of processes last seen. When Valkey is back the process hands in
all it took, in place of whatever was known of it there; where the counters themselves were lost,
they are built again from the database and from what every living process hands in. Must never let a
caller wait long, nor lose what was taken. Tests: tests/contract/gateway/test_shared_limits.py,
tests/integration/gateway. Measured: bench/gateway_store.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from caopan.adapters.redis import requests
from caopan.adapters.redis.alone import Alone
from caopan.adapters.redis.counters import Counters
from caopan.adapters.redis.link import Link
from caopan.adapters.redis.local_limits import soft_passed
from caopan.adapters.redis.requests import Caller, Status
from caopan.application.ports.gateway import Bound, Claim, Granted, Refused
from caopan.domain.gateway.budget import beijing_day
from caopan.domain.gateway.endpoint import RateLimit
from caopan.kernel.errors import CaopanError

_LOG: Final = logging.getLogger(__name__)
_SCRIPT: Final = Path(__file__).with_name("limits.lua")
_NO_LIMIT: Final = RateLimit()
_PATIENCE_S: Final = 1.0
"""After which a link that does not answer is taken down; nobody waits for it any more."""
_HELD_UP_S: Final = 0.005

SpentOf = Callable[[str, bool], Awaitable[Mapping[str, Mapping[str, int]]]]
"""What the database knows each process charged each scope on a day, with or without what is under
way: CallHistory.spent_of."""


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """What holds while Valkey is gone, and how long it is waited for."""

    budget_pct: int = 5
    """Of each budget, for one process and one absence."""
    slow_ms: int = 50
    """After which Valkey counts as gone."""
    rebuild_ms: int = 250
    """How long claims wait for lost counters to be built again."""
    settle_ms: int = 5
    """How long a settlement waits for a claim to travel with."""
    beat_s: float = 1.0
    """How often a process says that it lives."""
    retry_s: float = 0.25
    """How often a Valkey that is gone is tried."""
    ask_s: float = 2.0
    """How often the database is asked meanwhile what others have spent."""
    grace_ms: int = 3_000
    """How long new counters wait for the shares of the other processes that were seen."""
    start_s: float = 2.0
    """How long the first connection may take before the process begins alone."""


class _Mode(Enum):
    ALONE = auto()
    JOINING = auto()
    """Claims wait a moment for the answer."""
    SHARED = auto()


@dataclass(slots=True)
class _Asked:
    claim: Claim
    day: str
    answer: asyncio.Future[Granted | Refused]


class RedisLimits:
    """SharedLimits of one gateway process; works inside `running()`."""

    def __init__(
        self,
        url: str,
        process: str,
        spent_of: SpentOf,
        *,
        now: Callable[[], datetime],
        prefix: str = "caopan:gateway",
        policy: SharePolicy | None = None,
        server_now_ms: Callable[[], int] | None = None,
    ) -> None:
        """Keep where Valkey is; connects when it runs.

        `process` names this process as the record of calls does. `now` tells days where a claim
        does not. `server_now_ms` replaces Valkey's own time.
        """
        self._link = Link(url, _SCRIPT.read_text(encoding="utf-8"))
        self._process = process
        self._spent_of = spent_of
        self._now = now
        self._prefix = prefix
        self._policy = policy or SharePolicy()
        self._server_now_ms = server_now_ms
        self._counters = Counters()
        self._alone = Alone(self._counters, self._policy.budget_pct)
        self._mode = _Mode.ALONE
        self._epoch = ""
        self._epochs_made = 0
        self._asked: list[_Asked] = []
        self._sent: list[_Asked] = []
        self._settlements: list[list[Any]] = []
        self._scopes: set[str] = set()
        """Budgets met so far, those of decisions left out."""
        self._new_scope = asyncio.Event()
        self._wanted = asyncio.Event()
        self._beat_due = False
        self._sending = False
        self._hand_in = False
        self._ready = asyncio.Event()
        """Set once it is shared, or knows that it is alone."""
        self._ask_next = 0.0
        self._settle_timer: asyncio.TimerHandle | None = None
        self._slow_timer: asyncio.TimerHandle | None = None

    # --- the callers' side ------------------------------------------------------------------------

    async def claim(self, claim: Claim) -> Granted | Refused:
        """Take all of it or nothing."""
        day = beijing_day(claim.at or self._now())
        self._look_out_for_new(claim)
        if self._mode is _Mode.ALONE or _is_unbounded(claim):
            return self._alone.judge(claim, day, _monotonic_ms())
        asked = _Asked(claim, day, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._wanted.set()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if not asked.answer.cancelled():
                # Granted in the very moment in which nobody wanted it any more.
                self._give_back(asked.answer.result())
            raise

    def settle(self, granted: Granted, tokens: int, cost: int) -> None:
        """Put what was used in the place of what was claimed; once, never waits, never fails."""
        taken = self._counters.settle(granted.claim.claim_id, tokens, cost)
        if taken is None or self._mode is _Mode.ALONE or _is_unbounded(taken.claim):
            return
        self._settlements.append(requests.settlement(taken, tokens, cost))
        if self._settle_timer is None:
            # Mostly a claim comes first and takes it along.
            self._settle_timer = asyncio.get_running_loop().call_later(
                self._policy.settle_ms / 1000, self._wanted.set
            )

    async def spent(self, scopes: Sequence[str], day: str) -> Mapping[str, int]:
        """Return what each scope has used and claimed of `day`."""
        if self._mode is _Mode.SHARED:
            said = requests.spent(self._caller(), day, scopes)
            with suppress(CaopanError):
                told = await self._run(said)
                if told[0] == Status.INCOMPLETE:
                    await self._load(day, again=False)
                    told = await self._run(said)
                if told[0] == Status.DONE:
                    # Of its own share this process knows more than it has said.
                    own = self._counters.money.get(day, {})
                    others = zip(scopes, told[1:], strict=True)
                    return {scope: used + own.get(scope, 0) for scope, used in others}
        return {scope: self._alone.known(day, scope) for scope in scopes}

    @property
    def is_shared(self) -> bool:
        """Tell whether other processes see these counters at the moment."""
        return self._mode is _Mode.SHARED

    @property
    def processes(self) -> int:
        """Return how many gateway processes were last seen, this one among them."""
        return self._alone.processes

    async def recount(self) -> None:
        """Count what the database knows of today where the counters know less.

        Done by itself when a budget is met for the first time: what was spent before a scope had
        one was not counted. Raises Unavailable; then nothing has changed.
        """
        day = beijing_day(self._now())
        sums = await self._load(day, again=True)
        self._counters.raise_to(day, sums.get(self._process, {}))
        self._hand_in = True
        self._wanted.set()

    # --- its own tasks ----------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Share limits while the block runs; waits a bounded time for the first connection."""
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._serve())
                beating = tasks.create_task(self._beat_forever())
                recounting = tasks.create_task(self._recount_forever())
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._policy.start_s):
                        await self._ready.wait()
                try:
                    yield
                except BaseException as error:  # noqa: BLE001 - raised again below, as it came
                    failure = error
                await self._say_the_rest()
                serving.cancel()
                beating.cancel()
                recounting.cancel()
        finally:
            self._be_alone("")
            await self._link.disconnect()
        if failure is not None:
            raise failure

    async def _say_the_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._policy.rebuild_ms / 1000):
                while self._mode is _Mode.SHARED and (self._settlements or self._sending):
                    self._wanted.set()
                    await asyncio.sleep(0.001)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self._policy.beat_s)
            self._beat_due = True
            self._wanted.set()

    async def _recount_forever(self) -> None:
        while True:
            await self._new_scope.wait()
            self._new_scope.clear()
            try:
                await self.recount()
            except CaopanError:
                await asyncio.sleep(self._policy.ask_s)
                self._new_scope.set()

    def _look_out_for_new(self, claim: Claim) -> None:
        for budget in claim.budgets:
            # A decision is new when it is met: nothing was spent on it before.
            if budget.scope not in self._scopes and not budget.scope.startswith("decision:"):
                self._scopes.add(budget.scope)
                self._new_scope.set()

    async def _serve(self) -> None:
        while True:
            try:
                if self._mode is _Mode.SHARED:
                    await self._wanted.wait()
                    self._wanted.clear()
                    if self._hand_in:
                        await self._join()
                    else:
                        await self._exchange()
                elif self._mode is _Mode.JOINING:
                    await self._join()
                else:
                    await self._link.connect()
                    await self._join()
            except CaopanError as error:
                self._be_alone(error.message)
            if self._mode is _Mode.ALONE:
                await self._ask_database()
                self._ready.set()
                await asyncio.sleep(self._policy.retry_s)

    async def _exchange(self) -> None:
        """Send what waits and give each who asked its answer."""
        asked, self._asked = [one for one in self._asked if not one.answer.done()], []
        settlements, self._settlements = self._settlements, []
        beat, self._beat_due = self._beat_due, False
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            self._settle_timer = None
        if not (asked or settlements or beat):
            return
        self._sent, self._sending = asked, True
        claims = [(one.claim, one.day) for one in asked]
        said = requests.work(self._caller(), self._epoch, settlements, claims, beat=beat)
        self._watch(self._policy.slow_ms)
        try:
            answers = await self._run(said)
        finally:
            self._unwatch()
            self._sending = False
        if self._mode is not _Mode.SHARED:
            # It came too late: they were judged without it, and all will be handed in anew.
            return
        self._sent = []
        if answers[0] != Status.DONE:
            self._asked[:0] = asked
            self._mode = _Mode.JOINING
            if answers[0] == Status.INCOMPLETE:
                await self._rebuild(answers[1].decode())
            return
        self._alone.processes = answers[1] or self._alone.processes
        for one, answer in zip(asked, answers[2:], strict=True):
            self._answer(one, answer)

    def _answer(self, one: _Asked, answer: Sequence[int]) -> None:
        if answer[0]:
            taken = self._counters.take(one.claim, one.day, _monotonic_ms())
            taken.shared_second = answer[1]
            totals, others = answer[2::2], self._alone.others_of(one.day)
            for budget, used in zip(one.claim.budgets, answer[3::2], strict=True):
                others[budget.scope] = used
            result = Granted(one.claim, soft_passed(one.claim, totals))
        else:
            result = requests.refused(one.claim, answer)
            if result.bound is Bound.BUDGET:
                self._alone.others_of(one.day)[result.scope] = answer[5]
        if one.answer.done():
            self._give_back(result)
        else:
            one.answer.set_result(result)

    async def _join(self) -> None:
        """Hand in all this process has taken; from then on its claims are judged by Valkey."""
        day = beijing_day(self._now())
        self._mode = _Mode.JOINING
        self._hand_in = False
        # What is handed in holds these already.
        self._settlements = []
        now_ms = _monotonic_ms()
        minutes = self._alone.minutes(now_ms // 1000)
        said = requests.join(self._caller(), day, self._counters, now_ms, minutes)
        self._watch(self._policy.slow_ms)
        try:
            told = await self._run(said)
        finally:
            self._unwatch()
        if told[0] != Status.DONE:
            await self._rebuild(day)
            return
        if self._mode is not _Mode.JOINING:
            # Claims were judged meanwhile that were not handed in.
            return
        if told[2]:
            self._be_alone("its counters are new, and wait for the other processes")
            await asyncio.sleep(told[2] / 1000)
            return
        self._alone.processes = told[3]
        self._epoch = told[1].decode()
        self._mode = _Mode.SHARED
        self._alone.come_back()
        self._ready.set()
        self._wanted.set()
        _LOG.info("limits are shared by %d gateway processes", self._alone.processes)

    async def _rebuild(self, day: str) -> None:
        """Bring lost counters of a day back from the database; claims wait a moment for it."""
        self._watch(self._policy.rebuild_ms)
        try:
            await self._load(day, again=False)
        finally:
            self._unwatch()

    async def _load(self, day: str, *, again: bool) -> Mapping[str, Mapping[str, int]]:
        sums = await self._spent_of(day, not again)
        self._epochs_made += 1
        epoch = f"{self._process}.{self._epochs_made}"
        grace_ms = self._policy.grace_ms if self._alone.processes > 1 else 0
        today = beijing_day(self._now())
        said = requests.load(
            self._caller(), day, today, epoch, sums, grace_ms=grace_ms, again=again
        )
        await self._run(said)
        return sums

    async def _run(self, said: bytes) -> list[Any]:
        return await self._link.run(self._prefix, said, _PATIENCE_S)

    def _caller(self) -> Caller:
        return Caller(self._process, self._server_now_ms() if self._server_now_ms else -1)

    # --- alone ------------------------------------------------------------------------------------

    def _watch(self, most_ms: int) -> None:
        """Let nobody wait longer than that for what is about to be asked."""
        self._unwatch()
        self._slow_timer = asyncio.get_running_loop().call_later(most_ms / 1000, self._too_slow)

    def _unwatch(self) -> None:
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None

    def _too_slow(self) -> None:
        # This process may have been held up itself: what has come meanwhile is read first.
        self._slow_timer = asyncio.get_running_loop().call_later(
            _HELD_UP_S, self._be_alone, "Valkey is slow to answer"
        )

    def _be_alone(self, why: str) -> None:
        """Judge claims by what this process knows, those that wait with them.

        `why` is for the log; empty, the process is leaving.
        """
        if why and not self._alone.is_left:
            _LOG.warning("limits are not shared, this process counts alone: %s", why)
        self._alone.leave()
        self._mode = _Mode.ALONE
        self._settlements = []
        waiting, self._sent, self._asked = [*self._sent, *self._asked], [], []
        for one in waiting:
            if not one.answer.done():
                one.answer.set_result(self._alone.judge(one.claim, one.day, _monotonic_ms()))

    async def _ask_database(self) -> None:
        """While alone, learn from the database what others have spent; it may be away, too."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._ask_next:
            return
        self._ask_next = loop.time() + self._policy.ask_s
        day = beijing_day(self._now())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                sums = await self._spent_of(day, True)  # noqa: FBT003 - with what is under way
        except (CaopanError, TimeoutError):
            return
        self._alone.learn(day, self._process, sums)

    def _give_back(self, result: Granted | Refused) -> None:
        if isinstance(result, Granted):
            self.settle(result, 0, 0)


def _is_unbounded(claim: Claim) -> bool:
    """Tell whether there is nothing to share: no rate, no concurrency, no budget."""
    return not claim.budgets and claim.client_rpm is None and claim.limit == _NO_LIMIT


def _monotonic_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
