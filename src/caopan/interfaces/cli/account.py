"""`caopan account`: show, open as it is elsewhere, pay in and out.

Owns the four commands and what a person reads of them. Must never compute a figure of its own.
Tests: tests/integration/cli/test_accounts.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caopan.interfaces.cli.control import operator_name
from caopan.interfaces.cli.cycle import read_moment
from caopan.interfaces.cli.money_text import change_style, grouped, signed, when
from caopan.interfaces.cli.output import Cli
from caopan.interfaces.cli.replay import MOST_SEED, read_cash
from caopan.kernel.clock import iso
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.bootstrap.account_views import AccountView
    from caopan.bootstrap.accounts import Balance, Imported

_MOST_BYTES: Final = 8_000_000
_MOST_KEY: Final = 64
_KEY_BYTES: Final = 8

account = typer.Typer(add_completion=False)


@contextmanager
def database_for(cli: Cli) -> Generator[str]:
    """Give the URL of a database with today's schema."""
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.database import ready_database

    with services(cli.settings) as servers:
        for step in ready_database(servers):
            cli.note(step.key, **step.values)
        yield servers.database_url


@account.command("show")
def show(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Show the newest desk's account, or that of a run."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.account_views import view_account
    from caopan.bootstrap.accounts import find_run

    with database_for(cli) as url:
        found = asyncio.run(find_run(url, run))
        view = asyncio.run(view_account(url, cli.settings, found))
    cli.result(_view_json(view), lambda console: _show(cli, view, console))


@account.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    cash: Annotated[str | None, typer.Option("--cash")] = None,
    data: Annotated[Path | None, typer.Option("--data")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = 7,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
) -> None:
    """Open an account with what it holds elsewhere."""
    cli = Cli.of(ctx)
    from caopan.application.holdings_file import read_holdings
    from caopan.bootstrap.accounts import import_account

    given = None if cash is None else _cash_or_none("--cash", cash)
    holdings = read_holdings(file.name, _body(file), given)
    moment = read_moment(at)
    with database_for(cli) as url:
        done = asyncio.run(
            import_account(
                url,
                cli.settings,
                holdings,
                name=file.name,
                data=data,
                seed=seed,
                at=moment,
                by=operator_name(),
            )
        )
    payload: dict[str, Any] = {
        **_balance_json(done.balance),
        "key": holdings.key,
        "lots": len(done.lots),
        "symbols": len({lot.symbol for lot in done.lots}),
        "shares": sum(lot.qty for lot in done.lots),
        "cost": yuan(sum(lot.cost for lot in done.lots)),
        "left_out": list(holdings.left_out),
        "reconciled": done.reconciliation.passed,
        "differences": [dict(one) for one in done.reconciliation.differences],
    }
    cli.result(payload, lambda console: _show_import(cli, done, payload, console))


@account.command("deposit")
def deposit(
    ctx: typer.Context,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT")],
    key: Annotated[str | None, typer.Option("--key", metavar="KEY")] = None,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Pay money in, on both sides, once per key."""
    from caopan.bootstrap.accounts import deposit as carry_out

    _move(ctx, "account.deposited", carry_out, amount, key, run)


@account.command("withdraw")
def withdraw(
    ctx: typer.Context,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT")],
    key: Annotated[str | None, typer.Option("--key", metavar="KEY")] = None,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Pay money out, on both sides, once per key."""
    from caopan.bootstrap.accounts import withdraw as carry_out

    _move(ctx, "account.withdrawn", carry_out, amount, key, run)


def _move(
    ctx: typer.Context,
    message: str,
    carry_out: Callable[..., Coroutine[Any, Any, Balance]],
    amount: str,
    key: str | None,
    run: int | None,
) -> None:
    cli = Cli.of(ctx)
    from caopan.bootstrap.accounts import find_run

    cash, named = read_amount(amount), _key(cli, key)
    with database_for(cli) as url:
        found = asyncio.run(find_run(url, run, desk=True))
        done = asyncio.run(
            carry_out(url, cli.settings, found, key=named, cash=cash, by=operator_name())
        )
    _tell_moved(cli, message, done, named, cash)


def read_amount(text: str) -> int:
    """Return a positive amount of whole fen in units. Raises ConfigInvalid CASH_INVALID."""
    amount = _cash_or_none("AMOUNT", text)
    if amount == 0:
        raise ConfigInvalid("CASH_INVALID", f"AMOUNT {text} is no amount", remedy="write 5000.00")
    return amount


def _cash_or_none(name: str, text: str) -> int:
    """Return nothing or a positive amount of whole fen in units."""
    from caopan.kernel.money import UNITS_PER_FEN

    amount = units(text)
    if amount != 0:
        try:
            read_cash(text)
        except ConfigInvalid as error:
            told = error.message.replace("--cash", name)
            raise ConfigInvalid(error.code, told, remedy="write 5000.00") from error
    if amount % UNITS_PER_FEN:
        raise ConfigInvalid(
            "CASH_INVALID", f"{name} {text} has parts of a fen", remedy="write 5000.00"
        )
    return amount


def _key(cli: Cli, key: str | None) -> str:
    if key is None:
        # Told before anything is done: who is cut off can repeat the same movement.
        made = secrets.token_hex(_KEY_BYTES)
        cli.note("account.key", name=made)
        return made
    if not key.strip() or len(key) > _MOST_KEY or not key.isprintable():
        raise ConfigInvalid(
            "KEY_INVALID",
            f"--key {key[:_MOST_KEY]!r} is no name for a movement",
            remedy=f"write 1 to {_MOST_KEY} printable characters",
        )
    return key


def _body(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            body = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(
            "FILE_UNREADABLE", f"{file}: {error.strerror}", remedy="name a file that can be read"
        ) from error
    if len(body) > _MOST_BYTES:
        raise ConfigInvalid("FILE_UNREADABLE", f"{file} is larger than {_MOST_BYTES} bytes")
    return body


def _balance_json(balance: Balance) -> dict[str, Any]:
    return {
        "run_id": balance.run_id,
        "account_id": balance.account_id,
        "new": balance.was_new,
        "cash": {"ours": yuan(balance.ours), "venue": yuan(balance.venue)},
    }


def _tell_moved(cli: Cli, text: str, done: Balance, key: str, cash: int) -> None:
    payload = {**_balance_json(done), "amount": yuan(cash), "key": key}

    def tell(console: Console) -> None:
        if done.was_new:
            _line(console, cli.tr(text, amount=grouped(cash), account=done.account_id))
        else:
            _line(console, cli.tr("account.again", name=key))
        _line(console, cli.tr("account.both", ours=grouped(done.ours), venue=grouped(done.venue)))

    cli.result(payload, tell)


def _show_import(cli: Cli, done: Imported, payload: dict[str, Any], console: Console) -> None:
    if payload["left_out"]:
        _line(console, cli.tr("account.left_out", columns=str(", ".join(payload["left_out"]))))
    key = "account.imported" if done.balance.was_new else "account.imported_again"
    values = {name: payload[name] for name in ("run_id", "account_id", "lots", "symbols")}
    _line(console, cli.tr(key, **values))
    both = done.balance
    _line(console, cli.tr("account.both", ours=grouped(both.ours), venue=grouped(both.venue)))
    verdict = "reconcile.agrees" if payload["reconciled"] else "account.import_differs"
    _line(console, cli.tr(verdict, count=len(payload["differences"])))


# --- show ---------------------------------------------------------------------------------------


def _view_json(view: AccountView) -> dict[str, Any]:
    unrealised = [one.unrealised for one in view.positions]
    known = [one for one in unrealised if one is not None]
    newest, close, control = view.reconciliation, view.last_close, view.control
    days = [one.price_day for one in view.positions if one.price_day is not None]
    return {
        "run_id": view.run.run_id,
        "kind": view.run.kind.value,
        "account_id": view.run.account_id,
        "as_of": iso(view.as_of),
        "data": {"label": view.data_label or None, "synthetic": view.synthetic},
        "cash": {"free": yuan(view.cash_free), "frozen": yuan(view.cash_frozen)},
        "nav": None if view.nav is None else yuan(view.nav),
        "prices_of": max(days).isoformat() if days else None,
        "prices_missing": view.prices_missing or None,
        "unpriced": [one.symbol for one in view.positions if one.price is None],
        "positions": len(view.positions),
        "fees": yuan(view.fees),
        "realised": yuan(view.realised),
        "unrealised": yuan(sum(known)) if len(known) == len(unrealised) else None,
        "last_close": None
        if close is None
        else {"day": close.trading_day.isoformat(), "nav": yuan(close.nav)},
        "control": {
            "posture": control.posture.value,
            "level": int(control.level),
            "reason": control.reason or None,
            "by": control.by or None,
            "at": None if control.at is None else iso(control.at),
        },
        "reconciliation": None
        if newest is None
        else {
            "at": iso(newest.at),
            "trigger": newest.trigger,
            "passed": newest.passed,
            "differences": [dict(one) for one in newest.differences],
        },
        "today": {
            "day": view.day.isoformat(),
            "orders": view.orders_today,
            "cancels": view.cancels_today,
        },
    }


def _show(cli: Cli, view: AccountView, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    payload = _view_json(view)
    if view.synthetic:
        console.print(cli.tr("run.synthetic"), style="yellow")
    table = Table(
        title=Text(cli.tr("account.title", run=view.run.run_id, account=view.run.account_id)),
        title_justify="left",
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(justify="right", overflow="fold")

    def row(name: str, value: str, style: str = "") -> None:
        table.add_row(Text(cli.tr(f"account.row.{name}")), Text(value, style=style))

    unknown = cli.tr("account.unknown")
    row("as_of", when(view.as_of))
    row("nav", unknown if view.nav is None else grouped(view.nav))
    if payload["prices_of"]:
        row("prices_of", payload["prices_of"])
    row("cash_free", grouped(view.cash_free))
    row("cash_frozen", grouped(view.cash_frozen))
    row("positions", str(len(view.positions)))
    gained = payload["unrealised"]
    amount = None if gained is None else units(gained)
    row("unrealised", unknown if amount is None else signed(amount), change_style(amount))
    row("realised", signed(view.realised), change_style(view.realised))
    row("fees", grouped(view.fees))
    if view.last_close is not None:
        close = view.last_close
        row("last_close", f"{grouped(close.nav)} ({close.trading_day})")
    table.add_section()
    today = payload["today"]
    row("today", cli.tr("account.today", **today))
    control = view.control
    row("posture", cli.tr(f"posture.{control.posture.value}"))
    row("level", cli.tr(f"kill_level.{int(control.level)}"))
    if control.reason and (control.level or control.posture != "normal"):
        row("reason", cli.tr("account.reason", reason=control.reason, by=control.by or unknown))
    row("reconciled", _compared(cli, view))
    console.print(table)
    if view.prices_missing:
        _line(console, cli.tr("account.prices_missing", why=view.prices_missing))
    elif payload["unpriced"]:
        _line(console, cli.tr("account.unpriced", symbols=", ".join(payload["unpriced"])))


def _compared(cli: Cli, view: AccountView) -> str:
    newest = view.reconciliation
    if newest is None:
        return cli.tr("account.never_compared")
    if newest.passed:
        return cli.tr("account.agreed", at=when(newest.at))
    return cli.tr("account.differed", at=when(newest.at), count=len(newest.differences))


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
