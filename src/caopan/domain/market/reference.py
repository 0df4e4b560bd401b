"""What is known of a security on a day: its reference data and its finished bar.

Owns the shapes Reference, DailyBar and CorporateAction. Must never compute a rule (the rule
modules beside it do). Source of the terms: contracts.md, Observation market_rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction


class Exchange(StrEnum):
    """The exchanges by the suffix of a symbol."""

    SH = "SH"
    SZ = "SZ"
    BJ = "BJ"


class Instrument(StrEnum):
    """The kinds of security whose ticks, hours, fees and settlement differ."""

    STOCK = "stock"
    FUND = "fund"
    """ETFs and other listed funds (LOF)."""
    REIT = "reit"
    CONVERTIBLE = "convertible"


class Board(StrEnum):
    """The boards whose rules differ; funds and bonds count as boards of their own."""

    MAIN = "main"
    CHINEXT = "chinext"
    STAR = "star"
    BSE = "bse"
    ETF = "etf"
    """Listed funds that may move 10 % a day."""
    ETF20 = "etf20"
    """Funds whose holdings are ChiNext or STAR shares only."""
    REIT = "reit"
    CONVERTIBLE = "convertible"

    @property
    def instrument(self) -> Instrument:
        """Return what kind of security trades on the board."""
        return _INSTRUMENTS.get(self, Instrument.STOCK)


_INSTRUMENTS = {
    Board.ETF: Instrument.FUND,
    Board.ETF20: Instrument.FUND,
    Board.REIT: Instrument.REIT,
    Board.CONVERTIBLE: Instrument.CONVERTIBLE,
}


class FundKind(StrEnum):
    """What a fund holds, where its settlement depends on it."""

    EQUITY = "equity"
    BOND = "bond"
    MONEY = "money"
    GOLD = "gold"
    CROSSBORDER = "crossborder"
    """Cross-border, its foreign holdings themselves open to same-day trading."""
    COMMODITY = "commodity"
    """Commodity futures."""


class TradingStatus(StrEnum):
    """Whether a security trades at all on a day."""

    NORMAL = "normal"
    SUSPENDED = "suspended"
    DELISTING_PERIOD = "delisting_period"
    DELISTED = "delisted"


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """What a holder of one share receives on the ex-date."""

    cash_per_share: int
    """Pre-tax cash dividend in units."""
    share_factor: Fraction
    """Holding after / holding before; 1 where no shares are given."""
    estimated: bool
    """True where the data gave only a reference price: the whole gap is then booked as cash."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of one symbol before the open of `day`; prices in units, shares counted."""

    symbol: str
    day: date
    board: Board
    pre_close: int
    """Reference price of the day: the previous close, ex-right adjusted by the exchange."""
    limit_up: int | None
    """None where no limit applies on this day (`limits_known` tells it from "unknown")."""
    limit_down: int | None
    limits_known: bool
    """False where the rule tables do not cover the case: no trading (RISK_RULES_UNKNOWN)."""
    tick_size: int
    lot_size: int
    min_buy_qty: int
    qty_step: int
    max_limit_qty: int
    """Largest quantity of one limit order."""
    t_plus_one: bool
    trading_status: TradingStatus
    is_st: bool
    listing_day_index: int | None
    """1 on the first trading day; None where the listing date is unknown and long past."""
    action: CorporateAction | None
    """Entitlement of holders of record of the session before, or None."""
    problems: tuple[str, ...] = ()
    """Data codes (DATA_RULES_MISMATCH, ...) that forbid trading this symbol on this day."""
    max_market_qty: int | None = None
    """Largest quantity of one market order; None where it is not known."""


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One finished daily bar. Prices in units, volume in shares, amount in units or None."""

    symbol: str
    day: date
    open: int
    high: int
    low: int
    close: int
    volume: int
    amount: int | None
    limit_up: int | None
    limit_down: int | None
    suspended: bool
