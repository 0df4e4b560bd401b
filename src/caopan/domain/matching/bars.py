"""Bars and quotes as they come in: read from plain values, or refused by row and field.

Owns the reading of bars out of what a file holds and the checks every bar passes. Must never
repair a value. Tests: tests/unit/domain/matching/test_bars.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NoReturn

from caopan.domain.matching.terms import (
    AFTER_HOURS_END_MS,
    AFTER_HOURS_MS,
    Bar,
    DayQuote,
    Listing,
)
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

_DAY_MS = 86_400_000
_PRICES = ("open", "high", "low", "close")


def check_bar(symbol: str, day: date, bar: Bar, listing: Listing | None = None) -> None:
    """Refuse a bar that contradicts itself, the bar before it, or the day's limits.

    Raises:
        ConfigInvalid: BARS_INVALID naming symbol, day, moment and field.
    """
    start, end, first, high, low, last, volume = bar
    before = None if listing is None else listing.bar
    if (
        0 <= start <= end <= _DAY_MS
        and 0 < low <= first <= high
        and low <= last <= high
        and volume >= 0
        and (before is None or start >= before[1])
        and (
            listing is None
            or not volume
            or (listing.limit_down <= low and high <= listing.limit_up)
        )
    ):
        return
    where = f"{symbol} {day} bar ending at {end} ms"
    if not 0 <= start <= end <= _DAY_MS:
        _refuse(where, "start_ms", start, "a bar lies inside its day and ends after it starts")
    if before is not None and start < before.end_ms:
        _refuse(where, "start_ms", start, f"out of order: the bar before ended at {before.end_ms}")
    if low <= 0:
        _refuse(where, "low", low, "a price is more than nothing")
    if high < low:
        _refuse(where, "high", high, f"below the low {low}")
    for name, price in (("open", first), ("close", last)):
        if not low <= price <= high:
            _refuse(where, name, price, f"outside [{low}, {high}]")
    if volume < 0:
        _refuse(where, "volume", volume, "negative")
    assert listing is not None
    if high > listing.limit_up:
        _refuse(where, "high", high, f"above limit_up {listing.limit_up}")
    _refuse(where, "low", low, f"below limit_down {listing.limit_down}")


def check_bar_at_close(symbol: str, day: date, bar: Bar, close: int) -> None:
    """Refuse a bar of the trading at the close that is not of that price and phase.

    Raises:
        ConfigInvalid: BARS_INVALID as `check_bar`; TIME_ORDER for a bar of the day, which comes
            too late.
    """
    if bar.start_ms < AFTER_HOURS_MS:
        raise ConfigInvalid(
            "TIME_ORDER",
            f"{symbol}: a bar that began at {bar.start_ms} ms comes after orders have met the close"
            f" of {day}",
            remedy="bring bars and requests in the order of time",
        )
    where = f"{symbol} {day} bar ending at {bar.end_ms} ms"
    if bar.volume and not close:
        _refuse(where, "volume", bar.volume, "traded at the close, and the day had none")
    if bar.volume and bar.end_ms > AFTER_HOURS_END_MS:
        _refuse(where, "end_ms", bar.end_ms, "trading at the close ends at 15:30")
    if bar.volume and not bar.low == bar.high == close:
        _refuse(where, "low" if bar.low != close else "high", bar, f"is not the close {close}")


def check_quote(quote: DayQuote, day: date) -> None:
    """Refuse a day's quote without a previous close or with limits that do not enclose it.

    Raises:
        ConfigInvalid: BARS_INVALID naming symbol, day and field.
    """
    where = f"{quote.symbol} {day}"
    pre_close, up, down = quote.pre_close, quote.limit_up, quote.limit_down
    if not pre_close or pre_close < 0:
        _refuse(where, "pre_close", pre_close, "missing: no limit can be judged without it")
    if up is not None and down is not None and not 0 <= down <= up:
        _refuse(where, "limit_up", up, f"below limit_down {down}")


def read_bars(rows: Sequence[Mapping[str, object]], symbol: str, day: date) -> list[Bar]:
    """Return the bars of one symbol and day out of plain rows.

    A row holds start_ms, end_ms, open, high, low, close (yuan) and volume (shares); `amount`
    (yuan), where there is one, must agree with volume: amount / volume inside [low, high], or the
    units are mixed.

    Raises:
        ConfigInvalid: BARS_INVALID naming row and field.
    """
    bars: list[Bar] = []
    for number, row in enumerate(rows):
        where = f"{symbol} {day} row {number}"
        moments = [read_count(row, name, where) for name in ("start_ms", "end_ms")]
        prices = [read_price(row, name, where) for name in _PRICES]
        volume = read_count(row, "volume", where)
        bar = Bar._make((*moments, *prices, volume))
        try:
            check_bar(symbol, day, bar)
            if bars and bar.start_ms < bars[-1].end_ms:
                _refuse(where, "start_ms", bar.start_ms, "out of order")
        except ConfigInvalid as error:
            raise ConfigInvalid(error.code, f"{where}: {error.message}") from error
        if volume and row.get("amount") is not None:
            amount = read_price(row, "amount", where)
            # One unit of slack: a vendor rounds the amount.
            if not bar.low * volume - volume <= amount <= bar.high * volume + volume:
                _refuse(where, "amount", row["amount"], "mixed units: amount / volume is no price")
        bars.append(bar)
    return bars


def read_price(row: Mapping[str, object], name: str, where: str) -> int:
    """Return a price or amount in yuan as units, or raise BARS_INVALID."""
    value = row.get(name)
    if isinstance(value, float):
        # The shortest decimal of a float is what the file said.
        value = repr(value)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        _refuse(where, name, value, "missing or no number")
    try:
        found = units(value)
    except ConfigInvalid as error:
        raise ConfigInvalid("BARS_INVALID", f"{where}, field {name}: {error.message}") from error
    if found < 0:
        _refuse(where, name, value, "negative")
    return found


def read_count(row: Mapping[str, object], name: str, where: str) -> int:
    """Return a whole number that is not negative, or raise BARS_INVALID."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        _refuse(where, name, value, "missing or no number")
    if value != value or value in (Decimal("inf"), Decimal("-inf")):  # noqa: PLR0124 - NaN
        _refuse(where, name, value, "not finite")
    if int(value) != value:
        _refuse(where, name, value, "not whole")
    if value < 0:
        _refuse(where, name, value, "negative")
    return int(value)


def _refuse(where: str, name: str, value: object, why: str) -> NoReturn:
    raise ConfigInvalid(
        "BARS_INVALID",
        f"{where}, field {name}: {value!r} {why}",
        remedy="correct the file; nothing of it was used",
    )
