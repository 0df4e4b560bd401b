"""Market data: reading a file, building the panel, reading every day of it, a synthetic market.

With real data (CAOPAN_REAL_DATA, default ../shared/data) every row of daily_bars.parquet; without
it a synthetic market of the same size. CPU seconds, median of RUNS with the spread.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.market_data.files import load_files
from caopan.adapters.market_data.panel import MarketPanel, build_panel
from caopan.adapters.market_data.synthetic import generate
from caopan.adapters.rules.book import load_rules
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import UNITS_PER_YUAN
from caopan.settings import Settings

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
RUNS = 3
T = TypeVar("T")


def run(settings: Settings) -> dict[str, Any]:
    """Return CPU seconds for each step."""
    calendar, rules = load_calendar(), load_rules().market
    figures: dict[str, Any] = {}
    made = _measure(
        figures,
        "synthetic_60_symbols_500_days",
        lambda: generate(7, calendar, date(2026, 11, 20), 500, 60, rules=rules),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = (settings.real_data or DEFAULT_DATA) / "daily_bars.parquet"
        if not path.is_file():
            path = Path(folder) / "synthetic.parquet"
            _as_a_vendor_writes(made).write_parquet(path)
        frame, label = _measure(figures, "load_and_prove", lambda: load_files(path, calendar))
    panel = _measure(
        figures,
        "build_panel",
        lambda: build_panel(frame, label=label, synthetic=False, calendar=calendar, rules=rules),
    )
    days = panel.sessions(panel.info.first_day, panel.info.last_day)[-484:]
    _measure(figures, f"read_{len(days)}_days", lambda: _read(panel, days))
    return {
        "data": label,
        "rows": panel.info.rows,
        "symbols": len(panel.info.symbols),
        "cpu_s": figures,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _read(panel: MarketPanel, days: tuple[date, ...]) -> None:
    """Read what a decision a day reads, and what its fills and books read after the close."""
    for day in days:
        morning, close = at_shanghai(day, time(9, 0)), at_shanghai(day, time(15, 0))
        references = panel.references(day, morning)
        panel.features(day, morning)
        panel.market(day, morning)
        for symbol in references:
            panel.bar(symbol, day, close)
        panel.closes(day, close)


def _as_a_vendor_writes(frame: pl.DataFrame) -> pl.DataFrame:
    money = ("open", "high", "low", "close", "pre_close", "amount", "cash_per_share")
    return frame.with_columns(
        *(pl.col(name) / UNITS_PER_YUAN for name in money), pl.col("turnover_rate") * 100
    )


def _measure(figures: dict[str, Any], name: str, step: Callable[[], T]) -> T:
    spent: list[float] = []
    made: list[T] = []
    for _ in range(RUNS):
        before = _cpu_s()
        made = [step()]
        spent.append(_cpu_s() - before)
    figures[name] = {
        "median": round(statistics.median(spent), 3),
        "least": round(min(spent), 3),
        "most": round(max(spent), 3),
    }
    return made[0]


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
