"""`caopan ledger`: verify the chain, or read the whole story of one decision.

Owns the two commands and their rendering. Must never repair anything.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

ledger = typer.Typer(add_completion=False)


@ledger.command("verify")
def verify(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Verify the chains of all runs, or of one; exit 1 if any is broken."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.ledgers import verify_runs

    with services(cli.settings) as servers:
        verdicts = asyncio.run(verify_runs(servers.database_url, run))
    payload: dict[str, Any] = {
        "verified": all(verdict.verified for _, verdict in verdicts),
        "runs": [
            {
                "run_id": found.run_id,
                "kind": found.kind.value,
                "entries": verdict.entries,
                "verified": verdict.verified,
                "head": verdict.head,
                "pruned": verdict.pruned,
                "first_bad_seq": verdict.first_bad_seq,
                "fault": None if verdict.fault is None else verdict.fault.value,
            }
            for found, verdict in verdicts
        ],
    }

    def show(console: Console) -> None:
        for row in payload["runs"]:
            key = "ledger.row.good" if row["verified"] else "ledger.row.bad"
            fault = "" if row["fault"] is None else cli.tr(f"ledger.fault.{row['fault']}")
            console.print(cli.tr(key, **{**row, "fault": fault}), soft_wrap=True, markup=False)
        if not payload["runs"]:
            console.print(cli.tr("ledger.none"))

    cli.result(payload, show)
    if not payload["verified"]:
        raise typer.Exit(ExitCode.FAILED)


@ledger.command("show")
def show(
    ctx: typer.Context,
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID")],
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Show every stage of one decision, named by its id, a unique beginning of it, or "last"."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.ledgers import read_story

    with services(cli.settings) as servers:
        story = asyncio.run(read_story(servers.database_url, decision_id, run))
    if story is None:
        raise ConfigInvalid(
            "DECISION_UNKNOWN",
            f"no decision's id begins with {decision_id!r}",
            remedy="`caopan ledger show last` shows the newest",
        )
    cli.result(story.as_json(), lambda console: _tell(cli, story.as_json(), console))


def _tell(cli: Cli, story: dict[str, Any], console: Console) -> None:
    def say(key: str, **values: object) -> None:
        console.print(cli.tr(key, **values), soft_wrap=True, markup=False)

    say("story.title", **{name: story[name] for name in ("decision_id", "run_id", "trace_id")})
    for entry in story["entries"]:
        say(
            "story.entry",
            seq=entry["seq"],
            at=f"{shanghai(datetime.fromisoformat(entry['at'])):%Y-%m-%d %H:%M:%S %z}",
            stage=cli.tr(f"ledger.stage.{entry['stage']}"),
            hash=entry["hash"][:12],
        )
        payload = entry["payload"]
        if payload is None:
            say("story.pruned")
            continue
        for line in _LINES.get(entry["stage"], _plain)(cli, payload):
            console.print(f"    {visible(line)}", soft_wrap=True, markup=False)
    say("story.end" if story["verified"] else "story.broken")


def _plain(_cli: Cli, payload: dict[str, Any]) -> list[str]:
    return [json.dumps(payload, ensure_ascii=False)]


def _observation(cli: Cli, payload: dict[str, Any]) -> list[str]:
    account, clock = payload["account"], payload["clock"]
    quality = payload["data_quality"]["daily_bars"]
    lines = [
        cli.tr("story.clock", day=clock["trading_day"], phase=clock["phase"]),
        cli.tr(
            "story.account",
            nav=account["nav"],
            cash=account["available_cash"],
            positions=len(payload["positions"]),
            universe=len(payload["universe"]),
        ),
    ]
    if quality["synthetic"]:
        lines.append(cli.tr("run.synthetic"))
    lines.extend(
        cli.tr(
            "story.position",
            symbol=position["symbol"],
            qty=position["qty"],
            sellable=position["sellable_qty"],
            price=position["avg_price"],
            value=position.get("market_value", "?"),
        )
        for position in payload["positions"]
    )
    return lines


def _actor(cli: Cli, payload: dict[str, Any]) -> list[str]:
    label = "" if payload["is_language_model"] else f" ({cli.tr('run.not_a_model')})"
    lines = [cli.tr("story.model", model=payload["model"], label=label)]
    if payload["outcome"] != "parsed":
        detail = payload.get("detail", "")
        return [*lines, cli.tr("story.no_answer", code=payload["outcome"], detail=detail)]
    for index, action in enumerate(json.loads(payload["reply"])["actions"]):
        intent: dict[str, Any] = action.get("intent") or {}
        what = " ".join(
            str(action[name])
            for name in ("type", "side", "qty", "symbol", "price")
            if action.get(name) is not None
        )
        lines.append(f"[{index}] {what}  {intent.get('rationale', '')}")
        if intent.get("evidence"):
            lines.append(f"    {cli.tr('story.evidence')} {', '.join(intent['evidence'])}")
    return lines


def _checker(cli: Cli, payload: dict[str, Any]) -> list[str]:
    return _reasons(payload["reasons"]) or [cli.tr("story.passed")]


def _risk(cli: Cli, payload: dict[str, Any]) -> list[str]:
    lines = [cli.tr("story.policy", version=payload["policy_version"])]
    for verdict in payload["verdicts"]:
        word = cli.tr("story.passed" if verdict["pass"] else "story.refused")
        lines.append(f"[{verdict['action_index']}] {word}")
        lines.extend(f"    {line}" for line in _reasons(verdict["reasons"]))
    return lines


def _reasons(reasons: list[dict[str, Any]]) -> list[str]:
    return [
        f"{reason['code']}: {reason['detail']}"
        + (f"  ({reason['actual']} / {reason['limit']})" if "limit" in reason else "")
        for reason in reasons
    ]


def _order(cli: Cli, payload: dict[str, Any]) -> list[str]:
    return [
        cli.tr(
            "story.order",
            tag=payload["client_order_id"],
            side=payload["side"],
            qty=payload["qty"],
            symbol=payload["symbol"],
            price=payload["price"],
            status=payload["status"],
            filled=payload["filled_qty"],
        )
        + (f"  {payload['reject_code']}" if "reject_code" in payload else "")
    ]


def _fill(cli: Cli, payload: dict[str, Any]) -> list[str]:
    return [
        cli.tr(
            "story.fill",
            **{
                name: payload[name]
                for name in (
                    "side",
                    "qty",
                    "symbol",
                    "price",
                    "commission",
                    "stamp_duty",
                    "transfer_fee",
                )
            },
        )
    ]


def _outcome(cli: Cli, payload: dict[str, Any]) -> list[str]:
    code = f" {payload['code']}" if "code" in payload else ""
    return [cli.tr(f"status.{payload['status']}") + code]


_LINES = {
    "observation": _observation,
    "actor": _actor,
    "checker": _checker,
    "risk": _risk,
    "order": _order,
    "fill": _fill,
    "outcome": _outcome,
}
