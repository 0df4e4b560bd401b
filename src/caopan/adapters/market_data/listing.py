"""Which day of its listing each bar is, and the price limits of that day.

Owns the pass over all rows that asks the domain's rule tables, and what it finds wrong. Must never
use a bar's own prices but its reference price: limits are known before the open. Tests:
tests/unit/adapters/market_data/test_listing.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.dated import RULES_MISMATCH
from caopan.domain.market.price_limits import (
    LISTING_WINDOW_DAYS,
    Band,
    LimitCase,
    PriceLimitTable,
    band_limits,
)
from caopan.domain.market.symbols import parse_symbol
from caopan.kernel.errors import Denied

INFER_AFTER_SESSIONS = 10
"""A symbol whose bars begin later than this into the data set is taken to be listed then."""
LONG_ABSENCE_SESSIONS = 120
"""A share back after more sessions may be relisted (恢复上市), without a limit that day."""


@dataclass(slots=True)
class _Columns:
    """What the pass adds to each row, in the frame's order."""

    our_up: list[int | None] = field(default_factory=list["int | None"])
    our_down: list[int | None] = field(default_factory=list["int | None"])
    limits_known: list[bool] = field(default_factory=list[bool])
    listing_day_index: list[int | None] = field(default_factory=list["int | None"])
    contradicted: list[bool] = field(default_factory=list[bool])
    sessions_since_trade: list[int | None] = field(default_factory=list["int | None"])


class _Bands:
    """Limit rules by case; a refused case is remembered as its error."""

    def __init__(self, table: PriceLimitTable) -> None:
        self._table = table
        self._known: dict[tuple[object, ...], Band | Denied] = {}

    def of(
        self, symbol: str, day: date, index: int | None, listed: date | None, *, st: bool
    ) -> Band:
        """Return the rule for `symbol` on `day`. Raises Denied as `PriceLimitTable.band`."""
        listing = parse_symbol(symbol)
        young = index is not None and index <= LISTING_WINDOW_DAYS
        index, listed = (index, listed) if young else (None, None)
        key = (listing.exchange, listing.board, day, st, index, listed)
        band = self._known.get(key)
        if band is None:
            case = LimitCase(listing.exchange, listing.board, day, st, index, listed)
            try:
                band = self._table.band(case)
            except Denied as error:
                band = error
            self._known[key] = band
        if isinstance(band, Denied):
            raise band
        return band


def with_limits(
    frame: pl.DataFrame,
    calendar: TradingCalendar,
    table: PriceLimitTable,
    listed_on: Mapping[str, tuple[date, int, bool]],
) -> pl.DataFrame:
    """Return `frame` (sorted by symbol and day) with the columns of the pass.

    `listed_on` is what `listing_days` told. The columns are
    our_up, our_down (units, null where no limit applies or none is known), limits_known,
    listing_day_index, contradicted (two rule sources disagree) and sessions_since_trade (1 when it
    traded the session before; null on a symbol's first traded row).
    """
    bands, out = _Bands(table), _Columns()
    days = frame["day"].unique().sort().to_list()
    position = {day: calendar.position(day) for day in days}
    symbol_now, last_traded = "", None
    for symbol, day, pre_close, suspended, st in frame.select(
        "symbol", "day", "pre_close", "is_suspended", "is_st"
    ).iter_rows():
        if symbol != symbol_now:
            symbol_now, last_traded = symbol, None
        here = position[day]
        listed = listed_on.get(symbol)
        index = None if listed is None or listed[1] > here else here - listed[1] + 1
        out.listing_day_index.append(index)
        since = None if last_traded is None else here - last_traded
        out.sessions_since_trade.append(since)
        up = down = None
        known, contradicted = since is None or since <= LONG_ABSENCE_SESSIONS, False
        if known:
            try:
                band = bands.of(symbol, day, index, listed and listed[0], st=st)
                up, down, *_ = band_limits(band, pre_close)
            except Denied as error:
                known, contradicted = False, error.code == RULES_MISMATCH
        out.our_up.append(up)
        out.our_down.append(down)
        out.limits_known.append(known)
        out.contradicted.append(contradicted)
        if not suspended:
            last_traded = here
    return frame.with_columns(
        pl.Series("our_up", out.our_up, pl.Int64),
        pl.Series("our_down", out.our_down, pl.Int64),
        pl.Series("limits_known", out.limits_known, pl.Boolean),
        pl.Series("listing_day_index", out.listing_day_index, pl.Int64),
        pl.Series("contradicted", out.contradicted, pl.Boolean),
        pl.Series("sessions_since_trade", out.sessions_since_trade, pl.Int64),
    )


def listing_days(
    frame: pl.DataFrame, calendar: TradingCalendar, begins: date | None = None
) -> dict[str, tuple[date, int, bool]]:
    """Return, by symbol, its first trading day, that day's position, and whether it is inferred.

    A symbol is absent where its listing is unknown and long past. Without a list_date, bars that
    begin more than INFER_AFTER_SESSIONS into the data set are taken to begin with the listing; so
    are bars that begin after its first day and for which the vendor, who gives limits, gives none.
    `begins` is the data set's first day where `frame` is only a part of it.
    """
    rows = frame.sort("symbol", "day")
    data_begins = calendar.position(begins or min(rows["day"].to_list()))
    # Judged by what was given up to then: what the vendor gives later is not known yet.
    given_days = rows.filter(pl.col("limit_up").is_not_null())["day"].to_list()
    since = min(given_days, default=None)
    found: dict[str, tuple[date, int, bool]] = {}
    firsts = rows.group_by("symbol", maintain_order=True).agg(
        pl.col("day").first(), pl.col("list_date").first(), pl.col("limit_up").first()
    )
    for symbol, first, list_date, limit_up in firsts.iter_rows():
        position = calendar.position(first)
        if list_date is not None:
            if calendar.covers(list_date) and list_date <= first:
                listed = calendar.on_or_after(list_date)
                found[symbol] = (listed, calendar.position(listed), False)
        elif position > data_begins:
            given = since is not None and since <= first
            if position > data_begins + INFER_AFTER_SESSIONS or (given and limit_up is None):
                found[symbol] = (first, position, True)
    return found
