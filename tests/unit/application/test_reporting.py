"""The report: recomputed from what is stored, so that whatever was changed there shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from caopan.application.account import AccountCache
from caopan.application.ports.store import RunKind
from caopan.application.reporting import RunReport, report_run
from caopan.domain.accounting.journal import CASH_FREE, CNY
from caopan.domain.decision.shapes import DecisionStatus
from caopan.domain.ledger.chain import Fault, Stage
from caopan.domain.risk.kill_switch import Control
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units
from caopan.testing.memory_state import RunState
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.samples import NOW
from caopan.testing.scenario import CASH, DAYS, DECISIONS, Scenario, open_scenario
from caopan.testing.sim_loop import simulate


async def played() -> tuple[MemoryStore, Scenario]:
    store = MemoryStore()
    run = await store.create_run(RunKind.REPLAY, "sandbox", {}, "a" * 64, NOW)
    scenario = await open_scenario(run, store, MemoryVenueJournal(store.database))
    await scenario.play()
    return store, scenario


def report_after(change: Callable[[RunState], None] = lambda _state: None) -> RunReport:
    """Return the report of the scenario after something was changed behind its back."""

    async def program() -> RunReport:
        store, scenario = await played()
        change(store.database.runs[scenario.pipeline.desk.run.run_id])
        return await report_run(store, scenario.pipeline.desk.run.run_id, CASH)

    return simulate(program())


def test_the_scenario_counted():
    report = report_after()
    assert report.decisions == sum(report.by_status.values()) == DECISIONS
    assert report.rejected_by_code["RISK_LOT_SIZE"] == 1
    assert report.model_failures == {"MODEL_PARSE_FAIL": 1}
    assert report.orders > 0
    assert report.fills > 0
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert (report.nav_start, report.nav_end) == (CASH, report.nav[-1].nav)
    assert [point.trading_day for point in report.nav] == sorted(
        point.trading_day for point in report.nav
    )
    # The last close is cash, holdings and nothing else.
    last = report.nav[-1]
    assert last.nav == last.cash_free + last.cash_frozen + last.market_value
    assert last.fees_total == report.fees
    assert json.loads(json.dumps(report.as_json())) == report.as_json()


def test_the_same_seed_gives_the_same_report():
    assert report_after() == report_after()


def test_the_image_in_memory_is_what_the_store_holds():
    async def program() -> tuple[AccountCache, AccountCache]:
        store, scenario = await played()
        async with store.begin(scenario.pipeline.desk.run.run_id) as uow:
            return scenario.pipeline.account, await AccountCache.load(uow)

    live, loaded = simulate(program())
    assert loaded.book.balances == live.book.balances
    assert loaded.working == live.working
    assert loaded.last_nav == live.last_nav
    assert loaded.nav_peak == live.nav_peak
    assert loaded.exit_plans == live.exit_plans
    assert loaded.flow == live.flow
    for day in DAYS:
        if day >= max(live.day, loaded.day):
            seen = [
                one.standing({}, {}, day, control=Control(), licence=Licence(Venue.SANDBOX))
                for one in (live, loaded)
            ]
            assert seen[0] == seen[1]


def entry_of(state: RunState, stage: Stage) -> int:
    return next(i for i, (entry, _) in enumerate(state.entries) if entry.stage is stage)


def flip_payload(state: RunState) -> None:
    index = entry_of(state, Stage.FILL)
    entry, payload = state.entries[index]
    assert payload is not None
    state.entries[index] = (entry, payload.replace(b'"qty":', b'"qtz":'))


def drop_entry(state: RunState) -> None:
    del state.entries[entry_of(state, Stage.RISK)]


def cut_tail(state: RunState) -> None:
    del state.entries[-1]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (flip_payload, Fault.PAYLOAD_CHANGED),
        (drop_entry, Fault.MISSING),
        (cut_tail, Fault.HEAD_MISMATCH),
    ],
)
def test_a_broken_chain_covers_nothing(change, fault):
    report = report_after(change)
    assert report.verification.fault is fault
    assert report.trace_coverage == 0.0
    assert report.as_json()["ledger"]["verified"] is False


def cheaper_fill(state: RunState) -> None:
    fill_id, fill = next(iter(state.fills.items()))
    state.fills[fill_id] = replace(fill, price=fill.price - 100)


def lost_fill(state: RunState) -> None:
    state.fills.pop(next(iter(state.fills)))


def larger_order(state: RunState) -> None:
    order_id, order = next((i, o) for i, o in state.orders.items() if o.is_terminal)
    state.orders[order_id] = replace(order, price=order.price + 100)


def lost_order(state: RunState) -> None:
    state.orders.pop(next(iter(state.orders)))


def another_trace(state: RunState) -> None:
    decision_id, cycle = next(iter(state.cycles.items()))
    state.cycles[decision_id] = replace(cycle, trace_id=cycle.decision_id)


def another_status(state: RunState) -> None:
    decision_id, cycle = next(
        (i, c) for i, c in state.cycles.items() if c.status is not DecisionStatus.EXECUTED
    )
    state.cycles[decision_id] = replace(cycle, status=DecisionStatus.EXECUTED)


def another_code(state: RunState) -> None:
    decision_id, cycle = next((i, c) for i, c in state.cycles.items() if c.status_code)
    state.cycles[decision_id] = replace(cycle, status_code=None)


@pytest.mark.parametrize(
    "change",
    [
        *(cheaper_fill, lost_fill, larger_order, lost_order),
        *(another_trace, another_status, another_code),
    ],
)
def test_a_row_that_is_not_as_the_chain_has_it_is_no_whole_trace(change):
    report = report_after(change)
    assert report.verification.verified
    assert report.trace_coverage < 1.0


def test_books_that_do_not_sum_to_their_balances_are_no_report():
    def richer(state: RunState) -> None:
        state.balances[CASH_FREE, CNY] += units(1)

    with pytest.raises(CorruptState) as caught:
        report_after(richer)
    assert caught.value.code == "BOOKS_DIFFER"


def test_an_empty_run_has_a_report_too():
    async def program() -> RunReport:
        store = MemoryStore()
        run = await store.create_run(RunKind.REPLAY, "sandbox", {}, "a" * 64, NOW)
        return await report_run(store, run.run_id, CASH)

    report = simulate(program())
    assert (report.decisions, report.nav_end, report.trace_coverage) == (0, CASH, 1.0)
    assert report.verification.verified
