"""What a rule is asked, and what it may answer.

Owns Question (one proposed order against the account as it would then stand), Standing (that
account) and Rule. Must never hold a rule itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.policy import RiskPolicy


@dataclass(frozen=True, slots=True)
class Quote:
    """The price an order is judged against. Units; `as_of` aware."""

    price: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ProposedOrder:
    """One order as proposed. Price in units, quantity in shares."""

    action_index: int
    symbol: str
    side: Side
    order_type: OrderType
    price: int
    qty: int
    has_exit_plan: bool

    @property
    def value(self) -> int:
        """Return price times quantity in units."""
        return self.price * self.qty


@dataclass(slots=True)
class Standing:
    """The account as it would stand after the actions before. Money in units.

    Buys that passed count as done (cash gone, exposure up); sells that passed never add cash and
    never lower exposure before they fill.
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
    working: set[tuple[str, Side]] = field(default_factory=set[tuple[str, Side]])
    """(symbol, side) of orders that rest or have just passed."""

    @property
    def gross(self) -> int:
        """Return the sum of all exposures."""
        return sum(self.exposure.values())


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

    def no(self, code: str, detail: str, *, limit: object = None, actual: object = None) -> Reason:
        """Return a refusal of this order."""
        return Reason(
            code,
            self.order.action_index,
            detail,
            None if limit is None else str(limit),
            None if actual is None else str(actual),
        )


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
