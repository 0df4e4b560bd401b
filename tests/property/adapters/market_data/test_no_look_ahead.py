"""Nothing a decision may read on a day changes when the day's bars and all later ones do."""

from datetime import date, time
from functools import lru_cache

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.market_data.panel import build_panel
from caopan.adapters.market_data.synthetic import generate
from caopan.adapters.rules.book import load_rules
from caopan.kernel.clock import at_shanghai

CALENDAR, RULES = load_calendar(), load_rules().market
END = date(2022, 6, 30)
DAYS = 75
SESSIONS = CALENDAR.between(date(2021, 1, 4), END)[-DAYS:]
_OWN = ("open", "high", "low", "close", "volume", "amount")


@lru_cache(maxsize=1)
def frame():
    return generate(11, CALENDAR, END, DAYS, 12, rules=RULES)


def panel(rows):
    return build_panel(rows, label="x", synthetic=True, calendar=CALENDAR, rules=RULES)


@lru_cache(maxsize=1)
def original():
    return panel(frame())


def seen(market, day):
    now = at_shanghai(day, time(9, 0))
    return (
        market.references(day, now),
        market.features(day, now),
        market.market(day, now),
    )


def mutated(day, factor, shift):
    """Return the frame with the bars of `day`, and everything later, made up anew."""
    later, same = pl.col("day") > day, pl.col("day") == day
    made = [
        pl.when(later | same)
        .then((pl.col(name) * factor // 100 + shift) * 100)
        .otherwise(pl.col(name))
        .alias(name)
        for name in _OWN
    ]
    also = [
        pl.when(later).then(pl.col("pre_close") + 100 * shift).otherwise("pre_close"),
        pl.when(later).then(~pl.col("is_suspended")).otherwise("is_suspended"),
        pl.when(later).then(~pl.col("is_st")).otherwise("is_st"),
        pl.when(later).then(pl.lit(9_900)).otherwise("limit_up").alias("limit_up"),
    ]
    return frame().with_columns(*made, *also)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, DAYS - 1), st.integers(20, 900), st.integers(1, 50))
def test_making_up_the_future_changes_no_reading(number, factor, shift):
    day = SESSIONS[number]
    other = panel(mutated(day, factor, shift))
    for earlier in SESSIONS[max(0, number - 3) : number + 1]:
        assert seen(other, earlier) == seen(original(), earlier)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, DAYS - 1))
def test_cutting_the_future_off_changes_no_reading(number):
    day = SESSIONS[number]
    other = panel(frame().filter(pl.col("day") <= day))
    assert seen(other, day) == seen(original(), day)


def test_the_mutation_is_one_that_a_leak_would_show():
    other = panel(mutated(SESSIONS[40], 300, 7))
    assert seen(other, SESSIONS[42]) != seen(original(), SESSIONS[42])
