"""The conductor: the way of one decision, from top to bottom.

    clock → observation → actor → checker → risk gate → execution → venue → fills → books → ledger

Owns the order of the stages and that each is durable before the next begins, all under one trace
id. A cycle that was interrupted anywhere goes on from its last recorded stage: what a stage needs
is read back from the store, never asked for twice where it could act twice. Must never judge,
price or send by itself. Tests: tests/simulation/test_crash_matrix.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import ParamSpec
from uuid import UUID

from caopan.application import records
from caopan.application.account import AccountCache, saved_once
from caopan.application.day_books import entitlements_of, nav_point_of
from caopan.application.decision_cycle import actor, checker
from caopan.application.decision_cycle.observe import AccountState, Observation, build_observation
from caopan.application.desk import Desk
from caopan.application.execution import hand
from caopan.application.execution.settlement import Settlement, settle_reports
from caopan.application.intents import (
    as_proposed,
    order_of,
    outcome_of,
    prices_of,
    proposed_of,
    question_of,
    reservations,
)
from caopan.application.ports.store import NavPoint, UnitOfWork
from caopan.domain.accounting.bookings import (
    deposit,
    release,
)
from caopan.domain.accounting.journal import Transaction
from caopan.domain.decision.cycle import Cycle, advanced, closed
from caopan.domain.decision.shapes import (
    ActionType,
    ActionVerdict,
    CycleStage,
    Decision,
    DecisionStatus,
)
from caopan.domain.ledger.chain import Draft
from caopan.domain.orders.order import Order, OrderStatus, moved
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.gate import clear, judge_order, reserve
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import CorruptState
from caopan.kernel.ids import derived_uuid

_P = ParamSpec("_P")
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


class Pipeline:
    """The chain of one account. One process drives it, holding the run's lease."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk; call `start` before anything else."""
        self.desk = desk
        self._account: AccountCache | None = None
        self.stage_ms: dict[str, list[float]] = {}

    @property
    def account(self) -> AccountCache:
        """Return the account's image.

        Raises:
            CorruptState: ACCOUNT_NOT_LOADED before `start`, and after any failure in a stage: what
                the image held may never have been stored.
        """
        if self._account is None:
            raise CorruptState(
                "ACCOUNT_NOT_LOADED", "the account was not read from the store", remedy="start anew"
            )
        return self._account

    async def start(self, cash: int) -> None:
        """Load the account, pay in `cash` units if the run is new, and finish what was cut off."""
        await self._reload()
        await self._open_account(cash)
        async with self._begin() as uow:
            unfinished = await uow.cycles.unfinished()
        for cycle in unfinished:
            if cycle.stage is not CycleStage.ORDERED:
                await self._carry(Work(cycle))

    async def _open_account(self, cash: int) -> None:
        run = self.desk.run
        # No clock in this id: whenever the account is opened again, it is the same deposit.
        txn_id = derived_uuid(_EPOCH, run.config_hash, "opening deposit")
        async with self._begin() as uow:
            if await uow.journal.booked([txn_id]):
                return
            opening = deposit(txn_id, cash, self.desk.clock.now())
            await uow.journal.post([opening])
            await uow.ledger.append([records.run_opened(run, opening, self.desk.clock.now())])
            await uow.commit()
        self.account.apply([opening])

    async def run_cycle(self, slot: str, trading_day: date) -> Cycle:
        """Make one decision for `trading_day` and carry it until its orders are at the venue."""
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
                await self._timed(name, run_stage, work)
        except CorruptState:
            raise
        except BaseException:
            # Whatever was not committed is gone from the store, so it must go from the image.
            self._account = None
            raise
        return work.cycle

    async def _observe(self, work: Work) -> None:
        """Go OPENED → OBSERVED: one snapshot of market, account and rules."""
        now, day = self.desk.clock.now(), work.cycle.trading_day
        observation = self._build_observation(work.cycle, now, day)
        cycle = replace(
            advanced(work.cycle, CycleStage.OBSERVED), observation_id=observation.observation_id
        )
        async with self._begin() as uow:
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
        valid_until = min(now + VALID_FOR, self._phase_end(now))
        answer = await actor.ask(
            self.desk.model,
            work.cycle,
            observation,
            deadline_ms=self.desk.model_deadline_ms,
            config_version=self.desk.policy.version,
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
        async with self._begin() as uow:
            await uow.model_calls.add(answer.call)
            await uow.cycles.save(cycle)
            await uow.ledger.append(drafts)
            await uow.commit()
        work.cycle, work.decision = cycle, answer.decision

    async def _check(self, work: Work) -> None:
        """Go ACTED → CHECKED: the rule checker, whose word is final."""
        observation, decision = await self._observation(work), await self._decision(work)
        now = self.desk.clock.now()
        result = checker.check(decision, observation, work.cycle.opened_at, now)
        cycle = advanced(work.cycle, CycleStage.CHECKED)
        drafts = [records.checked(cycle, result)]
        if not result.passed:
            cycle = closed(cycle, DecisionStatus.REJECTED_CHECKER, now, result.reasons[0].code)
        elif all(action.type is ActionType.NO_OP for action in decision.actions):
            cycle = closed(cycle, DecisionStatus.NO_OP, now)
        if cycle.stage is CycleStage.CLOSED:
            drafts.append(records.outcome(cycle, [], []))
        await self._record(cycle, drafts)
        work.cycle = cycle

    async def _judge(self, work: Work) -> None:
        """Go CHECKED → JUDGED: the gate; what passes is reserved before it can be sent."""
        decision, now = await self._decision(work), self.desk.clock.now()
        day = work.cycle.trading_day
        references = self.desk.market.references(day, now)
        prices = prices_of(self.desk, references, self.account.book.quantities(), day, now)
        standing = self.account.standing(references, prices, day)
        verdicts: list[ActionVerdict] = []
        orders: list[Order] = []
        for action in decision.actions:
            if action.type is not ActionType.PLACE_ORDER:
                continue
            question = question_of(
                self.desk, proposed_of(action), references, standing, decision, now
            )
            verdict = judge_order(question)
            verdicts.append(verdict)
            if verdict.passed:
                reserve(standing, question)
                orders.append(order_of(self.desk, work.cycle, decision, action, now))
        freezes = reservations(self.desk, self.account.book, orders, references, now)
        cycle = advanced(work.cycle, CycleStage.JUDGED)
        drafts = [records.judged(cycle, verdicts, orders, self.desk, now)]
        if not orders:
            code = next((r.code for v in verdicts for r in v.reasons), None)
            cycle = closed(cycle, DecisionStatus.REJECTED_RISK, now, code)
            drafts.append(records.outcome(cycle, [], []))
        async with self._begin() as uow:
            await uow.cycles.save(cycle)
            if orders:
                await uow.orders.add(orders)
                await self._add_exit_plans(uow, decision, orders, now)
                await uow.journal.post(freezes)
            await uow.ledger.append(drafts)
            await uow.commit()
        self.account.apply(freezes, orders)
        self.account.orders_by_day[day] = self.account.orders_on(day) + len(orders)
        work.cycle, work.orders = cycle, orders

    async def _execute(self, work: Work) -> None:
        """Go JUDGED → ORDERED: each order is judged again, marked sending, sent once, recorded."""
        if not work.orders:
            async with self._begin() as uow:
                work.orders = list(await uow.orders.of_decision(work.cycle.decision_id))
        decision = await self._decision(work)
        last = len(work.orders) - 1
        for index, order in enumerate(work.orders):
            answered = order
            if order.status is OrderStatus.CREATED:
                answered = await self._send(order, decision)
            elif order.status in (OrderStatus.SENDING, OrderStatus.UNKNOWN):
                answered = await hand.resolve(order, self.desk.broker, self.desk.clock.now())
            cycle = advanced(work.cycle, CycleStage.ORDERED) if index == last else None
            stored = self.account.working.get(order.order_id, order)
            await self._record_order(stored, answered, work.cycle, cycle)
            if cycle is not None:
                work.cycle = cycle
        if not any(o.decision_id == work.cycle.decision_id for o in self.account.working.values()):
            await self._close_finished()

    async def _send(self, order: Order, decision: Decision) -> Order:
        """Judge once more on the present account and price; then, and only then, the wire."""
        now = self.desk.clock.now()
        references = self.desk.market.references(order.trading_day, now)
        day, held = order.trading_day, self.account.book.quantities()
        prices = prices_of(self.desk, references, held, day, now)
        standing = self.account.standing(references, prices, day, without=order)
        question = question_of(self.desk, as_proposed(order), references, standing, decision, now)
        verdict, clearance = clear(question, order)
        if clearance is None:
            return moved(order, OrderStatus.NOT_SENT, now, reject_code=verdict.reasons[0].code)
        return await self._on_the_wire(order, clearance, now)

    async def _on_the_wire(self, order: Order, clearance: Clearance, now: datetime) -> Order:
        sending = moved(order, OrderStatus.SENDING, now)
        async with self._begin() as uow:
            await uow.orders.save([sending])
            await uow.commit()
        self.account.apply(orders=[sending])
        return await hand.send(sending, clearance, self.desk.broker, self.desk.clock.now())

    async def settle(self) -> None:
        """Collect what the venue says of working orders and book it, once."""
        await self._timed("settlement", self._settle)

    async def _settle(self) -> None:
        working = {o.client_order_id: o for o in self.account.working.values()}
        if not working:
            await self._close_finished()
            return
        for order in working.values():
            if order.status in (OrderStatus.SENDING, OrderStatus.UNKNOWN):
                answered = await hand.resolve(order, self.desk.broker, self.desk.clock.now())
                if answered != order:
                    await self._record_order(order, answered, None, None)
        working = {o.client_order_id: o for o in self.account.working.values()}
        reports = await self.desk.broker.reports(list(working))
        result = settle_reports(
            working,
            reports,
            booked=self.account.booked_fills,
            book=self.account.book,
            fees=self.desk.fees,
        )
        if result.changed:
            await self._record_settlement(working, result)
        await self._close_finished()

    async def _record_settlement(self, before: Mapping[str, Order], result: Settlement) -> None:
        orders = [saved_once(order, before[tag]) for tag, order in result.changed.items()]
        decided = {order.decision_id for order in orders}
        traces = {decision_id: await self._trace(decision_id) for decision_id in decided}
        drafts = [records.filled(fill, traces[fill.decision_id]) for fill in result.fills]
        drafts += [records.ordered(o, traces[o.decision_id]) for o in orders if o.is_terminal]
        async with self._begin() as uow:
            await uow.orders.add_fills(result.fills)
            await uow.orders.save(orders)
            await uow.journal.post(result.transactions)
            await uow.ledger.append(drafts)
            await uow.commit()
        self.account.apply(result.transactions, orders, result.fills)

    async def _close_finished(self) -> None:
        """Close every decision to whose orders nothing more can happen."""
        async with self._begin() as uow:
            waiting = [c for c in await uow.cycles.unfinished() if c.stage is CycleStage.ORDERED]
            for cycle in waiting:
                orders = await uow.orders.of_decision(cycle.decision_id)
                if any(not order.is_terminal for order in orders):
                    continue
                fills = await uow.orders.fills(cycle.decision_id)
                ended = closed(cycle, outcome_of(orders), self.desk.clock.now())
                await uow.cycles.save(ended)
                await uow.ledger.append([records.outcome(ended, orders, fills)])
            if waiting:
                await uow.commit()

    async def open_day(self, day: date) -> None:
        """Book what holders of record receive on `day`, once."""
        await self._timed("entitlements", self._entitle, day)

    async def _entitle(self, day: date) -> None:
        now = self.desk.clock.now()
        found = entitlements_of(
            self.desk.market, self.desk.run.config_hash, self.account.book, day, now
        )
        if not found:
            return
        async with self._begin() as uow:
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
        await self._timed("accounting", self._record_nav, point)
        self.account.mark(point)
        return point

    async def _record_nav(self, point: NavPoint) -> None:
        async with self._begin() as uow:
            await uow.nav.add(point)
            await uow.ledger.append([records.day_closed(point)])
            await uow.commit()

    def _build_observation(self, cycle: Cycle, now: datetime, day: date) -> Observation:
        desk = self.desk
        session = desk.calendar.is_session(shanghai(now).date())
        references = desk.market.references(day, now)
        return build_observation(
            observation_id=derived_uuid(now, str(cycle.decision_id), "observation"),
            now=now,
            trading_day=day,
            window=desk.phases.window(now, session=session),
            cancelable_until=desk.phases.cancelable_until(now, session=session),
            market=desk.market,
            account=AccountState(
                account_id=desk.run.account_id,
                book=self.account.book,
                prices=prices_of(desk, references, self.account.book.quantities(), day, now),
                open_orders=list(self.account.working.values()),
                orders_today=self.account.orders_on(day),
                exit_plans=self.account.exit_plans,
            ),
            policy=desk.policy,
            fees=desk.fees,
        )

    def _phase_end(self, now: datetime) -> datetime:
        session = self.desk.calendar.is_session(shanghai(now).date())
        return self.desk.phases.window(now, session=session).end

    async def _add_exit_plans(
        self, uow: UnitOfWork, decision: Decision, orders: list[Order], now: datetime
    ) -> None:
        actions = {action.index: action for action in decision.actions}
        for order in orders:
            plan = actions[order.action_index].exit_plan
            if plan is None or order.exit_plan_id is None:
                continue
            body = records.exit_plan_json(plan)
            await uow.exit_plans.add(
                order.exit_plan_id, order.order_id, order.decision_id, order.symbol, body, now
            )
            self.account.exit_plans[order.symbol] = body

    async def _record_order(
        self, stored: Order, answered: Order, cycle: Cycle | None, ended: Cycle | None
    ) -> None:
        """Record an order's answer, freeing its reservation if it is over before it began."""
        changed = answered != stored
        answered = saved_once(answered, stored) if changed else answered
        freed: list[Transaction] = []
        if answered.is_terminal:
            txn_id = derived_uuid(answered.updated_at, str(answered.order_id), "release", 0)
            found = release(txn_id, answered, self.account.book, answered.updated_at)
            freed = [] if found is None else [found]
        trace = cycle.trace_id if cycle is not None else await self._trace(answered.decision_id)
        async with self._begin() as uow:
            if changed:
                await uow.orders.save([answered])
                await uow.ledger.append([records.ordered(answered, trace)])
            if freed:
                await uow.journal.post(freed)
            if ended is not None:
                await uow.cycles.save(ended)
            await uow.commit()
        self.account.apply(freed, [answered])

    async def _record(self, cycle: Cycle, drafts: list[Draft]) -> None:
        async with self._begin() as uow:
            await uow.cycles.save(cycle)
            await uow.ledger.append(drafts)
            await uow.commit()

    async def _reload(self) -> None:
        async with self._begin() as uow:
            self._account = await AccountCache.load(uow)

    async def _observation(self, work: Work) -> Observation:
        if work.observation is None:
            async with self._begin() as uow:
                work.observation = await records.read_observation(uow, work.cycle)
        return work.observation

    async def _decision(self, work: Work) -> Decision:
        if work.decision is None:
            async with self._begin() as uow:
                work.decision = await records.read_decision(uow, work.cycle)
        return work.decision

    async def _trace(self, decision_id: UUID) -> UUID:
        async with self._begin() as uow:
            cycle = await uow.cycles.get(decision_id)
        if cycle is None:
            raise CorruptState("DECISION_MISSING", f"an order names decision {decision_id}")
        return cycle.trace_id

    def _begin(self) -> UnitOfWork:
        return self.desk.store.begin(self.desk.run.run_id)

    async def _timed(
        self, stage: str, work: Callable[_P, Awaitable[None]], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        began = self.desk.monotonic_ms()
        try:
            await work(*args, **kwargs)
        finally:
            self.stage_ms.setdefault(stage, []).append(self.desk.monotonic_ms() - began)
