"""What language models once did with an account, as a file recorded it.

Owns the reading of such records and the state of the account each of them met. Must never hold a
rule of trading: both sides of the comparison (product.py, plain_rules.py) are told the same facts
and draw their own conclusions.

Columns of the records: model, cadence (hourly or daily), session (a day, or the end of a bar),
line, action, symbol, amount (shares), implied_price, cash_after, holdings_after (JSON of shares by
symbol). Columns of the bars: symbol, datetime, close.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

EXACT = Decimal("0.0001")
BEFORE_THE_OPEN, THE_OPEN, BAR = time(9, 20), time(9, 30), timedelta(hours=1)


class Timing(StrEnum):
    """What a record's session says of when it was decided."""

    AS_STAMPED = "as stamped"
    """Hourly at the time that is written, daily in the opening auction."""
    AS_TRADED = "as traded"
    """At the beginning of the bar, whose first price was the one paid; daily at the open."""


@dataclass(frozen=True)
class Record:
    """One line of the file. Money in yuan; None where the line says nothing."""

    model: str
    cadence: str
    session: str
    action: str | None
    symbol: str | None
    amount: Decimal | None
    price: Decimal | None
    cash: Decimal | None
    holdings: Mapping[str, int] | None

    @property
    def day(self) -> date:
        return datetime.fromisoformat(self.session).date()

    def decided(self, timing: Timing) -> datetime:
        """Return the time of the exchange at which it is put to checker and gate."""
        stamp = datetime.fromisoformat(self.session)
        traded = timing is Timing.AS_TRADED
        if self.cadence == "hourly":
            return stamp - BAR if traded else stamp
        return datetime.combine(stamp, THE_OPEN if traded else BEFORE_THE_OPEN)


@dataclass(frozen=True)
class Case:
    """A record with the account it met: what the record before it left."""

    record: Record
    cash: Decimal
    holdings: Mapping[str, int]
    past: Sequence[tuple[date, Mapping[str, int]]]
    """Holdings after each record before, in order, beginning with those the run began with."""
    prices: Mapping[str, Decimal]
    """The last price paid for each symbol, this record's own included."""


@dataclass(frozen=True)
class Closes:
    """The closes of the sessions before, where the bars tell them."""

    by_symbol: Mapping[str, Mapping[date, Decimal]] = field(default_factory=dict)

    def before(self, symbol: str, day: date) -> Decimal | None:
        """Return the last close before `day`, if the bars have both."""
        closes = self.by_symbol.get(symbol, {})
        earlier = [one for one in closes if one < day]
        return closes[max(earlier)] if day in closes and earlier else None


def read_closes(path: Path) -> Closes:
    frame = pl.read_parquet(path).select("symbol", "datetime", "close").sort("datetime")
    found: dict[str, dict[date, Decimal]] = {}
    for symbol, stamp, close in frame.iter_rows():
        # The last bar of a day overwrites those before it.
        found.setdefault(symbol, {})[datetime.fromisoformat(stamp).date()] = _decimal(close)
    return Closes(found)


def read_sessions(path: Path) -> frozenset[date]:
    return frozenset(date.fromisoformat(day) for day in pl.read_csv(path)["date"].cast(pl.String))


def read_cases(path: Path) -> list[Case]:
    """Return every line of the file as a case, run by run."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in pl.read_parquet(path).sort("line", maintain_order=True).iter_rows(named=True):
        runs.setdefault((row["model"], row["cadence"]), []).append(row)
    return [case for rows in runs.values() for case in cases_of(map(_record, rows))]


def cases_of(run: Iterable[Record]) -> list[Case]:
    """Return the records of one run, each with the account it met."""
    found: list[Case] = []
    prices: dict[str, Decimal] = {}
    cash, holdings = Decimal(0), dict[str, int]()
    past: list[tuple[date, Mapping[str, int]]] = []
    for record in run:
        if not past:
            cash, holdings = _undone(record)
            past.append((record.day - timedelta(days=1), holdings))
        if record.symbol and record.price is not None and record.price > 0:
            prices[record.symbol] = record.price
        found.append(Case(record, cash, holdings, tuple(past), dict(prices)))
        # What a broken line does not tell is what it was.
        cash = cash if record.cash is None else record.cash
        holdings = holdings if record.holdings is None else dict(record.holdings)
        past.append((record.day, holdings))
    return found


def _undone(first: Record) -> tuple[Decimal, dict[str, int]]:
    """Return what a run began with: what its first record left, without what that one did."""
    cash, holdings = first.cash or Decimal(0), dict(first.holdings or {})
    sign = {"buy": 1, "sell": -1}.get(first.action or "", 0)
    if sign and first.symbol and first.amount and first.price:
        before = holdings.get(first.symbol, 0) - sign * int(first.amount)
        holdings[first.symbol] = max(before, 0)
        cash += sign * first.amount * first.price
    return cash, {symbol: qty for symbol, qty in holdings.items() if qty > 0}


def _record(row: Mapping[str, Any]) -> Record:
    price, cash = row["implied_price"], row["cash_after"]
    return Record(
        model=row["model"],
        cadence=row["cadence"],
        session=row["session"],
        action=row["action"],
        symbol=row["symbol"],
        amount=None if row["amount"] is None else Decimal(str(row["amount"])),
        price=None if price is None else _decimal(price),
        cash=None if cash is None else _decimal(cash),
        holdings=_holdings(row["holdings_after"]),
    )


def _holdings(text: str | None) -> dict[str, int] | None:
    told = None if text is None else json.loads(text)
    if not isinstance(told, dict):
        return None
    return {symbol: int(qty) for symbol, qty in told.items() if qty and int(qty) > 0}


def _decimal(number: float) -> Decimal:
    """Return a number without what binary arithmetic added to it."""
    return Decimal(str(number)).quantize(EXACT, ROUND_HALF_UP)
