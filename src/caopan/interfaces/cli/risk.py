"""`caopan risk`: the rulebook with its limits, and why the gate judged a decision as it did.

Owns the two commands and their rendering. Must never judge again: `explain` shows what the ledger
recorded. Tests: tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, visible
from caopan.kernel.errors import ConfigInvalid
from caopan.messages import catalogue

if TYPE_CHECKING:
    from rich.console import Console

risk = typer.Typer(add_completion=False)


@risk.command("rules")
def rules(
    ctx: typer.Context,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE")] = None,
) -> None:
    """List every rule of the gate with the values of the policy."""
    from caopan.bootstrap.gate_check import policy_in_force, read_policy_file
    from caopan.domain.risk.policy import parameters
    from caopan.domain.risk.rulebook import RULEBOOK

    cli = Cli.of(ctx)
    if policy is None:
        active, source = policy_in_force(cli.settings.home)
    else:
        active, source = read_policy_file(policy), policy
    payload = {
        "policy_file": None if source is None else str(source),
        "policy_version": active.version,
        "rules": [
            {
                "codes": list(rule.codes),
                "exchange": rule.exchange,
                "parameters": parameters(active, rule.parameters),
                "source": rule.source,
                "zh": rule.zh,
                "en": rule.en,
            }
            for rule in RULEBOOK
        ],
    }
    cli.result(payload, lambda console: _show_rules(cli, payload, console))


@risk.command("explain")
def explain(
    ctx: typer.Context,
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID")],
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
) -> None:
    """Explain the gate's verdict on each action of a decision ("last" is the newest)."""
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.ledgers import read_story

    cli = Cli.of(ctx)
    with services(cli.settings) as servers:
        story = asyncio.run(read_story(servers.database_url, decision_id, run))
    if story is None:
        raise ConfigInvalid(
            "DECISION_UNKNOWN",
            f"no decision's id begins with {decision_id!r}",
            remedy="`caopan risk explain last` explains the newest",
        )
    told = story.as_json()
    entries = [one for one in told["entries"] if one["stage"] == "risk" and one["payload"]]
    payload = {
        "decision_id": told["decision_id"],
        "run_id": told["run_id"],
        "verified": told["verified"],
        "judgements": [_judgement(one) for one in entries],
    }
    cli.result(payload, lambda console: _show_judgements(cli, payload, console))


def reason_lines(
    cli: Cli, verdict: Mapping[str, Any], correction: Mapping[str, Any] | None
) -> list[str]:
    """Return a verdict in words: each reason with its sentence, limit and value."""
    word = cli.tr("risk.passed" if verdict["pass"] else "risk.refused")
    lines = [f"[{verdict['action_index']}] {word}"]
    for reason in verdict["reasons"]:
        lines.append(f"    {reason['code']}: {sentence(cli, reason['code'])}")
        lines.append(f"        {reason['detail']}")
        if "limit" in reason or "actual" in reason:
            none = "—"
            values = {name: reason.get(name, none) for name in ("limit", "actual")}
            lines.append(f"        {cli.tr('risk.values', **values)}")
    if correction:
        values = {"qty": correction["qty"], "price": correction.get("price", "—")}
        lines.append(f"    {cli.tr('risk.correction', **values)}")
    return lines


def sentence(cli: Cli, code: str) -> str:
    """Return what the catalogue says of a code; of two rules with it, that is the exchange's."""
    return catalogue(cli.lang).get(f"error.{code}") or cli.tr("risk.other")


def _judgement(entry: Mapping[str, Any]) -> dict[str, Any]:
    payload = entry["payload"]
    return {
        "at": entry["at"],
        "policy_version": payload["policy_version"],
        "pass": payload["pass"],
        "verdicts": payload["verdicts"],
        "corrections": payload.get("corrections", []),
    }


def _show_judgements(cli: Cli, payload: Mapping[str, Any], console: Console) -> None:
    say = [cli.tr("risk.title", decision_id=payload["decision_id"], run_id=payload["run_id"])]
    for one in payload["judgements"]:
        say.append(cli.tr("risk.judged", at=one["at"], version=one["policy_version"]))
        mended = {item["action_index"]: item for item in one["corrections"]}
        for verdict in one["verdicts"]:
            index = verdict["action_index"]
            correction = mended.get(index) or verdict.get("suggestion")
            say += [f"  {line}" for line in reason_lines(cli, verdict, correction)]
    if not payload["judgements"]:
        say.append(cli.tr("risk.not_judged"))
    for line in say:
        console.print(visible(line), markup=False, soft_wrap=True)


def _show_rules(cli: Cli, payload: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(
        *(cli.tr(f"risk.column.{name}") for name in ("code", "rule", "limits", "source")),
        show_lines=True,
    )
    for rule in payload["rules"]:
        told = rule["zh"] if cli.lang == "zh" else rule["en"]
        limits = [f"{name} = {value}" for name, value in rule["parameters"].items()]
        if rule["exchange"]:
            limits.insert(0, cli.tr("risk.fixed"))
        table.add_row("\n".join(rule["codes"]), told, "\n".join(limits), rule["source"])
    source = payload["policy_file"] or cli.tr("risk.built_in")
    title = cli.tr("risk.policy", version=payload["policy_version"], source=source)
    console.print(visible(title), markup=False, soft_wrap=True)
    console.print(table)
