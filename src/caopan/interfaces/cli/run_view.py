"""How a finished replay or demo is shown: one table for a person, one object for a program.

Owns the JSON result of `demo` and `replay`, their table and the saved chart. Must never compute a
figure of its own: the report holds them. Tests: tests/unit/interfaces/test_run_view.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caopan.interfaces.cli.nav_page import Words, nav_page
from caopan.interfaces.cli.output import Cli
from caopan.kernel.money import UNITS_PER_YUAN

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from caopan.bootstrap.replaying import ReplayOutcome

_P95 = 0.95
_TABLE_WIDTH = 72
_FINDINGS = 20


def run_result(outcome: ReplayOutcome) -> dict[str, Any]:
    """Return the one JSON object of a finished run."""
    return {
        **outcome.report.as_json(),
        "elapsed_s": round(outcome.elapsed_s, 3),
        "stage_ms": stage_percentiles(outcome.stage_ms),
        "run_id": outcome.run.run_id,
        "resumed": outcome.resumed,
        "model": outcome.model_alias,
        "is_language_model": outcome.is_language_model,
        "data": {
            "label": outcome.info.label,
            "synthetic": outcome.info.synthetic,
            "checksum": outcome.info.checksum,
            "estimated_entitlements": outcome.report.estimated_entitlements,
            "findings": [
                f"{item.day} {item.symbol} {item.code}: {item.detail}"
                for item in outcome.findings[:_FINDINGS]
            ],
            "findings_total": len(outcome.findings),
        },
    }


def stage_percentiles(stage_ms: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of each stage's times."""
    found: dict[str, dict[str, float]] = {}
    for stage, times in stage_ms.items():
        ordered = sorted(times)
        at = min(len(ordered) - 1, int(len(ordered) * _P95))
        found[stage] = {
            "p50": round(statistics.median(ordered), 3),
            "p95": round(ordered[at], 3),
        }
    return found


def save_chart(cli: Cli, outcome: ReplayOutcome) -> Path | None:
    """Save the NAV chart under CAOPAN_HOME and return its path; None where there is no day."""
    points = outcome.report.nav
    if not points:
        return None
    words = Words(
        lang="zh-CN" if cli.lang == "zh" else "en",
        title=cli.tr("run.chart.title", model=outcome.model_alias),
        subtitle=cli.tr(
            "run.chart.subtitle",
            first=points[0].trading_day,
            last=points[-1].trading_day,
            data=outcome.info.label,
            head=outcome.report.verification.head[:16],
        ),
        synthetic=cli.tr("run.synthetic"),
        nav=cli.tr("run.nav"),
        hold=cli.tr("run.hold"),
        cash=cli.tr("run.cash"),
        drawdown=cli.tr("run.drawdown"),
        month=cli.tr("run.month"),
    )
    page = nav_page(points, outcome.report.nav_start, words, synthetic=outcome.info.synthetic)
    folder = cli.settings.plots
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.run.kind.value}-{outcome.run.run_id}.html"
    path.write_text(page, encoding="utf-8")
    return path


def show_run(cli: Cli, outcome: ReplayOutcome, chart: Path | None, console: Console) -> None:
    """Print the run as a table a person understands."""
    from rich.table import Table
    from rich.text import Text

    report = outcome.report
    if outcome.info.synthetic:
        console.print(cli.tr("run.synthetic"), style="yellow")
    title = cli.tr("run.title", model=_model_name(cli, outcome), data=outcome.info.label)
    table = Table(
        # As text: a file or a model may be called [bold].
        title=Text(title, style="table.title"),
        show_header=False,
        title_justify="left",
        min_width=_TABLE_WIDTH,
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row(cli.tr("run.decisions"), str(report.decisions))
    for status, count in report.by_status.items():
        table.add_row(f"  {cli.tr(f'status.{status}')}", str(count))
    if report.model_failures:
        table.add_row(cli.tr("run.model_failures"), str(sum(report.model_failures.values())))
        for code, count in report.model_failures.items():
            table.add_row(f"  {code}", str(count))
    table.add_row(cli.tr("run.rejections"), str(sum(report.rejected_by_code.values())))
    for code, count in report.rejected_by_code.items():
        table.add_row(f"  {code}", str(count))
    table.add_row(cli.tr("run.orders"), str(report.orders))
    table.add_row(cli.tr("run.fills"), str(report.fills))
    table.add_row(cli.tr("run.fees"), _yuan(report.fees))
    table.add_section()
    _add_values(cli, outcome, table)
    table.add_section()
    verified = "ledger.verified" if report.verification.verified else "ledger.broken"
    table.add_row(cli.tr("run.ledger", entries=report.verification.entries), cli.tr(verified))
    table.add_row(cli.tr("run.head"), report.verification.head[:16])
    table.add_row(cli.tr("run.coverage"), f"{report.trace_coverage:.1%}")
    console.print(table)
    _print_stages(cli, outcome, console)
    if report.estimated_entitlements:
        console.print(cli.tr("run.estimated", count=report.estimated_entitlements), soft_wrap=True)
    if outcome.findings and not outcome.info.synthetic:
        console.print(cli.tr("run.audit", count=len(outcome.findings)), soft_wrap=True)
    if chart is not None:
        console.print(cli.tr("run.chart.saved", path=chart), soft_wrap=True, markup=False)


def _add_values(cli: Cli, outcome: ReplayOutcome, table: Table) -> None:
    report = outcome.report
    table.add_row(cli.tr("run.nav_start"), _yuan(report.nav_start))
    table.add_row(cli.tr("run.nav_end"), _change(report.nav_end, report.nav_start))
    hold = report.nav[-1].benchmark if report.nav else None
    if hold is not None:
        table.add_row(f"  {cli.tr('run.hold')}", _change(hold, report.nav_start))
    table.add_row(f"  {cli.tr('run.cash')}", _change(report.nav_start, report.nav_start))


def _print_stages(cli: Cli, outcome: ReplayOutcome, console: Console) -> None:
    console.print(
        cli.tr("run.elapsed", seconds=f"{outcome.elapsed_s:.1f}")
        + "  "
        + "  ".join(
            f"{cli.tr(f'stage.{stage}')} {times['p50']:.1f}/{times['p95']:.1f}"
            for stage, times in stage_percentiles(outcome.stage_ms).items()
        ),
        soft_wrap=True,
        style="dim",
    )


def _model_name(cli: Cli, outcome: ReplayOutcome) -> str:
    if outcome.is_language_model:
        return outcome.model_alias
    return f"{outcome.model_alias} ({cli.tr('run.not_a_model')})"


def _yuan(amount: int) -> str:
    return f"{amount / UNITS_PER_YUAN:,.2f}"


def _change(amount: int, start: int) -> str:
    return f"{_yuan(amount)} ({amount / start - 1:+.2%})"
