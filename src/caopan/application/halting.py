"""What a halt does to an account beside stopping it: open orders are cancelled, positions sold.

Owns `carry_out` and `stop_account`. Cancels are asked for whatever else fails; flattening goes
through the gate like any order. Must never lift a halt. Tests:
tests/unit/application/test_halting.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caopan.application import records
from caopan.application.execution.controller import CANCEL_WAIT
from caopan.application.intents import prices_of
from caopan.application.pipeline import Pipeline
from caopan.application.seat import Seat
from caopan.domain.decision.shapes import Action, ActionType
from caopan.domain.market.phases import Phase
from caopan.domain.market.price_cage import CAGE_PHASES, BookTop, base_price, cage_bound
from caopan.domain.market.reference import Exchange, Reference
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.money import units

_POLL = timedelta(milliseconds=200)
_MOST_VALUE = units(5_000_000)
"""Half of what the second gate lets pass as one order."""
_LONGEST_REASON = 500


_TAKES_ORDERS = frozenset(
    {
        Phase.OPEN_AUCTION,
        Phase.OPEN_AUCTION_NO_CANCEL,
        Phase.AUCTION_GAP,
        Phase.CONTINUOUS_AM,
        Phase.CONTINUOUS_PM,
        Phase.CLOSING_AUCTION,
    }
)


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What is left of an account after a halt was carried out."""

    still_open: Sequence[Order]
    """Orders the venue has not yet said are over."""
    unsold: Mapping[str, int]
    """Shares by symbol that are not up for sale: bought today, suspended, or held back."""


async def carry_out(pipeline: Pipeline, reason: str) -> CarriedOut:
    """Cancel everything open where the level asks for it, and sell what is sellable at level 3.

    Safe to repeat: what is cancelled stays so, what is up for sale is not sold twice.
    """
    level = pipeline.seat.level()
    if level < KillLevel.NO_ORDERS:
        return CarriedOut(list(pipeline.account.working.values()), {})
    await _cancelled(pipeline)
    if level < KillLevel.FLATTEN:
        return CarriedOut(list(pipeline.account.working.values()), {})
    sales = sales_of(pipeline)
    if sales:
        # Where time stands still, what a late cancel has freed is another request all the same.
        number = len(pipeline.account.day_orders)
        slot = f"flatten {iso(pipeline.desk.clock.now())} {number}"
        await pipeline.operate(slot, sales, "kill switch", reason)
        await pipeline.settle()
    book = pipeline.account.book
    left = book.quantities()
    for order in pipeline.account.working.values():
        if order.side is Side.SELL:
            left[order.symbol] = left.get(order.symbol, 0) - order.open_qty
    unsold = {symbol: qty for symbol, qty in left.items() if qty > 0}
    return CarriedOut(list(pipeline.account.working.values()), unsold)


async def stop_account(seat: Seat, reason: str, by: str) -> None:
    """Let no order leave the account any more, durably, unless it is so already."""
    async with seat.begin() as uow:
        present = await uow.controls.get()
        if present.level < KillLevel.NO_ORDERS:
            present = replace(
                present,
                level=KillLevel.NO_ORDERS,
                reason=reason[:_LONGEST_REASON],
                by=by,
                at=seat.desk.clock.now(),
                version=present.version + 1,
            )
            await uow.controls.put(present)
            await uow.ledger.append([records.controlled(present)])
            await uow.commit()
    seat.control = present


async def _cancelled(pipeline: Pipeline) -> None:
    """Cancel all but what flattens already, and wait, for a bounded time, for the venue's word."""
    clock = pipeline.desk.clock
    give_up = clock.now() + CANCEL_WAIT
    while True:
        await pipeline.settle()
        waiting = [
            order
            for order in pipeline.account.working.values()
            if order.status is OrderStatus.PENDING_CANCEL
        ]
        if not waiting or clock.now() >= give_up:
            return
        await clock.pause(_POLL)


def sales_of(pipeline: Pipeline) -> list[Action]:
    """Return orders that sell all that is sellable now, each as large as one order may be."""
    desk, book = pipeline.desk, pipeline.account.book
    now = desk.clock.now()
    day = desk.calendar.on_or_before(shanghai(now).date())
    if _phase(pipeline, now, Exchange.SH) not in _TAKES_ORDERS:
        return []  # The exchange would take none of them.
    references = desk.market.references(day, now)
    prices = prices_of(desk, references, book.quantities(), day, now)
    found: list[Action] = []
    for symbol in sorted(book.quantities()):
        reference = references.get(symbol)
        if reference is None or symbol not in prices:
            continue
        left = book.sellable(symbol, day, t_plus_one=reference.t_plus_one)
        price = _lowest(pipeline, reference, prices[symbol])
        while left > 0:
            qty = min(left, _largest(reference, price))
            found.append(_sale(len(found), symbol, qty, price))
            left -= qty
    return found


def _largest(reference: Reference, price: int) -> int:
    """Return the largest sale of whole lots that exchange and second gate take as one order."""
    lots = _MOST_VALUE // (price * reference.lot_size) if price > 0 else 1
    return min(reference.max_limit_qty, max(lots, 1) * reference.lot_size)


def _sale(index: int, symbol: str, qty: int, price: int) -> Action:
    return Action(
        index=index,
        type=ActionType.PLACE_ORDER,
        symbol=symbol,
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        price=price,
        qty=qty,
    )


def _lowest(pipeline: Pipeline, reference: Reference, last: int) -> int:
    """Return the lowest price the exchange takes now: limit-down, or the cage where it applies."""
    desk, tick = pipeline.desk, reference.tick_size
    now = desk.clock.now()
    exchange = Exchange(reference.symbol[-2:])
    lowest = reference.limit_down
    phase = _phase(pipeline, now, exchange)
    if desk.rules is not None and phase in CAGE_PHASES:
        try:
            row = desk.rules.cages.row(exchange, reference.board, reference.day)
            if row.share is not None:
                top = BookTop(None, None, last, reference.pre_close)
                caged = cage_bound(row, base_price(top, buying=False), tick, buying=False)
                lowest = caged if lowest is None else max(lowest, caged)
        except Denied:
            pass  # the gate refuses what nobody knows the cage of
    return last // tick * tick if lowest is None else lowest


def _phase(pipeline: Pipeline, now: datetime, exchange: Exchange) -> Phase:
    desk = pipeline.desk
    session = desk.calendar.is_session(shanghai(now).date())
    return desk.phases.phase_of(now, session=session, exchange=exchange)
