"""`caopan fees`: what one order costs on a day, component by component, each with its source.

Owns the command and its rendering. Must never state a rate itself. Tests:
tests/integration/cli/test_rules.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli
from caopan.interfaces.cli.rules import read_security, today
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import units, yuan

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.domain.accounting.fees import FeeRow


def fees(
    ctx: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
    side: Annotated[str, typer.Argument(metavar="buy|sell")],
    price: Annotated[str, typer.Argument(metavar="PRICE")],
    qty: Annotated[int, typer.Argument(metavar="QTY", min=1)],
    *,
    date: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"])] = None,
    rate: Annotated[str | None, typer.Option("--rate", metavar="RATE")] = None,
    minimum: Annotated[str | None, typer.Option("--min", metavar="YUAN")] = None,
    board: Annotated[str | None, typer.Option("--board", metavar="etf|etf20")] = None,
) -> None:
    """Work out the fees of one order that trades wholly at one price."""
    from caopan.adapters.rules.book import load_rules
    from caopan.domain.accounting.fees import (
        DEFAULT_COMMISSION_MIN,
        DEFAULT_COMMISSION_RATE,
        FeeKind,
        check_commission_floor,
        contained_fees,
        fee_schedule,
        order_fees,
    )
    from caopan.domain.orders.order import Side

    cli = Cli.of(ctx)
    if side.lower() not in set(Side):
        raise ConfigInvalid("USAGE", f"{side!r} is no side", remedy="choose buy or sell")
    paid = units(price)
    if paid <= 0:
        raise ConfigInvalid("PRICE_INVALID", f"price {price} is not positive")
    listing = read_security(symbol, board or _fund_board(symbol), None).listing
    day, table, instrument = (date or today()).date(), load_rules().fees, listing.board.instrument
    schedule = fee_schedule(
        table,
        commission_rate=rate or DEFAULT_COMMISSION_RATE,
        commission_min=minimum or DEFAULT_COMMISSION_MIN,
    )
    amount, selling = paid * qty, side.lower() == Side.SELL
    cost = order_fees(schedule, Side(side.lower()), amount, day, listing.exchange, instrument)
    payload: dict[str, Any] = {
        "symbol": listing.symbol,
        "date": day.isoformat(),
        "side": side.lower(),
        "amount": yuan(amount),
        "commission": yuan(cost.commission),
        "stamp_duty": yuan(cost.stamp_duty),
        "transfer_fee": yuan(cost.transfer_fee),
        "total": yuan(cost.total),
        "net": yuan(amount - cost.total if selling else amount + cost.total),
        "contained": None,
    }
    kinds = [FeeKind.TRANSFER_FEE, *([FeeKind.STAMP_DUTY_SELL] if selling else [])]
    try:
        check_commission_floor(schedule, day, listing.exchange, instrument)
        handling, regulatory = contained_fees(table, amount, day, listing.exchange, instrument)
        parts = {"handling_fee": yuan(handling), "regulatory_fee": yuan(regulatory)}
        payload["contained"] = parts
        kinds += [FeeKind.HANDLING_FEE, FeeKind.REGULATORY_FEE]
    except Denied as error:
        payload["contained_unknown"] = error.message
    payload["sources"] = {
        kind.value: _source(table.row(listing.exchange, kind, day, instrument)) for kind in kinds
    }
    cli.result(payload, lambda console: _show(cli, payload, console))


def _source(row: FeeRow) -> dict[str, str]:
    return {
        "rate": str(row.rate),
        "source": row.source,
        "confidence": row.confidence,
        "effective_from": row.effective_from.isoformat(),
    }


def _fund_board(symbol: str) -> str | None:
    """Return a fund's board where only that it is a fund matters: all funds pay the same."""
    from caopan.domain.market.symbols import is_fund_code

    return "etf" if is_fund_code(symbol.upper()) else None


def _show(cli: Cli, payload: dict[str, Any], console: Console) -> None:
    console.print(
        cli.tr("fees.title", **{name: payload[name] for name in ("symbol", "date", "amount")}),
        style="bold",
        markup=False,
    )
    sources = payload["sources"]
    for name, kind in (
        ("commission", None),
        ("stamp_duty", "stamp_duty_sell"),
        ("transfer_fee", "transfer_fee"),
        ("total", None),
    ):
        row = sources.get(kind)
        note = f"  {row['source']} [{row['confidence']}]" if row else ""
        label = cli.tr(f"fees.{name}")
        console.print(f"  {label}  {payload[name]}{note}", markup=False, soft_wrap=True)
    if payload["contained"] is None:
        why = payload["contained_unknown"]
        console.print(cli.tr("fees.contained_unknown", why=why), markup=False, soft_wrap=True)
    else:
        console.print(cli.tr("fees.contained", **payload["contained"]), markup=False)
    key = "fees.net.sell" if payload["side"] == "sell" else "fees.net.buy"
    console.print(cli.tr(key, net=payload["net"]), markup=False)
