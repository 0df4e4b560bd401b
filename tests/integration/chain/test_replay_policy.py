"""The policy a replay is asked for is the one its orders are judged by, and part of what it is."""

from __future__ import annotations

import asyncio

import pytest

from caopan.application.ports.store import RunKind
from caopan.bootstrap.replaying import ReplayOutcome, ReplayRequest, Watcher, run_replay
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.money import units
from caopan.settings import load_settings


@pytest.fixture
def replayed(clean_database, tmp_path):
    # The desks' own policy would let nothing pass: it does not reach a replay.
    (tmp_path / "risk.json").write_text('{"limits": {"orders_per_day": 0}}', encoding="utf-8")
    settings = load_settings({"home": tmp_path}, environ={})

    def run(policy: RiskPolicy) -> ReplayOutcome:
        request = ReplayRequest(
            kind=RunKind.REPLAY,
            cash=units(1_000_000),
            model="builtin/momentum",
            seed=7,
            days=5,
            breadth=20,
            policy=policy,
        )
        watcher = Watcher(lambda *_: None, lambda *_: None)
        return asyncio.run(run_replay(clean_database, settings, request, watcher))

    return run


def test_a_replay_is_judged_by_the_policy_it_is_asked_for(replayed):
    usual, stopped = replayed(RiskPolicy()), replayed(RiskPolicy(orders_per_day=0))
    assert usual.report.fills > 0
    assert stopped.report.fills == 0
    assert usual.run.config_hash != stopped.run.config_hash
