"""At a broker only what was reported runs: another build, model, prompt or limit is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.pipeline import Pipeline
from caopan.domain.ledger.chain import Stage
from caopan.domain.risk.venue import (
    Licence,
    Permission,
    ProgramReport,
    ReportStatus,
    Venue,
    strategy_hash_of,
)
from caopan.testing.models import buy_action
from caopan.testing.table_desk import CASH, FIRST, POLICY, TableDesk

BUILD = "1.0+abc"
STRATEGY = strategy_hash_of("model", "a" * 64, POLICY.version)
REPORT = ProgramReport(ReportStatus.CONFIRMED, 100, 1_000, None, BUILD, STRATEGY)


async def refused(licence: Licence) -> set[str]:
    """Return the codes the gate refuses a buy with."""
    desk = await TableDesk().open()
    desk.pipeline = Pipeline(replace(desk.pipeline.desk, licence=licence))
    await desk.pipeline.start(CASH)
    cycle = await desk.decide(buy_action(FIRST, 1_000, "10.00"))
    async with desk.pipeline.seat.begin() as uow:
        (body,) = [body async for _, body in uow.ledger.entries(cycle.decision_id, Stage.RISK)]
    assert desk.counter.sent == []
    verdicts = json.loads(body or b"")["verdicts"]
    return {reason["code"] for verdict in verdicts for reason in verdict["reasons"]}


def runs(build: str, strategy: str, report: ProgramReport = REPORT) -> Licence:
    return Licence(Venue.BROKER, frozenset(Permission), report, build, strategy)


async def test_what_was_reported_and_confirmed_is_not_refused_for_that():
    # Of a broker's account nobody has confirmed yet: that alone is missing here.
    assert await refused(runs(BUILD, STRATEGY)) == {"RISK_STALE_ACCOUNT"}


@pytest.mark.parametrize(
    "licence",
    [
        runs("1.0+abd", STRATEGY),
        runs(BUILD, strategy_hash_of("another", "a" * 64, POLICY.version)),
        runs(BUILD, strategy_hash_of("model", "b" * 64, POLICY.version)),
        runs(BUILD, strategy_hash_of("model", "a" * 64, replace(POLICY, orders_per_day=3).version)),
        runs("", ""),
        runs(BUILD, STRATEGY, replace(REPORT, software_version="", strategy_hash="")),
        runs(BUILD, STRATEGY, replace(REPORT, status=ReportStatus.REPORTED)),
    ],
    ids=["build", "model", "prompt", "policy", "unknown", "report says nothing", "unconfirmed"],
)
async def test_whatever_else_runs_is_refused(licence):
    assert "RISK_NOT_REPORTED" in await refused(licence)


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_two_strategies_have_two_names(strategies):
    first, second = (strategy_hash_of(*one) for one in strategies)
    assert first != second
    assert len(first) == 64
