"""The broker's process is killed by SIGKILL, or sleeps, with requests under way."""

from __future__ import annotations

import asyncio
import signal

from caopan.domain.orders.order import OrderStatus, Side
from caopan.testing.broker_life import ENDED_EARLY, FILLS, BrokerPlan, TraderPlan

WORDS_OF_THE_PORT = {"BROKER_DISCONNECTED", "BROKER_TIMEOUT"}


def main_points(passed: list[str]) -> list[int]:
    """Return the first and the last passing of every point of the journal."""
    points = [one for one in passed if one != "listens"]
    found: dict[str, list[int]] = {}
    for number, label in enumerate(points):
        found.setdefault(label, []).append(number)
    return sorted({number for all_of in found.values() for number in (all_of[0], all_of[-1])})


async def test_killed_at_every_kind_of_record_and_started_again_nothing_is_lost(theatre, examine):
    undisturbed = await theatre.stage()
    broker = theatre.broker(undisturbed)
    assert theatre.trader(undisturbed).wait() == 0
    expected = await examine(undisturbed)
    broker.kill()
    broker.wait()
    labels = [one for one in broker.passed if one != "listens"]
    text = "\n".join(labels)
    for kind in ("deposit", "accepted", "canceled", "trade", "closed"):
        assert kind in text
    for number in main_points(broker.passed):
        label = labels[number]
        stage = await theatre.stage()
        killed = theatre.broker(stage, BrokerPlan(crash_at=number))
        trader = theatre.trader(stage)
        assert await asyncio.to_thread(killed.wait) == -9, label
        assert killed.passed[-1] == label
        theatre.broker(stage)
        ends = [await asyncio.to_thread(trader.wait)]
        if ends[0] == ENDED_EARLY:
            assert trader.passed[-1] in WORDS_OF_THE_PORT, (label, trader.passed)
            ends.append(theatre.trader(stage).wait())
        assert ends[-1] == 0, (label, ends)
        found = await examine(stage)
        assert not found.faults, (label, found.faults)
        assert set(found.tags) <= set(expected.tags), label


async def test_killed_by_the_clock_under_slow_records_nothing_is_lost(theatre, examine):
    """Not at a point of ours, but whenever it happens to be: again and again."""
    stage = await theatre.stage()
    killed = 0
    trader = None
    for turn in range(12):
        last = turn == 11
        broker = theatre.broker(stage, BrokerPlan(slow_s=0 if last else 0.02))
        if trader is None or not trader.is_alive:
            trader = theatre.trader(stage)
        if last:
            break
        await asyncio.sleep(0.05 + 0.03 * turn)
        broker.kill()
        killed += 1
    assert killed == 11
    assert trader is not None
    ends: list[int] = []
    while not ends or (ends[-1] == ENDED_EARLY and len(ends) < 3):
        trader = trader if not ends else theatre.trader(stage)
        ends.append(await asyncio.to_thread(trader.wait))
    assert ends[-1] == 0, ends
    found = await examine(stage)
    assert not found.faults, found.faults


async def test_a_broker_that_sleeps_over_the_answer_wakes_to_one_order_each(theatre, examine):
    stage = await theatre.stage()
    broker = theatre.broker(stage)
    trader = theatre.trader(stage, TraderPlan(wait_s=0.2, stop_before="before the wire"))
    trader.until("before the wire")
    broker.signal(signal.SIGSTOP)
    trader.wake()
    # Longer than the trader waits for an answer: it gives up on the order, and goes on.
    trader.until("after commit of order")
    broker.signal(signal.SIGCONT)
    ends = [await asyncio.to_thread(trader.wait)]
    if ends[0] == ENDED_EARLY:
        assert trader.passed[-1] in WORDS_OF_THE_PORT
        ends.append(await asyncio.to_thread(theatre.trader(stage).wait))
    assert ends[-1] == 0, ends
    found = await examine(stage)
    assert not found.faults, found.faults
    [lost] = [one for one in found.orders if (one.symbol, one.side) == (FILLS, Side.BUY)]
    assert lost.client_order_id in found.tags
    assert lost.status is OrderStatus.FILLED
