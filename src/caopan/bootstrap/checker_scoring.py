"""The model checkers of a run, scored on its ledger and, for a desk, on its market.

Owns `score_checkers`. Must never write. Tests: tests/integration/chain/test_checker_scored.py.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final

from caopan.adapters.market_data.panel import KNOWN_AFTER_CLOSE, MarketPanel
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.checker_score import CloseAfter, judged_decisions, score
from caopan.application.ports.store import Run, RunKind
from caopan.bootstrap.accounts import find_run
from caopan.bootstrap.desks import choice_of, open_market, session_in_hand
from caopan.bootstrap.markets import open_calendar
from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CaopanError
from caopan.settings import Settings

SESSIONS: Final = 5
_ROOM: Final = 3
"""Calendar days for each session and some holidays, generously."""


async def score_checkers(
    database_url: str, settings: Settings, run_id: int | None, sessions: int = SESSIONS
) -> dict[str, Any]:
    """Return the scores of a run's model checkers, at the closes `sessions` after each fill.

    Raises:
        ConfigInvalid: RUN_UNKNOWN, DESK_UNKNOWN as `find_run`.
    """
    run = await find_run(database_url, run_id)
    async with PostgresStore(database_url) as store:
        calendar = await open_calendar(store)
        async with store.begin(run.run_id) as uow:
            decisions = judged_decisions([pair async for pair in uow.ledger.entries()])
    told: dict[str, Any] = {"run_id": run.run_id, "sessions": sessions}
    closes: CloseAfter = _nothing_known
    if run.kind is not RunKind.DESK:
        told["market_missing"] = "the bars of a replay are not kept at hand"
    elif decisions:
        try:
            closes = _closes_of(settings, run, calendar, sessions)
        except CaopanError as error:
            told["market_missing"] = error.message
    told["checkers"] = [one.as_json() for one in score(decisions, closes)]
    return told


def _nothing_known(_symbol: str, _day: date) -> None:
    return None


def _closes_of(
    settings: Settings, run: Run, calendar: TradingCalendar, sessions: int
) -> CloseAfter:
    """Return the closes of a desk's market as far as they are known in the desk's own time."""
    choice, clock = choice_of(settings, run)
    market, now = open_market(choice, calendar, session_in_hand(calendar, clock)), clock.now()

    def close_after(symbol: str, day: date) -> int | None:
        ahead = market.sessions(day, day + timedelta(days=_ROOM * sessions + 2 * _ROOM))
        later = [one for one in ahead if one > day][:sessions]
        if len(later) < sessions or at_shanghai(later[-1], KNOWN_AFTER_CLOSE) > now:
            return None
        if any(_are_changed(market, symbol, one, now) for one in later):
            return None
        bar = market.bar(symbol, later[-1], now)
        return None if bar is None or bar.suspended else bar.close

    return close_after


def _are_changed(market: MarketPanel, symbol: str, day: date, now: datetime) -> bool:
    """Tell whether the shares of `day` are others than the day before: an ex-date."""
    reference = market.references(day, now).get(symbol)
    return reference is not None and reference.action is not None
