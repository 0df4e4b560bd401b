"""The whole chain in replay: observation to books and ledger in PostgreSQL.

With real data (CAOPAN_REAL_DATA, default ../shared/data) every symbol of daily_bars.parquet from
2022-01-04 to 2023-12-29; without it a synthetic market of the same size.
"""

from __future__ import annotations

import asyncio
import resource
from datetime import date
from pathlib import Path
from typing import Any

from caopan.adapters.embedded.services import services
from caopan.application.ports.store import RunKind
from caopan.bootstrap.database import ready_database
from caopan.bootstrap.replaying import ReplayRequest, Watcher, run_replay
from caopan.bootstrap.run_config import DEFAULT_CASH
from caopan.interfaces.cli.run_view import stage_percentiles
from caopan.settings import Settings

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
DAYS, SYMBOLS = 484, 157


def run(settings: Settings) -> dict[str, Any]:
    """Return decisions per second and the stage times of one replay."""
    data = (settings.real_data or DEFAULT_DATA) / "daily_bars.parquet"
    if data.exists():
        request = ReplayRequest(
            kind=RunKind.REPLAY,
            cash=DEFAULT_CASH,
            model="builtin/momentum",
            seed=0,
            data=data,
            start=date(2022, 1, 4),
            end=date(2023, 12, 29),
        )
    else:
        request = ReplayRequest(
            kind=RunKind.DEMO,
            cash=DEFAULT_CASH,
            model="builtin/momentum",
            seed=7,
            days=DAYS,
            breadth=SYMBOLS,
        )
    with services(settings) as servers:
        for _ in ready_database(servers):
            pass
        outcome = asyncio.run(
            run_replay(
                servers.database_url,
                settings,
                request,
                Watcher(lambda *_: None, lambda *_: None),
            )
        )
    report = outcome.report
    return {
        "data": outcome.info.label,
        "symbols": len(outcome.info.symbols),
        "decisions": report.decisions,
        "ledger_entries": report.verification.entries,
        "verified": report.verification.verified,
        "elapsed_s": round(outcome.elapsed_s, 2),
        "decisions_per_s": round(report.decisions / outcome.elapsed_s, 1),
        "stage_ms": stage_percentiles(outcome.stage_ms),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
