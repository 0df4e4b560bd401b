"""Target weights into orders: sides, lots and limit prices.

Owns `plan`. It sizes by what the account holds, has on order and can pay; sells come before buys,
and no sale's money is spent before it has come in. Must never judge: every planned order goes
through the gate like any other. Tests: tests/unit/domain/planning, tests/property/domain/planning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from caopan.domain.market.quantity import check_quantity
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import Side

CHASE_BPS = 50
"""How far from the market an order is priced where the target does not say: enough to meet it."""
NO_PRICE = "no_price"
_BPS = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """One symbol's share of NAV, as a decision asks for it."""

    index: int
    """Of the action."""
    symbol: str
    weight: Fraction
    """In [0, 1]."""
    max_price: int | None = None
    """Most to be paid for a share, units."""
    chase_bps: int = CHASE_BPS


@dataclass(frozen=True, slots=True)
class Position:
    """What the account holds of one symbol, shares."""

    held: int = 0
    sellable: int = 0
    """Of it, what may be sold today and is not on order."""
    buying: int = 0
    """Open quantity of buy orders."""
    selling: int = 0
    """Open quantity of sell orders."""

    @property
    def to_be(self) -> int:
        """Return what is held once every open order has filled."""
        return self.held + self.buying - self.selling


@dataclass(frozen=True, slots=True)
class Planned:
    """One order that a target needs; price in units, quantity in shares."""

    index: int
    symbol: str
    side: Side
    qty: int
    price: int


@dataclass(frozen=True, slots=True)
class Unplanned:
    """A target that needs no order now, or cannot have one."""

    index: int
    symbol: str
    why: str
    """`at_target`, `below_one_lot`, `not_sellable_today`, `no_cash` or `no_price`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the targets of a decision lead to; orders in the order they are to be judged."""

    orders: tuple[Planned, ...]
    left: tuple[Unplanned, ...]


def plan(
    targets: Iterable[Target],
    *,
    nav: int,
    cash: int,
    positions: Mapping[str, Position],
    references: Mapping[str, Reference],
    prices: Mapping[str, int],
    cost_of_buy: Callable[[str, int, int], int],
) -> Plan:
    """Return the orders that move the account towards `targets`.

    `nav` and `cash` (free, units) are the account's; `prices` are the market's by symbol;
    `cost_of_buy(symbol, qty, price)` is the most a buy can take, fees included. Where cash does not
    reach, buys shrink in the order the decision names them.
    """
    sells: list[Planned] = []
    buys: list[Planned] = []
    left: list[Unplanned] = []
    for target in targets:
        reference, price = references.get(target.symbol), prices.get(target.symbol)
        if reference is None or price is None or price <= 0:
            left.append(Unplanned(target.index, target.symbol, NO_PRICE))
            continue
        position = positions.get(target.symbol, Position())
        goal = int(nav * target.weight / price)
        if goal < position.to_be:
            found = _sell(target, reference, price, position, goal)
        else:
            found = _buy(target, reference, price, goal - position.to_be, cash, cost_of_buy)
        if isinstance(found, Unplanned):
            left.append(found)
        elif found.side is Side.SELL:
            sells.append(found)
        else:
            buys.append(found)
            cash -= cost_of_buy(found.symbol, found.qty, found.price)
    return Plan((*sells, *buys), tuple(left))


def _sell(
    target: Target, reference: Reference, price: int, position: Position, goal: int
) -> Planned | Unplanned:
    wanted = min(position.to_be - goal, position.sellable)
    if wanted <= 0:
        return Unplanned(target.index, target.symbol, "not_sellable_today")
    qty = _sellable_part(reference, min(wanted, reference.max_limit_qty), position.sellable)
    if qty == 0:
        return Unplanned(target.index, target.symbol, "below_one_lot")
    tick = reference.tick_size
    floor = -(-price * (_BPS - target.chase_bps) // (_BPS * tick)) * tick
    if reference.limit_down is not None:
        floor = max(floor, reference.limit_down)
    return Planned(target.index, target.symbol, Side.SELL, qty, max(floor, tick))


def _sellable_part(reference: Reference, wanted: int, sellable: int) -> int:
    """Return the largest quantity up to `wanted` that one sell order may have; 0 if there is none.

    An odd lot goes whole or stays, so a part of a position is sold in steps.
    """
    step = reference.qty_step
    odd = sellable % step
    steps = wanted - wanted % step
    for qty in (wanted, steps + odd, steps - step + odd, steps):
        legal = 0 < qty <= wanted and not check_quantity(
            reference, qty, selling=True, sellable=sellable
        )
        if legal:
            return qty
    return 0


def _buy(
    target: Target,
    reference: Reference,
    price: int,
    missing: int,
    cash: int,
    cost_of_buy: Callable[[str, int, int], int],
) -> Planned | Unplanned:
    least, step = reference.min_buy_qty, reference.qty_step
    if missing < least:
        why = "at_target" if missing == 0 else "below_one_lot"
        return Unplanned(target.index, target.symbol, why)
    tick = reference.tick_size
    limit = price * (_BPS + target.chase_bps) // (_BPS * tick) * tick
    if target.max_price is not None:
        limit = min(limit, target.max_price // tick * tick)
    if reference.limit_up is not None:
        limit = min(limit, reference.limit_up)
    if limit <= 0:
        return Unplanned(target.index, target.symbol, NO_PRICE)
    most = min(missing, reference.max_limit_qty)
    low, high = 0, (most - least) // step + 1
    # Costs grow with the quantity: the largest number of steps that cash pays for, by halving.
    while low < high:
        middle = (low + high + 1) // 2
        qty = least + (middle - 1) * step
        if cost_of_buy(target.symbol, qty, limit) <= cash:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return Unplanned(target.index, target.symbol, "no_cash")
    return Planned(target.index, target.symbol, Side.BUY, least + (low - 1) * step, limit)
