"""What `demo` and `replay` do with their request: services, progress, result.

Owns the terminal side of a long run. Must never print to stdout anything but the result.
"""

from __future__ import annotations

import asyncio
from datetime import date

from caopan.adapters.embedded.services import services
from caopan.application.ports.market_data import DatasetInfo
from caopan.bootstrap.database import ready_database
from caopan.bootstrap.replaying import ReplayOutcome, ReplayRequest, Watcher, run_replay
from caopan.interfaces.cli.output import Cli, visible
from caopan.interfaces.cli.run_view import run_result, save_chart, show_run
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import UNITS_PER_YUAN


def carry_out(cli: Cli, request: ReplayRequest) -> None:
    """Run `request` with a progress bar and give its result.

    Raises CorruptState LEDGER_BROKEN if the chain does not verify: the figures prove nothing then.
    """
    settings = cli.settings
    cli.note("run.services")
    with services(settings) as servers, cli.progress() as progress:
        for step in ready_database(servers):
            cli.note(step.key, **step.values)
        task = progress.add_task("", total=None)

        def on_start(days: int, info: DatasetInfo, resumed: bool) -> None:
            cli.note("run.resumed" if resumed else "run.started", data=info.label, days=days)
            progress.update(task, total=days, description=visible(info.label))

        def on_day(day: date, nav: int) -> None:
            shown = f"{day} NAV {nav / UNITS_PER_YUAN:,.0f}"
            progress.update(task, advance=1, description=shown)

        outcome: ReplayOutcome = asyncio.run(
            run_replay(servers.database_url, settings, request, Watcher(on_start, on_day))
        )
    chart = save_chart(cli, outcome)
    cli.result(
        {**run_result(outcome), "chart": None if chart is None else str(chart)},
        lambda console: show_run(cli, outcome, chart, console),
    )
    verdict = outcome.report.verification
    if not verdict.verified:
        raise CorruptState(
            "LEDGER_BROKEN",
            f"entry {verdict.first_bad_seq}: {verdict.fault}",
            remedy="run `caopan ledger verify` and restore the last backup",
        )
