"""What language models really did with an account, against reader, rule checker and gate.

Each record of CAOPAN_REAL_DATA/llm_actions.parquet is put as a model's raw reply to the account
that the record before it left (product.py). The verdict must be the one that plain_rules.py finds
by itself. `pytest -rP` on this file prints the counts that docs/actor.md shows.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from tests.integration.actor.plain_rules import UNREADABLE, Verdict, expected, sellable
from tests.integration.actor.product import asked
from tests.integration.actor.recorded_runs import (
    Case,
    Closes,
    Timing,
    read_cases,
    read_closes,
    read_sessions,
)

ROOT = Path(__file__).parents[3]
HOUR = "RISK_SESSION"


@dataclass(frozen=True)
class Recorded:
    """The files, and the verdict on every record in its order, by timing."""

    cases: list[Case]
    closes: Closes
    sessions: AbstractSet[date]
    verdicts: Mapping[Timing, list[Verdict]]


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(os.environ.get("CAOPAN_REAL_DATA", ROOT.parent / "shared" / "data"))
    for name in ("llm_actions.parquet", "bars_60min_sse50.parquet", "calendar_xshg.csv"):
        if not (found / name).exists():
            pytest.skip(f"no {name} in {found} (CAOPAN_REAL_DATA names the folder)")
    return found


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Recorded:
    cases = read_cases(folder / "llm_actions.parquet")
    closes = read_closes(folder / "bars_60min_sse50.parquet")
    verdicts = {
        timing: [asked(case, case.record.decided(timing), closes) for case in cases]
        for timing in Timing
    }
    return Recorded(cases, closes, read_sessions(folder / "calendar_xshg.csv"), verdicts)


@pytest.mark.parametrize("timing", Timing)
def test_every_recorded_action_gets_the_verdict_of_the_plain_rules(
    recorded: Recorded, timing: Timing
) -> None:
    differ = [
        (case.record, verdict, plain)
        for case, verdict in zip(recorded.cases, recorded.verdicts[timing], strict=True)
        if verdict
        != (
            plain := expected(case, case.record.decided(timing), recorded.closes, recorded.sessions)
        )
    ]
    assert not differ, f"{len(differ)} of {len(recorded.cases)}, the first: {differ[0]}"


@pytest.mark.parametrize("timing", Timing)
def test_every_sale_of_shares_bought_that_day_is_refused_for_t_plus_1(
    recorded: Recorded, timing: Timing
) -> None:
    judged = zip(recorded.cases, recorded.verdicts[timing], strict=True)
    same_day = [(case.record, verdict) for case, verdict in judged if _sells_todays_shares(case)]
    if not same_day:
        pytest.skip("these records hold no sale of shares bought the same day")
    let_through = [record for record, verdict in same_day if "RISK_TPLUS1" not in verdict.gate]
    assert not let_through


def test_nothing_else_is_refused_for_t_plus_1(recorded: Recorded) -> None:
    judged = zip(recorded.cases, recorded.verdicts[Timing.AS_TRADED], strict=True)
    refused = [case for case, verdict in judged if "RISK_TPLUS1" in verdict.gate]
    assert [case.record for case in refused if not _sells_todays_shares(case)] == []


def test_the_hour_of_a_decision_changes_nothing_but_whether_the_exchange_is_open(
    recorded: Recorded,
) -> None:
    for one, other in zip(*recorded.verdicts.values(), strict=True):
        assert (one.read, one.checker, one.gate - {HOUR}) == (
            other.read,
            other.checker,
            other.gate - {HOUR},
        )


def test_the_counts_add_up_and_are_those_of_the_docs(recorded: Recorded, folder: Path) -> None:
    models = sorted({case.record.model for case in recorded.cases})
    columns = {model: _counts(recorded, {model}) for model in models}
    whole = _counts(recorded, set(models))
    for name, count in whole.items():
        assert count == sum(column[name] for column in columns.values()), name
    assert whole["records"] == len(recorded.cases)
    assert whole["records"] == whole["no-op"] + whole[UNREADABLE] + whole["orders"]
    assert whole["orders"] == whole["passed"] + whole["refused"]
    table = _table({**columns, "all": whole})
    sys.stdout.write(table)
    docs = (ROOT / "docs" / "actor.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((folder / "llm_actions.parquet").read_bytes()).hexdigest()
    # Of other records the page says nothing.
    assert digest[:16] not in docs or table in docs


def _sells_todays_shares(case: Case) -> bool:
    record = case.record
    if record.action != "sell" or not record.symbol or not record.amount:
        return False
    return sellable(case, record.symbol) < record.amount <= case.holdings.get(record.symbol, 0)


def _counts(recorded: Recorded, models: AbstractSet[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for case, traded, stamped in zip(
        recorded.cases,
        recorded.verdicts[Timing.AS_TRADED],
        recorded.verdicts[Timing.AS_STAMPED],
        strict=True,
    ):
        if case.record.model not in models:
            continue
        is_order = traded.read == "order"
        found["records"] += 1
        found["no-op"] += traded.read == "no_op"
        found[UNREADABLE] += traded.read == UNREADABLE
        found["orders"] += is_order
        found["passed"] += is_order and not traded.reasons
        found["refused"] += is_order and bool(traded.reasons)
        found["sales"] += is_order and case.record.action == "sell"
        found["sales of shares bought that day"] += _sells_todays_shares(case)
        found[f"{HOUR} as stamped"] += HOUR in stamped.gate
        found.update(traded.checker | traded.gate)
    return found


def _table(columns: Mapping[str, Counter[str]]) -> str:
    """Return the counts as the page shows them: reasons last, in alphabetical order."""
    names = list(columns["all"])
    codes = sorted(name for name in names if name.isupper() and name != UNREADABLE)
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    lines += [
        f"| {name} | {' | '.join(str(column[name]) for column in columns.values())} |"
        for name in [name for name in names if name not in codes] + codes
    ]
    return "\n".join(lines) + "\n"
