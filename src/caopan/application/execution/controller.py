"""The execution controller: an order leaves once or not at all, and its fills are booked once.

Owns the way of an order from its committed intent to its end: judged again right before the wire,
marked `sending` durably, sent by the hand, asked after, cancelled, settled from the venue's reports
in whatever order they come. Must never send an order twice, believe anything about an order but the
venue's own evidence, or hold back a cancel. Tests: tests/simulation/test_crash_matrix.py,
tests/unit/application/execution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from caopan.application import records
from caopan.application.account import saved_once
from caopan.application.execution import foreign, hand
from caopan.application.execution.settlement import Settlement, settle_reports
from caopan.application.intents import as_proposed, outcome_of, prices_of, question_of
from caopan.application.judging import surroundings
from caopan.application.ports.broker import Report
from caopan.application.ports.store import UnitOfWork
from caopan.application.seat import Seat
from caopan.domain.accounting.bookings import release, repaid
from caopan.domain.accounting.journal import Transaction
from caopan.domain.decision.cycle import Cycle, closed
from caopan.domain.decision.shapes import CycleStage, Decision
from caopan.domain.market.phases import OrderKind, Permit
from caopan.domain.market.reference import Exchange
from caopan.domain.orders.order import Order, OrderStatus, Side, moved
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.gate import clear
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import Conflict, CorruptState
from caopan.kernel.ids import derived_uuid

CANCEL_WAIT = timedelta(seconds=3)
"""How long a change of an order waits for its cancel to be confirmed before it gives up."""
_POLL = timedelta(milliseconds=200)
_SECOND = timedelta(seconds=1)
_MOST_DOUBLINGS = 6
_LONGEST_REASON = 500

CANCELABLE = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
_LOST = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})


class Controller:
    """Execution for one account. One task drives it."""

    def __init__(self, seat: Seat) -> None:
        """Work at `seat`."""
        self.seat = seat
        self._requests: deque[datetime] = deque()
        self._cancels_asked: dict[UUID, tuple[datetime, int]] = {}
        """When the cancel of an order was last asked for, and how often."""

    # --- sending ------------------------------------------------------------------------------

    async def execute(self, order: Order, decision: Decision, trace: Cycle) -> Order:
        """Take one order of `decision` on from wherever it stands; return it as recorded."""
        # What was read before may have been settled since.
        order = answered = self._present(order)
        if order.status is OrderStatus.CREATED:
            answered = await self._send(order, decision)
        elif order.status in _LOST:
            answered = await hand.resolve(order, self.seat.desk.broker, self.seat.desk.clock.now())
        return await self.record(self._present(order), answered, trace)

    def _present(self, order: Order) -> Order:
        account = self.seat.account
        known = account.working.get(order.order_id) or account.day_orders.get(order.order_id)
        return order if known is None else known

    async def _send(self, order: Order, decision: Decision) -> Order:
        """Judge once more on the present account and price; then, and only then, the wire."""
        seat, desk = self.seat, self.seat.desk
        await self._keep_pace()
        now = desk.clock.now()
        if now > order.not_after:
            return moved(order, OrderStatus.EXPIRED, now, reject_code="RISK_EXPIRED")
        references = desk.market.references(order.trading_day, now)
        day, held = order.trading_day, seat.account.book.quantities()
        prices = prices_of(desk, references, held, day, now)
        standing = seat.account.standing(
            references,
            prices,
            day,
            control=seat.control_now(),
            licence=desk.licence,
            without=order,
            requests_last_second=len(self._just_sent(now)),
        )
        around = surroundings(desk, decision, [order.symbol], now)
        question = question_of(
            desk, as_proposed(order), references, standing, decision, now, around
        )
        verdict, clearance = clear(question, order)
        if clearance is None:
            return moved(order, OrderStatus.NOT_SENT, now, reject_code=verdict.reasons[0].code)
        return await self._on_the_wire(order, clearance, now)

    async def _on_the_wire(self, order: Order, clearance: Clearance, now: datetime) -> Order:
        desk = self.seat.desk
        sending = moved(order, OrderStatus.SENDING, now)
        await self.seat.record([], orders=[sending])
        try:
            return await hand.send(sending, clearance, desk.broker, desk.clock.now(), self.seat)
        finally:
            # Counted from when it was out for certain, not from when it was recorded.
            self._requests.append(desk.clock.now())

    async def _keep_pace(self) -> None:
        """Wait until one more order fits the venue's and the policy's rate of a second."""
        desk = self.seat.desk
        most = desk.broker.capabilities.orders_per_second
        most = min(most, desk.policy.orders_per_second or most)
        while len(recent := self._just_sent(now := desk.clock.now())) >= most:
            await desk.clock.pause(recent[-most] + _SECOND - now)

    def _just_sent(self, now: datetime) -> Sequence[datetime]:
        """Return when orders and cancels were sent within the second before `now`."""
        while self._requests and self._requests[0] + _SECOND <= now:
            self._requests.popleft()
        return list(self._requests)

    async def send_waiting(self, cycle: Cycle, decision: Decision, orders: Sequence[Order]) -> None:
        """Send what waited for another order of its decision to fill, or give it up."""
        by_action = {order.action_index: order for order in orders}
        actions = {action.index: action for action in decision.actions}
        for order in orders:
            needed = actions[order.action_index].depends_on
            if order.status is not OrderStatus.CREATED or needed is None:
                continue
            now, first = self.seat.desk.clock.now(), by_action.get(needed)
            if first is not None and first.status is OrderStatus.FILLED:
                await self.execute(order, decision, cycle)
            elif first is None or (first.is_terminal and not self._may_still_fill(first)):
                over = moved(order, OrderStatus.NOT_SENT, now, reject_code="DEPENDENCY_FAILED")
                await self.record(order, over, cycle)
            elif now > order.not_after:
                over = moved(order, OrderStatus.EXPIRED, now, reject_code="RISK_EXPIRED")
                await self.record(order, over, cycle)

    def _may_still_fill(self, order: Order) -> bool:
        return order.order_id in self.seat.account.late

    # --- cancelling ---------------------------------------------------------------------------

    async def cancel(self, order: Order) -> Order:
        """Ask the venue to cancel `order`; its end is learned by `settle`. Never held back.

        An order that has not left is ended here; one whose answer was lost is first asked after.
        """
        desk, cycle = self.seat.desk, await self._cycle(order)
        now = desk.clock.now()
        if order.status is OrderStatus.CREATED:
            return await self.record(order, moved(order, OrderStatus.CANCELED, now), cycle)
        if order.status in _LOST:
            known = await hand.resolve(order, desk.broker, now)
            order = await self.record(order, known, cycle)
        if order.status in CANCELABLE:
            order = await self.record(order, moved(order, OrderStatus.PENDING_CANCEL, now), cycle)
        if order.status is not OrderStatus.PENDING_CANCEL:
            return order
        return await self._ask_cancel(order, cycle)

    async def _ask_cancel(self, order: Order, cycle: Cycle | None) -> Order:
        desk = self.seat.desk
        now = desk.clock.now()
        self._just_sent(now)
        self._requests.append(now)
        times = self._cancels_asked.get(order.order_id, (now, 0))[1]
        self._cancels_asked[order.order_id] = (now, times + 1)
        self.seat.account.cancels_asked += 1
        answered = await hand.cancel(order, desk.broker, desk.clock.now())
        return await self.record(order, answered, cycle)

    def _cancel_may_be_lost(self, order: Order) -> bool:
        """Tell whether a cancel has had its time, so that asking again is no mere repetition.

        The time doubles with every request: a venue that never answers is not flooded.
        """
        desk, asked = self.seat.desk, self._cancels_asked.get(order.order_id)
        if asked is None:
            return True
        last, times = asked
        patience = desk.broker.capabilities.settle_window * 2 ** min(times - 1, _MOST_DOUBLINGS)
        return desk.clock.now() >= last + patience

    async def declare_never_taken(self, order: Order) -> Order:
        """End an unknown order on a person's word; the caller has recorded who says so and why.

        Raises:
            Conflict: ORDER_NOT_UNKNOWN for any other order: of those the venue tells.
        """
        if order.status is not OrderStatus.UNKNOWN:
            raise Conflict(
                "ORDER_NOT_UNKNOWN",
                f"order {order.client_order_id} is {order.status}, as the venue says",
                remedy="cancel it, or wait for its end",
            )
        now = self.seat.desk.clock.now()
        over = moved(order, OrderStatus.NOT_SENT, now, reject_code="OPERATOR_NEVER_TAKEN")
        return await self.record(order, over, await self._cycle(order))

    async def cancel_confirmed(self, order: Order) -> Order:
        """Cancel and wait, for a bounded time, until the venue has said how the order ended."""
        desk = self.seat.desk
        order = await self.cancel(order)
        give_up = desk.clock.now() + CANCEL_WAIT
        while True:
            await self.settle()
            account = self.seat.account
            held = account.working.get(order.order_id)
            if held is None:
                return await self._stored(order)
            if held.status is not OrderStatus.PENDING_CANCEL or desk.clock.now() >= give_up:
                return held
            await desk.clock.pause(_POLL)

    async def cancel_all(self) -> Sequence[Order]:
        """Ask for the cancel of everything open; return what is still open after the answers."""
        for order in list(self.seat.account.working.values()):
            await self.cancel(order)
        await self.settle()
        return list(self.seat.account.working.values())

    async def cancel_halted(self) -> None:
        """At a halt, ask for the cancel of whatever is open, again and again until it is over.

        What flattens the account stays: sales of an operator's decision at level 3.
        """
        level = self.seat.level()
        if level < KillLevel.NO_ORDERS:
            return
        for order in list(self.seat.account.working.values()):
            leaves = order.side is Side.SELL and order.decision_id in self.seat.operated
            if (level is KillLevel.FLATTEN and leaves) or not self._cancel_may_be_lost(order):
                continue
            await self.cancel(order)

    async def cancel_overdue(self) -> None:
        """Cancel what has rested longer than the desk lets it, where it can be cancelled now."""
        desk = self.seat.desk
        if desk.order_timeout is None:
            return
        now = desk.clock.now()
        for order in list(self.seat.account.working.values()):
            if order.is_foreign:
                continue  # whoever placed it lets it rest as long as they like
            since = order.submitted_at
            overdue = since is not None and now >= since + desk.order_timeout
            if overdue and order.status in CANCELABLE and self._cancelable(order, now):
                await self.cancel(order)

    def _cancelable(self, order: Order, now: datetime) -> bool:
        desk, day = self.seat.desk, shanghai(now).date()
        if not desk.calendar.is_session(day):
            return False
        exchange = Exchange(order.symbol[-2:])
        phase = desk.phases.phase_of(now, session=True, exchange=exchange)
        permit = desk.phases.may_cancel(phase, OrderKind.LIMIT, exchange=exchange, day=day)
        return permit is not Permit.REFUSED

    # --- settling -----------------------------------------------------------------------------

    async def settle(self) -> None:
        """Collect what the venue says of working orders and book it, once."""
        account, desk = self.seat.account, self.seat.desk
        # Another process may have halted the account: nothing more leaves then.
        await self.seat.read_control()
        await self.resolve_lost()
        for order in list(account.working.values()):
            if order.status is OrderStatus.PENDING_CANCEL and self._cancel_may_be_lost(order):
                await self._ask_cancel(order, None)
        await self.cancel_halted()
        open_ids = account.working.keys()
        self._cancels_asked = {
            key: asked for key, asked in self._cancels_asked.items() if key in open_ids
        }
        followed = {
            order.client_order_id: order
            for order in (*account.working.values(), *account.late.values())
            if order.submitted_at is not None
        }
        if followed:
            result = settle_reports(
                followed,
                await self._reports(followed),
                booked=account.booked_fills,
                book=account.book,
                fees=desk.fees,
            )
            if result.changed:
                await self._record_settlement(followed, result)
            if result.faults:
                await self._halt_for(result.faults)
        await self._repay()
        await self._send_waiting_orders()
        await self.cancel_overdue()
        await self.close_finished()

    async def resolve_lost(self) -> None:
        """Ask the venue about every order whose answer was lost."""
        desk = self.seat.desk
        for order in list(self.seat.account.working.values()):
            if order.status in _LOST:
                answered = await hand.resolve(order, desk.broker, desk.clock.now())
                await self.record(order, answered, None)

    async def _reports(self, followed: Mapping[str, Order]) -> Sequence[Report]:
        broker = self.seat.desk.broker
        ours = [tag for tag, order in followed.items() if not order.is_foreign]
        reports: list[Report] = list(await broker.reports(ours)) if ours else []
        if len(ours) < len(followed):
            days = {order.trading_day for order in followed.values() if order.is_foreign}
            for day in sorted(days):
                reports += foreign.reports_of(await broker.orders(day), await broker.fills(day))
        return reports

    async def _record_settlement(self, before: Mapping[str, Order], result: Settlement) -> None:
        orders = [saved_once(order, before[tag]) for tag, order in result.changed.items()]
        decided = {order.decision_id for order in orders}
        traces = {decision_id: await self.seat.trace(decision_id) for decision_id in decided}
        drafts = [records.filled(fill, traces[fill.decision_id]) for fill in result.fills]
        drafts += [records.ordered(o, traces[o.decision_id]) for o in orders if o.is_terminal]
        late = {before[tag].decision_id for tag in result.changed if before[tag].is_terminal}
        async with self.seat.begin() as uow:
            await uow.orders.add_fills(result.fills)
            await uow.orders.save(orders)
            await uow.journal.post(result.transactions)
            await uow.ledger.append(drafts)
            for decision_id in sorted(late):
                cycle = await uow.cycles.get(decision_id)
                if cycle is not None and cycle.stage is CycleStage.CLOSED:
                    await self._close(uow, cycle)
            await uow.commit()
        self.seat.account.apply(result.transactions, orders, result.fills)

    async def _halt_for(self, faults: Mapping[str, CorruptState]) -> None:
        """Stop the account: the venue says of an order what cannot be."""
        now = self.seat.desk.clock.now()
        what = "; ".join(f"{tag}: {fault}" for tag, fault in sorted(faults.items()))
        async with self.seat.begin() as uow:
            present = await uow.controls.get()
            if present.level < KillLevel.NO_ORDERS:
                present = replace(
                    present,
                    level=KillLevel.NO_ORDERS,
                    reason=what[:_LONGEST_REASON],
                    by="settlement",
                    at=now,
                    version=present.version + 1,
                )
                await uow.controls.put(present)
                await uow.ledger.append([records.controlled(present)])
                await uow.commit()
        self.seat.control = present
        await self.cancel_halted()

    async def _repay(self) -> None:
        """Settle what fills took beyond the cash we knew of, once there is some."""
        account, now = self.seat.account, self.seat.desk.clock.now()
        key = derived_uuid(now, self.seat.desk.run.config_hash, "owed", account.book.cash_owed)
        found = repaid(key, account.book, now)
        if found is not None:
            await self.seat.record([records.settled_debt(found)], transactions=[found])

    async def _send_waiting_orders(self) -> None:
        if not self.seat.desk.line.may_place:
            return  # They wait until both sides were compared, rather than be refused.
        waiting = {
            o.decision_id
            for o in self.seat.account.working.values()
            if o.status is OrderStatus.CREATED
        }
        for decision_id in sorted(waiting):
            async with self.seat.begin() as uow:
                cycle = await uow.cycles.get(decision_id)
                if cycle is None or cycle.stage is not CycleStage.ORDERED:
                    continue
                decision = await records.read_decision(uow, cycle)
                orders = await uow.orders.of_decision(decision_id)
            await self.send_waiting(cycle, decision, orders)

    async def close_finished(self) -> None:
        """Close every decision to whose orders nothing more can happen."""
        async with self.seat.begin() as uow:
            waiting = [c for c in await uow.cycles.unfinished() if c.stage is CycleStage.ORDERED]
            done = False
            for cycle in waiting:
                orders = await uow.orders.of_decision(cycle.decision_id)
                if all(order.is_terminal for order in orders):
                    await self._close(uow, cycle)
                    done = True
            if done:
                await uow.commit()

    async def _close(self, uow: UnitOfWork, cycle: Cycle) -> None:
        """Record what became of a decision; again, where a late fill changed it."""
        orders = await uow.orders.of_decision(cycle.decision_id)
        fills = await uow.orders.fills(cycle.decision_id)
        status = outcome_of(orders)
        if cycle.stage is CycleStage.CLOSED:
            ended = replace(cycle, status=status)
        else:
            ended = closed(cycle, status, self.seat.desk.clock.now())
        await uow.cycles.save(ended)
        await uow.ledger.append([records.outcome(ended, orders, fills)])

    # --- recording ----------------------------------------------------------------------------

    async def record(self, stored: Order, answered: Order, cycle: Cycle | None) -> Order:
        """Record an order's answer, freeing its reservation if it is over before it began."""
        if answered == stored:
            return stored
        answered = saved_once(answered, stored)
        freed: list[Transaction] = []
        if answered.is_terminal:
            txn_id = derived_uuid(answered.updated_at, str(answered.order_id), "release", 0)
            found = release(txn_id, answered, self.seat.account.book, answered.updated_at)
            freed = [] if found is None else [found]
        trace = await self.seat.trace(answered.decision_id) if cycle is None else cycle.trace_id
        draft = records.ordered(answered, trace)
        await self.seat.record([draft], transactions=freed, orders=[answered])
        return answered

    async def _cycle(self, order: Order) -> Cycle | None:
        async with self.seat.begin() as uow:
            return await uow.cycles.get(order.decision_id)

    async def _stored(self, order: Order) -> Order:
        async with self.seat.begin() as uow:
            for found in await uow.orders.of_decision(order.decision_id):
                if found.order_id == order.order_id:
                    return found
        return order
