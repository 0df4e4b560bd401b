"""`caopan cycle` on one desk over several days: what was not looked at is caught up, in order."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, time

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.bootstrap.cycling import CycleOutcome, CycleRequest, run_cycle
from caopan.bootstrap.ledgers import read_story
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units
from caopan.settings import load_settings

MONDAY, FRIDAY = date(2025, 6, 9), date(2025, 6, 13)


@pytest.fixture
def decide(clean_database, tmp_path):
    settings = load_settings({"home": tmp_path}, environ={})

    def at(moment: datetime) -> CycleOutcome:
        request = CycleRequest(cash=units(1_000_000), model=None, data=None, seed=7, at=moment)
        return asyncio.run(run_cycle(clean_database, settings, request))

    return at


def closed_days(url: str, run_id: int) -> list[date]:
    async def read() -> list[date]:
        async with PostgresStore(url) as store, store.begin(run_id) as uow:
            return [point.trading_day for point in await uow.nav.all()]

    return asyncio.run(read())


def test_every_day_since_the_desk_was_opened_is_closed(clean_database, decide):
    """A desk opened before a close and asked again days later had no entitlements in between."""
    opened = decide(at_shanghai(MONDAY, time(9, 16)))
    again = decide(at_shanghai(FRIDAY, time(9, 16)))

    assert again.run_id == opened.run_id
    days = closed_days(clean_database, opened.run_id)
    assert days == [date(2025, 6, 9), date(2025, 6, 10), date(2025, 6, 11), date(2025, 6, 12)]


def test_before_a_days_rules_are_known_the_session_before_is_in_hand(decide):
    early = decide(at_shanghai(FRIDAY, time(3)))

    assert early.cycle.trading_day == date(2025, 6, 12)
    assert early.cycle.status_code in {None, "RISK_SESSION"}


def test_a_desk_trades_by_the_policy_of_its_file(clean_database, decide, tmp_path):
    (tmp_path / "risk.json").write_text('{"limits": {"orders_per_day": 0}}', encoding="utf-8")
    told = decide(at_shanghai(MONDAY, time(9, 16)))
    story = asyncio.run(read_story(clean_database, str(told.cycle.decision_id), None))
    assert story is not None
    (judged,) = [one["payload"] for one in story.as_json()["entries"] if one["stage"] == "risk"]
    policy = RiskPolicy(orders_per_day=0)
    assert judged["policy_version"] == policy.version
    reasons = [{reason["code"] for reason in one["reasons"]} for one in judged["verdicts"]]
    assert reasons
    assert all("RISK_ORDER_RATE" in codes for codes in reasons)


def test_another_policy_is_in_the_ledger_whole_before_anything_is_done_by_it(
    clean_database, decide, tmp_path
):
    told = decide(at_shanghai(MONDAY, time(9, 16)))
    (tmp_path / "risk.json").write_text('{"limits": {"orders_per_day": 7}}', encoding="utf-8")
    for minute in (17, 18):
        decide(at_shanghai(MONDAY, time(9, minute)))

    async def entries() -> list[tuple[str, dict]]:
        async with PostgresStore(clean_database) as store, store.begin(told.run_id) as uow:
            return [
                (entry.stage.value, json.loads(body or b"{}"))
                async for entry, body in uow.ledger.entries()
            ]

    found = asyncio.run(entries())
    stages = [stage for stage, _ in found]
    assert stages.count("config_change") == 2
    at = stages.index("config_change", 1)
    change, policy = found[at][1], RiskPolicy(orders_per_day=7)
    assert (change["old_version"], change["version"]) == (RiskPolicy().version, policy.version)
    assert RiskPolicy.from_json(change["body"]) == policy
    judged = [body["policy_version"] for stage, body in found[at:] if stage == "risk"]
    assert set(judged) == {policy.version}


def test_no_desk_is_opened_by_a_wrong_policy(clean_database, decide, tmp_path):
    (tmp_path / "risk.json").write_text('{"limits": {"orders_per_day": -1}}', encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=r"risk\.json: limits\.orders_per_day: -1"):
        decide(at_shanghai(MONDAY, time(9, 16)))
