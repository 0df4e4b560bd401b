"""`caopan models test` and `metrics`: what endpoints do, asked of them and of the record.

Owns the two commands and what a person reads of them. Must never show a key, nor take a figure of
one gateway process for that of all. Tests: tests/integration/cli/test_models.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.messages import catalogue

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.application.ports.model_calls import EndpointMetrics, Percentiles
    from caopan.bootstrap.model_probe import Tested

_MOST_HOURS: Final = 24 * 366


def test(ctx: typer.Context, alias: Annotated[str, typer.Argument(metavar="ALIAS")]) -> None:
    """Make a tiny real call of each endpoint of an alias and tell each step."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.database import ready_database
    from caopan.bootstrap.gateway import GatewayPlan, open_gateway
    from caopan.bootstrap.model_probe import Prober

    async def carry_out(servers: Any) -> list[Tested]:
        plan = GatewayPlan(makes_first_key=False)
        async with open_gateway(servers, cli.settings, plan) as opened:
            prober = Prober(opened.parts, opened.home.key)
            return [one async for one in prober.test(alias)]

    with services(cli.settings) as servers:
        for step in ready_database(servers):
            cli.note(step.key, **step.values)
        tested = asyncio.run(carry_out(servers))
    payload = {"alias": alias, "endpoints": [_tested_json(cli, one) for one in tested]}
    cli.result(payload, lambda console: _show_tested(cli, tested, console))
    if not all(one.is_well for one in tested):
        raise typer.Exit(ExitCode.FAILED)


def metrics(
    ctx: typer.Context,
    hours: Annotated[int, typer.Option("--hours", min=1, max=_MOST_HOURS)] = 24,
) -> None:
    """Show state, counts, last error and percentiles of each endpoint."""
    cli = Cli.of(ctx)
    from caopan.adapters.clock.system import SystemClock
    from caopan.bootstrap.gateway_presence import ask_gateway, running_gateways
    from caopan.bootstrap.gateway_stores import recorded_metrics
    from caopan.interfaces.cli.account import database_for
    from caopan.kernel.clock import iso

    until = SystemClock().now()
    since = until - timedelta(hours=hours)
    with database_for(cli) as url:
        recorded = asyncio.run(recorded_metrics(url, since, until))
    live = [
        {"url": one.url, **ask_gateway(one, "/api/config/models/metrics")}
        for one in running_gateways(cli.settings.home)
    ]
    payload: dict[str, Any] = {
        "since": iso(since),
        "until": iso(until),
        "endpoints": [_metrics_json(one) for one in recorded],
        "gateways": live,
    }
    cli.result(payload, lambda console: _show_metrics(cli, payload, console))


def _tested_json(cli: Cli, one: Tested) -> dict[str, Any]:
    from caopan.domain.gateway.endpoint import cny

    return {
        "endpoint": one.endpoint.name,
        "provider": one.endpoint.provider,
        "model": one.endpoint.model,
        "ok": one.is_well,
        "cost_cny": None if one.cost is None else cny(one.cost),
        "steps": [
            {
                "step": step.name,
                "ok": step.is_well,
                "ms": round(step.took_ms, 1),
                "code": step.code or None,
                "detail": step.detail,
                "advice": _advice(cli, step.name, step.code) if step.code else None,
            }
            for step in one.steps
        ],
    }


def _advice(cli: Cli, step: str, code: str) -> str:
    """Return what a person may do about a failed step, by its code or else by the step."""
    texts = catalogue(cli.lang)
    by_code = texts.get(f"models.advice.{code}")
    return by_code or texts.get(f"models.advice.{step}") or texts["models.advice.other"]


def _show_tested(cli: Cli, tested: Sequence[Tested], console: Console) -> None:
    for one in tested:
        endpoint = one.endpoint
        console.print(f"{endpoint.name}: {endpoint.provider} {endpoint.model}", markup=False)
        for step in one.steps:
            sign = "✓" if step.is_well else "✗"
            took = f"{step.took_ms:7.0f} ms" if step.took_ms else " " * 10
            name = cli.tr(f"models.step.{step.name}")
            line = f"  {sign} {name:<10} {took}  {visible(step.detail)}"
            console.print(line, markup=False, soft_wrap=True)
            if not step.is_well:
                advice = f"      {_advice(cli, step.name, step.code)} [{step.code}]"
                console.print(advice, markup=False, soft_wrap=True)


def _metrics_json(one: EndpointMetrics) -> dict[str, Any]:
    from caopan.domain.gateway.endpoint import cny
    from caopan.kernel.clock import iso

    return {
        "endpoint": one.endpoint,
        "attempts": one.attempts,
        "under_way": one.under_way,
        "outcomes": {outcome.value: count for outcome, count in one.outcomes.items()},
        "last_error": None
        if one.last_error_at is None
        else {
            "at": iso(one.last_error_at),
            "code": one.last_error_code,
            "detail": one.last_error_detail,
        },
        "first_token_ms": _percentiles(one.ttft_ms),
        "latency_ms": _percentiles(one.latency_ms),
        "tokens_prompt": one.tokens_prompt,
        "tokens_completion": one.tokens_completion,
        "cost_cny": cny(one.cost),
        "unpriced": one.unpriced,
    }


def _percentiles(found: Percentiles | None) -> dict[str, int] | None:
    return None if found is None else {"p50": found.p50, "p90": found.p90, "p99": found.p99}


def _show_metrics(cli: Cli, payload: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("endpoint", "calls", "failed", "latency", "first", "cost", "error"):
        table.add_column(cli.tr(f"models.column.{heading}"), overflow="fold")
    for row in payload["endpoints"]:
        failed = row["attempts"] - row["outcomes"].get("ok", 0) - row["under_way"]
        error: dict[str, Any] = row["last_error"] or {}
        unknown = f" (+{row['unpriced']} ?)" if row["unpriced"] else ""
        table.add_row(
            row["endpoint"] or "-",
            str(row["attempts"]),
            str(failed),
            _spread(row["latency_ms"]),
            _spread(row["first_token_ms"]),
            row["cost_cny"] + unknown,
            visible(f"{error.get('code', '-')}"),
        )
    console.print(table)
    for one in payload["gateways"]:
        console.print(cli.tr("models.gateway", url=one["url"], version=one["config_version"]))
        for endpoint in one["endpoints"]:
            told = cli.tr(
                "models.state",
                endpoint=endpoint["endpoint"],
                state=cli.tr(f"models.state.{endpoint['state']}"),
                reason=endpoint["reason"],
                under_way=endpoint["under_way"],
            )
            console.print(f"  {told}", markup=False, soft_wrap=True)
    if not payload["gateways"]:
        cli.note("models.no_gateway")


def _spread(found: dict[str, int] | None) -> str:
    return "-" if found is None else f"{found['p50']} / {found['p90']} / {found['p99']}"
