"""Reading an account: what it holds, what it is worth, what stands against it, its orders.

Owns the views behind `caopan account show`, `positions` and `orders`. They need no lease and
change nothing, so that they work while a trader sits at the desk. Holdings are counted at the last
price known when the account was last brought up to the present: its books are of that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from caopan.adapters.kill_switch.flag_file import flag_path, read_flag
from caopan.adapters.market_data.panel import KNOWN_AFTER_CLOSE, KNOWN_BEFORE_OPEN, MarketPanel
from caopan.adapters.postgres.bars import last_closes
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.account import AccountCache
from caopan.application.holding_costs import cost_bases
from caopan.application.ports.store import NavPoint, Reconciliation, Run, RunKind
from caopan.bootstrap.desks import choice_of, open_market
from caopan.bootstrap.markets import open_calendar
from caopan.domain.accounting.cost_basis import CostBasis
from caopan.domain.accounting.journal import Lot
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Fill, Order, OrderStatus
from caopan.domain.risk.kill_switch import Control, KillLevel
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import CaopanError
from caopan.settings import Settings

_LOOK_BACK: Final = 60
"""Sessions to look back for the day of a price: longer suspensions show the price without one."""
_CANCELS: Final = frozenset({OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED})

Price = tuple[int, date | None]
"""Units, and the session whose close it is."""


@dataclass(frozen=True, slots=True)
class Position:
    """One symbol's holding. Money in units."""

    symbol: str
    lots: Sequence[Lot]
    sellable: int
    basis: CostBasis
    price: int | None
    price_day: date | None
    exit_plan: Mapping[str, Any] | None
    t_plus_one: bool

    @property
    def qty(self) -> int:
        """Return all shares held."""
        return sum(lot.qty for lot in self.lots)

    @property
    def frozen(self) -> int:
        """Return shares that an order holds back."""
        return sum(lot.frozen_qty for lot in self.lots)

    @property
    def value(self) -> int | None:
        """Return what it is worth; None where no price is known."""
        return None if self.price is None else self.price * self.qty

    @property
    def unrealised(self) -> int | None:
        """Return what the shares held have won over their holding cost, fees included."""
        return None if self.price is None else self.basis.unrealised(self.price)


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account as its books have it. Money in units."""

    run: Run
    as_of: datetime
    """When it was last brought up to the present."""
    cash_free: int
    cash_frozen: int
    positions: Sequence[Position]
    fees: int
    realised: int
    control: Control
    """The account's own, raised to what stands against all accounts."""
    reconciliation: Reconciliation | None
    last_close: NavPoint | None
    day: date
    orders_today: int
    cancels_today: int
    data_label: str
    synthetic: bool
    prices_missing: str = ""
    """Why no price is known at all."""

    @property
    def nav(self) -> int | None:
        """Return cash and holdings; None where a holding has no price."""
        values = [one.value for one in self.positions]
        known = [value for value in values if value is not None]
        return None if len(known) < len(values) else self.cash_free + self.cash_frozen + sum(known)


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order with its fills."""

    order: Order
    fills: Sequence[Fill]


@dataclass(frozen=True, slots=True)
class _Prices:
    by_symbol: Mapping[str, Price] = field(default_factory=dict[str, Price])
    t_plus_one: Mapping[str, bool] = field(default_factory=dict[str, bool])
    label: str = ""
    missing: str = ""


async def view_account(database_url: str, settings: Settings, run: Run) -> AccountView:
    """Return the account of `run` with its positions."""
    async with PostgresStore(database_url) as store:
        calendar = await open_calendar(store)
        system = await store.system_control()
        async with store.begin(run.run_id) as uow:
            account = await AccountCache.load(uow)
            journal = await uow.journal.transactions()
            fills = await uow.orders.fills()
            past = await uow.reconciliations.all()
            points = await uow.nav.all()
            newest = await uow.cycles.last()
            own = await uow.controls.get()
    moments = [run.created_at] if not journal else [journal[-1].at]
    moments += [one.at for one in (*past[-1:], *points[-1:])]
    moments += [] if newest is None else [newest.opened_at]
    as_of = max(moments)
    held = sorted(account.book.quantities())
    day = calendar.on_or_before(shanghai(as_of).date())
    prices = _prices(database_url, settings, run, calendar, day, as_of, held)
    bases = cost_bases(journal, fills)
    plans = account.exit_plans
    positions: list[Position] = []
    for symbol in held:
        # Where nobody can tell, shares of today count as not sellable.
        t_plus_one = prices.t_plus_one.get(symbol, True)
        price, price_day = prices.by_symbol.get(symbol, (None, None))
        sellable = account.book.sellable(symbol, shanghai(as_of).date(), t_plus_one=t_plus_one)
        positions.append(
            Position(
                symbol,
                account.book.lots(symbol),
                sellable,
                bases.get(symbol, CostBasis()),
                price,
                price_day,
                plans.get(symbol),
                t_plus_one,
            )
        )
    today = account.day_orders.values() if account.day == day else ()
    sent = [order for order in today if order.submitted_at is not None]
    return AccountView(
        run=run,
        as_of=as_of,
        cash_free=account.book.cash_free,
        cash_frozen=account.book.cash_frozen,
        positions=positions,
        fees=account.fees_total,
        realised=account.realised_total,
        control=control_in_force(settings, run, own, system),
        reconciliation=past[-1] if past else None,
        last_close=points[-1] if points else None,
        day=day,
        orders_today=len(today),
        cancels_today=sum(order.status in _CANCELS for order in sent),
        data_label=prices.label,
        synthetic=bool(run.config.get("dataset", {}).get("synthetic")),
        prices_missing=prices.missing,
    )


async def view_orders(
    database_url: str,
    run: Run,
    *,
    day: date | None = None,
    symbol: str | None = None,
    only_open: bool = False,
) -> Sequence[OrderView]:
    """Return the orders of `run` with their fills, newest first."""
    async with PostgresStore(database_url) as store, store.begin(run.run_id) as uow:
        orders = await uow.orders.all()
        fills = await uow.orders.fills()
    of_order: dict[UUID, list[Fill]] = {}
    for fill in fills:
        of_order.setdefault(fill.order_id, []).append(fill)
    return [
        OrderView(order, of_order.get(order.order_id, []))
        for order in reversed(orders)
        if (day is None or order.trading_day == day)
        and (symbol is None or order.symbol == symbol)
        and not (only_open and order.is_terminal)
    ]


def control_in_force(settings: Settings, run: Run, own: Control, system: Control) -> Control:
    """Return the account's posture with the highest level that any flag asks for."""
    if run.kind is not RunKind.DESK:
        return own
    asked = [(own.level, own.reason, own.by, own.at)]
    asked.append((system.level, system.reason, system.by, system.at))
    for path in (flag_path(settings.home), flag_path(settings.home, run.run_id)):
        try:
            flag = read_flag(path)
        except OSError as error:
            asked.append((KillLevel.NO_ORDERS, f"{path.name}: {error.strerror}", "", None))
        else:
            asked.append((flag.level, flag.malformed or flag.reason, flag.by, flag.at))
    level, reason, by, at = max(asked, key=lambda one: one[0])
    return Control(level, own.posture, reason, by, at, own.version)


def _prices(
    database_url: str,
    settings: Settings,
    run: Run,
    calendar: TradingCalendar,
    day: date,
    as_of: datetime,
    held: Sequence[str],
) -> _Prices:
    """Return the last prices known at `as_of`: a desk's from its market, else from stored bars."""
    if not held:
        return _Prices()
    local = shanghai(as_of)
    closed = local.time() >= KNOWN_AFTER_CLOSE and local.date() == day
    last = day if closed or local.date() > day else calendar.previous_session(day)
    if run.kind is not RunKind.DESK:
        checksum = str(run.config.get("dataset", {}).get("checksum", ""))
        return _Prices(last_closes(database_url, checksum, held, last))
    try:
        choice, _ = choice_of(settings, run)
        market = open_market(choice, calendar, day)
        found = _from_market(market, calendar, last, as_of, held)
        if last == day or local.date() > day or local.time() < KNOWN_BEFORE_OPEN:
            return found
        return _on_ex_date(found, market, day, as_of)
    except CaopanError as error:
        return _Prices(missing=f"{error.message}; {error.remedy}" if error.remedy else str(error))


def _on_ex_date(found: _Prices, market: MarketPanel, day: date, as_of: datetime) -> _Prices:
    """Return the prices with the reference price where `day` changes the shares themselves."""
    references = market.references(day, as_of)
    changed: dict[str, Price] = {
        symbol: (references[symbol].pre_close, day)
        for symbol in found.by_symbol
        if symbol in references and references[symbol].action is not None
    }
    return replace(found, by_symbol={**found.by_symbol, **changed})


def _from_market(
    market: MarketPanel,
    calendar: TradingCalendar,
    last: date,
    as_of: datetime,
    held: Sequence[str],
) -> _Prices:
    closes = market.closes(last, as_of)
    wanted = {symbol for symbol in held if symbol in closes}
    days: dict[str, date] = {}
    day = last
    for _ in range(_LOOK_BACK):
        days |= {one: day for one in wanted - days.keys() if market.bar(one, day, as_of)}
        if len(days) == len(wanted) or day <= market.info.first_day:
            break
        day = calendar.on_or_before(day - timedelta(days=1))
    references = market.references(last, as_of)
    return _Prices(
        {one: (closes[one], days.get(one)) for one in wanted},
        {one: references[one].t_plus_one for one in wanted if one in references},
        market.info.label,
    )
