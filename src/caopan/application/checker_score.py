"""A model checker's verdicts beside what gate and market said afterwards.

Owns `judged_decisions` (of a run's ledger) and `score`. Pure. What is not known is absent, never
zero. Must never count a decision that no model checker looked at. Tests:
tests/unit/application/test_checker_score.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from caopan.domain.ledger.chain import Entry, Stage
from caopan.domain.orders.order import Side
from caopan.kernel.money import units, yuan

CloseAfter = Callable[[str, date], int | None]
"""The close (units) of a symbol some sessions after a day; None where nobody knows it, or the
shares are no longer the same."""
_FEES = ("commission", "stamp_duty", "transfer_fee", "other_fees")
_ANSWERED = "ok"


@dataclass(frozen=True, slots=True)
class Traded:
    """One fill. Money in units."""

    symbol: str
    side: Side
    qty: int
    price: int
    fees: int
    day: date


@dataclass(slots=True)
class Judged:
    """One decision that a model checker looked at."""

    decision_id: UUID
    checker: str
    passed: bool
    answered: bool
    """False where no readable verdict came: a refusal too, but not its opinion."""
    gate: list[bool] | None = None
    """What the gate said of each action; None where it was never asked."""
    fills: list[Traded] = field(default_factory=list[Traded])


@dataclass(frozen=True, slots=True)
class CheckerScore:
    """One model checker's verdicts, counted. Money in units."""

    checker: str
    passed: int
    refused: int
    unanswered: int
    """Of the refused: without a readable verdict."""
    gate_judged: int
    """Of the passed: those with an action that the gate judged."""
    gate_refused: int
    """Of these: with every action refused."""
    gate_refused_in_part: int
    filled: int
    """Of the passed: those that traded."""
    measured: int
    """Of these: where the market has answered for every fill."""
    gained: int
    """Of the measured: those that were better than not trading, fees included."""
    result: int | None
    """Of the measured together; None where there is none."""

    def as_json(self) -> dict[str, Any]:
        """Return the score as JSON values; an unknown result is absent."""
        market: dict[str, Any] = {
            "filled": self.filled,
            "measured": self.measured,
            "gained": self.gained,
        }
        if self.result is not None:
            market["result"] = yuan(self.result)
        return {
            "checker": self.checker,
            "judged": self.passed + self.refused,
            "passed": self.passed,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "gate": {
                "judged": self.gate_judged,
                "refused": self.gate_refused,
                "refused_in_part": self.gate_refused_in_part,
            },
            "market": market,
        }


def judged_decisions(entries: Iterable[tuple[Entry, bytes | None]]) -> list[Judged]:
    """Return the decisions of a run's ledger (in order) that a model checker looked at."""
    found: dict[UUID, Judged] = {}
    for entry, payload in entries:
        key = entry.decision_id
        if key is None or payload is None:
            continue
        if entry.stage is Stage.CHECKER:
            told = json.loads(payload).get("model_checker", {})
            if "pass" in told:
                answered = told["outcome"] == _ANSWERED
                found[key] = Judged(key, told["model"], told["pass"], answered)
        elif key in found and entry.stage is Stage.RISK and found[key].gate is None:
            # The first word on the decision; what follows is of single orders.
            found[key].gate = [one["pass"] for one in json.loads(payload)["verdicts"]]
        elif key in found and entry.stage is Stage.FILL:
            found[key].fills.append(_traded(json.loads(payload)))
    return list(found.values())


def score(decisions: Iterable[Judged], close_after: CloseAfter) -> list[CheckerScore]:
    """Return the score of each model checker, by its name."""
    by_checker: dict[str, list[Judged]] = {}
    for one in decisions:
        by_checker.setdefault(one.checker, []).append(one)
    return [_score(name, by_checker[name], close_after) for name in sorted(by_checker)]


def result_of(fills: Sequence[Traded], close_after: CloseAfter) -> int | None:
    """Return what trading was worth over not trading at the later closes, units, less its fees.

    None where there is nothing to measure, or one of the closes is not known.
    """
    total = 0
    for fill in fills:
        close = close_after(fill.symbol, fill.day)
        if close is None:
            return None
        gain = close - fill.price if fill.side is Side.BUY else fill.price - close
        total += gain * fill.qty - fill.fees
    return total if fills else None


def _score(name: str, decisions: Sequence[Judged], close_after: CloseAfter) -> CheckerScore:
    passed = [one for one in decisions if one.passed]
    gate = [one.gate for one in passed if one.gate]
    results = [result_of(one.fills, close_after) for one in passed]
    known = [result for result in results if result is not None]
    return CheckerScore(
        checker=name,
        passed=len(passed),
        refused=len(decisions) - len(passed),
        unanswered=sum(not one.answered for one in decisions),
        gate_judged=len(gate),
        gate_refused=sum(not any(verdicts) for verdicts in gate),
        gate_refused_in_part=sum(any(verdicts) and not all(verdicts) for verdicts in gate),
        filled=sum(bool(one.fills) for one in passed),
        measured=len(known),
        gained=sum(result > 0 for result in known),
        result=sum(known) if known else None,
    )


def _traded(values: dict[str, Any]) -> Traded:
    return Traded(
        symbol=values["symbol"],
        side=Side(values["side"]),
        qty=values["qty"],
        price=units(values["price"]),
        fees=sum(units(values[name]) for name in _FEES),
        day=date.fromisoformat(values["trading_day"]),
    )
