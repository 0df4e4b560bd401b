"""The seeded loop: virtual time, one seed one interleaving, no silent waiting for ever."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.testing.sim_loop import Deadlock, SimLoop, SimulatedCrash, simulate


async def race(names: str = "abcdef", steps: int = 4) -> list[str]:
    """Return the order in which equal tasks came to their turns."""
    trace: list[str] = []

    async def work(name: str) -> None:
        for step in range(steps):
            trace.append(f"{name}{step}")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(work(name))
    return trace


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_one_seed_gives_one_trace(seed):
    trace = simulate(race(), seed)
    assert trace == simulate(race(), seed)
    # Whatever the interleaving, each task keeps its own order and nobody is left out.
    for name in "abcdef":
        assert [turn for turn in trace if turn[0] == name] == [f"{name}{n}" for n in range(4)]


def test_other_seeds_give_other_interleavings():
    assert len({tuple(simulate(race(), seed)) for seed in range(20)}) >= 15


def test_every_order_of_three_is_explored():
    firsts = {tuple(simulate(race("abc", 1), seed)) for seed in range(200)}
    assert len(firsts) == 6


def test_hours_pass_at_once_and_in_order():
    async def program() -> tuple[list[str], float]:
        woken: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(name)

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("late", 86_400), ("soon", 0.001), ("noon", 3_600)):
                group.create_task(sleeper(name, seconds))
        return woken, asyncio.get_running_loop().time()

    for seed in range(5):
        woken, now = simulate(program(), seed)
        assert woken == ["soon", "noon", "late"]
        assert now == pytest.approx(86_400, abs=1)


def test_time_stands_still_without_waiting():
    async def program() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await race()
        return before, loop.time()

    assert simulate(program()) == (0.0, 0.0)


def test_a_timeout_ends_in_virtual_time():
    async def program() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert simulate(program()) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("wait", ["event", "lock", "queue"])
def test_a_deadlock_is_an_error(wait):
    async def program() -> None:
        if wait == "event":
            await asyncio.Event().wait()
        elif wait == "queue":
            await asyncio.Queue().get()
        else:
            lock = asyncio.Lock()
            async with lock, lock:
                pass

    with pytest.raises(Deadlock):
        simulate(program())


def test_a_crash_passes_every_handler():
    survived: list[str] = []

    async def program() -> None:
        try:
            raise SimulatedCrash("here")
        except Exception:  # noqa: BLE001 - as a careless handler would
            survived.append("caught")

    with pytest.raises(SimulatedCrash):
        simulate(program())
    assert survived == []


def test_what_is_left_running_is_cancelled_at_the_end():
    ended: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def program() -> str:
        kept.add(asyncio.get_running_loop().create_task(endless()))
        await asyncio.sleep(1)
        return "done"

    assert simulate(program()) == "done"
    assert ended == ["cancelled"]


def test_errors_and_results_come_out():
    async def fail() -> None:
        raise ValueError("as is")

    async def give() -> int:
        return 7

    with pytest.raises(ValueError, match="as is"):
        simulate(fail())
    assert simulate(give()) == 7


def test_the_loop_still_has_the_two_private_names_it_leans_on():
    loop = SimLoop(0)
    try:
        assert hasattr(loop, "_ready")
        run_once = getattr(asyncio.BaseEventLoop, "_run_once", None)
        assert callable(run_once)
        # It reads `_ready` afresh each round, so that a shuffled one is what it runs.
        source = inspect.getsource(run_once)
        assert "self._ready.popleft()" in source
    finally:
        loop.close()
