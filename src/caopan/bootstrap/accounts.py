"""What a person does to a desk's account beside trading: open it, pay in and out, cancel, compare.

Owns the order of both sides: the counter first, since only it can refuse, then our books. A key
names each movement on both sides; one that was cut off between them is booked when anybody next
sits down at the desk, and asked for again it changes nothing. Must never move anything on one side
alone. Tests: tests/integration/cli/test_accounts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.market_data.panel import KNOWN_AFTER_CLOSE, MarketPanel
from caopan.adapters.postgres.store import PostgresStore
from caopan.application import account_movements as movements
from caopan.application.account_movements import counter_key
from caopan.application.holdings_file import FIRST_DAY, Findings, HeldLot, HoldingsFile, merged
from caopan.application.pipeline import Pipeline
from caopan.application.ports.store import Reconciliation, Run, RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.bootstrap.desks import DeskChoice, Purpose, choice_of, counter_of, sat_down
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.ledger.chain import Draft, Stage
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.reference import Exchange
from caopan.domain.orders.order import Order, OrderStatus
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.clock import Clock, shanghai
from caopan.kernel.errors import ConfigInvalid, Conflict
from caopan.kernel.money import UNITS_PER_FEN, yuan
from caopan.settings import Settings

_REQUEST: Final = "request"
_ODD: Final = 10
"""How far a lot's cost may lie below its value before it is taken for the price of one share."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Cash on both sides after a movement, in units."""

    run_id: int
    account_id: str
    ours: int
    venue: int
    was_new: bool
    """False where the key had been used for the same movement before."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An account opened as it was elsewhere, compared with the venue's at once."""

    balance: Balance
    lots: Sequence[BroughtLot]
    reconciliation: Reconciliation


@dataclass(frozen=True, slots=True)
class Compared:
    """The newest comparison with the venue and what stands against the account after it."""

    run_id: int
    account_id: str
    reconciliation: Reconciliation
    before: Control
    after: Control


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a request to cancel came to."""

    order: Order
    """As it stands now."""
    cancelable_until: datetime | None
    """None where it could not be cancelled when it was asked for."""
    was_open: bool


def clock_at(at: datetime | None) -> Clock:
    """Return the clock of a command: the system's, or one that stands at `at`."""
    return SystemClock() if at is None else ReplayClock(at)


async def find_account(database_url: str, account_id: str) -> Run:
    """Return the running desk of an account. Raises ConfigInvalid DESK_UNKNOWN naming others."""
    async with PostgresStore(database_url) as store:
        desks = await store.runs(RunKind.DESK, unfinished=True)
    for run in desks:
        if run.account_id == account_id:
            return run
    known = ", ".join(run.account_id for run in desks) or "none"
    raise ConfigInvalid(
        "DESK_UNKNOWN",
        f"there is no desk of account {account_id!r}; there are: {known}",
        remedy="name one of them; `caopan account show` tells the newest one's name",
    )


async def find_run(database_url: str, run_id: int | None, *, desk: bool = False) -> Run:
    """Return the run of that number, or the newest desk (else, if it need be none, newest run).

    Raises:
        ConfigInvalid: RUN_UNKNOWN, DESK_UNKNOWN, or RUN_NOT_DESK where a desk is needed.
    """
    async with PostgresStore(database_url) as store:
        runs = await store.runs()
    if run_id is None:
        desks = [run for run in runs if run.kind is RunKind.DESK]
        found = (desks or ([] if desk else list(runs)))[:1]
        if not found:
            raise ConfigInvalid(
                "DESK_UNKNOWN",
                "there is no account yet",
                remedy="open one with `caopan account import FILE` or `caopan cycle`",
            )
        return found[0]
    chosen = [run for run in runs if run.run_id == run_id]
    if not chosen:
        raise ConfigInvalid("RUN_UNKNOWN", f"there is no run {run_id}")
    if desk and chosen[0].kind is not RunKind.DESK:
        raise ConfigInvalid(
            "RUN_NOT_DESK",
            f"run {run_id} is a {chosen[0].kind.value}, which is over",
            remedy="name the run of a desk; `caopan account show` shows the newest",
        )
    return chosen[0]


# --- opening an existing account ----------------------------------------------------------------


@dataclass(slots=True)
class _Import:
    """The opening of a desk with what a file holds."""

    name: str
    file: HoldingsFile
    by: str
    lots: list[BroughtLot] = field(default_factory=list[BroughtLot])
    was_new: bool = False

    def check(self, market: MarketPanel, calendar: TradingCalendar, now: datetime) -> None:
        """Find every lot that cannot be: symbols nobody knows, days to come, odd costs."""
        local = shanghai(now)
        today, findings = local.date(), Findings(self.name)
        before = calendar.on_or_before(today - timedelta(days=1))
        has_closed = local.time() >= KNOWN_AFTER_CLOSE and calendar.is_session(today)
        closes = market.closes(today if has_closed else before, now)
        for lot in self.file.lots:
            if lot.symbol not in closes:
                problem = f"{lot.symbol} is not in {market.info.label} before {today}"
                findings.add(lot.where, "symbol", problem)
            elif (odd := _odd_cost(lot, closes[lot.symbol])) is not None:
                findings.add(lot.where, "cost", odd)
            if lot.bought_on is not None and not FIRST_DAY <= lot.bought_on <= today:
                problem = f"{lot.bought_on} is not between {FIRST_DAY} and {today}"
                findings.add(lot.where, "bought_on", problem)
        findings.raise_any()
        rows = ((lot.symbol, lot.bought_on or before, lot.qty, lot.cost) for lot in self.file.lots)
        self.lots = [BroughtLot(name, qty, cost, day) for name, day, qty, cost in merged(rows)]

    async def carry(self, pipeline: Pipeline) -> None:
        """Bring cash, then shares, to what the file says; at the counter before in the books."""
        seat, counter, key = pipeline.seat, counter_of(pipeline), self.file.key
        wanted = counter_key(movements.IMPORT, key)
        if any(moved.key == wanted for moved in await counter.movements()):
            return
        movements.refuse_unless_new(seat)
        there = await counter.account()
        named = f"import {key}"
        change = self.file.cash - there.cash_free - there.cash_frozen
        if change > 0:
            await counter.deposit(counter_key(movements.DEPOSIT, named), change)
        elif change < 0:
            await counter.withdraw(counter_key(movements.WITHDRAWAL, named), -change)
        ours = self.file.cash - seat.account.book.cash_free
        if ours > 0:
            await movements.pay_in(seat, named, ours, self.by)
        elif ours < 0:
            await movements.pay_out(seat, named, -ours, self.by)
        await counter.bring_in(wanted, self.lots)
        await movements.open_with(seat, key, self.file.cash, self.lots, self.by)
        self.was_new = True


async def import_account(
    database_url: str,
    settings: Settings,
    file: HoldingsFile,
    *,
    name: str,
    data: Path | None,
    seed: int,
    at: datetime | None,
    by: str,
) -> Imported:
    """Open the desk's account as `file` tells it, on both sides, once; make the desk if need be.

    Raises:
        ConfigInvalid: HOLDINGS_INVALID naming every row that cannot be; nothing was done then.
        Conflict: ACCOUNT_NOT_EMPTY if the desk has a life of its own.
    """
    # A desk is opened with some money: where the account has none, a fen comes and goes.
    choice = DeskChoice(cash=max(file.cash, UNITS_PER_FEN), data=data, seed=seed)
    opening = _Import(name, file, by)
    async with sat_down(
        database_url,
        settings,
        choice,
        clock_at(at),
        Purpose(create=True, opening=opening, trigger=_REQUEST),
    ) as pipeline:
        newest = await _newest_comparison(pipeline)
        return Imported(await _balance(pipeline, was_new=opening.was_new), opening.lots, newest)


def _odd_cost(lot: HeldLot, close: int) -> str | None:
    """Tell a lot's cost from a price of one share that was given in its place."""
    value = lot.qty * close
    looks_like_price = close <= lot.cost * _ODD and lot.cost <= close * _ODD
    if lot.qty > _ODD and looks_like_price and lot.cost * _ODD < value:
        return (
            f"{yuan(lot.cost)} for all {lot.qty} shares, worth {yuan(value)}: if it is the price "
            "of one share, call the column cost_price"
        )
    return None


# --- money in and out ---------------------------------------------------------------------------


async def deposit(
    database_url: str, settings: Settings, run: Run, *, key: str, cash: int, by: str
) -> Balance:
    """Pay in `cash` units on both sides, once per `key`.

    Raises:
        Conflict: KEY_REUSED if `key` named another amount, RUN_BUSY while a trader sits there.
    """
    choice, clock = choice_of(settings, run)
    async with sat_down(database_url, settings, choice, clock) as pipeline:
        counter = counter_of(pipeline)
        wanted = counter_key(movements.DEPOSIT, key)
        is_new = await _is_new(pipeline, wanted, cash)
        if is_new:
            await counter.deposit(wanted, cash)
            await movements.pay_in(pipeline.seat, key, cash, by)
        return await _balance(pipeline, was_new=is_new)


async def withdraw(
    database_url: str, settings: Settings, run: Run, *, key: str, cash: int, by: str
) -> Balance:
    """Pay out `cash` units on both sides, once per `key`.

    Raises:
        Denied: CASH_MISSING or BROKER_REJECT_FUNDS if either side can pay less now.
        Conflict: as `deposit`.
    """
    choice, clock = choice_of(settings, run)
    async with sat_down(database_url, settings, choice, clock) as pipeline:
        counter = counter_of(pipeline)
        wanted = counter_key(movements.WITHDRAWAL, key)
        is_new = await _is_new(pipeline, wanted, -cash)
        if is_new:
            # Ours first: what the counter has paid out cannot be refused any more.
            movements.refuse_beyond_free(pipeline.seat, cash)
            await counter.withdraw(wanted, cash)
            await movements.pay_out(pipeline.seat, key, cash, by)
        return await _balance(pipeline, was_new=is_new)


async def _is_new(pipeline: Pipeline, wanted: str, cash: int) -> bool:
    for moved in await counter_of(pipeline).movements():
        if moved.key != wanted:
            continue
        if moved.cash != cash:
            raise Conflict(
                "KEY_REUSED",
                f"this key named {yuan(abs(moved.cash))} yuan before, now {yuan(abs(cash))}",
                remedy="choose another --key; the same one repeats the same movement",
            )
        return False
    return True


async def _balance(pipeline: Pipeline, *, was_new: bool) -> Balance:
    run, book = pipeline.desk.run, pipeline.account.book
    there = await counter_of(pipeline).account()
    ours = book.cash_free + book.cash_frozen
    return Balance(run.run_id, run.account_id, ours, there.cash_free + there.cash_frozen, was_new)


# --- comparing, cancelling ----------------------------------------------------------------------


async def compare(
    database_url: str, settings: Settings, choice: DeskChoice, clock: Clock
) -> Compared:
    """Bring the desk up to the present and compare its books with the venue's."""
    async with PostgresStore(database_url) as store:
        before = Control()
        for run in await store.runs(RunKind.DESK, unfinished=True):
            if run.account_id == choice.account_id:
                async with store.begin(run.run_id) as uow:
                    before = await uow.controls.get()
                break
    async with sat_down(
        database_url, settings, choice, clock, Purpose(trigger=_REQUEST)
    ) as pipeline:
        run = pipeline.desk.run
        newest = await _newest_comparison(pipeline)
        return Compared(run.run_id, run.account_id, newest, before, pipeline.seat.control)


async def _newest_comparison(pipeline: Pipeline) -> Reconciliation:
    async with pipeline.seat.begin() as uow:
        return (await uow.reconciliations.all())[-1]


async def cancel(
    database_url: str,
    settings: Settings,
    named: tuple[Run, UUID],
    *,
    by: str,
    reason: str,
    never_taken: bool = False,
) -> Cancelled:
    """Ask the controller to cancel one order, wait for the venue's word, and say how it ended.

    Who asked, and why, is in the ledger before anything is asked of the venue. With `never_taken` a
    person says that the venue never took an order nobody knows of; nothing is asked then.
    """
    run, order_id = named
    choice, clock = choice_of(settings, run)
    async with sat_down(database_url, settings, choice, clock, Purpose(to_trade=False)) as pipeline:
        order = pipeline.account.working.get(order_id)
        if order is None:
            async with pipeline.seat.begin() as uow:
                order = next(one for one in await uow.orders.all() if one.order_id == order_id)
            return Cancelled(order, None, was_open=False)
        desk, now = pipeline.desk, pipeline.desk.clock.now()
        session = desk.calendar.is_session(shanghai(now).date())
        until = desk.phases.cancelable_until(
            now, session=session, exchange=Exchange(order.symbol[-2:])
        )
        asked = {
            "action": "never_taken" if never_taken else "cancel",
            "by": by,
            "client_order_id": order.client_order_id,
            "order_id": str(order.order_id),
            "reason": reason,
        }
        if never_taken and order.status is not OrderStatus.UNKNOWN:
            await pipeline.controller.declare_never_taken(order)  # refuses, before it is recorded
        trace = await pipeline.seat.trace(order.decision_id)
        draft = Draft(Stage.OPERATOR_ACTION, now, asked, order.decision_id, trace)
        await pipeline.seat.record([draft])
        if never_taken:
            ended = await pipeline.controller.declare_never_taken(order)
        else:
            ended = await pipeline.controller.cancel_confirmed(order)
        if ended.status is not OrderStatus.PENDING_CANCEL:
            await pipeline.controller.close_finished()
        return Cancelled(ended, until, was_open=True)


async def find_order(database_url: str, name: str, run_id: int | None) -> tuple[Run, UUID]:
    """Return the order whose id, or whose tag at the venue, begins with `name`.

    Raises:
        ConfigInvalid: ORDER_UNKNOWN, ORDER_AMBIGUOUS, and as `find_run`.
    """
    run = await find_run(database_url, run_id, desk=True)
    async with PostgresStore(database_url) as store, store.begin(run.run_id) as uow:
        orders = await uow.orders.all()
    matches = [order for order in orders if _named(order, name)]
    if not matches:
        raise ConfigInvalid(
            "ORDER_UNKNOWN",
            f"run {run.run_id} has no order whose id begins with {name!r}",
            remedy="`caopan orders` lists them",
        )
    if len(matches) > 1:
        raise ConfigInvalid(
            "ORDER_AMBIGUOUS",
            f"{len(matches)} orders begin with {name!r}",
            remedy="give more of the id",
        )
    return run, matches[0].order_id


def _named(order: Order, name: str) -> bool:
    ids = (str(order.order_id), order.client_order_id.lower())
    return bool(name) and any(one.startswith(name.lower()) for one in ids)
