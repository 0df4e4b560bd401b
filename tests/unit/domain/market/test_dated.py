"""Finding the rule in force: half-open ranges, refusals, agreement of sources."""

from dataclasses import dataclass
from datetime import date

import pytest

from caopan.domain.market.dated import DatedRow, find, require
from caopan.kernel.errors import Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(DatedRow):
    says: int

    def value(self) -> object:
        return self.says


def rule(says, begins, ends=None, source="one"):
    return Rule(
        says=says,
        effective_from=date.fromisoformat(begins),
        effective_to=None if ends is None else date.fromisoformat(ends),
        source=source,
        confidence="V",
    )


ROWS = [rule(5, "2020-01-01", "2026-07-06"), rule(10, "2026-07-06")]


def test_a_rule_ends_the_day_before_the_next_begins():
    assert require(ROWS, date(2026, 7, 5), "limit").says == 5
    assert require(ROWS, date(2026, 7, 6), "limit").says == 10


def test_a_day_before_every_rule_is_refused_by_name():
    assert find(ROWS, date(2019, 12, 31), "limit") is None
    with pytest.raises(Denied, match="no rule for limit on 2019-12-31") as caught:
        require(ROWS, date(2019, 12, 31), "limit")
    assert caught.value.code == "RISK_RULES_UNKNOWN"


def test_sources_may_agree_but_not_differ():
    same = [*ROWS, rule(10, "2026-01-01", source="two")]
    assert require(same, date(2026, 7, 6), "limit").says == 10
    with pytest.raises(Denied, match="one says 5, two says 10"):
        require(same, date(2026, 7, 5), "limit")


def test_a_row_must_say_something():
    bare = DatedRow(effective_from=date(2020, 1, 1), source="s", confidence="V")
    with pytest.raises(NotImplementedError):
        bare.value()
