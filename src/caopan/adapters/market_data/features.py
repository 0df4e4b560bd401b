"""Features of each symbol over the sessions before a day, and the breadth of the market.

Owns their definitions. Must never look at the day itself beyond what is known before its open (its
reference price, its suspension, its ex-date). Tests: tests/unit/adapters/market_data/test_panel.py,
tests/property/adapters/market_data.

Returns are chained from close / pre_close, so an ex-date is no fall. Windows count sessions the
symbol traded. What is not known for want of history is absent.

    last               reference price of the day, yuan as a decimal string
    ret_1d .. ret_60d  return over the last 1, 5, 20, 60 sessions
    vol_20d            standard deviation of the last 20 daily returns
    turnover_rate      of the last session, where the data has it
    vol_ratio_5d       volume of the last session / mean of the five before it
    beta               over 60 sessions, against the equal-weighted mean of all symbols
    liq_rank           0 (least) to 1 (most) by mean amount of 20 sessions
    ma20_gap           last close / its 20-session mean - 1, ex-dates chained out
    limit_state        of the last session: sealed_up, sealed_down (closed at the limit), reopened
                       (touched limit-up, closed below), touched (limit-down, closed above), none
    consecutive_limit_days  sessions in a row that closed at the same limit
    risk_flags         near_limit, ex_date, newly_listed, st, suspended
    as_of              the last session they rest on
"""

from __future__ import annotations

import polars as pl

NEWLY_LISTED_SESSIONS = 20
NEAR_LIMIT = 0.02
_EXACT = 1e9
"""Means across symbols are taken over integers: a float sum depends on the order of threads."""

NUMBERS = {
    "ret_1d": 6,
    "ret_5d": 6,
    "ret_20d": 6,
    "ret_60d": 6,
    "vol_20d": 6,
    "turnover_rate": 6,
    "vol_ratio_5d": 4,
    "beta": 4,
    "liq_rank": 4,
    "ma20_gap": 6,
}
"""Decimals each is rounded to."""


def session_statistics(frame: pl.DataFrame) -> pl.DataFrame:
    """Return, for each traded row of `frame` (with our limits), what is known after its close."""
    rows = frame.filter(~pl.col("is_suspended")).sort("symbol", "day")
    ret = pl.col("close") / pl.col("pre_close") - 1
    rows = rows.with_columns(
        ret.alias("ret_1d"),
        (ret * _EXACT).round(0).cast(pl.Int64).alias("exact"),
        (1 + ret).cum_prod().over("symbol").alias("index"),
        pl.coalesce("amount", pl.col("volume") * pl.col("close")).cast(pl.Float64).alias("worth"),
        pl.col("volume").cast(pl.Float64).alias("shares"),
        _limit_state().alias("limit_state"),
    )
    rows = rows.with_columns(
        (pl.col("exact").sum() / pl.len() / _EXACT).over("day").alias("market"),
    )
    near_up = pl.col("close") >= pl.col("our_up") * (1 - NEAR_LIMIT)
    near_down = pl.col("close") <= pl.col("our_down") * (1 + NEAR_LIMIT)
    index = pl.col("index")
    rows = rows.with_columns(
        *((index / index.shift(n) - 1).over("symbol").alias(f"ret_{n}d") for n in (5, 20, 60)),
        pl.col("ret_1d").rolling_std(20).over("symbol").alias("vol_20d"),
        (pl.col("shares") / pl.col("shares").shift(1).rolling_mean(5))
        .over("symbol")
        .alias("vol_ratio_5d"),
        _beta().over("symbol").alias("beta"),
        pl.col("worth").rolling_mean(20).over("symbol").alias("mean_worth"),
        (index / index.rolling_mean(20) - 1).over("symbol").alias("ma20_gap"),
        (near_up | near_down).fill_null(value=False).alias("near_limit"),
        pl.col("limit_state").rle_id().over("symbol").alias("run"),
    )
    sealed = pl.col("limit_state").is_in(["sealed_up", "sealed_down"])
    in_run = pl.int_range(1, pl.len() + 1).over("symbol", "run")
    return rows.with_columns(
        pl.when(sealed).then(in_run).otherwise(0).alias("consecutive_limit_days")
    )


def known_before(frame: pl.DataFrame, statistics: pl.DataFrame) -> pl.DataFrame:
    """Return, for each row of `frame`, the statistics of the symbol's last session before its day.

    Columns: symbol, day, as_of (null where there is none), the NUMBERS rounded, limit_state,
    consecutive_limit_days, near_limit. Sorted by day and symbol.
    """
    past = statistics.select(
        "symbol",
        pl.col("day"),
        pl.col("day").alias("as_of"),
        *(name for name in NUMBERS if name != "liq_rank"),
        "mean_worth",
        "limit_state",
        "consecutive_limit_days",
        "near_limit",
    ).sort("day", "symbol")
    rows = frame.select("symbol", "day").sort("day", "symbol")
    joined = rows.join_asof(
        past,
        on="day",
        by="symbol",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
        coalesce=True,
    )
    ranked = pl.col("mean_worth").rank("average").over("day")
    count = pl.col("mean_worth").count().over("day")
    rank = pl.when(count > 1).then((ranked - 1) / (count - 1)).when(count == 1).then(ranked)
    return joined.with_columns(rank.alias("liq_rank")).with_columns(
        pl.when(pl.col(name).is_finite()).then(pl.col(name).round(decimals)).alias(name)
        for name, decimals in NUMBERS.items()
    )


def breadth(statistics: pl.DataFrame) -> pl.DataFrame:
    """Return, by day, figures of the market after its close, over the symbols that traded."""
    up, down = pl.col("close") > pl.col("pre_close"), pl.col("close") < pl.col("pre_close")
    state = pl.col("limit_state")
    sealed, broken = (state == "sealed_up").sum(), (state == "reopened").sum()
    return (
        statistics.group_by("day")
        .agg(
            up.sum().alias("advancers"),
            down.sum().alias("decliners"),
            (~up & ~down).sum().alias("unchanged"),
            sealed.alias("limit_up_count"),
            (state == "sealed_down").sum().alias("limit_down_count"),
            (broken / (sealed + broken)).round(4).alias("broken_board_rate"),
            (pl.col("exact").sum() / pl.len() / _EXACT).round(6).alias("mean_return"),
            (pl.col("amount").sum() // 10_000).alias("turnover_yuan"),
        )
        .sort("day")
    )


def _limit_state() -> pl.Expr:
    up, down = pl.col("our_up"), pl.col("our_down")
    return (
        pl.when(pl.col("close") == up)
        .then(pl.lit("sealed_up"))
        .when(pl.col("close") == down)
        .then(pl.lit("sealed_down"))
        .when(pl.col("high") == up)
        .then(pl.lit("reopened"))
        .when(pl.col("low") == down)
        .then(pl.lit("touched"))
        .otherwise(pl.lit("none"))
    )


def _beta() -> pl.Expr:
    own, market = pl.col("ret_1d"), pl.col("market")

    def mean(of: pl.Expr) -> pl.Expr:
        return of.rolling_mean(60)

    variance = mean(market * market) - mean(market) * mean(market)
    return (mean(own * market) - mean(own) * mean(market)) / variance
