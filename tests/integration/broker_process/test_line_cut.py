"""The line between trader and broker breaks, delays, repeats and garbles what passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.domain.orders.order import OrderStatus
from caopan.domain.risk.clearance import mint
from caopan.kernel.errors import Denied, OutcomeUnknown
from caopan.testing.broker_life import CASH, DAYS, ENDED_EARLY, STAYS, TraderPlan
from caopan.testing.faulty_line import FaultyLine, LineFault
from caopan.testing.samples import sample_order

UNAVAILABLE = {"BROKER_DISCONNECTED", "BROKER_TIMEOUT", "BROKER_PROTOCOL"}
COMMANDS = (("submit", 0), ("submit", 1), ("cancel", 0))
QUESTIONS = (("reports", 1), ("account", 0), ("find", 0))


async def lived_through(theatre, stage, line: FaultyLine, wait_s: float) -> list[int]:
    """Live on that line until a life comes to its end; return the exit codes."""
    codes: list[int] = []
    while not codes or (codes[-1] == ENDED_EARLY and len(codes) < 4):
        life = theatre.trader(stage, TraderPlan(through=line.here, wait_s=wait_s))
        codes.append(await asyncio.to_thread(life.wait))
        if codes[-1] == ENDED_EARLY:
            assert life.passed[-1] in UNAVAILABLE, life.passed[-1]
    return codes


@pytest.mark.parametrize("fault", list(LineFault))
async def test_whatever_the_line_does_the_venue_has_each_order_once(theatre, examine, fault):
    stage = await theatre.stage()
    theatre.broker(stage)
    faults = {command: fault for command in (*COMMANDS, *QUESTIONS)}  # noqa: C420 - typed
    late = fault is LineFault.LATE_ANSWER
    line = FaultyLine(stage.home / "line.sock", stage.socket, faults, late_s=0.5)
    async with line:
        codes = await lived_through(theatre, stage, line, 0.25 if late else 5.0)
        assert codes[-1] == 0, codes
        assert line.met.count(fault) >= 4
        submitted = [given["order"]["client_order_id"] for given in line.sent("submit")]
    assert len(submitted) == len(set(submitted))
    found = await examine(stage)
    assert not found.faults, (codes, found.faults)
    by_tag = {one.client_order_id: one for one in found.orders}
    for tag in submitted[:2]:
        if fault is LineFault.CUT_BEFORE:
            assert by_tag[tag].status is OrderStatus.NOT_SENT
            assert by_tag[tag].reject_code == "BROKER_NEVER_SEEN"
        else:
            assert tag in found.tags


async def test_an_answer_said_twice_is_never_taken_for_the_next_request(theatre):
    """A refusal heard twice would end an order that the venue works."""
    stage = await theatre.stage(real_time=True)
    theatre.broker(stage)
    clock = stage.clock()
    refused = sample_order(
        client_order_id="CREFUSED",
        symbol="600999.SH",
        trading_day=DAYS[0],
        not_after=clock.now() + timedelta(minutes=3),
    )
    good = replace(
        refused, client_order_id="CGOOD", symbol=STAYS, clearance_id=refused.order_id, qty=100
    )
    faults = {("submit", 0): LineFault.TWO_ANSWERS}
    async with FaultyLine(stage.home / "line.sock", stage.socket, faults) as line:
        client = stage.client(clock, line.here)
        await client.deposit("opening", CASH)
        with pytest.raises(Denied):
            await client.submit(refused, mint(refused, "policy"))
        with pytest.raises(OutcomeUnknown, match="BROKER_PROTOCOL"):
            await client.submit(good, mint(good, "policy"))
        found = await client.find("CGOOD")
        assert found is not None
        assert (found.client_order_id, found.status) == ("CGOOD", OrderStatus.ACCEPTED)
        assert await client.find("CREFUSED") is None
        await client.close()
