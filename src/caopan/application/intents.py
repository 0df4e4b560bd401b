"""From a judged proposal to an order with its reservation.

Owns the question the gate is asked about an order, the order made of a passed action, and what is
reserved for it. Must never judge or send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from caopan.application.desk import Desk, Viewpoint
from caopan.domain.accounting.bookings import freeze_buy, freeze_sell
from caopan.domain.accounting.fees import FeeSchedule, upper_bound
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Action, Decision, DecisionStatus
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import OrderKind, Permit, PhaseTable
from caopan.domain.market.reference import Exchange, Instrument, Reference
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.costs import Costs
from caopan.domain.risk.day_terms import day_terms
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import NO_STATS, ProposedOrder, Question, Quote, Standing, Stats
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.ids import client_order_id, derived_uuid


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the gate is told beside the account: the dated rules and the market of this moment.

    Whatever is left out is not known, and a rule that needs it refuses.
    """

    rules: MarketRules | None = None
    quotes: Mapping[str, Quote] = field(default_factory=dict[str, Quote])
    """By symbol; where there is none the day's reference price stands in."""
    stats: Mapping[str, Stats] = field(default_factory=dict[str, Stats])
    halted: frozenset[str] = frozenset()
    """Symbols in a temporary halt."""
    asked_posture: Posture = Posture.NORMAL


_NOTHING_ELSE = Surroundings()


def question_of(
    desk: Desk,
    order: ProposedOrder,
    references: Mapping[str, Reference],
    standing: Standing,
    decision: Decision,
    now: datetime,
    around: Surroundings = _NOTHING_ELSE,
) -> Question:
    """Return what the gate is asked about `order` at `now`."""
    if decision.is_exit and order.side is Side.SELL:
        order = replace(order, is_exit=True)
    reference = references.get(order.symbol)
    quote = around.quotes.get(order.symbol)
    if quote is None and reference is not None:
        quote = Quote(reference.pre_close, desk.phases.windows(reference.day)[0].start)
    limit = order.order_type is OrderType.LIMIT
    return ask_gate(
        order,
        Gatehouse(
            calendar=desk.calendar,
            phases=desk.phases,
            fees=desk.fees,
            policy=desk.policy,
            # Every venue takes limit orders; only what else it takes has to be looked up.
            venue_types=None if limit else desk.broker.capabilities.order_types,
        ),
        reference,
        quote,
        standing,
        decision.valid_until,
        now,
        around,
    )


@dataclass(frozen=True, slots=True)
class Gatehouse:
    """What the gate judges by that does not change from one order to the next."""

    calendar: TradingCalendar
    phases: PhaseTable
    fees: FeeSchedule
    policy: RiskPolicy
    venue_types: frozenset[OrderType] | None = None


def ask_gate(
    order: ProposedOrder,
    house: Gatehouse,
    reference: Reference | None,
    quote: Quote | None,
    standing: Standing,
    valid_until: datetime,
    now: datetime,
    around: Surroundings = _NOTHING_ELSE,
) -> Question:
    """Return the question about `order` from its parts, without a desk."""
    today = shanghai(now).date()
    session = house.calendar.is_session(today)
    exchange = Exchange(order.symbol[-2:])
    instrument = Instrument.STOCK if reference is None else reference.board.instrument
    phase = house.phases.phase_of(now, session=session, exchange=exchange, instrument=instrument)
    may_place, terms = False, None
    if session and reference is not None and reference.day == today:
        permit = house.phases.may_place(
            phase, order.order_type.kind, exchange=exchange, board=reference.board, day=today
        )
        may_place = permit is not Permit.REFUSED
        if around.rules is not None:
            terms = day_terms(around.rules, exchange, reference.board, today)
    costs = Costs(house.fees, today, exchange, instrument)
    question = Question(
        order=order,
        reference=reference,
        quote=quote,
        standing=standing,
        policy=house.policy,
        phase=phase,
        may_place=may_place,
        trading_day=today,
        now=now,
        valid_until=valid_until,
        cost_bound=0,
        terms=terms,
        venue_types=house.venue_types,
        stats=around.stats.get(order.symbol, NO_STATS),
        costs=costs,
        asked_posture=around.asked_posture,
        halted=order.symbol in around.halted,
    )
    if order.side is Side.SELL or question.value <= 0:
        return question
    return replace(question, cost_bound=costs.of_buy(order.qty, question.worst_price))


def order_of(desk: Desk, cycle: Cycle, decision: Decision, action: Action, now: datetime) -> Order:
    """Return the order a passed action becomes; its ids derive from the decision alone."""
    proposed = proposed_of(action)
    key = (str(cycle.decision_id), action.index)
    return Order(
        order_id=derived_uuid(now, *key, "order"),
        client_order_id=client_order_id(cycle.decision_id, action.index, 1),
        decision_id=cycle.decision_id,
        action_index=action.index,
        account_id=cycle.account_id,
        symbol=proposed.symbol,
        side=proposed.side,
        order_type=proposed.order_type,
        price=proposed.price,
        qty=proposed.qty,
        broker=desk.broker.name,
        clearance_id=derived_uuid(now, *key, "clearance"),
        trading_day=cycle.trading_day,
        not_after=decision.valid_until,
        created_at=now,
        updated_at=now,
        exit_plan_id=None if action.exit_plan is None else derived_uuid(now, *key, "exit_plan"),
    )


def reservations(
    desk: Desk,
    held: Book,
    orders: Sequence[Order],
    references: Mapping[str, Reference],
    now: datetime,
) -> list[Transaction]:
    """Return the freezes of `orders` on the book `held`, which is left as it was."""
    found: list[Transaction] = []
    book = held.copy()
    for order in orders:
        txn_id = derived_uuid(now, str(order.order_id), "freeze")
        if order.side is Side.BUY:
            bound = upper_bound(
                desk.fees,
                order.qty,
                order.price,
                order.trading_day,
                Exchange(order.symbol[-2:]),
                instrument_of(order.symbol),
            )
            found.append(freeze_buy(txn_id, order, bound, now))
        else:
            settled = references[order.symbol].t_plus_one
            found.append(
                freeze_sell(txn_id, order, book, order.trading_day, now, t_plus_one=settled)
            )
        book.post(found[-1])
    return found


def prices_of(
    desk: Viewpoint,
    references: Mapping[str, Reference],
    held: Iterable[str],
    day: date,
    now: datetime,
) -> dict[str, int]:
    """Return the reference price of `day` (units) by symbol, for a holding without one its last.

    Vendors leave out the rows of a suspension. The shares are still there: counted as nothing, they
    would look like a loss and halt the desk.
    """
    prices = {symbol: reference.pre_close for symbol, reference in references.items()}
    missing = [symbol for symbol in held if symbol not in prices]
    if missing:
        closes = desk.market.closes(desk.calendar.previous_session(day), now)
        prices.update({symbol: closes[symbol] for symbol in missing if symbol in closes})
    return prices


def proposed_of(action: Action) -> ProposedOrder:
    """Return the order an action proposes; one without type and price is a market order.

    Raises:
        Denied: CHECKER_SCHEMA_FAIL if the action lacks a part; the checker lets none such pass.
    """
    order_type, price = action.order_type, action.price
    if order_type is None and price is None:
        order_type = OrderType.MARKET_BEST5_CANCEL
    if order_type is not None and order_type.kind is OrderKind.MARKET:
        price = price or 0
    if (
        action.symbol is None
        or action.side is None
        or order_type is None
        or price is None
        or action.qty is None
    ):
        raise Denied("CHECKER_SCHEMA_FAIL", f"action {action.index} is incomplete")
    return ProposedOrder(
        action_index=action.index,
        symbol=action.symbol,
        side=action.side,
        order_type=order_type,
        price=price,
        qty=action.qty,
        has_exit_plan=action.exit_plan is not None,
    )


def as_proposed(order: Order) -> ProposedOrder:
    """Return an order as it was proposed, for judging it again."""
    return ProposedOrder(
        action_index=order.action_index,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        price=order.price,
        qty=order.qty,
        has_exit_plan=order.exit_plan_id is not None,
    )


def outcome_of(orders: Sequence[Order]) -> DecisionStatus:
    """Return what became of a decision whose orders are all over."""
    if all(order.status is OrderStatus.FILLED for order in orders):
        return DecisionStatus.EXECUTED
    if any(order.filled_qty for order in orders):
        return DecisionStatus.PARTIALLY_EXECUTED
    statuses = {order.status for order in orders}
    if OrderStatus.EXPIRED in statuses:
        return DecisionStatus.EXPIRED
    if OrderStatus.CANCELED in statuses:
        return DecisionStatus.CANCELED
    return DecisionStatus.FAILED
