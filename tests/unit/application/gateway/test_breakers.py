"""The breakers of all endpoints: how calls move them, and how processes stay in step."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from caopan.application.gateway.breakers import ACCESS, MOVED, BreakerBoard, access_of
from caopan.application.gateway.reading import Failure
from caopan.domain.gateway.breaker import Admission, Phase
from caopan.domain.gateway.breaker_news import transition_body
from caopan.domain.gateway.endpoint import BreakerSettings, Timeouts
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.routing import PassedOver
from caopan.testing.gateway_doubles import MemoryBus
from caopan.testing.gateway_rig import START, a_snapshot, an_endpoint
from caopan.testing.sim_loop import LoopClock, simulate

SETTINGS = BreakerSettings(failures=4, open_ms=10_000, successes=2)
ENDPOINT = an_endpoint("a", breaker=SETTINGS)
SNAPSHOT = a_snapshot(ENDPOINT)
BUSY = Failure(FailureClass.SERVER, "busy")


class Boards:
    """Two processes that hear of each other."""

    def __init__(self) -> None:
        self.snapshot = SNAPSHOT
        self.bus = MemoryBus()
        self.other_bus = self.bus.joined()
        self.heard: list[str] = []
        self.one = self.board(self.bus, "one")
        self.other = self.board(self.other_bus, "other")

    def board(self, bus: MemoryBus, name: str) -> BreakerBoard:
        clock = LoopClock(START)
        return BreakerBoard(
            snapshot=lambda: self.snapshot,
            now_ms=lambda: int(clock.now().timestamp() * 1000),
            draw=lambda: 0.0,
            bus=bus,
            process=name,
            on_move=lambda move: self.heard.append(f"{name}:{move.after.value}"),
        )

    async def in_step(self, seconds: float) -> None:
        """Let both keep in step for a while."""
        for board in (self.one, self.other):
            task = asyncio.get_running_loop().create_task(board.keep_in_step())
            asyncio.get_running_loop().call_later(seconds, task.cancel)
        await asyncio.sleep(seconds)
        await asyncio.sleep(0)


def report(board: BreakerBoard, failure: Failure | None, *, probe: bool = False, ms: int = 50):
    board.report(ENDPOINT, failure, waited_ms=ms, total_ms=ms, probe=probe)


def test_failures_of_two_processes_open_both():
    async def program():
        boards = Boards()
        for _ in range(2):
            report(boards.one, BUSY)
            report(boards.other, BUSY)
        assert boards.heard == []
        await boards.in_step(0.3)
        assert boards.one.phase("a") is boards.other.phase("a") is Phase.OPEN
        assert {move.split(":")[1] for move in boards.heard} == {"open"}
        assert boards.one.standing("a").until == boards.other.standing("a").until
        assert boards.one.health(ENDPOINT).reason is PassedOver.OPEN

    simulate(program())


def test_only_one_process_probes_and_both_hear_how_it_went():
    async def program():
        boards = Boards()
        report(boards.one, Failure(FailureClass.AUTH, "key"))
        await boards.in_step(0.1)
        assert boards.other.phase("a") is Phase.OPEN
        await asyncio.sleep(SETTINGS.max_open_ms / 1000)
        found = [await board.admit(ENDPOINT) for board in (boards.one, boards.other)]
        assert sorted(found) == [Admission.PROBE, Admission.REFUSED]
        assert await boards.other.admit(ENDPOINT) is Admission.REFUSED
        report(boards.one, None, probe=True)
        assert await boards.one.admit(ENDPOINT) is Admission.PROBE
        await asyncio.sleep(SETTINGS.open_ms / 1000)
        assert await boards.other.admit(ENDPOINT) is Admission.PROBE
        report(boards.one, None, probe=True)
        await boards.in_step(0.1)
        assert boards.one.phase("a") is boards.other.phase("a") is Phase.CLOSED
        assert boards.other.standing("a").share < 1

    simulate(program())


def test_a_probe_that_tells_nothing_is_given_back():
    async def program():
        boards = Boards()
        report(boards.one, Failure(FailureClass.AUTH, "key"))
        await asyncio.sleep(SETTINGS.max_open_ms / 1000)
        assert await boards.one.admit(ENDPOINT) is Admission.PROBE
        assert await boards.one.admit(ENDPOINT) is Admission.REFUSED
        boards.one.release(ENDPOINT)
        await asyncio.sleep(SETTINGS.open_ms / 1000)
        assert await boards.one.admit(ENDPOINT) is Admission.PROBE

    simulate(program())


def test_who_starts_late_or_lost_the_news_hears_again_what_is_open():
    async def program():
        boards = Boards()
        boards.other_bus.is_cut = True
        report(boards.one, Failure(FailureClass.BALANCE, "empty"))
        await boards.in_step(1)
        assert boards.other.phase("a") is Phase.CLOSED
        boards.other_bus.is_cut = False
        await boards.in_step(6)
        assert boards.other.phase("a") is Phase.OPEN
        assert boards.other.standing("a").reason == "balance"

    simulate(program())


def test_a_rate_limit_shuts_the_gate_everywhere_and_opens_no_breaker():
    async def program():
        boards = Boards()
        report(boards.one, Failure(FailureClass.RATE_LIMIT, "slow", retry_after_ms=5_000))
        await boards.in_step(0.1)
        for board in (boards.one, boards.other):
            assert board.phase("a") is Phase.CLOSED
            assert board.health(ENDPOINT).reason is PassedOver.RATE_LIMITED
        await asyncio.sleep(5)
        assert boards.other.health(ENDPOINT).reason is None

    simulate(program())


def test_news_that_make_no_sense_are_no_news():
    async def program():
        boards = Boards()
        report(boards.one, Failure(FailureClass.AUTH, "key"))
        move = transition_body(boards.one.standing("a").moves[-1])
        told = {**move, ACCESS: access_of(ENDPOINT)}
        for kind, body in (
            ("odd", told),
            (MOVED, {}),
            (MOVED, {**told, "endpoint": "unknown"}),
            (MOVED, {**told, "to": "ajar"}),
            (MOVED, move),
            (MOVED, {**move, ACCESS: "another"}),
            ("counts", {**told, "process": 3, "slices": []}),
            ("counts", {"endpoint": "unknown", "process": "x", "slices": []}),
            ("gate", {**told, "until": "later"}),
            ("gate", {"endpoint": ["a"], "until": 10**15}),
        ):
            boards.other.hear(kind, body)
        assert boards.other.phase("a") is Phase.CLOSED
        assert boards.other.health(ENDPOINT).reason is None
        for _ in range(2):
            boards.other.hear(MOVED, told)
        assert boards.other.phase("a") is Phase.OPEN
        assert boards.heard == ["one:open", "other:open"]

    simulate(program())


def test_another_key_server_or_model_begins_anew_and_what_was_told_of_the_old_is_no_news():
    async def program():
        boards = Boards()
        report(boards.one, Failure(FailureClass.AUTH, "key"))
        assert boards.one.phase("a") is Phase.OPEN
        old = transition_body(boards.one.standing("a").moves[-1])
        mended = replace(ENDPOINT, secret_ref="env:MENDED")
        boards.snapshot = a_snapshot(mended)
        assert boards.one.phase("a") is Phase.CLOSED
        assert boards.one.health(mended).reason is None
        # A call that began with the old key ends now; another process still tells of it.
        report(boards.one, Failure(FailureClass.AUTH, "key"))
        boards.one.hear(MOVED, {**old, ACCESS: access_of(ENDPOINT)})
        assert boards.one.phase("a") is Phase.CLOSED
        # Weights, limits and timeouts may change without that.
        boards.one.report(
            mended, Failure(FailureClass.AUTH, "key"), waited_ms=1, total_ms=1, probe=False
        )
        boards.snapshot = a_snapshot(replace(mended, timeouts=Timeouts(total_ms=9_000)))
        assert boards.one.phase("a") is Phase.OPEN

    simulate(program())


def test_what_is_shown_is_bounded_and_removed_with_the_endpoint():
    async def program():
        boards = Boards()
        for number in range(200):
            report(boards.one, None, ms=number)
        assert boards.one.typical_ms("a") == 168
        for _ in range(60):
            report(boards.one, Failure(FailureClass.AUTH, "key"))
            await asyncio.sleep(1)
        shown = boards.one.standing("a")
        assert len(shown.moves) <= 50
        assert shown.last_failure == "MODEL_AUTH: key"
        assert boards.one.standing("never asked").phase is Phase.CLOSED
        boards.snapshot = a_snapshot(an_endpoint("b"))
        boards.one.tell(again=False)
        assert boards.one.standing("a").since == 0

    simulate(program())
