"""`rules check`: every case of a file answered by the product's own rules, and the tally.

Owns which judge answers which category and how a file is summed up. Must never see an expectation
before its answer is made, nor know a case by its id. Tests:
tests/unit/adapters/rules/test_cases.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from caopan.adapters.rules import case_figures, case_orders
from caopan.adapters.rules.book import load_rules
from caopan.adapters.rules.case_file import (
    Answer,
    Case,
    Expectation,
    UnreadableError,
    differences,
    read_cases,
)
from caopan.adapters.rules.case_orders import Rules
from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.errors import CaopanError, ConfigInvalid, Denied

_JUDGES: Mapping[str, Callable[[Case, Rules], Answer]] = {
    "price_limit": case_orders.price_limit,
    "price_cage": case_orders.price_cage,
    "quantity": case_orders.quantity,
    "phase_ordertype": case_orders.phase_ordertype,
    "t1_cash": case_orders.t1_cash,
    "fee": case_figures.fee,
    "corporate_action": case_figures.corporate_action,
    "program_trading": case_figures.program_trading,
    "matching": case_figures.matching,
}


class Verdict(StrEnum):
    """How a case came out."""

    PASSED = "passed"
    FAILED = "failed"
    """Differs, or cannot be answered, and its confidence makes that a failure."""
    DIFFERS = "differs"
    """Differs, or cannot be answered, where sources conflict or memory is the only one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One case with its answer."""

    case: Case
    wanted: Expectation
    answer: Answer | None
    """None where it could not be answered."""
    verdict: Verdict
    differs: tuple[tuple[str, str, str], ...]
    """(column, expected, found) of each difference."""
    reason: str
    """Why the case differs or could not be answered; "" where it passed."""
    unreadable: str = ""
    """The column or context key that could not be read."""


def answer(case: Case, rules: Rules) -> Answer:
    """Return what the rules say to `case`.

    A refusal by the rules themselves is an answer: "REFUSED:" and its code.

    Raises:
        UnreadableError: if a column or context key is not understood.
    """
    judge = _JUDGES.get(case.category)
    if judge is None:
        raise UnreadableError("category", case.category)
    try:
        return judge(case, rules)
    except Denied as error:
        return Answer(f"REFUSED:{error.code}", detail=error.message)


def check_cases(path: Path, calendar: TradingCalendar) -> list[Checked]:
    """Return every case of the file at `path`, answered and compared, in the file's order.

    Raises:
        ConfigInvalid: CASES_UNREADABLE if the file is none of cases; RULES_UNREADABLE.
    """
    rules = Rules(load_rules(), calendar)
    return [_check(case, wanted, rules) for case, wanted in read_cases(path)]


def tally(checked: Sequence[Checked], key: Callable[[Checked], str]) -> dict[str, dict[str, int]]:
    """Return how many cases came out how, by whatever `key` names, in order of appearance."""
    counts: dict[str, Counter[Verdict]] = {}
    for one in checked:
        counts.setdefault(key(one), Counter())[one.verdict] += 1
    return {
        name: {verdict.value: count[verdict] for verdict in Verdict}
        for name, count in counts.items()
    }


def _check(case: Case, wanted: Expectation, rules: Rules) -> Checked:
    against = Verdict.FAILED if wanted.binding else Verdict.DIFFERS
    try:
        found = answer(case, rules)
    except UnreadableError as error:
        return Checked(case, wanted, None, against, (), error.message, error.field)
    except ConfigInvalid as error:
        return Checked(case, wanted, None, against, (), str(error), _field(error))
    except CaopanError as error:
        return Checked(case, wanted, None, against, (), str(error))
    apart = tuple(differences(wanted, found))
    if not apart:
        return Checked(case, wanted, found, Verdict.PASSED, (), "")
    reason = found.detail or "by the rules in force"
    return Checked(case, wanted, found, against, apart, reason)


def _field(error: ConfigInvalid) -> str:
    return "context" if error.code in {"MONEY_INVALID", "RATE_INVALID"} else error.code
