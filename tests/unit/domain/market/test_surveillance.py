"""Programme trading and published patterns: figures, dates, edges."""

from datetime import date
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.surveillance import LocalLimits, Warned, trades_with_itself
from caopan.kernel.errors import Denied

TABLE = load_rules().market.surveillance
DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("second", "day", "high"),
    [(299, 0, False), (300, 0, True), (0, 19_999, False), (0, 20_000, True)],
)
def test_high_frequency(second, day, high):
    assert TABLE.high_frequency(DAY, in_a_second=second, in_the_day=day) is high


def test_reporting_first_is_asked_since_2024_10_08():
    assert not TABLE.must_be_reported(date(2024, 9, 30))
    assert TABLE.must_be_reported(date(2024, 10, 8))
    with pytest.raises(Denied, match="hft_per_second"):
        TABLE.high_frequency(date(2025, 7, 4), in_a_second=1)


def test_patterns_are_warned_of_at_their_published_figures():
    assert TABLE.self_trade(DAY, 10_000, 100_000) is Warned.SELF_TRADE_SHARE
    assert TABLE.self_trade(DAY, 9_999, 100_000) is None
    assert TABLE.self_trade(DAY, 0, 0) is None
    assert TABLE.pull_up(DAY, Fraction(4, 100), Fraction(1, 3)) is Warned.PULL_UP
    assert TABLE.pull_up(DAY, Fraction(-4, 100), None) is Warned.PULL_UP
    assert TABLE.pull_up(DAY, Fraction(399, 10_000), None) is None
    assert TABLE.pull_up(DAY, Fraction(1, 2), Fraction(0)) is None
    half = Fraction(1, 2)
    assert TABLE.spoof_open(DAY, Fraction(5, 100), half, is_st=False) is Warned.SPOOF_OPEN
    assert TABLE.spoof_open(DAY, Fraction(4, 100), half, is_st=False) is None
    assert TABLE.spoof_open(DAY, Fraction(3, 100), half, is_st=True) is Warned.SPOOF_OPEN
    assert TABLE.spoof_open(DAY, Fraction(5, 100), Fraction(49, 100), is_st=False) is None
    assert TABLE.limit_price(DAY, Fraction(1, 10)) is Warned.LIMIT_PRICE_SHARE
    assert TABLE.limit_price(DAY, Fraction(9, 100)) is None


def test_the_desks_own_limits_count_the_order_in_question():
    limits = LocalLimits()
    assert not limits.broken_by(in_a_second=10, in_the_day=2_000, cancelled=Fraction(1, 2))
    assert limits.broken_by(in_a_second=11)
    assert limits.broken_by(in_the_day=2_001)
    assert limits.broken_by(cancelled=Fraction(51, 100))


def test_meeting_ones_own_order():
    assert trades_with_itself(100, 100, buying=True)
    assert not trades_with_itself(99, 100, buying=True)
    assert trades_with_itself(100, 100, buying=False)
    assert not trades_with_itself(101, 100, buying=False)
    assert not trades_with_itself(101, None, buying=True)
