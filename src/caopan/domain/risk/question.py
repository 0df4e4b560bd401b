"""What a rule is asked, and what it may answer.

Owns Question (one proposed order against the account as it would then stand), Standing (that
account) and Rule. Must never hold a rule itself. Where an input may be None, None says that it is
not known: a limit that needs it refuses (fails closed), no limit is taken for met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.phases import Phase
from caopan.domain.market.price_cage import BookTop
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.costs import Costs
from caopan.domain.risk.day_terms import DayTerms
from caopan.domain.risk.kill_switch import Control, Posture
from caopan.domain.risk.policy import RiskPolicy, tightest
from caopan.domain.risk.venue import Permission, ProgramReport, Venue


@dataclass(frozen=True, slots=True)
class Quote:
    """The price an order is judged against. Units; `as_of` aware."""

    price: int
    as_of: datetime
    best_bid: int | None = None
    best_ask: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """How a security usually trades; None where it is not known."""

    average_volume: int | None = None
    """Shares a day."""
    volatility: Fraction | None = None
    """Standard deviation of a day's return, as a fraction of 1."""


NO_STATS = Stats()


@dataclass(frozen=True, slots=True)
class ProposedOrder:
    """One order as proposed. Price in units, quantity in shares."""

    action_index: int
    symbol: str
    side: Side
    order_type: OrderType
    price: int
    """The limit; of a market order its protective price, 0 where it has none."""
    qty: int
    has_exit_plan: bool
    is_exit: bool = False
    """True for what code sends to leave a position (a stop, a flattening): as a sale never held
    back by a limit of the policy, and all that a kill switch at `flatten` lets through."""
    seen_price: int | None = None
    """The price the decision saw; None where it is the quote itself."""

    @property
    def value(self) -> int:
        """Return price times quantity in units."""
        return self.price * self.qty


@dataclass(slots=True)
class Standing:
    """The account as it would stand after the actions before. Money in units.

    Buys that passed count as done (cash gone, exposure up); sells that passed never add cash and
    never lower exposure before they fill. "Today" counts what was filled and what is still open.
    """

    nav: int
    nav_day_open: int
    """NAV at the previous close, the base of the daily loss limit."""
    nav_peak: int
    cash_free: int
    sellable: dict[str, int]
    held: dict[str, int]
    """Shares held by symbol, sellable or not."""
    exposure: dict[str, int]
    """Market value plus open buys by symbol."""
    open_orders: int
    orders_today: int
    venue: Venue
    """Never assumed: at a broker more has to be known than in a sandbox."""
    working: set[tuple[str, Side]] = field(default_factory=set[tuple[str, Side]])
    """(symbol, side) of orders that rest or have just passed."""
    resting: dict[tuple[str, Side], int] = field(default_factory=dict[tuple[str, Side], int])
    """Best price of ours that rests: highest of the buys, lowest of the sales. Where `working` has
    a side and this has not, it is taken to meet any price."""
    ordered_today: dict[tuple[str, Side], int] | None = None
    """Shares by symbol and side."""
    bought_value: int | None = None
    """Value of today's buys, filled or open."""
    sold_value: int | None = None
    """Value of today's filled sales: what has not filled makes no room."""
    selling_value: int = 0
    """Value of the open sales."""
    cancels_today: int | None = None
    requests_last_second: int | None = None
    """Orders and cancels sent within the second before."""
    control: Control | None = field(default_factory=Control)
    """None where the kill switch could not be read."""
    permissions: frozenset[Permission] | None = None
    report: ProgramReport | None = None
    software_version: str | None = None
    """What runs; None is not compared with the report."""
    strategy_hash: str | None = None
    as_of: datetime | None = None
    """When the venue confirmed the account; None for a book of our own, which is never behind."""
    sleeve_symbols: frozenset[str] | None = None
    """The symbols the sleeve manages; None means all of the account."""
    sleeve_cash_cap: int | None = None
    industries: Mapping[str, str] | None = None
    opened_on: dict[str, date] | None = None
    """Day on which each position held was opened."""
    exited_on: dict[str, date] | None = None
    """Day on which each symbol was last sold out."""
    opened_today: set[str] | None = None
    """Symbols of which a position was opened, or is being opened, today."""
    loss_streak: int | None = None
    """Sales at a loss today since the last one at a gain."""

    @property
    def gross(self) -> int:
        """Return the sum of all exposures."""
        return sum(self.exposure.values())

    def holds(self, symbol: str) -> bool:
        """Return whether `symbol` is held or being bought."""
        return self.exposure.get(symbol, 0) > 0 or self.held.get(symbol, 0) > 0


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a rule may look at."""

    order: ProposedOrder
    reference: Reference | None
    quote: Quote | None
    standing: Standing
    policy: RiskPolicy
    phase: Phase
    may_place: bool
    """Whether the exchange takes a new order of this kind in this phase."""
    trading_day: date
    now: datetime
    valid_until: datetime
    cost_bound: int
    """Most cash a buy can need, fees included; 0 for a sell."""
    terms: DayTerms | None = None
    venue_types: frozenset[OrderType] | None = None
    """What the venue takes; None: limit orders, as every venue does."""
    stats: Stats = NO_STATS
    costs: Costs | None = None
    asked_posture: Posture = Posture.NORMAL
    """What the decision asked for itself; it can only tighten."""
    halted: bool = False
    """True during a temporary halt, when no price cage applies."""
    modifies: bool = False
    """True where the order takes the place of one that is cancelled for it."""

    @property
    def is_buy(self) -> bool:
        """Return whether the order buys."""
        return self.order.side is Side.BUY

    @property
    def leaves(self) -> bool:
        """Return whether it is a sale by which code leaves a position.

        No limit of the policy and no posture may hold it back; every rule of the exchange does.
        """
        return self.order.is_exit and not self.is_buy

    @property
    def worst_price(self) -> int:
        """Return the price the order is valued at: its own, else limit-up, else 0 (units)."""
        if self.order.price > 0 or self.order.order_type is OrderType.LIMIT:
            return self.order.price
        return 0 if self.reference is None else self.reference.limit_up or 0

    @property
    def value(self) -> int:
        """Return the order's value at its worst price, units."""
        return self.worst_price * self.order.qty

    @property
    def posture(self) -> Posture:
        """Return the tightest of what account, policy, hour and decision ask for."""
        control = self.standing.control
        return tightest(
            self.policy.posture_at(self.now),
            self.asked_posture,
            Posture.NORMAL if control is None else control.posture,
        )

    @property
    def top(self) -> BookTop | None:
        """Return what the price cage is taken from, or None without a price."""
        quote, reference = self.quote, self.reference
        if quote is None or reference is None or quote.price <= 0:
            return None
        return BookTop(quote.best_bid, quote.best_ask, quote.price, reference.pre_close)

    def no(self, code: str, detail: str, *, limit: object = None, actual: object = None) -> Reason:
        """Return a refusal of this order."""
        return Reason(
            code,
            self.order.action_index,
            detail,
            None if limit is None else str(limit),
            None if actual is None else str(actual),
        )

    def unknown(self, code: str, limit: str, missing: str) -> Reason:
        """Return the refusal because the input `missing` of the set limit `limit` is not known."""
        return self.no(code, f"{limit} is set, but {missing} is not known", limit=limit)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate."""

    codes: tuple[str, ...]
    exchange: bool
    """True for a rule of the exchange or the law: it cannot be switched off."""
    source: str
    zh: str
    en: str
    judge: Callable[[Question], Reason | None]
    parameters: tuple[str, ...] = ()
    """The fields of the policy it reads."""
