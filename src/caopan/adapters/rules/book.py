"""Loads the rule book: marina-rules records and our own rows, as the domain's tables.

Owns the mapping from the data set's scopes to boards and states. Must never fill a gap of the data
set with a value of its own making. Tests: tests/unit/adapters/rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

import marina_rules  # pyright: ignore[reportMissingTypeStubs]  # it ships no type marker

from caopan.adapters.rules import own_rows
from caopan.domain.accounting.dividend_tax import DividendTaxTable
from caopan.domain.accounting.fees import FeeKind, FeeRow, FeeTable
from caopan.domain.market.dated import DatedRow
from caopan.domain.market.halts import HaltTable
from caopan.domain.market.order_types import OrderTypeTable
from caopan.domain.market.phases import PhaseTable, SessionRow
from caopan.domain.market.price_cage import CageTable
from caopan.domain.market.price_limits import (
    LimitRounding,
    LimitRow,
    LimitState,
    OneTickRow,
    PriceLimitTable,
    RoundingRow,
    TickRow,
)
from caopan.domain.market.quantity import QuantityTable
from caopan.domain.market.reference import Board, Exchange, FundKind, Instrument
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.settlement import SettlementRow, SettlementTable
from caopan.domain.market.surveillance import SurveillanceTable
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

_EXCHANGES = {"XSHG": Exchange.SH, "XSHE": Exchange.SZ, "BJSE": Exchange.BJ}
_CHINEXT_REFORM = date(2020, 8, 24)

_STATES: Mapping[str, tuple[Board, LimitState]] = {
    "main_board": (Board.MAIN, LimitState.NORMAL),
    "st_main": (Board.MAIN, LimitState.ST),
    "ipo_day1_main": (Board.MAIN, LimitState.LISTING_DAY),
    "ipo_first5_main": (Board.MAIN, LimitState.LISTING_WINDOW),
    "delisting": (Board.MAIN, LimitState.DELISTING),
    "delisting_day1": (Board.MAIN, LimitState.DELISTING_DAY),
    "chinext": (Board.CHINEXT, LimitState.NORMAL),
    "st_chinext": (Board.CHINEXT, LimitState.ST),
    "ipo_first5_chinext": (Board.CHINEXT, LimitState.LISTING_WINDOW),
    "delisting_chinext": (Board.CHINEXT, LimitState.DELISTING),
    "star": (Board.STAR, LimitState.NORMAL),
    "st_star": (Board.STAR, LimitState.ST),
    "ipo_first5_star": (Board.STAR, LimitState.LISTING_WINDOW),
    "delisting_star": (Board.STAR, LimitState.DELISTING),
    "delisting_day1_star": (Board.STAR, LimitState.DELISTING_DAY),
    "bse": (Board.BSE, LimitState.NORMAL),
    "st_bse": (Board.BSE, LimitState.ST),
    "ipo_day1_bse": (Board.BSE, LimitState.LISTING_DAY),
    "delisting_bse": (Board.BSE, LimitState.DELISTING),
    "delisting_day1_bse": (Board.BSE, LimitState.DELISTING_DAY),
    "etf": (Board.ETF, LimitState.NORMAL),
    "etf_20pct": (Board.ETF20, LimitState.NORMAL),
    "reits": (Board.REIT, LimitState.NORMAL),
    "reits_day1": (Board.REIT, LimitState.LISTING_DAY),
    "convertible": (Board.CONVERTIBLE, LimitState.NORMAL),
    "convertible_day1": (Board.CONVERTIBLE, LimitState.LISTING_DAY),
}
"""Scopes as boards and states; B shares are not traded here."""

_INSTRUMENTS = {"stock": Instrument.STOCK, "etf": Instrument.FUND}

_SETTLEMENT: Mapping[str, tuple[Instrument, FundKind | None]] = {
    "stock": (Instrument.STOCK, None),
    "etf": (Instrument.FUND, FundKind.EQUITY),
    "etf_bond": (Instrument.FUND, FundKind.BOND),
    "etf_money": (Instrument.FUND, FundKind.MONEY),
    "etf_gold": (Instrument.FUND, FundKind.GOLD),
    "etf_crossborder": (Instrument.FUND, FundKind.CROSSBORDER),
    "etf_commodity": (Instrument.FUND, FundKind.COMMODITY),
}
"""Scopes of settlement; funds of 20 % hold shares and settle as equity funds do."""

_FEES = {
    "stamp_duty_sell": FeeKind.STAMP_DUTY_SELL,
    "transfer_fee_each_side": FeeKind.TRANSFER_FEE,
}

_HOURS = {
    "open_call": ["09:15", "09:25"],
    "continuous": [["09:30", "11:30"], ["13:00", "14:57"]],
    "close_call": ["14:57", "15:00"],
}
_HOURS_NO_CLOSE_CALL = {
    "open_call": ["09:15", "09:25"],
    "continuous": [["09:30", "11:30"], ["13:00", "15:00"]],
    "close_call": None,
}


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Every dated table, as the domain takes it."""

    market: MarketRules
    fees: FeeTable
    dividend_tax: DividendTaxTable
    rows: Mapping[str, tuple[DatedRow, ...]]
    """Every row of every table, cited and our own, by the table's name."""


@lru_cache(maxsize=1)
def load_rules() -> RuleBook:
    """Return the rule book of this installation; read once per process.

    Raises:
        ConfigInvalid: RULES_UNREADABLE if the data set refuses to load or holds a form this
            version does not know; nothing may be traded then.
    """
    try:
        records = marina_rules.records()
        citation = marina_rules.citation()
    except (ValueError, OSError) as error:
        raise ConfigInvalid(
            "RULES_UNREADABLE",
            f"marina-rules {marina_rules.VERSION}: {error}",
            remedy="install the pinned version of marina-rules",
        ) from error
    rows: dict[str, tuple[Any, ...]] = {
        name: (*own, *_cited(name, records)) for name, own in own_tables().items()
    }
    return RuleBook(
        market=_market(rows, f"{citation}; own rows sha256:{_own_digest()[:16]}"),
        fees=FeeTable(rows["FEES"]),
        dividend_tax=DividendTaxTable(rows["DIVIDEND_TAX"]),
        rows=rows,
    )


def _market(rows: Mapping[str, Sequence[Any]], citation: str) -> MarketRules:
    return MarketRules(
        limits=PriceLimitTable(rows["LIMITS"], rows["ROUNDING"], rows["TICKS"], rows["ONE_TICK"]),
        quantities=QuantityTable(rows["QUANTITIES"], rows["DAILY_BUY_CAPS"]),
        phases=PhaseTable(
            rows["SESSIONS"],
            rows["AFTER_HOURS"],
            rows["AUCTION_GAPS"],
            rows["AFTER_HOURS_INTAKE"],
        ),
        cages=CageTable(rows["CAGES"]),
        halts=HaltTable(rows["HALTS"], rows["AUCTION_RANGES"]),
        order_types=OrderTypeTable(rows["ORDER_TYPES"]),
        settlement=SettlementTable(rows["SETTLEMENT"]),
        surveillance=SurveillanceTable(rows["SURVEILLANCE"]),
        citation=citation,
    )


def _cited(table: str, records: Iterable[marina_rules.Record]) -> list[DatedRow]:
    """Return the rows that the data set's records become in one of our tables."""
    readers: Mapping[str, Callable[[marina_rules.Record], Iterator[DatedRow]]] = {
        "LIMITS": _limit_rows,
        "ROUNDING": _rounding_rows,
        "TICKS": _tick_rows,
        "ONE_TICK": _one_tick_rows,
        "SESSIONS": _session_rows,
        "SETTLEMENT": _settlement_rows,
        "FEES": _fee_rows,
    }
    reader = readers.get(table)
    return [] if reader is None else [row for record in records for row in reader(record)]


def _own_digest() -> str:
    rows = (row for table in own_tables().values() for row in table)
    return sha256_hex("\n".join(_written(row) for row in rows).encode())


def own_tables() -> dict[str, tuple[DatedRow, ...]]:
    """Return our own tables by name, in the order they are written."""
    tables = cast("Mapping[str, tuple[DatedRow, ...]]", vars(own_rows))
    return {
        name: table for name, table in tables.items() if name.isupper() and not name.startswith("_")
    }


def _written(row: DatedRow) -> str:
    values = [(field.name, getattr(row, field.name)) for field in fields(row)]
    # A set has no order of its own.
    return repr([(name, _sorted(value)) for name, value in values])


def _sorted(value: object) -> object:
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value


def _limit_rows(record: marina_rules.Record) -> Iterator[LimitRow]:
    if record.rule not in {"price_limit_pct", "price_limit_pct_of_issue_price"}:
        return
    for board, state in _boards(record.scope):
        up, down = _band(record)
        for exchange in _exchanges(record):
            if board is Board.CHINEXT and exchange is not Exchange.SZ:
                continue
            dates = _dates(record)
            if board is Board.CHINEXT and record.scope == "ipo_day1_main":
                # ChiNext shared the main board's listing day until its own reform.
                end = dates["effective_to"]
                dates["effective_to"] = min(end or _CHINEXT_REFORM, _CHINEXT_REFORM)
            yield LimitRow(
                exchange=exchange,
                board=board,
                state=state,
                up=up,
                down=down,
                **dates,
                **_origin(record),
            )


def _boards(scope: str) -> Iterator[tuple[Board, LimitState]]:
    if scope not in _STATES:
        return
    yield _STATES[scope]
    if scope == "ipo_day1_main":
        yield Board.CHINEXT, LimitState.LISTING_DAY
    elif scope == "delisting_day1":
        yield Board.CHINEXT, LimitState.DELISTING_DAY


def _band(record: marina_rules.Record) -> tuple[Fraction | None, Fraction | None]:
    value: object = record.value
    if value == "unlimited":
        return None, None
    if isinstance(value, dict):
        sides = cast("dict[str, object]", value)
        return _exact(sides["up"]), _exact(sides["down"])
    return _exact(value), _exact(value)


def _rounding_rows(record: marina_rules.Record) -> Iterator[RoundingRow]:
    if record.rule != "limit_price_rounding" or record.scope != "stock":
        return
    if record.value != "half_up_2dp":
        raise _unreadable(record)
    for exchange in _exchanges(record):
        yield RoundingRow(
            exchange=exchange,
            rounding=LimitRounding.HALF_UP,
            **_dates(record),
            **_origin(record),
        )


def _tick_rows(record: marina_rules.Record) -> Iterator[TickRow]:
    instrument = _INSTRUMENTS.get(record.scope)
    if record.rule != "tick_size" or instrument is None:
        return
    for exchange in _exchanges(record):
        yield TickRow(
            exchange=exchange,
            instrument=instrument,
            tick_size=units(str(record.value)),
            **_dates(record),
            **_origin(record),
        )


def _one_tick_rows(record: marina_rules.Record) -> Iterator[OneTickRow]:
    if record.rule != "limit_price_min_tick":
        return
    state = None if record.scope == "stock" else _STATES[record.scope][1]
    below, inclusive = None, False
    value: object = record.value
    if isinstance(value, dict):
        condition = cast("dict[str, object]", value)
        inclusive = "prev_close_lte" in condition
        below = units(str(condition["prev_close_lte" if inclusive else "prev_close_lt"]))
    elif value is not True:
        raise _unreadable(record)
    for exchange in _exchanges(record):
        yield OneTickRow(
            exchange=exchange,
            state=state,
            applies=below is None,
            below=below,
            inclusive=inclusive,
            **_dates(record),
            **_origin(record),
        )


def _session_rows(record: marina_rules.Record) -> Iterator[SessionRow]:
    instrument = _INSTRUMENTS.get(record.scope)
    if record.rule != "session_schedule" or instrument is None:
        return
    if record.value not in (_HOURS, _HOURS_NO_CLOSE_CALL):
        raise _unreadable(record)
    for exchange in _exchanges(record):
        yield SessionRow(
            exchange=exchange,
            instrument=instrument,
            closing_auction=record.value == _HOURS,
            **_dates(record),
            **_origin(record),
        )


def _settlement_rows(record: marina_rules.Record) -> Iterator[SettlementRow]:
    if record.rule != "min_holding_days" or record.scope not in _SETTLEMENT:
        return
    instrument, fund_kind = _SETTLEMENT[record.scope]
    for exchange in _exchanges(record):
        yield SettlementRow(
            exchange=exchange,
            instrument=instrument,
            fund_kind=fund_kind,
            holding_days=int(record.value),
            **_dates(record),
            **_origin(record),
        )


def _fee_rows(record: marina_rules.Record) -> Iterator[FeeRow]:
    kind = _FEES.get(record.rule)
    if kind is None or record.scope != "stock":
        return
    for exchange in _exchanges(record):
        yield FeeRow(
            exchange=exchange,
            kind=kind,
            rate=_exact(record.value),
            **_dates(record),
            **_origin(record),
        )


def _exchanges(record: marina_rules.Record) -> list[Exchange]:
    return [_EXCHANGES[name] for name in (record.market or "").split("+") if name in _EXCHANGES]


def _dates(record: marina_rules.Record) -> dict[str, Any]:
    end = record.effective_to
    return {
        "effective_from": date.fromisoformat(record.effective_from),
        "effective_to": None if end is None else date.fromisoformat(end),
    }


def _origin(record: marina_rules.Record) -> dict[str, Any]:
    return {"source": f"marina-rules {record.id}", "confidence": record.verification}


def _exact(value: object) -> Fraction:
    # The data set's YAML gives floats; their shortest form is the number that was written.
    return Fraction(Decimal(repr(value)))


def _unreadable(record: marina_rules.Record) -> ConfigInvalid:
    return ConfigInvalid(
        "RULES_UNREADABLE",
        f"marina-rules record {record.id}: value {record.value!r} has a form not known here",
        remedy="install the pinned version of marina-rules",
    )
