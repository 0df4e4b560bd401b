"""risk.json in CAOPAN_HOME: the policy of every desk, taken whole or refused whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from caopan.adapters.clock.system import SystemClock
from caopan.application.ports.market_data import DatasetInfo
from caopan.application.ports.store import RunKind
from caopan.bootstrap.desks import DeskChoice, sat_down
from caopan.bootstrap.gate_check import (
    NOTHING_BUT_EXITS,
    POLICY_FILE,
    policy_at_any_rate,
    policy_in_force,
)
from caopan.bootstrap.run_config import RunConfig, config_hash
from caopan.domain.orders.order import Side
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import load_settings
from caopan.testing.samples import sample_fees, sample_proposal, sample_question

WRONG = {"limits": {"max_positions": 3, "single_order_cap": "much"}}


def written(home: Path, body: object) -> Path:
    path = home / POLICY_FILE
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def test_without_a_file_the_built_in_policy_is_in_force(tmp_path: Path):
    assert policy_in_force(tmp_path) == (RiskPolicy(), None)


def test_the_file_is_in_force_and_changes_the_version(tmp_path: Path):
    path = written(tmp_path, {"limits": {"gross_cap": "0.5", "order_timeout_s": 90}})
    policy, source = policy_in_force(tmp_path)
    assert (policy.gross_cap, policy.order_timeout_s, source) == (Fraction(1, 2), 90, path)
    assert policy.version != RiskPolicy().version


def test_of_a_wrong_file_nothing_is_taken(tmp_path: Path):
    written(tmp_path, WRONG)
    with pytest.raises(ConfigInvalid) as caught:
        policy_in_force(tmp_path)
    assert caught.value.code == "POLICY_INVALID"
    assert "risk.json: limits.single_order_cap: 'much'" in caught.value.message
    assert "decimal string" in str(caught.value.remedy)


def test_a_file_that_cannot_be_read_is_not_a_file_that_is_not_there(tmp_path: Path):
    (tmp_path / POLICY_FILE).symlink_to(tmp_path / "gone.json")
    with pytest.raises(ConfigInvalid) as caught:
        policy_in_force(tmp_path)
    assert caught.value.code == "GATE_FILE_UNREADABLE"


def test_nobody_sits_down_to_trade_by_a_wrong_file(tmp_path: Path):
    written(tmp_path, WRONG)
    settings = load_settings({"home": tmp_path}, environ={})

    async def sit() -> None:
        # There is no such database: the policy is read before anything is asked of one.
        async with sat_down("postgresql://127.0.0.1:1/x", settings, DeskChoice(), SystemClock()):
            pytest.fail("the desk was sat down at")

    with pytest.raises(ConfigInvalid, match=r"risk\.json"):
        asyncio.run(sit())


def test_a_halt_goes_on_by_a_policy_that_lets_only_exits_through(tmp_path: Path):
    written(tmp_path, WRONG)
    policy = policy_at_any_rate(tmp_path)
    assert policy is NOTHING_BUT_EXITS
    for side, is_exit in ((Side.BUY, False), (Side.BUY, True), (Side.SELL, False)):
        order = sample_proposal(side=side, is_exit=is_exit)
        assert not judge_order(sample_question(order=order, policy=policy)).passed
    leaving = sample_proposal(side=Side.SELL, is_exit=True)
    assert judge_order(sample_question(order=leaving, policy=policy)).passed
    written(tmp_path, {})
    assert policy_at_any_rate(tmp_path) == RiskPolicy()


def test_a_run_of_another_policy_is_another_run():
    day = date(2023, 6, 1)
    run = RunConfig(RunKind.REPLAY, "sandbox", "builtin/momentum", 10**10, day, day, 0, None)
    info = DatasetInfo("x", True, "c" * 64, day, day, (), 0, "x", "x")
    base = RiskPolicy()
    policies = (base, replace(base, gross_cap=Fraction(1, 2)), replace(base, order_timeout_s=60))
    hashes = {config_hash(run.as_json(info, policy, sample_fees())) for policy in policies}
    assert len(hashes) == len(policies)
