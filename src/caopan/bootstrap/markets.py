"""Which market a run reads: files or the synthetic one, with its calendar and rules.

Owns `open_calendar`, `open_files` and `open_synthetic`. Must never mix two data sets.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import cast

import polars as pl

from caopan.adapters.calendar.xshg import (
    from_snapshot,
    load_calendar,
    snapshot_name,
    to_snapshot,
)
from caopan.adapters.market_data import synthetic
from caopan.adapters.market_data.files import load_files
from caopan.adapters.market_data.panel import MarketPanel, build_panel
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.store import Store
from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.errors import ConfigInvalid

_NAMED = 5


async def open_calendar(store: Store) -> TradingCalendar:
    """Return the trading calendar from its snapshot in the database, taking one if it is missing.

    The library behind a snapshot is heavy; after the first start it is not imported again.
    """
    stored = await store.load_calendar()
    if stored is not None and stored[0] == snapshot_name():
        return from_snapshot(*stored)
    calendar = load_calendar()
    await store.save_calendar(*to_snapshot(calendar))
    return calendar


def open_files(
    path: Path, calendar: TradingCalendar, symbols: tuple[str, ...] | None
) -> tuple[MarketPanel, pl.DataFrame]:
    """Return the panel and frame of a file or folder; `symbols` keeps only those.

    Raises:
        ConfigInvalid: DATA_MISSING_SYMBOL if the files lack one of `symbols`, and as load_files.
    """
    frame, label = load_files(path, calendar)
    # A selection must not look like a listing on the day the whole data set begins.
    begins = cast("date", frame["day"].min())
    if symbols is not None:
        missing = sorted(set(symbols) - set(frame["symbol"].unique()))
        if missing:
            raise ConfigInvalid(
                "DATA_MISSING_SYMBOL",
                f"{label} holds no bars of {', '.join(missing[:_NAMED])}"
                + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""),
                remedy="leave them out of --symbols, or give data that has them",
            )
        frame = frame.filter(pl.col("symbol").is_in(list(symbols)))
    return _panel(frame, label, calendar, begins, made_up=False), frame


def open_synthetic(
    seed: int, calendar: TradingCalendar, *, end: date, days: int, breadth: int
) -> tuple[MarketPanel, pl.DataFrame]:
    """Return the synthetic market of `seed`: `days` sessions up to `end`, `breadth` symbols."""
    rules = load_rules().market
    frame = synthetic.generate(seed, calendar, end, days, breadth, rules=rules)
    return _panel(frame, synthetic.label(seed), calendar, None, made_up=True), frame


def _panel(
    frame: pl.DataFrame,
    label: str,
    calendar: TradingCalendar,
    begins: date | None,
    *,
    made_up: bool,
) -> MarketPanel:
    return build_panel(
        frame,
        label=label,
        synthetic=made_up,
        calendar=calendar,
        rules=load_rules().market,
        begins=begins,
    )
