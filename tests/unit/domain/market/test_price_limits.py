"""Price limits: the rule in force by board, state and date, and the refusal of unknown cases."""

from datetime import date
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.price_limits import (
    LimitCase,
    LimitRounding,
    LimitRow,
    LimitState,
    PriceLimitTable,
    RoundingRow,
    TickRow,
)
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.errors import Denied
from caopan.kernel.money import units, yuan

SH, SZ, BJ = Exchange.SH, Exchange.SZ, Exchange.BJ
MAIN, CHINEXT, STAR, BSE = Board.MAIN, Board.CHINEXT, Board.STAR, Board.BSE


def limits(exchange, board, day, pre_close, **state):
    case = LimitCase(exchange, board, date.fromisoformat(day), state.pop("st", False), **state)
    found = load_rules().market.limits.limits(case, units(pre_close))
    return (found.up, found.down)


def yuan_pair(up, down):
    return (units(up), units(down))


@pytest.mark.parametrize(
    ("exchange", "board", "day", "state", "pre_close", "up", "down"),
    [
        (SH, MAIN, "2026-11-20", {}, "10.00", "11.00", "9.00"),
        (SZ, MAIN, "2026-11-20", {}, "12.35", "13.59", "11.12"),
        (SH, MAIN, "2023-08-11", {}, "1.05", "1.16", "0.95"),
        # ST on the main boards: 5 % to 2026-07-05, 10 % from 2026-07-06.
        (SH, MAIN, "2026-07-03", {"st": True}, "3.21", "3.37", "3.05"),
        (SZ, MAIN, "2026-07-06", {"st": True}, "3.21", "3.53", "2.89"),
        # ChiNext: 10 % (ST 5 %) to 2020-08-23, then 20 % for both.
        (SZ, CHINEXT, "2020-08-21", {}, "15.20", "16.72", "13.68"),
        (SZ, CHINEXT, "2020-08-24", {}, "15.20", "18.24", "12.16"),
        (SZ, CHINEXT, "2020-08-21", {"st": True}, "4.56", "4.79", "4.33"),
        (SZ, CHINEXT, "2020-08-24", {"st": True}, "4.56", "5.47", "3.65"),
        (SH, STAR, "2026-11-20", {"st": True}, "6.66", "7.99", "5.33"),
        # Beijing rounds inwards: 30 % of 3.33 is 4.329 and 2.331.
        (BJ, BSE, "2026-11-20", {}, "3.33", "4.32", "2.34"),
        # The listing day under approval: +44 % and -36 % of the issue price.
        (SH, MAIN, "2023-03-01", {"listing_day_index": 1}, "10.00", "14.40", "6.40"),
        (SZ, CHINEXT, "2019-03-01", {"listing_day_index": 1}, "10.00", "14.40", "6.40"),
        (BJ, BSE, "2026-11-20", {"listing_day_index": 2}, "8.00", "10.40", "5.60"),
        (SH, MAIN, "2026-11-20", {"delisting_day_index": 2}, "0.85", "0.94", "0.77"),
        (SZ, CHINEXT, "2026-11-20", {"delisting_day_index": 9}, "0.85", "1.02", "0.68"),
        # One tick at least: Shenzhen since 2011-02-28, Shanghai since 2023-04-10.
        (SH, MAIN, "2026-11-20", {}, "0.04", "0.05", "0.03"),
        (SH, MAIN, "2023-04-07", {}, "0.04", "0.04", "0.04"),
        (SZ, MAIN, "2023-04-07", {}, "0.04", "0.05", "0.03"),
        (SH, MAIN, "2026-11-20", {}, "0.05", "0.06", "0.04"),
        # The delisting board of Shanghai had its own floor at 0.05 yuan and below.
        (SH, MAIN, "2022-06-01", {"delisting_day_index": 3}, "0.05", "0.06", "0.04"),
        # No share trades below one tick.
        (SZ, MAIN, "2026-11-20", {}, "0.01", "0.02", "0.01"),
    ],
)
def test_limits_of_worked_cases(exchange, board, day, state, pre_close, up, down):
    assert limits(exchange, board, day, pre_close, **state) == yuan_pair(up, down)


@pytest.mark.parametrize(
    ("exchange", "board", "day", "state"),
    [
        (SH, MAIN, "2023-04-10", {"listing_day_index": 1}),
        (SZ, MAIN, "2026-11-20", {"listing_day_index": 5, "listed_on": date(2026, 11, 16)}),
        (SZ, CHINEXT, "2026-11-20", {"listing_day_index": 5, "listed_on": date(2026, 11, 16)}),
        (SH, STAR, "2019-07-22", {"listing_day_index": 1}),
        (BJ, BSE, "2026-11-20", {"listing_day_index": 1}),
        (SH, MAIN, "2013-12-12", {"listing_day_index": 1}),
        (SH, MAIN, "2026-11-20", {"delisting_day_index": 1}),
    ],
)
def test_days_without_a_limit(exchange, board, day, state):
    assert limits(exchange, board, day, "10.00", **state) == (None, None)


def test_the_first_five_days_follow_the_rule_of_the_listing_day():
    # Listed under approval on Friday 2023-04-07: 10 % on its second day, registration or not.
    approval = {"listing_day_index": 2, "listed_on": date(2023, 4, 7)}
    assert limits(SH, MAIN, "2023-04-10", "10.00", **approval) == yuan_pair("11.00", "9.00")
    registration = {"listing_day_index": 2, "listed_on": date(2023, 4, 10)}
    assert limits(SH, MAIN, "2023-04-11", "10.00", **registration) == (None, None)
    sixth = {"listing_day_index": 6}
    assert limits(SZ, MAIN, "2026-11-20", "10.00", **sixth) == yuan_pair("11.00", "9.00")


@pytest.mark.parametrize(
    ("exchange", "board", "day", "state", "pre_close"),
    [
        (SH, MAIN, "1996-12-13", {}, "10.00"),
        (SH, STAR, "2019-07-19", {}, "10.00"),
        (BJ, BSE, "2021-11-12", {}, "10.00"),
        (SZ, CHINEXT, "2009-10-29", {}, "10.00"),
        (SH, BSE, "2026-11-20", {}, "10.00"),
        (SH, CHINEXT, "2026-11-20", {}, "10.00"),
        # The rule of the listing day decides, so the listing day must be told.
        (SH, MAIN, "2026-11-20", {"listing_day_index": 3}, "10.00"),
        (SH, MAIN, "2026-11-20", {"listing_day_index": 0}, "10.00"),
        # The data set has a hole here: the band depends on when the period was entered.
        (SZ, CHINEXT, "2020-10-09", {"delisting_day_index": 2}, "10.00"),
        # Whether Beijing moves a limit of less than a tick is not known.
        (BJ, BSE, "2026-11-20", {}, "0.03"),
        (SH, MAIN, "2026-11-20", {}, "0.00"),
    ],
)
def test_an_unknown_case_is_refused(exchange, board, day, state, pre_close):
    with pytest.raises(Denied) as caught:
        limits(exchange, board, day, pre_close, **state)
    assert caught.value.code == "RISK_RULES_UNKNOWN"


def test_two_sources_that_disagree_refuse_the_case():
    def row(source, up):
        return LimitRow(
            exchange=SH,
            board=MAIN,
            state=LimitState.NORMAL,
            up=Fraction(up, 100),
            down=Fraction(10, 100),
            effective_from=date(2020, 1, 1),
            source=source,
            confidence="V",
        )

    known = {"effective_from": date(2020, 1, 1), "source": "s", "confidence": "V"}
    rounding = [RoundingRow(exchange=SH, rounding=LimitRounding.HALF_UP, **known)]
    ticks = [TickRow(exchange=SH, tick_size=100, **known)]
    case = LimitCase(SH, MAIN, date(2024, 1, 2), is_st=False)
    agreeing = PriceLimitTable([row("one", 10), row("two", 10)], rounding, ticks, [])
    assert agreeing.limits(case, 100_000).up == 110_000
    with pytest.raises(Denied) as caught:
        PriceLimitTable([row("one", 10), row("two", 20)], rounding, ticks, []).limits(case, 100_000)
    assert caught.value.code == "DATA_RULES_MISMATCH"
    assert "one" in caught.value.message
    assert "two" in caught.value.message


@pytest.mark.parametrize(
    ("exchange", "board", "day", "index", "pre_close", "up", "down"),
    [
        (Exchange.SH, Board.ETF, "2026-11-20", None, "3.456", "3.802", "3.11"),
        # A fund's first day is a day like any other.
        (Exchange.SH, Board.ETF, "2026-11-20", 1, "1.000", "1.10", "0.90"),
        (Exchange.SZ, Board.ETF20, "2026-11-20", None, "1.005", "1.206", "0.804"),
        (Exchange.SZ, Board.ETF20, "2020-08-21", None, "1.005", "1.106", "0.905"),
        (Exchange.SH, Board.CONVERTIBLE, "2026-11-20", None, "130.000", "156.00", "104.00"),
        (Exchange.SZ, Board.CONVERTIBLE, "2026-11-20", 1, "100.000", "157.30", "56.70"),
        (Exchange.SZ, Board.CONVERTIBLE, "2026-11-20", 2, "120.000", "144.00", "96.00"),
        (Exchange.SH, Board.REIT, "2026-11-20", 1, "2.000", "2.60", "1.40"),
        (Exchange.SH, Board.REIT, "2026-11-20", 2, "2.000", "2.20", "1.80"),
    ],
)
def test_funds_and_bonds(exchange, board, day, index, pre_close, up, down):
    on = date.fromisoformat(day)
    case = LimitCase(exchange, board, on, is_st=False, listing_day_index=index)
    found = load_rules().market.limits.limits(case, units(pre_close))
    assert found.up is not None
    assert found.down is not None
    assert (yuan(found.up), yuan(found.down)) == (up, down)


def test_a_share_listed_again_has_no_limit_that_day():
    day = date(2021, 8, 10)
    case = LimitCase(Exchange.SZ, Board.MAIN, day, is_st=False, relisted=True)
    assert load_rules().market.limits.limits(case, 100_000).up is None
