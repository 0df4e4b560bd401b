"""The market-data port over one validated frame: warm, in memory, point in time.

Owns MarketPanel: references, features, breadth, bars and closes by day, with the instant each was
known. Must never answer with what was not yet known: every read names its instant. Tests:
tests/contract/market_data, tests/unit/adapters/market_data/test_panel.py.

Assumptions, stated where they bite: a suspension of the whole day is known before its open; a gap
between the reference price and the close before is a dividend paid in cash, unless the data says
what it was; a share back after LONG_ABSENCE_SESSIONS may have no limit that day and is not traded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from fractions import Fraction
from typing import Any, TypeVar

import polars as pl

from caopan.adapters.market_data.features import (
    NEWLY_LISTED_SESSIONS,
    NUMBERS,
    breadth,
    known_before,
    session_statistics,
)
from caopan.adapters.market_data.frame import checksum
from caopan.adapters.market_data.listing import (
    LONG_ABSENCE_SESSIONS,
    listing_days,
    with_limits,
)
from caopan.adapters.market_data.unit_proof import fits
from caopan.application.ports.market_data import DatasetInfo, FeatureRow
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.dated import RULES_MISMATCH
from caopan.domain.market.reference import (
    CorporateAction,
    DailyBar,
    Reference,
    TradingStatus,
)
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import parse_symbol
from caopan.kernel.clock import at_shanghai, iso
from caopan.kernel.errors import CorruptState, Denied
from caopan.kernel.money import yuan

KNOWN_BEFORE_OPEN = time(8, 50)
KNOWN_AFTER_CLOSE = time(15, 0)
_DAYS_KEPT = 8
_UNKNOWN_QUANTITIES = (1, 1, 1, 0, None)
"""Where the quantity rule is unknown the largest order is 0, so that none passes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a row that only shows after the fact, or that was assumed of it."""

    symbol: str
    day: date
    code: str
    detail: str


class _Recent:
    """Keeps what was built for the last few days asked."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, date], Any] = OrderedDict()

    def get(self, kind: str, day: date, build: Callable[[date], T]) -> T:
        """Return what `build` makes of `day`, made once while it stays recent."""
        key = (kind, day)
        if key in self._kept:
            return self._kept[key]
        made = self._kept[key] = build(day)
        while len(self._kept) > _DAYS_KEPT:
            self._kept.popitem(last=False)
        return made


class MarketPanel:
    """MarketData over one frame. Use `build_panel`."""

    def __init__(
        self,
        frame: pl.DataFrame,
        info: DatasetInfo,
        calendar: TradingCalendar,
        rules: MarketRules,
        begins: date,
    ) -> None:
        self._info = info
        self._calendar = calendar
        self._rules = rules
        self._recent = _Recent()
        self._listed = listing_days(frame, calendar, begins)
        rows = with_limits(frame, calendar, rules.limits, self._listed)
        rows = rows.with_columns(
            pl.col("close").shift(1).over("symbol").alias("close_before"),
            pl.col("day").shift(1).over("symbol").alias("day_before"),
        )
        statistics = session_statistics(rows)
        self._rows = rows.sort("day", "symbol")
        self._features = known_before(rows, statistics)
        self._breadth = {row["day"]: row for row in breadth(statistics).iter_rows(named=True)}
        counts = self._rows.group_by("day", maintain_order=True).len()
        self._slices: dict[date, tuple[int, int]] = {}
        offset = 0
        for day, count in counts.iter_rows():
            self._slices[day] = (offset, count)
            offset += count
        self._days = list(self._slices)
        # Closes roll forward with the days asked.
        self._rolled = -1
        self._rolling: dict[str, int] = {}

    @property
    def info(self) -> DatasetInfo:
        """Return what the data set is."""
        return self._info

    def sessions(self, start: date, end: date) -> tuple[date, ...]:
        """Return the trading days from `start` to `end` inclusive. Raises Denied DATA_CALENDAR."""
        return self._calendar.between(start, end)

    def references(self, day: date, now: datetime) -> Mapping[str, Reference]:
        """Return, by symbol, what is known before the open of `day`."""
        _require_known(day, KNOWN_BEFORE_OPEN, now, "references")
        return self._recent.get("references", day, self._references)

    def features(self, day: date, now: datetime) -> Mapping[str, FeatureRow]:
        """Return, by symbol, features over the sessions before `day`."""
        _require_known(day, KNOWN_BEFORE_OPEN, now, "features")
        return self._recent.get("features", day, self._feature_rows)

    def market(self, day: date, now: datetime) -> Mapping[str, float | int]:
        """Return the breadth of the session before `day`; empty where the data has none of it."""
        _require_known(day, KNOWN_BEFORE_OPEN, now, "market")
        before = self._session_before(day)
        figures = {} if before is None else self._breadth.get(before, {})
        return {
            name: value
            for name, value in figures.items()
            # A rate of nothing is not a number, and absent.
            if name != "day" and value is not None and value == value  # noqa: PLR0124
        }

    def bar(self, symbol: str, day: date, now: datetime) -> DailyBar | None:
        """Return the finished bar of `symbol` on `day`, or None."""
        _require_known(day, KNOWN_AFTER_CLOSE, now, f"bar of {symbol}")
        row = self._recent.get("bars", day, self._bar_rows).get(symbol)
        return None if row is None else DailyBar(symbol, day, *row)

    def closes(self, day: date, now: datetime) -> Mapping[str, int]:
        """Return, by symbol, the last close on or before `day`."""
        _require_known(day, KNOWN_AFTER_CLOSE, now, "closes")
        return self._recent.get("closes", day, self._closes)

    def audit(self) -> tuple[Finding, ...]:
        """Return what stands out in the rows, looking back over all of them.

        For people and reports, never for a decision: it reads the future of every day.
        """
        found = [*self._audit_limits(), *self._audit_figures()]
        found += [
            Finding(symbol, first, "INFERRED_LISTING", "bars begin here: taken for its first day")
            for symbol, (first, _, inferred) in self._listed.items()
            if inferred
        ]
        return tuple(sorted(found, key=lambda item: (item.day, item.symbol, item.code)))

    def _day(self, frame: pl.DataFrame, day: date) -> pl.DataFrame:
        offset, count = self._slices.get(day, (0, 0))
        return frame.slice(offset, count)

    def _session_before(self, day: date) -> date | None:
        """Return the session before `day`, None where the calendar begins with it."""
        known = self._calendar.sessions
        return None if day <= known[0] else self._calendar.previous_session(day)

    # --- references ---------------------------------------------------------------------------
    def _references(self, day: date) -> Mapping[str, Reference]:
        rows = self._day(self._rows, day)
        before = self._session_before(day)
        return {row["symbol"]: self._reference(row, before) for row in rows.iter_rows(named=True)}

    def _reference(self, row: dict[str, Any], session_before: date | None) -> Reference:
        listing = parse_symbol(row["symbol"])
        day = row["day"]
        quantities, quantities_known = _UNKNOWN_QUANTITIES, True
        tick, held_for = 0, 1
        try:
            rules, exchange, board = self._rules, listing.exchange, listing.board
            rule = rules.quantities.rule(exchange, board, day)
            tick = rules.limits.tick_size(exchange, day, board.instrument)
            held_for = rules.settlement.row(exchange, board, None, day).holding_days
            quantities = (
                rule.lot_size,
                rule.min_buy_qty,
                rule.qty_step,
                rule.max_limit_qty,
                rule.max_market_qty,
            )
        except Denied:
            quantities_known = False
        action, gap_problem = _action(row, session_before)
        problem = gap_problem or _limits_problem(row)
        suspended = row["is_suspended"]
        return Reference(
            symbol=listing.symbol,
            day=day,
            board=listing.board,
            pre_close=row["pre_close"],
            limit_up=row["our_up"],
            limit_down=row["our_down"],
            limits_known=row["limits_known"] and quantities_known,
            tick_size=tick,
            lot_size=quantities[0],
            min_buy_qty=quantities[1],
            qty_step=quantities[2],
            max_limit_qty=quantities[3],
            t_plus_one=held_for > 0,
            trading_status=TradingStatus.SUSPENDED if suspended else TradingStatus.NORMAL,
            is_st=row["is_st"],
            listing_day_index=row["listing_day_index"],
            action=action,
            problems=(RULES_MISMATCH,) if problem else (),
            max_market_qty=quantities[4],
        )

    # --- features -----------------------------------------------------------------------------
    def _feature_rows(self, day: date) -> Mapping[str, FeatureRow]:
        known = self._day(self._features, day).iter_rows(named=True)
        rows = self._day(self._rows, day).iter_rows(named=True)
        return {
            row["symbol"]: _feature_row(row, past) for row, past in zip(rows, known, strict=True)
        }

    # --- bars ---------------------------------------------------------------------------------
    def _bar_rows(self, day: date) -> Mapping[str, tuple[Any, ...]]:
        rows = self._day(self._rows, day).select(
            "symbol",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "amount",
            "our_up",
            "our_down",
            "is_suspended",
        )
        return {row[0]: row[1:] for row in rows.iter_rows()}

    def _closes(self, day: date) -> Mapping[str, int]:
        if self._rolled >= 0 and self._days[self._rolled] > day:
            self._rolled, self._rolling = -1, {}
        while self._rolled + 1 < len(self._days) and self._days[self._rolled + 1] <= day:
            self._rolled += 1
            rows = self._day(self._rows, self._days[self._rolled])
            self._rolling.update(rows.select("symbol", "close").iter_rows())
        return dict(self._rolling)

    # --- audit --------------------------------------------------------------------------------
    def _audit_limits(self) -> list[Finding]:
        outside = (pl.col("high") > pl.col("our_up")) | (pl.col("low") < pl.col("our_down"))
        vendor = _vendor_differs()
        rows = self._rows.filter(
            outside | vendor | ~pl.col("limits_known") | pl.col("contradicted")
        ).with_columns(outside.fill_null(value=False).alias("outside"))
        found: list[Finding] = []
        for row in rows.iter_rows(named=True):
            problem = _limits_problem(row)
            if row["outside"]:
                problem = (
                    f"traded {yuan(row['low'])} to {yuan(row['high'])} outside its limits"
                    f" {yuan(row['our_down'])} to {yuan(row['our_up'])}"
                )
            detail = problem or "no rule tells its limits"
            found.append(Finding(row["symbol"], row["day"], RULES_MISMATCH, detail))
        return found

    def _audit_figures(self) -> list[Finding]:
        stray = (pl.col("volume") > 0) & (pl.col("amount") > 0) & ~fits(1.0)
        found = [
            Finding(
                row["symbol"],
                row["day"],
                "DATA_UNIT",
                f"amount {yuan(row['amount'])} / volume {row['volume']} is no price of the day",
            )
            for row in self._rows.filter(stray).iter_rows(named=True)
        ]
        gaps = self._rows.filter(pl.col("close_before") != pl.col("pre_close"))
        for row in gaps.iter_rows(named=True):
            _, problem = _action(row, self._session_before(row["day"]))
            if problem:
                found.append(Finding(row["symbol"], row["day"], RULES_MISMATCH, problem))
        return found


def build_panel(
    frame: pl.DataFrame,
    *,
    label: str,
    synthetic: bool,
    calendar: TradingCalendar,
    rules: MarketRules,
    begins: date | None = None,
) -> MarketPanel:
    """Return the panel over a validated frame.

    `begins` is the first day of the whole data set where `frame` is a selection of its symbols:
    what starts later is then known to be a new listing.

    Raises:
        Denied: DATA_CALENDAR if the calendar does not know a day of it.
    """
    frame = frame.sort("symbol", "day")
    days = frame["day"].unique().sort().to_list()
    info = DatasetInfo(
        label=label,
        synthetic=synthetic,
        checksum=checksum(frame),
        first_day=days[0],
        last_day=days[-1],
        symbols=tuple(frame["symbol"].unique().sort()),
        rows=frame.height,
        calendar=calendar.name,
        rules_citation=rules.citation,
    )
    return MarketPanel(frame, info, calendar, rules, begins or days[0])


def _require_known(day: date, moment: time, now: datetime, what: str) -> None:
    known_at = at_shanghai(day, moment)
    if now < known_at:
        raise CorruptState(
            "LOOK_AHEAD",
            f"{what} on {day} asked at {iso(now)}, known from {iso(known_at)}",
            remedy="read data at the instant the decision is made",
        )


def _action(
    row: dict[str, Any], session_before: date | None
) -> tuple[CorporateAction | None, str | None]:
    """Return the entitlement of the day, or why the gap to the close before is not understood."""
    cash, factor = row["cash_per_share"], row["share_factor"]
    if cash is not None or factor is not None:
        return CorporateAction(cash or 0, Fraction(factor or "1"), estimated=False), None
    before, pre_close = row["close_before"], row["pre_close"]
    if before is None or before == pre_close:
        return None, None
    if before < pre_close:
        return None, f"reference price {yuan(pre_close)} above the close before, {yuan(before)}"
    if row["day_before"] != session_before:
        return None, (
            f"reference price {yuan(pre_close)} below the close {yuan(before)} of"
            f" {row['day_before']}: a dividend, or rows that are missing"
        )
    return CorporateAction(before - pre_close, Fraction(1), estimated=True), None


def _limits_problem(row: dict[str, Any]) -> str | None:
    since = row["sessions_since_trade"]
    if since is not None and since > LONG_ABSENCE_SESSIONS:
        return f"back after {since} sessions: relisted, it would have no limit"
    if row["contradicted"]:
        return "two rule sources give different limits"
    for vendor, ours in (("limit_up", "our_up"), ("limit_down", "our_down")):
        if row[vendor] is not None and row["limits_known"] and row[vendor] != row[ours]:
            own = "none" if row[ours] is None else yuan(row[ours])
            return f"{vendor} is {yuan(row[vendor])} in the data and {own} by the rules"
    return None


def _vendor_differs() -> pl.Expr:
    return pl.any_horizontal(
        pl.col(vendor).is_not_null() & pl.col(vendor).ne_missing(pl.col(ours))
        for vendor, ours in (("limit_up", "our_up"), ("limit_down", "our_down"))
    )


def _feature_row(row: dict[str, Any], past: dict[str, Any]) -> FeatureRow:
    index = row["listing_day_index"]
    flags = [
        name
        for name, raised in (
            ("near_limit", past["near_limit"]),
            ("ex_date", row["is_ex_date"]),
            ("newly_listed", index is not None and index <= NEWLY_LISTED_SESSIONS),
            ("st", row["is_st"]),
            ("suspended", row["is_suspended"]),
        )
        if raised
    ]
    features: dict[str, float | int | str | list[str]] = {"last": yuan(row["pre_close"])}
    if past["as_of"] is not None:
        for name in NUMBERS:
            value = past[name]
            if value is not None:
                features[name] = value
        features["limit_state"] = past["limit_state"]
        features["consecutive_limit_days"] = past["consecutive_limit_days"]
        features["as_of"] = past["as_of"].isoformat()
    features["risk_flags"] = flags
    return features
