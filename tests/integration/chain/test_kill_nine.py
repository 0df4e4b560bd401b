"""SIGKILL at every stage boundary of a real process on a real database, then start again.

One life per boundary: killed there, started again, run to its end. Whatever the boundary: no order
reaches the venue twice, no stage of a decision is lost, the ledger verifies and our books equal
what the venue itself recorded.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.application.ports.store import RunKind
from caopan.application.reporting import RunReport, report_run
from caopan.domain.orders.order import OrderStatus
from caopan.kernel.money import units
from caopan.testing.crash_life import Lives
from caopan.testing.scenario import CASH

CONFIG = {"scenario": "kill nine"}


def new_run(url: str) -> int:
    async def create() -> int:
        async with PostgresStore(url) as store:
            run = await store.create_run(
                RunKind.REPLAY, "sandbox", CONFIG, "a" * 64, datetime(2023, 6, 1, tzinfo=UTC)
            )
            return run.run_id

    return asyncio.run(create())


async def _examine(url: str, run_id: int) -> tuple[RunReport, list[str], dict[str, int]]:
    """Return the report, the venue's tags in order of arrival, and what must be zero."""
    journal = PostgresVenueJournal(url)
    events = await journal.load(run_id)
    await journal.close()
    tags = [str(e.body["client_order_id"]) for e in events if e.kind == "accepted"]
    traded = {
        (str(e.body["client_order_id"]), int(e.body["qty"]), units(e.body["price"]))
        for e in events
        if e.kind == "trade"
    }
    async with PostgresStore(url) as store:
        report = await report_run(store, run_id, CASH)
        async with store.begin(run_id) as uow:
            orders = {o.order_id: o for o in await uow.orders.all()}
            booked = {
                (orders[f.order_id].client_order_id, f.qty, f.price)
                for f in await uow.orders.fills()
            }
            open_cycles = len(await uow.cycles.unfinished())
    unplaced = sum(
        order.client_order_id not in tags
        for order in orders.values()
        if order.status not in (OrderStatus.NOT_SENT, OrderStatus.REJECTED)
    )
    return (
        report,
        tags,
        {
            "fills that differ from the venue's": len(traded ^ booked),
            "decisions left open": open_cycles,
            "orders the venue never saw": unplaced,
            "orders not over": sum(not order.is_terminal for order in orders.values()),
        },
    )


@pytest.fixture(scope="module")
def lives(database_url: str) -> Lives:
    return Lives(database_url)


@pytest.fixture(scope="module")
def points(lives: Lives, database_url: str) -> list[str]:
    """The boundaries, as an undisturbed life passes them."""
    exit_code, passed = lives.live(new_run(database_url))
    assert exit_code == 0
    return passed


def test_the_scenario_touches_every_stage(points: list[str]) -> None:
    text = "\n".join(points)
    for stage in (
        "observation",
        "actor",
        "checker",
        "risk",
        "sending",
        "order",
        "fill",
        "outcome",
        "accounting",
        "the wire",
        "accepted",
        "trade",
        "expired",
    ):
        assert stage in text


def test_killed_at_every_boundary_nothing_is_lost_or_doubled(
    lives: Lives, database_url: str, points: list[str]
) -> None:
    undisturbed = new_run(database_url)
    assert lives.live(undisturbed)[0] == 0
    whole, whole_tags, _ = asyncio.run(_examine(database_url, undisturbed))
    heads: dict[str, str] = {}
    for number, label in enumerate(points):
        run_id = new_run(database_url)
        exit_code, passed = lives.live(run_id, number)
        assert (exit_code, passed[-1]) == (-9, label)
        assert lives.live(run_id)[0] == 0, label
        report, tags, faults = asyncio.run(_examine(database_url, run_id))
        assert not any(faults.values()), (label, faults)
        assert len(tags) == len(set(tags)), label
        assert set(tags) <= set(whole_tags), label
        assert report.verification.verified, label
        assert report.trace_coverage == 1.0, label
        assert report.decisions == whole.decisions, label
        heads[f"{number} {label}"] = report.verification.head
    # A crash between "sending" and the venue's word may leave an order unsent, on the safe side;
    # anywhere else the chain must come out as if nothing had happened.
    different = {point for point, head in heads.items() if head != whole.verification.head}
    uncertain = ("after commit of sending", "before the wire", "before the venue records accepted")
    assert all(point.endswith(uncertain) for point in different), different
