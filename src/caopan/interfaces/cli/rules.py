"""`caopan rules`: the exchange rules in force for a security, and a file of cases held to them.

Owns the two commands and their rendering. Must never state a rule itself. Tests:
tests/integration/cli/test_rules.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import units

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.adapters.rules.cases import Checked
    from caopan.adapters.rules.overview import Shown
    from caopan.domain.market.symbols import Security

rules = typer.Typer(add_completion=False)

_NONE = "—"
_Date = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"])]
_Board = Annotated[str | None, typer.Option("--board", metavar="etf|etf20")]


@rules.command("show")
def show(
    ctx: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
    date: _Date = None,
    board: _Board = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND")] = None,
    pre_close: Annotated[str | None, typer.Option("--pre-close", metavar="PRICE")] = None,
) -> None:
    """Show every rule in force for a security on a day."""
    from caopan.adapters.rules.book import load_rules
    from caopan.adapters.rules.overview import overview, phases_shown

    cli = Cli.of(ctx)
    security = read_security(symbol, board, kind)
    day = (date or today()).date()
    reference = None if pre_close is None else units(pre_close)
    if reference is not None and reference <= 0:
        raise ConfigInvalid("PRICE_INVALID", f"--pre-close {pre_close} is not positive")
    book = load_rules()
    found = overview(security, day, book, reference)
    try:
        phases = phases_shown(security, day, book)
    except Denied:
        # The missing hours stand among the rules already, as unknown.
        phases = []
    payload = {
        "symbol": security.listing.symbol,
        "exchange": security.listing.exchange.value,
        "board": security.listing.board.value,
        "instrument": security.instrument.value,
        "fund_kind": security.fund_kind,
        "date": day.isoformat(),
        "rules": [one.as_json() for one in found if one.row is not None],
        "unknown": [one.as_json() for one in found if one.row is None and one.unknown],
        "phases": phases,
        "citation": book.market.citation,
    }
    cli.result(payload, lambda console: _show_rules(cli, payload, found, console))


@rules.command("check")
def check(ctx: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE.csv")]) -> None:
    """Answer every case of a file; exit 1 if a verified one comes out differently."""
    from caopan.adapters.calendar.xshg import load_calendar
    from caopan.adapters.rules.cases import Verdict, check_cases, tally

    cli = Cli.of(ctx)
    found = check_cases(file, load_calendar())
    apart = [one for one in found if one.verdict is not Verdict.PASSED]
    counts = tally(found, lambda _: "all").get("all") or dict.fromkeys(map(str, Verdict), 0)
    payload = {
        "file": str(file),
        "total": len(found),
        **counts,
        "unreadable": sum(bool(one.unreadable) for one in found),
        "by_category": tally(found, lambda one: one.case.category),
        "by_confidence": tally(found, lambda one: one.wanted.confidence),
        "cases": [_case(one) for one in apart],
    }
    cli.result(payload, lambda console: _show_cases(cli, payload, console))
    if counts[Verdict.FAILED]:
        raise typer.Exit(ExitCode.FAILED)


def read_security(symbol: str, board: str | None, kind: str | None) -> Security:
    """Return the security that the words of a command name.

    Raises:
        ConfigInvalid: SYMBOL_INVALID, SECURITY_KIND as `parse_security`; SECURITY_KIND if a word
            is none of the known ones.
    """
    from caopan.domain.market.reference import Board, FundKind
    from caopan.domain.market.symbols import parse_security

    for name, word, words in (("board", board, Board), ("kind", kind, FundKind)):
        if word is not None and word not in set(words):
            raise ConfigInvalid(
                "SECURITY_KIND",
                f"--{name} {word!r} is not known",
                remedy=f"choose one of {', '.join(words)}",
            )
    return parse_security(
        symbol.upper(),
        board=None if board is None else Board(board),
        fund_kind=None if kind is None else FundKind(kind),
    )


def today() -> datetime:
    """Return this moment in Shanghai."""
    from caopan.adapters.clock.system import SystemClock

    return shanghai(SystemClock().now())


def _case(one: Checked) -> dict[str, Any]:
    return {
        "case_id": one.case.case_id,
        "category": one.case.category,
        "confidence": one.wanted.confidence,
        "verdict": one.verdict.value,
        "differs": [
            {"field": column, "expected": wanted, "found": found}
            for column, wanted, found in one.differs
        ],
        "unreadable": one.unreadable or None,
        "reason": one.reason,
        "note": one.wanted.reason,
    }


def _show_rules(cli: Cli, payload: dict[str, Any], found: list[Shown], console: Console) -> None:
    from rich.table import Table

    console.print(
        cli.tr("rules.title", **{name: payload[name] for name in ("symbol", "board", "date")}),
        style="bold",
        markup=False,
    )
    table = Table()
    for column in ("rule", "value", "source", "since"):
        table.add_column(cli.tr(f"rules.column.{column}"), overflow="fold")
    for one in found:
        name = cli.tr(f"rules.rule.{one.rule}")
        if one.row is None:
            text = cli.tr("rules.unknown", why=one.unknown) if one.unknown else _NONE
            table.add_row(name, text, "", "")
            continue
        source = f"{one.row.source} [{one.row.confidence}]".replace("[", "\\[")
        table.add_row(name, _value(cli, one), source, one.row.effective_from.isoformat())
    console.print(table)
    hours = Table(
        *(
            cli.tr(f"rules.column.{name}")
            for name in ("phase", "hours", "limit", "market", "after_hours_fixed", "cancel")
        )
    )
    for phase in payload["phases"]:
        permits = (
            cli.tr(f"rules.permit.{phase[name]}")
            for name in ("limit", "market", "after_hours_fixed", "cancel")
        )
        hours.add_row(phase["phase"], f"{phase['start']}-{phase['end']}", *permits)
    if payload["phases"]:
        console.print(hours)
    console.print(payload["citation"], markup=False, soft_wrap=True, style="dim")


def _value(cli: Cli, one: Shown) -> str:
    values = {name: _NONE if value is None else value for name, value in one.value.items()}
    if one.rule == "price_limit":
        state = cli.tr(f"rules.state.{values['state']}")
        form = "rules.value.no_limit" if one.value["up"] is None else "rules.value.price_limit"
        text = cli.tr(form, state=state, up=values["up"], down=values["down"])
        if one.value.get("limit_up") is not None:
            text += f"  {values['limit_down']} … {values['limit_up']}"
        return text
    if one.rule == "price_cage" and one.value["share"] is None:
        return _NONE
    if one.rule == "temporary_halt":
        values["tiers"] = ", ".join(f"±{tier}" for tier in one.value["tiers"])
    for name in ("needs_limits", "needs_protection", "closing_auction"):
        if name in values:
            values[name] = cli.tr("rules.yes" if values[name] else "rules.no")
    form = "rate" if set(values) == {"rate"} else one.rule
    return cli.tr(f"rules.value.{form}", **values)


def _show_cases(cli: Cli, payload: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    for one in payload["cases"]:
        console.print(
            cli.tr(
                f"rules.case.{one['verdict']}",
                **{name: one[name] for name in ("case_id", "category", "confidence")},
            ),
            markup=False,
            soft_wrap=True,
        )
        for part in one["differs"]:
            console.print(cli.tr("rules.case.part", **part), markup=False, soft_wrap=True)
        if one["unreadable"]:
            line = cli.tr("rules.case.unreadable", field=one["unreadable"], reason=one["reason"])
        else:
            line = cli.tr("rules.case.reason", reason=one["reason"], note=one["note"] or _NONE)
        console.print(line, markup=False, soft_wrap=True)
    for group in ("by_category", "by_confidence"):
        names = ("passed", "failed", "differs")
        table = Table(
            cli.tr(f"rules.column.{group}"), *(cli.tr(f"rules.column.{name}") for name in names)
        )
        for name, count in payload[group].items():
            table.add_row(name, *(str(count[column]) for column in names))
        console.print(table)
    summary = {name: payload[name] for name in ("total", "passed", "failed", "differs")}
    console.print(cli.tr("rules.total", **summary), markup=False)
