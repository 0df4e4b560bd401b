"""`caopan orders`, `cancel`, `positions` and `reconcile`: what an account does and holds.

Owns the four commands and their tables. Must never change anything but by the controller. Tests:
tests/integration/cli/test_accounts.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caopan.interfaces.cli.account import database_for
from caopan.interfaces.cli.control import operator_name
from caopan.interfaces.cli.cycle import read_moment
from caopan.interfaces.cli.money_text import change_style, grouped, price_text, signed, when
from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.interfaces.cli.replay import MOST_SEED, read_day
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import yuan

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.bootstrap.account_views import AccountView, OrderView, Position
    from caopan.bootstrap.accounts import Cancelled, Compared
    from caopan.domain.orders.order import Order

_TAG: Final = 10
"""Characters of an order's tag that a table shows; `cancel` takes them."""
_NONE: Final = "-"
_DEFAULT_REASON: Final = "cancelled from the command line"


def orders(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
    day: Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL")] = None,
    only_open: Annotated[bool, typer.Option("--open")] = False,
) -> None:
    """List orders with their fills, newest first."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.account_views import view_orders
    from caopan.bootstrap.accounts import find_run
    from caopan.domain.market.symbols import canonical_symbol

    wanted_day = None if day is None else read_day("--day", day)
    wanted = None if symbol is None else canonical_symbol(symbol)
    with database_for(cli) as url:
        found = asyncio.run(find_run(url, run))
        listed = asyncio.run(
            view_orders(url, found, day=wanted_day, symbol=wanted, only_open=only_open)
        )
    payload = {"run_id": found.run_id, "orders": [_order_json(one) for one in listed]}
    cli.result(payload, lambda console: _show_orders(cli, listed, console))


def cancel(
    ctx: typer.Context,
    order: Annotated[str, typer.Argument(metavar="ORDER_ID")],
    reason: Annotated[str, typer.Option("--reason")] = _DEFAULT_REASON,
    never_taken: Annotated[bool, typer.Option("--never-taken")] = False,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Cancel one order; exit 1 if it had ended before, or its cancel is not confirmed."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.accounts import cancel as carry_out
    from caopan.bootstrap.accounts import find_order
    from caopan.domain.orders.order import OrderStatus

    why = reason.strip() or _DEFAULT_REASON
    with database_for(cli) as url:
        found = asyncio.run(find_order(url, order.strip(), run))
        done = asyncio.run(
            carry_out(
                url,
                cli.settings,
                found,
                by=operator_name(),
                reason=why,
                never_taken=never_taken,
            )
        )
    ended_as = OrderStatus.NOT_SENT if never_taken else OrderStatus.CANCELED
    is_canceled = done.was_open and done.order.status is ended_as
    payload = {
        "run_id": found[0].run_id,
        "order_id": str(done.order.order_id),
        "client_order_id": done.order.client_order_id,
        "canceled": is_canceled,
        "was_open": done.was_open,
        "status": done.order.status.value,
        "filled_qty": done.order.filled_qty,
        "cancelable_until": done.cancelable_until and iso(done.cancelable_until),
    }
    cli.result(payload, lambda console: _show_cancel(cli, done, console))
    if not is_canceled:
        raise typer.Exit(ExitCode.FAILED)


def positions(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Show what is held, lot by lot."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.account_views import view_account
    from caopan.bootstrap.accounts import find_run

    with database_for(cli) as url:
        found = asyncio.run(find_run(url, run))
        view = asyncio.run(view_account(url, cli.settings, found))
    payload = {
        "run_id": found.run_id,
        "account_id": found.account_id,
        "as_of": iso(view.as_of),
        "prices_missing": view.prices_missing or None,
        "positions": [_position_json(one, view) for one in view.positions],
    }
    cli.result(payload, lambda console: _show_positions(cli, view, console))


def reconcile(
    ctx: typer.Context,
    account: Annotated[str | None, typer.Option("--account")] = None,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
    data: Annotated[Path | None, typer.Option("--data")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=MOST_SEED)] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
) -> None:
    """Compare our books with the venue's; exit 1 when they differ."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.accounts import clock_at, compare, find_account, find_run
    from caopan.bootstrap.desks import DeskChoice, choice_of

    if sum(one is not None for one in (account, run, data, seed)) > 1:
        raise ConfigInvalid(
            "USAGE", "--account, --run, --data and --seed each name the desk: give one"
        )
    moment = read_moment(at)
    with database_for(cli) as url:
        if data is not None or seed is not None:
            choice = DeskChoice(data=data, seed=7 if seed is None else seed)
            clock = clock_at(moment)
        else:
            if account is not None:
                found = asyncio.run(find_account(url, account.strip()))
            else:
                found = asyncio.run(find_run(url, run, desk=True))
            choice, clock = choice_of(cli.settings, found)
            clock = clock if moment is None else clock_at(moment)
        done = asyncio.run(compare(url, cli.settings, choice, clock))
    newest = done.reconciliation
    payload = {
        "run_id": done.run_id,
        "account_id": done.account_id,
        "at": iso(newest.at),
        "passed": newest.passed,
        "differences": [dict(one) for one in newest.differences],
        "before": {"posture": done.before.posture.value, "level": int(done.before.level)},
        "after": {"posture": done.after.posture.value, "level": int(done.after.level)},
    }
    cli.result(payload, lambda console: _show_reconcile(cli, done, console))
    if not newest.passed:
        raise typer.Exit(ExitCode.FAILED)


# --- orders -------------------------------------------------------------------------------------


def _order_json(one: OrderView) -> dict[str, Any]:
    order = one.order
    return {
        "order_id": str(order.order_id),
        "client_order_id": order.client_order_id,
        "broker_order_id": order.broker_order_id,
        "decision_id": str(order.decision_id),
        "trading_day": order.trading_day.isoformat(),
        "created_at": iso(order.created_at),
        "symbol": order.symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "price": yuan(order.price),
        "qty": order.qty,
        "filled_qty": order.filled_qty,
        "avg_fill_price": None if not order.filled_qty else price_text(_average(order)),
        "status": order.status.value,
        "reject_code": order.reject_code,
        "foreign": order.is_foreign,
        "not_after": iso(order.not_after),
        "fees": yuan(sum(fill.fees for fill in one.fills)),
        "fills": [
            {
                "broker_fill_id": fill.broker_fill_id,
                "qty": fill.qty,
                "price": yuan(fill.price),
                "fees": yuan(fill.fees),
                "filled_at": iso(fill.filled_at),
            }
            for fill in one.fills
        ],
    }


def _average(order: Order) -> Any:
    from fractions import Fraction

    return Fraction(order.filled_amount, order.filled_qty)


def _show_orders(cli: Cli, listed: Sequence[OrderView], console: Console) -> None:
    if not listed:
        _line(console, cli.tr("orders.none"))
        return
    table = _table(cli, "orders", ("at", "tag", "side", "symbol", ">qty", ">price", "status"))
    for one in listed:
        order = one.order
        filled = f"{order.filled_qty}/{order.qty}"
        status = cli.tr(f"order_status.{order.status.value}")
        if order.reject_code:
            status += f" {order.reject_code}"
        side = cli.tr(f"side.{order.side.value}")
        at = f"{shanghai(order.created_at):%m-%d %H:%M}"
        tag = order.client_order_id[:_TAG]
        _row(table, at, tag, side, order.symbol, filled, price_text(order.price), status)
        for fill in one.fills:
            at = f"{shanghai(fill.filled_at):%m-%d %H:%M}"
            fees = cli.tr("orders.fees", fees=grouped(fill.fees))
            _row(table, at, "", "", "", str(fill.qty), price_text(fill.price), fees, style="dim")
    console.print(table)


def _show_cancel(cli: Cli, done: Cancelled, console: Console) -> None:
    order = done.order
    named = {"tag": order.client_order_id, "symbol": order.symbol}
    if not done.was_open:
        status = cli.tr(f"order_status.{order.status.value}")
        _line(console, cli.tr("cancel.ended_before", status=status, **named))
        return
    if done.cancelable_until is None:
        _line(console, cli.tr("cancel.not_now"))
    else:
        until = f"{shanghai(done.cancelable_until):%H:%M:%S}"
        _line(console, cli.tr("cancel.until", until=until))
    status = cli.tr(f"order_status.{order.status.value}")
    values = {"filled": order.filled_qty, "qty": order.qty, **named}
    _line(console, cli.tr("cancel.stands", status=status, **values))


# --- positions ----------------------------------------------------------------------------------


def _position_json(one: Position, view: AccountView) -> dict[str, Any]:
    holding, diluted = one.basis.holding_price, one.basis.diluted_price
    return {
        "symbol": one.symbol,
        "qty": one.qty,
        "sellable": one.sellable,
        "frozen": one.frozen,
        "t_plus_one": one.t_plus_one,
        "lots": [
            {
                "bought_on": lot.bought_on.isoformat(),
                "qty": lot.qty,
                "frozen": lot.frozen_qty,
                "cost": yuan(lot.cost),
            }
            for lot in one.lots
        ],
        "holding_cost": yuan(one.basis.holding_cost),
        "holding_price": None if holding is None else price_text(holding),
        "diluted_cost": yuan(one.basis.diluted_cost),
        "diluted_price": None if diluted is None else price_text(diluted),
        "price": None if one.price is None else yuan(one.price),
        "price_day": None if one.price_day is None else one.price_day.isoformat(),
        "market_value": None if one.value is None else yuan(one.value),
        "unrealised": None if one.unrealised is None else yuan(one.unrealised),
        "weight": _weight(one, view),
        "exit_plan": None if one.exit_plan is None else dict(one.exit_plan),
    }


def _weight(one: Position, view: AccountView) -> str | None:
    if one.value is None or not view.nav:
        return None
    return f"{one.value / view.nav:.4f}"


def _show_positions(cli: Cli, view: AccountView, console: Console) -> None:
    if view.synthetic:
        console.print(cli.tr("run.synthetic"), style="yellow")
    if not view.positions:
        _line(console, cli.tr("positions.none"))
        return
    columns = (
        "symbol",
        ">qty",
        ">sellable",
        ">cost",
        ">diluted",
        ">last",
        ">unrealised",
        ">weight",
    )
    table = _table(cli, "positions", columns)
    for one in view.positions:
        weight = _weight(one, view)
        gained = one.unrealised
        prices = (one.basis.holding_price, one.basis.diluted_price, one.price)
        _row(
            table,
            one.symbol,
            str(one.qty),
            str(one.sellable),
            *(_NONE if price is None else price_text(price) for price in prices),
            (_NONE if gained is None else signed(gained), change_style(gained)),
            _NONE if weight is None else f"{float(weight):.1%}",
        )
        for lot in one.lots:
            _row(table, f"  {lot.bought_on}", str(lot.qty), style="dim")
    console.print(table)
    for one in view.positions:
        notes = [cli.tr("positions.frozen", qty=one.frozen)] if one.frozen else []
        if one.price is not None:
            day = one.price_day or cli.tr("account.unknown")
            notes.append(cli.tr("positions.price_day", day=day))
        notes.append(_plan(cli, one.exit_plan))
        _line(console, f"{one.symbol}  {'; '.join(notes)}")
    if view.prices_missing:
        _line(console, cli.tr("account.prices_missing", why=view.prices_missing))


def _plan(cli: Cli, plan: Mapping[str, Any] | None) -> str:
    if plan is None:
        return cli.tr("positions.no_plan")
    takes = ", ".join(str(step.get("price")) for step in plan.get("take_profit", ()))
    text = cli.tr("positions.plan", stop=plan.get("stop_price") or _NONE, take=takes or _NONE)
    days = plan.get("time_stop_days")
    return text if days is None else f"{text}, {cli.tr('positions.time_stop', days=days)}"


# --- reconcile ----------------------------------------------------------------------------------


def _show_reconcile(cli: Cli, done: Compared, console: Console) -> None:
    newest = done.reconciliation
    values = {"run": done.run_id, "account": done.account_id, "at": when(newest.at)}
    _line(console, cli.tr("reconcile.title", **values))
    if newest.passed:
        _line(console, cli.tr("reconcile.agrees"))
    else:
        table = _table(cli, "reconcile", ("kind", "key", ">ours", ">theirs"))
        for one in newest.differences:
            kind = cli.tr(f"reconcile.kind.{one['kind']}")
            sides = (one[side] or cli.tr("reconcile.nothing") for side in ("ours", "theirs"))
            _row(table, kind, str(one["key"]), *sides)
        console.print(table)
    after = done.after
    posture = cli.tr(f"posture.{after.posture.value}")
    level = cli.tr(f"kill_level.{int(after.level)}")
    is_restrained = after.posture.value != "normal" or after.level
    if is_restrained:
        _line(console, cli.tr("reconcile.stands", posture=posture, level=level))
        key = "reconcile.lift" if newest.passed else "reconcile.settle"
        _line(console, cli.tr(key, run=done.run_id))


# --- tables -------------------------------------------------------------------------------------


def _table(cli: Cli, name: str, columns: Sequence[str]) -> Any:
    """Return a table that fits 80 columns; a name that begins with > is set to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column in columns:
        side = "right" if column.startswith(">") else "left"
        title = cli.tr(f"{name}.column.{column.lstrip('>')}")
        table.add_column(title, justify=side, overflow="fold")
    return table


def _row(table: Any, *cells: str | tuple[str, str], style: str = "") -> None:
    from rich.text import Text

    made = [Text(*cell) if isinstance(cell, tuple) else Text(cell) for cell in cells]
    table.add_row(*made, style=style)


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
