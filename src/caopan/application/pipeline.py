"""The conductor: the way of one decision, from top to bottom.

    clock → observation → actor → checker → risk gate → execution → venue → fills → books → ledger

Owns the order of the stages and that each is durable before the next begins, all under one trace
id. A cycle that was interrupted anywhere goes on from its last recorded stage: what a stage needs
is read back from the store, never asked for twice where it could act twice. Must never judge,
price or send by itself. Tests: tests/simulation/test_crash_matrix.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from caopan.application import records
from caopan.application.account import AccountCache
from caopan.application.day_books import entitlements_of, nav_point_of
from caopan.application.decision_cycle import checker
from caopan.application.decision_cycle.deciding import decide
from caopan.application.decision_cycle.memory import own_record
from caopan.application.decision_cycle.model_checker import joined, second_opinion
from caopan.application.decision_cycle.observe import Observation, filled_when_seen
from caopan.application.desk import Desk
from caopan.application.execution.controller import Controller
from caopan.application.execution.reconciliation import Reconciler
from caopan.application.intents import (
    order_of,
    prices_of,
    proposed_of,
    question_of,
    reservations,
)
from caopan.application.judging import (
    as_change,
    as_seen,
    completed,
    exit_plans_of,
    in_lots,
    judge_actions,
    protected,
    surroundings,
    target_of,
)
from caopan.application.observing import observe, phase_end
from caopan.application.ports.store import ModelCall, NavPoint, Reconciliation, UnitOfWork
from caopan.application.seat import Seat
from caopan.application.targeting import in_sending_order, with_orders
from caopan.domain.accounting.bookings import deposit
from caopan.domain.decision.cycle import Cycle, advanced, closed
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    CycleStage,
    Decision,
    DecisionStatus,
    Origin,
)
from caopan.domain.ledger.chain import Draft
from caopan.domain.orders.order import Order, OrderStatus
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.errors import CorruptState, Denied
from caopan.kernel.ids import derived_uuid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

VALID_FOR = timedelta(minutes=10)
"""How long a decision may be acted on in autopilot, never past the phase it was made for."""


@dataclass(slots=True)
class Work:
    """One cycle in hand: what its stages have produced so far."""

    cycle: Cycle
    observation: Observation | None = None
    decision: Decision | None = None
    orders: list[Order] = field(default_factory=list[Order])
    passed: frozenset[int] | None = None
    """Indices of the actions that the gate passed."""


class Pipeline:
    """The chain of one account. One process drives it, holding the run's lease."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk; call `start` before anything else."""
        self.desk = desk
        self.seat = Seat(desk)
        self.controller = Controller(self.seat)
        self.reconciler = Reconciler(self.seat, self.controller)

    @property
    def account(self) -> AccountCache:
        """Return the account's image. Raises CorruptState ACCOUNT_NOT_LOADED as Seat does."""
        return self.seat.account

    async def start(self, cash: int) -> None:
        """Load the account, pay in `cash` units if the run is new, and finish what was cut off."""
        await self.seat.reload()
        await self._open_account(cash)
        # Ask what became of what was sent before anything else is.
        await self.controller.resolve_lost()
        async with self.seat.begin() as uow:
            unfinished = await uow.cycles.unfinished()
        for cycle in unfinished:
            if cycle.stage is not CycleStage.ORDERED:
                await self._carry(Work(cycle))

    async def _open_account(self, cash: int) -> None:
        run = self.desk.run
        # No clock in this id: whenever the account is opened again, it is the same deposit.
        txn_id = derived_uuid(_EPOCH, run.config_hash, "opening deposit")
        async with self.seat.begin() as uow:
            if await uow.journal.booked([txn_id]):
                return
            opening = deposit(txn_id, cash, self.desk.clock.now())
            await uow.journal.post([opening])
            await uow.ledger.append([records.run_opened(run, opening, self.desk.clock.now())])
            await uow.commit()
        self.account.apply([opening])

    async def run_cycle(self, slot: str, trading_day: date) -> Cycle:
        """Make one decision for `trading_day` and carry it until its orders are at the venue.

        Raises:
            Denied: RISK_KILL_SWITCH while nothing may be sent; no model is asked then.
            Unavailable: BROKER_DISCONNECTED until both sides were compared after an outage.
        """
        self.desk.line.require()
        await self.seat.read_control()
        level = self.seat.level()
        if level >= KillLevel.NO_ORDERS:
            raise Denied(
                "RISK_KILL_SWITCH",
                f"the kill switch stands at level {int(level)}",
                remedy="find out why, then `caopan resume --reason ...`",
            )
        run, now = self.desk.run, self.desk.clock.now()
        decision_id = derived_uuid(now, run.config_hash, "decision", trading_day.isoformat(), slot)
        cycle = Cycle(
            decision_id=decision_id,
            trace_id=derived_uuid(now, run.config_hash, "trace", str(decision_id)),
            account_id=run.account_id,
            trading_day=trading_day,
            slot=slot,
            opened_at=now,
        )
        return await self._carry(Work(cycle))

    async def operate(self, slot: str, actions: Sequence[Action], by: str, reason: str) -> Cycle:
        """Carry out what a person, or a halt, asks for: judged and sent like any other order.

        `slot` names the request: asking again under the same name goes on with the first one.
        """
        run, now = self.desk.run, self.desk.clock.now()
        day = self.desk.calendar.on_or_before(shanghai(now).date())
        # Of the day, not of the moment: asked for again, it is the same request.
        midnight = at_shanghai(day, time())
        decision_id = derived_uuid(midnight, run.config_hash, "operator", day.isoformat(), slot)
        self.seat.operated.add(decision_id)
        async with self.seat.begin() as uow:
            known = await uow.cycles.get(decision_id)
        if known is not None:
            return await self._carry(Work(known))
        cycle = Cycle(
            decision_id=decision_id,
            trace_id=derived_uuid(now, run.config_hash, "trace", str(decision_id)),
            account_id=run.account_id,
            trading_day=day,
            slot=slot,
            opened_at=now,
            stage=CycleStage.CHECKED,
            valid_until=min(now + VALID_FOR, phase_end(self.desk, now)),
            origin=Origin.OPERATOR,
        )
        until = cycle.valid_until or now
        asked = [as_seen(action, self.account) for action in actions]
        decision = records.operator_decision(cycle, asked, now, until)
        async with self.seat.begin() as uow:
            await uow.cycles.add(cycle)
            await uow.ledger.append([records.operated(cycle, decision, by, reason)])
            await uow.commit()
        return await self._carry(Work(cycle, decision=decision))

    async def _carry(self, work: Work) -> Cycle:
        """Take the cycle on from its stage: observe, ask, check, judge, execute."""
        steps: Mapping[CycleStage, tuple[str, Callable[[Work], Awaitable[None]]]] = {
            CycleStage.OPENED: ("observation", self._observe),
            CycleStage.OBSERVED: ("actor", self._ask),
            CycleStage.ACTED: ("checker", self._check),
            CycleStage.CHECKED: ("risk", self._judge),
            CycleStage.JUDGED: ("execution", self._execute),
        }
        try:
            while (step := steps.get(work.cycle.stage)) is not None:
                name, run_stage = step
                await self.seat.timed(name, run_stage, work)
        except CorruptState:
            raise
        except BaseException:
            # Whatever was not committed is gone from the store, so it must go from the image.
            self.seat.drop()
            raise
        return work.cycle

    async def _observe(self, work: Work) -> None:
        """Go OPENED → OBSERVED: one snapshot of market, account and rules."""
        now, past = self.desk.clock.now(), list[Mapping[str, Any]]()
        if self.desk.model.is_language_model:
            async with self.seat.begin() as uow:
                past = await own_record(uow, now)
        control = self.seat.control_now()
        observation = observe(self.desk, self.account, work.cycle, now, past, control)
        cycle = replace(
            advanced(work.cycle, CycleStage.OBSERVED), observation_id=observation.observation_id
        )
        async with self.seat.begin() as uow:
            await uow.cycles.add(cycle)
            await uow.observations.add(
                observation.observation_id,
                cycle.decision_id,
                now,
                observation.content_hash,
                observation.body,
            )
            await uow.ledger.append([records.observed(cycle, observation, now)])
            await uow.commit()
        work.cycle, work.observation = cycle, observation

    async def _ask(self, work: Work) -> None:
        """Go OBSERVED → ACTED: the model proposes, or there is a recorded no_op."""
        observation = await self._observation(work)
        now = self.desk.clock.now()
        valid_until = min(now + VALID_FOR, phase_end(self.desk, now))
        answer = await decide(
            self.desk.actor,
            work.cycle,
            observation,
            now=now,
            valid_until=valid_until,
            monotonic_ms=self.desk.monotonic_ms,
        )
        at = self.desk.clock.now()
        drafts = [records.acted(work.cycle, answer.evidence, at)]
        cycle = replace(advanced(work.cycle, CycleStage.ACTED), valid_until=valid_until)
        if answer.decision is None:
            cycle = closed(cycle, DecisionStatus.NO_OP, at, answer.code)
            drafts.append(records.outcome(cycle, [], []))
        async with self.seat.begin() as uow:
            for call in answer.calls:
                await uow.model_calls.add(call)
            await uow.cycles.save(cycle)
            await uow.ledger.append(drafts)
            await uow.commit()
        work.cycle, work.decision = cycle, answer.decision

    async def _check(self, work: Work) -> None:
        """Go ACTED → CHECKED: the rule checker, whose word is final; then a model's, if any."""
        observation, decision = await self._observation(work), await self._decision(work)
        now = self.desk.clock.now()
        result = checker.check(decision, observation, work.cycle.opened_at, now)
        cycle = advanced(work.cycle, CycleStage.CHECKED)
        opinion, idle = None, all(one.type is ActionType.NO_OP for one in decision.actions)
        if result.passed and not idle and self.desk.checker is not None:
            opinion = await second_opinion(
                self.desk.checker,
                work.cycle,
                observation,
                decision,
                now=now,
                monotonic_ms=self.desk.monotonic_ms,
            )
            # Its answer took time: the observation may have expired meanwhile.
            now = self.desk.clock.now()
            result = checker.check(decision, observation, work.cycle.opened_at, now)
            result = joined(result, opinion, self.desk.checker)
        drafts = [records.checked(cycle, result, opinion)]
        if not result.passed:
            cycle = closed(cycle, DecisionStatus.REJECTED_CHECKER, now, result.reasons[0].code)
        elif idle:
            cycle = closed(cycle, DecisionStatus.NO_OP, now)
        if cycle.stage is CycleStage.CLOSED:
            drafts.append(records.outcome(cycle, [], []))
        await self._record(cycle, drafts, () if opinion is None else opinion.calls)
        work.cycle = cycle

    async def _judge(self, work: Work) -> None:
        """Go CHECKED → JUDGED: the gate; what passes is reserved before it can be sent."""
        await self.seat.read_control()
        decision, now = await self._decision(work), self.desk.clock.now()
        day = work.cycle.trading_day
        references = self.desk.market.references(day, now)
        prices = prices_of(self.desk, references, self.account.book.quantities(), day, now)
        control = self.seat.control_now()
        standing = self.account.standing(
            references, prices, day, control=control, licence=self.desk.licence
        )
        decision, planned = with_orders(
            self.desk, self.account, references, prices, standing, decision
        )
        verdicts = judge_actions(self.desk, self.account, references, standing, decision, now)
        passed = frozenset(verdict.action_index for verdict in verdicts if verdict.passed)
        orders = [
            order_of(
                self.desk,
                work.cycle,
                decision,
                protected(action, references, self.desk.policy),
                now,
            )
            for action in decision.actions
            if action.type is ActionType.PLACE_ORDER and action.index in passed
        ]
        freezes = reservations(self.desk, self.account.book, orders, references, now)
        cycle = advanced(work.cycle, CycleStage.JUDGED)
        drafts = [records.judged(cycle, verdicts, orders, self.desk, now, planned)]
        if not passed:
            code = next((r.code for v in verdicts for r in v.reasons), None)
            status = DecisionStatus.REJECTED_RISK if verdicts else DecisionStatus.NO_OP
            cycle = closed(cycle, status, now, code)
            drafts.append(records.outcome(cycle, [], []))
        async with self.seat.begin() as uow:
            await uow.cycles.save(cycle)
            if orders:
                await uow.orders.add(orders)
                await self._add_exit_plans(uow, decision, orders, now)
                await uow.journal.post(freezes)
            await uow.ledger.append(drafts)
            await uow.commit()
        self.account.apply(freezes, orders)
        self.account.exit_plans.update(exit_plans_of(decision, orders))
        work.cycle, work.decision = cycle, decision
        work.orders, work.passed = orders, passed

    async def _execute(self, work: Work) -> None:
        """Go JUDGED → ORDERED: cancels and changes, and each order judged again and sent once."""
        decision = await self._decision(work)
        if not work.orders:
            async with self.seat.begin() as uow:
                work.orders = list(await uow.orders.of_decision(work.cycle.decision_id))
        if work.passed is None:
            async with self.seat.begin() as uow:
                work.passed = await records.read_passed(uow, work.cycle)
        own = {order.action_index: order for order in work.orders}
        for action in in_sending_order(decision.actions, work.orders):
            if action.index not in work.passed:
                continue
            if action.type is ActionType.CANCEL_ORDER:
                await self._cancel(action)
            elif action.type is ActionType.MODIFY_ORDER:
                await self._change(work, action, own.get(action.index))
            elif action.index in own and action.depends_on is None:
                await self.controller.execute(own[action.index], decision, work.cycle)
        work.cycle = advanced(work.cycle, CycleStage.ORDERED)
        await self._record(work.cycle, [])
        await self.controller.send_waiting(work.cycle, decision, work.orders)
        if not any(o.decision_id == work.cycle.decision_id for o in self.account.working.values()):
            await self.controller.close_finished()

    async def _cancel(self, action: Action) -> None:
        target = target_of(action, self.account)
        if target is not None and not target.is_terminal:
            await self.controller.cancel(target)

    async def _change(self, work: Work, action: Action, made: Order | None) -> None:
        """Cancel, wait for the venue's word, and only then place the order that takes its place.

        Nothing is placed where the cancel is not confirmed in time, or the old order has traded
        all that was left of it meanwhile. Cut off anywhere, it goes on from what is recorded.
        """
        target = target_of(action, self.account)
        if made is None and target is not None:
            ended = target
            if not target.is_terminal:
                ended = await self.controller.cancel_confirmed(target)
            if ended.status is OrderStatus.CANCELED:
                made = await self._replacement(work, action, ended)
        if made is not None:
            await self.controller.execute(made, await self._decision(work), work.cycle)

    async def _replacement(self, work: Work, action: Action, ended: Order) -> Order | None:
        """Make the new order durable with its reservation, if the gate passes it as it now is."""
        now, cycle = self.desk.clock.now(), work.cycle
        decision, day = await self._decision(work), cycle.trading_day
        # What the old order traded while its cancel was on the way is part of what was asked for.
        seen = action.seen_filled
        if cycle.origin is Origin.MODEL:
            seen = filled_when_seen(await self._observation(work), ended)
        wanted = (action.qty or ended.qty - seen) - (ended.filled_qty - seen)
        references = self.desk.market.references(day, now)
        wanted = in_lots(wanted, ended.side, references.get(ended.symbol))
        if wanted <= 0:
            return None
        changed = replace(completed(action, ended), qty=wanted)
        prices = prices_of(self.desk, references, self.account.book.quantities(), day, now)
        control, licence = self.seat.control_now(), self.desk.licence
        standing = self.account.standing(references, prices, day, control=control, licence=licence)
        around = surroundings(self.desk, decision, [ended.symbol], now)
        question = question_of(
            self.desk, proposed_of(changed), references, standing, decision, now, around
        )
        verdict = judge_order(as_change(question, ended))
        if not verdict.passed:
            await self.seat.record([records.judged(cycle, [verdict], [], self.desk, now)])
            return None
        order = order_of(self.desk, cycle, decision, changed, now)
        order = replace(order, exit_plan_id=ended.exit_plan_id)
        freezes = reservations(self.desk, self.account.book, [order], references, now)
        async with self.seat.begin() as uow:
            await uow.orders.add([order])
            await uow.journal.post(freezes)
            await uow.ledger.append([records.judged(cycle, [verdict], [order], self.desk, now)])
            await uow.commit()
        self.account.apply(freezes, [order])
        return order

    async def settle(self) -> None:
        """Collect what the venue says of working orders and book it, once."""
        async with self.seat.believed():
            await self.seat.timed("settlement", self.controller.settle)

    async def reconcile(self, trigger: str) -> Reconciliation:
        """Compare our books with the venue's; a difference restrains the account."""
        with self.desk.line.comparison():
            async with self.seat.believed():
                return await self.seat.timed("reconciliation", self.reconciler.run, trigger)

    async def open_day(self, day: date) -> None:
        """Book what holders of record receive on `day`, once."""
        await self.seat.timed("entitlements", self._entitle, day)

    async def _entitle(self, day: date) -> None:
        now = self.desk.clock.now()
        found = entitlements_of(
            self.desk.market, self.desk.run.config_hash, self.account.book, day, now
        )
        if not found:
            return
        async with self.seat.begin() as uow:
            done = set(await uow.journal.booked([t.txn_id for t in found]))
            found = [transaction for transaction in found if transaction.txn_id not in done]
            if not found:
                return
            await uow.journal.post(found)
            await uow.ledger.append([records.entitled(t, day, now) for t in found])
            await uow.commit()
        self.account.apply(found)

    async def close_day(self, day: date, benchmark: int | None) -> NavPoint:
        """Record the account at the close of `day`."""
        point = nav_point_of(self.desk, self.account, day, benchmark)
        await self.seat.timed("accounting", self._record_nav, point)
        self.account.mark(point)
        return point

    async def _record_nav(self, point: NavPoint) -> None:
        async with self.seat.begin() as uow:
            await uow.nav.add(point)
            await uow.ledger.append([records.day_closed(point)])
            await uow.commit()

    async def _add_exit_plans(
        self, uow: UnitOfWork, decision: Decision, orders: Sequence[Order], now: datetime
    ) -> None:
        plans = exit_plans_of(decision, orders)
        for order in orders:
            if order.exit_plan_id is not None and order.symbol in plans:
                body = plans[order.symbol]
                await uow.exit_plans.add(
                    order.exit_plan_id, order.order_id, order.decision_id, order.symbol, body, now
                )

    async def _record(
        self, cycle: Cycle, drafts: list[Draft], calls: Sequence[ModelCall] = ()
    ) -> None:
        async with self.seat.begin() as uow:
            for call in calls:
                await uow.model_calls.add(call)
            await uow.cycles.save(cycle)
            await uow.ledger.append(drafts)
            await uow.commit()

    async def _observation(self, work: Work) -> Observation:
        if work.observation is None:
            async with self.seat.begin() as uow:
                work.observation = await records.read_observation(uow, work.cycle)
        return work.observation

    async def _decision(self, work: Work) -> Decision:
        if work.decision is None:
            async with self.seat.begin() as uow:
                work.decision = await records.read_decision(uow, work.cycle)
        return work.decision
