"""What the exchange's matching is told: securities, days, bars, and what it answers: events.

Owns the plain shapes of the matching room. Must never compute a rule. Tests:
tests/unit/domain/matching.

Moments are milliseconds of the day in Shanghai (0 to 86,400,000); prices are units; quantities are
shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from caopan.domain.accounting.fee_terms import NO_FEES, FeeTerms
from caopan.domain.accounting.trading_account import Reserve
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.halt_watch import HaltWatch
from caopan.domain.matching.visible_book import VisibleBook
from caopan.domain.orders.order import Side

NO_LIMIT_UP = 1 << 62
"""Stands for "no upper limit"; the lower one is 0 then."""

OPENING_PRINT_MS = 33_900_000
"""9:25:00, when the opening auction's price is fixed."""
CONTINUOUS_MS = 34_200_000
"""9:30:00."""
CLOSING_AUCTION_MS = 53_820_000
"""14:57:00, when no order is kept for the continuous trading of the day any more."""
CLOSE_MS = 54_000_000
"""15:00:00, when the closing auction's price is fixed."""
AFTER_HOURS_MS = 54_300_000
"""15:05:00, when orders at the close begin to trade."""
AFTER_HOURS_END_MS = 55_800_000
"""15:30:00."""


@dataclass(frozen=True, slots=True)
class SecurityTerms:
    """What holds for a security until it is told otherwise. Tick in units, quantities in shares."""

    symbol: str
    exchange: Exchange
    board: Board
    tick: int
    lot: int
    min_buy: int
    step: int
    max_limit_qty: int
    max_market_qty: int
    t_plus_one: bool = True
    max_after_hours_qty: int | None = None
    """None where an order at the close may be as large as a limit order."""
    fees: FeeTerms | None = None
    """None where it is charged as its exchange charges."""


class DayQuote(NamedTuple):
    """What is known of a security before the open; None for a limit that does not apply."""

    symbol: str
    pre_close: int
    limit_up: int | None
    limit_down: int | None
    suspended: bool = False


class Bar(NamedTuple):
    """One finished bar. A print of a tick file is a bar whose start is its end."""

    start_ms: int
    """The first bar of a day that holds the opening auction's print starts at 9:25."""
    end_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Status(StrEnum):
    """Where an order stands."""

    LIVE = "live"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class EventKind(StrEnum):
    """What the exchange says happened."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    TRADED = "traded"
    CANCEL_TAKEN = "cancel_taken"
    CANCEL_REFUSED = "cancel_refused"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Event(NamedTuple):
    """One entry of the exchange's log; `price` and fees in units, 0 where there is none.

    `seq` is the order in which things became known: a cancel that was on its way while a bar
    formed is logged after that bar's trades, with the moment it arrived.
    """

    seq: int
    day: date
    at_ms: int
    kind: EventKind
    order: int
    symbol: str
    side: Side
    qty: int
    price: int
    fees: tuple[int, int, int]
    code: str

    def line(self) -> str:
        """Return the event as one line of text, the same for the same event, always."""
        return (
            f"{self.seq} {self.day.isoformat()} {self.at_ms} {self.kind} {self.order} "
            f"{self.symbol} {self.side} {self.qty} {self.price} "
            f"{self.fees[0]},{self.fees[1]},{self.fees[2]} {self.code or '-'}"
        )


@dataclass(slots=True, eq=False)
class LiveOrder:
    """One order at the exchange; `open` is what may still trade."""

    number: int
    symbol: str
    side: Side
    is_buy: bool
    kind: ExchangeOrderType
    price: int
    """The limit; of a market order its protective price, 0 where it has none."""
    qty: int
    open: int
    placed_ms: int
    active_ms: int
    tag: str
    reserve_price: int = 0
    fee_bound: int = 0
    amount: int = 0
    commission: int = 0
    stamp_duty: int = 0
    transfer_fee: int = 0
    cancel_ms: int = -1
    """When a cancel on its way arrives; -1 where none is."""
    queue_ahead: int = -1
    """Shares before it at its price; -1 while it has not joined a queue."""
    status: Status = Status.LIVE
    code: str = ""
    reserve: Reserve = field(default_factory=Reserve)

    @property
    def filled(self) -> int:
        """Return the shares traded."""
        return self.qty - self.open


_AT_CLOSE = ExchangeOrderType.AFTER_HOURS_FIXED


class Listing:
    """One security on the exchange's floor today."""

    __slots__ = (
        "after_hours",
        "bar",
        "bars_today",
        "book",
        "close",
        "close_fixed",
        "exchange",
        "fees",
        "halts",
        "holds",
        "leaving",
        "left",
        "limit_down",
        "limit_up",
        "lot",
        "pre_close",
        "resting",
        "suspended",
        "symbol",
        "t_plus_one",
        "terms",
        "tick",
        "traded",
        "unlimited",
    )

    def __init__(self, terms: SecurityTerms) -> None:
        """Stand without a day: nothing is taken until `DayQuote` comes."""
        self.terms = terms
        self.symbol = terms.symbol
        self.tick = terms.tick
        self.lot = terms.lot
        self.exchange = terms.exchange
        self.t_plus_one = terms.t_plus_one
        self.fees = NO_FEES
        self.pre_close = 0
        self.limit_up = NO_LIMIT_UP
        self.limit_down = 0
        self.suspended = True
        self.unlimited = False
        """Whether it trades without a price limit today."""
        self.halts: HaltWatch | None = None
        """Temporary halts, watched from the first bar or order of a day without a limit."""
        self.bar: Bar | None = None
        """The last finished bar of today."""
        self.book: VisibleBook | None = None
        """The last snapshot of today's continuous trading; None where none was given."""
        self.left = 0
        """What of the last bar's volume may still be taken, in shares."""
        self.bars_today = 0
        self.resting: list[LiveOrder] = []
        """In order of arrival."""
        self.holds = False
        """Whether an order beyond the price cage is among them (held_orders.py)."""
        self.leaving = False
        """Whether a cancel of one of today's orders is or was on its way."""
        self.after_hours: list[LiveOrder] = []
        """Orders at the close, in order of arrival; those that have ended leave it late."""
        self.close = 0
        """The price of the day's last bar with volume; 0 before it."""
        self.close_fixed = False
        """Whether trading at the close has begun: no bar of the day may follow."""
        self.traded = 0
        """The day's volume so far, in shares."""

    def queue(self, order: LiveOrder) -> list[LiveOrder]:
        """Return the list an order of this security waits in."""
        return self.after_hours if order.kind is _AT_CLOSE else self.resting

    def begin_day(self) -> None:
        """Forget the day before; nothing trades until a quote comes."""
        self.suspended, self.bar, self.left, self.bars_today = True, None, 0, 0
        self.unlimited, self.halts, self.book = False, None, None
        self.close, self.close_fixed, self.traded = 0, False, 0
        self.holds = self.leaving = False
