"""A decision's target weights as the orders they need, before the gate sees them.

Owns `with_orders`, `planned` and `in_sending_order`. Every order it plans keeps the index of the
action that asked for it, so its ids and its exit plan are that action's. Must never judge or send.
Tests: tests/unit/application/test_targeting.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from caopan.application.account import AccountCache
from caopan.application.desk import Desk
from caopan.domain.accounting.fees import FeeSchedule, upper_bound
from caopan.domain.decision.shapes import Action, ActionType, Decision
from caopan.domain.market.reference import Exchange, Reference
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import Order, OrderType, Side
from caopan.domain.planning.targets import CHASE_BPS, Plan, Position, Target, plan
from caopan.domain.risk.question import Standing
from caopan.kernel.money import yuan


def with_orders(
    desk: Desk,
    account: AccountCache,
    references: Mapping[str, Reference],
    prices: Mapping[str, int],
    standing: Standing,
    decision: Decision,
) -> tuple[Decision, Plan | None]:
    """Return what `planned` does of a desk's account."""
    return planned(
        decision,
        standing=standing,
        positions=_positions(account, standing),
        references=references,
        prices=prices,
        fees=desk.fees,
    )


def planned(
    decision: Decision,
    *,
    standing: Standing,
    positions: Mapping[str, Position],
    references: Mapping[str, Reference],
    prices: Mapping[str, int],
    fees: FeeSchedule,
) -> tuple[Decision, Plan | None]:
    """Return the decision with orders in the place of targets, sells first, and the plan.

    `prices` are the market's, units. A target that needs no order, or cannot have one, is left out;
    the plan says why. None where the decision names no target.
    """
    asked = [action for action in decision.actions if action.type is ActionType.SET_TARGET]
    if not asked:
        return decision, None
    others = tuple(one for one in decision.actions if one.type is not ActionType.SET_TARGET)

    def cost_of_buy(symbol: str, qty: int, price: int) -> int:
        place = Exchange(symbol[-2:]), instrument_of(symbol)
        return upper_bound(fees, qty, price, references[symbol].day, *place)

    cash = standing.cash_free
    if decision.max_new_cash is not None:
        cash = min(cash, decision.max_new_cash)
    for one in others:
        # The gate judges them first, so what they buy is no longer there for targets.
        if one.side is Side.BUY and one.symbol is not None and one.symbol in references:
            price = one.price or prices.get(one.symbol, 0)
            cash -= cost_of_buy(one.symbol, one.qty or 0, price)
    found = plan(
        [_target(action) for action in asked],
        nav=standing.nav,
        cash=cash,
        positions=positions,
        references=references,
        prices=prices,
        cost_of_buy=cost_of_buy,
    )
    by_index = {action.index: action for action in asked}
    orders = tuple(
        replace(
            by_index[one.index],
            type=ActionType.PLACE_ORDER,
            side=one.side,
            order_type=OrderType.LIMIT,
            price=one.price,
            qty=one.qty,
        )
        for one in found.orders
    )
    return replace(decision, actions=(*others, *orders)), found


def in_sending_order(actions: Iterable[Action], orders: Iterable[Order]) -> list[Action]:
    """Return actions as they are carried out: targets last, those that sell before those that buy.

    `orders` are those of the actions. A decision that is read again after a crash still names its
    targets, in the model's order.
    """
    buys = {order.action_index for order in orders if order.side is Side.BUY}

    def turn(action: Action) -> int:
        return (1 + (action.index in buys)) if action.type is ActionType.SET_TARGET else 0

    return sorted(actions, key=turn)


def plan_json(found: Plan) -> dict[str, Any]:
    """Return a plan as JSON values, for the ledger."""
    return {
        "left": [
            {"action_index": one.index, "symbol": one.symbol, "why": one.why} for one in found.left
        ],
        "orders": [
            {
                "action_index": one.index,
                "price": yuan(one.price),
                "qty": one.qty,
                "side": one.side.value,
                "symbol": one.symbol,
            }
            for one in found.orders
        ],
    }


def _target(action: Action) -> Target:
    entry = action.entry
    chase = CHASE_BPS if entry is None or entry.max_chase_bps is None else entry.max_chase_bps
    return Target(
        index=action.index,
        symbol=action.symbol or "",
        weight=Fraction(action.target_weight or "0"),
        max_price=None if entry is None else entry.max_price,
        chase_bps=chase,
    )


def _positions(account: AccountCache, standing: Standing) -> dict[str, Position]:
    """Return what the account holds and has on order, by symbol."""
    buying: dict[str, int] = {}
    selling: dict[str, int] = {}
    for order in account.working.values():
        side = buying if order.side is Side.BUY else selling
        side[order.symbol] = side.get(order.symbol, 0) + order.open_qty
    held = account.book.quantities()
    return {
        symbol: Position(
            held=held.get(symbol, 0),
            sellable=standing.sellable.get(symbol, 0),
            buying=buying.get(symbol, 0),
            selling=selling.get(symbol, 0),
        )
        for symbol in {*held, *buying, *selling}
    }
