"""An account file as the gate judges it.

Owns the reading of account, positions, open orders and today's counters (contracts.md, "Account").
Must never guess: what the file leaves out stays unknown, and a limit that needs it refuses. Tests:
tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caopan.application.file_fields import Node
from caopan.domain.accounting.fees import FeeSchedule, FeeTable, fee_schedule, upper_bound
from caopan.domain.market.reference import Exchange
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.gate import Resting
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.domain.risk.question import Standing
from caopan.domain.risk.venue import Permission, ProgramReport, ReportStatus, Venue
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import CaopanError

_KILLED = "kill_switch"
_ACCOUNT = frozenset(
    [
        "account_id",
        "sleeve_id",
        "broker",
        "venue",
        "execution_mode",
        "permissions",
        "fee_schedule",
        "program_report",
        "nav",
        "cash",
        "available_cash",
        "frozen_cash",
        "nav_day_open",
        "nav_peak",
        "risk_posture",
        "kill_level",
        "as_of",
        "sleeve_symbols",
        "cash_cap",
        "order_types",
        "orders_today",
        "cancels_today",
        "orders_per_day",
    ]
)
_TODAY = frozenset(
    [
        "orders",
        "cancels",
        "requests_last_second",
        "bought_value",
        "sold_value",
        "ordered",
        "opened",
        "exited",
        "loss_streak",
    ]
)


@dataclass(frozen=True, slots=True)
class GateAccount:
    """An account as its file tells it."""

    account_id: str
    standing: Standing
    resting: Mapping[str, Resting]
    """Open orders by id."""
    types: Mapping[str, OrderType]
    """Their order types by id."""
    fees: FeeSchedule
    venue_types: frozenset[OrderType] | None


def read_account(root: Node, prices: Mapping[str, int], fees: FeeTable) -> GateAccount:
    """Return the account of a file; `prices` value holdings that have no market_value (units).

    Raises:
        ConfigInvalid: GATE_FILE_INVALID naming file, field, value and remedy.
    """
    root.only(("account", "positions", "open_orders", "today"))
    account = root.at("account").only(_ACCOUNT)
    account_id = account.at("account_id").text()
    schedule = _fees(account.at("fee_schedule"), fees)
    standing = _standing(account)
    _positions(root, standing, prices)
    resting, types = _open_orders(root, account_id, standing, schedule)
    _today(root.at("today"), standing, resting)
    venue_types = None
    if account.has("order_types"):
        venue_types = frozenset(one.word(OrderType) for one in account.at("order_types").items())
    return GateAccount(account_id, standing, resting, types, schedule, venue_types)


def _standing(account: Node) -> Standing:
    nav = account.at("nav").money()
    venue = account.at("venue").word(Venue)
    symbols = None
    if account.has("sleeve_symbols"):
        symbols = frozenset(one.text() for one in account.at("sleeve_symbols").items())
    return Standing(
        nav=nav,
        nav_day_open=account.at("nav_day_open").money(),
        nav_peak=max(nav, account.at("nav_peak").money()),
        cash_free=account.at("available_cash").money(),
        sellable={},
        held={},
        exposure={},
        open_orders=0,
        orders_today=0,
        control=_control(account),
        venue=venue,
        permissions=_permissions(account),
        report=_report(account.at("program_report")),
        as_of=account.at("as_of").instant() if account.has("as_of") else None,
        sleeve_symbols=symbols,
        sleeve_cash_cap=account.at("cash_cap").money() if account.has("cash_cap") else None,
        industries={},
        opened_on={},
    )


def _control(account: Node) -> Control:
    told = account.at("risk_posture")
    level = KillLevel.OFF
    if told.value == _KILLED:
        level = KillLevel.NO_ORDERS
    if account.has("kill_level"):
        given = account.at("kill_level")
        if given.value not in list(KillLevel) or isinstance(given.value, bool):
            raise given.wrong("write 0, 1, 2 or 3")
        level = max(level, KillLevel(given.value))
    if told.value in (None, _KILLED):
        return Control(level)
    return Control(level, told.word(Posture))


def _permissions(account: Node) -> frozenset[Permission] | None:
    if not account.has("permissions"):
        return None
    given = account.at("permissions")
    if isinstance(given.value, list):
        return frozenset(one.word(Permission) for one in given.items())
    given.only([*Permission])
    return frozenset(one for one in Permission if given.has(one) and given.at(one).truth())


def _report(given: Node) -> ProgramReport | None:
    if given.value is None:
        return None
    return ProgramReport(
        given.at("status").word(ReportStatus),
        given.at("max_per_second").whole(),
        given.at("max_per_day").whole(),
        given.at("confirmed_at").instant() if given.has("confirmed_at") else None,
        str(given.at("software_version").value or ""),
        str(given.at("strategy_hash").value or ""),
    )


def _fees(given: Node, table: FeeTable) -> FeeSchedule:
    if given.value is None:
        return fee_schedule(table)
    given.only(("commission_rate", "commission_min"))
    told: dict[str, Any] = {name: str(value) for name, value in given.members().items()}
    try:
        return fee_schedule(table, **told)
    except CaopanError as error:
        raise given.about(error) from error


def _positions(root: Node, standing: Standing, prices: Mapping[str, int]) -> None:
    industries: dict[str, str] = {}
    for one in root.at("positions").items() if root.has("positions") else ():
        symbol, qty = one.at("symbol").text(), one.at("qty").whole()
        sellable = one.at("sellable_qty")
        if sellable.whole() > qty:
            raise sellable.wrong(f"at most qty, {qty}")
        standing.held[symbol], standing.sellable[symbol] = qty, sellable.whole()
        if one.has("market_value"):
            value = one.at("market_value").money()
        elif symbol in prices:
            value = qty * prices[symbol]
        else:
            value = qty * one.at("avg_price").money()
        standing.exposure[symbol] = value
        if one.has("industry"):
            industries[symbol] = one.at("industry").text()
        if one.has("lots") and standing.opened_on is not None:
            days = [lot.at("bought_on").day() for lot in one.at("lots").items()]
            if days:
                standing.opened_on[symbol] = min(days)
    standing.industries = industries


def _open_orders(
    root: Node, account_id: str, standing: Standing, fees: FeeSchedule
) -> tuple[dict[str, Resting], dict[str, OrderType]]:
    found: dict[str, Resting] = {}
    types: dict[str, OrderType] = {}
    for one in root.at("open_orders").items() if root.has("open_orders") else ():
        order_id, symbol = one.at("order_id").text(), one.at("symbol").text()
        side, price = one.at("side").word(Side), one.at("price").money()
        filled = one.at("filled_qty").whole() if one.has("filled_qty") else 0
        qty = one.at("qty").whole() - filled
        if qty <= 0:
            raise one.at("qty").wrong("an open order has something open: qty is over filled_qty")
        frozen = 0
        if side is Side.BUY:
            placed = shanghai(one.at("placed_at").instant()).date()
            try:
                place = Exchange(symbol[-2:]), instrument_of(symbol)
                frozen = upper_bound(fees, qty, price, placed, *place)
            except (CaopanError, ValueError) as error:
                raise one.at("symbol").wrong("write a symbol as 600519.SH") from error
            standing.exposure[symbol] = standing.exposure.get(symbol, 0) + price * qty
        key = (symbol, side)
        known = standing.resting.get(key)
        better = max if side is Side.BUY else min
        standing.resting[key] = price if known is None else better(known, price)
        standing.working.add(key)
        standing.open_orders += 1
        owner = one.at("account_id").text() if one.has("account_id") else account_id
        foreign = one.at("foreign").truth() if one.has("foreign") else False
        found[order_id] = Resting(order_id, owner, symbol, side, price, qty, frozen, foreign)
        types[order_id] = OrderType.LIMIT
        if one.has("order_type"):
            types[order_id] = one.at("order_type").word(OrderType)
    return found, types


def _today(today: Node, standing: Standing, resting: Mapping[str, Resting]) -> None:
    today.only(_TODAY)
    standing.orders_today = today.at("orders").whole()
    for name, attribute in (
        ("cancels", "cancels_today"),
        ("requests_last_second", "requests_last_second"),
        ("loss_streak", "loss_streak"),
    ):
        if today.has(name):
            setattr(standing, attribute, today.at(name).whole())
    for name in ("bought_value", "sold_value"):
        if today.has(name):
            setattr(standing, name, today.at(name).money())
    sales = [one for one in resting.values() if one.side is Side.SELL]
    standing.selling_value = sum(one.price * one.open_qty for one in sales)
    if today.has("ordered"):
        standing.ordered_today = {}
        for one in today.at("ordered").items():
            key = (one.at("symbol").text(), one.at("side").word(Side))
            standing.ordered_today[key] = one.at("qty").whole()
    if today.has("opened"):
        standing.opened_today = {one.text() for one in today.at("opened").items()}
    if today.has("exited"):
        exited = today.at("exited")
        standing.exited_on = {symbol: exited.at(symbol).day() for symbol in exited.members()}
