"""Phases of the day and what may be placed and cancelled in them."""

from datetime import UTC, date, datetime, time
from itertools import pairwise

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.phases import OrderKind, Permit, Phase
from caopan.domain.market.reference import Board, Exchange, Instrument
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied

DAY = date(2026, 11, 20)
PHASES = load_rules().market.phases


def at(text, day=DAY):
    return at_shanghai(day, time.fromisoformat(text))


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("00:00:00", Phase.PRE_OPEN),
        ("09:14:59", Phase.PRE_OPEN),
        ("09:15:00", Phase.OPEN_AUCTION),
        ("09:20:00", Phase.OPEN_AUCTION_NO_CANCEL),
        ("09:24:59", Phase.OPEN_AUCTION_NO_CANCEL),
        ("09:25:00", Phase.AUCTION_GAP),
        ("09:30:00", Phase.CONTINUOUS_AM),
        ("11:30:00", Phase.MIDDAY_BREAK),
        ("13:00:00", Phase.CONTINUOUS_PM),
        ("14:56:59", Phase.CONTINUOUS_PM),
        ("14:57:00", Phase.CLOSING_AUCTION),
        ("15:00:00", Phase.POST_CLOSE_GAP),
        ("15:05:00", Phase.AFTER_HOURS_FIXED),
        ("15:30:00", Phase.CLOSED),
        ("23:59:59", Phase.CLOSED),
    ],
)
def test_the_clock_of_a_session(moment, phase):
    assert PHASES.phase_of(at(moment), session=True) is phase
    assert PHASES.phase_of(at(moment), session=False) is Phase.NON_TRADING_DAY


def test_the_phases_of_a_day_follow_one_another_without_a_hole():
    windows = PHASES.windows(DAY)
    assert windows[0].start == datetime(2026, 11, 19, 16, tzinfo=UTC)
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert (windows[-1].end - windows[0].start).total_seconds() == 24 * 3600
    window = PHASES.window(at("10:00"), session=True)
    assert (window.end - at("10:00")).total_seconds() == 90 * 60


def test_shanghai_closed_without_an_auction_before_2018_08_20():
    before, after = date(2018, 8, 17), date(2018, 8, 20)
    assert PHASES.phase_of(at("14:58", before), session=True) is Phase.CONTINUOUS_PM
    assert PHASES.phase_of(at("14:58", after), session=True) is Phase.CLOSING_AUCTION
    shenzhen = PHASES.phase_of(at("14:58", before), session=True, exchange=Exchange.SZ)
    assert shenzhen is Phase.CLOSING_AUCTION


def test_hours_before_the_first_known_schedule_are_refused():
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        PHASES.phase_of(at("10:00", date(2006, 6, 30)), session=True)
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        PHASES.windows(date(2021, 11, 12), exchange=Exchange.BJ)


@pytest.mark.parametrize(
    ("phase", "limit", "market", "cancel"),
    [
        (Phase.PRE_OPEN, "refused", "refused", "refused"),
        (Phase.OPEN_AUCTION, "accepted", "refused", "accepted"),
        (Phase.OPEN_AUCTION_NO_CANCEL, "accepted", "refused", "refused"),
        (Phase.AUCTION_GAP, "refused", "refused", "refused"),
        (Phase.CONTINUOUS_AM, "accepted", "accepted", "accepted"),
        (Phase.MIDDAY_BREAK, "refused", "refused", "refused"),
        (Phase.CONTINUOUS_PM, "accepted", "accepted", "accepted"),
        (Phase.CLOSING_AUCTION, "accepted", "refused", "refused"),
        (Phase.POST_CLOSE_GAP, "refused", "refused", "refused"),
        (Phase.AFTER_HOURS_FIXED, "refused", "refused", "refused"),
        (Phase.CLOSED, "refused", "refused", "refused"),
        (Phase.NON_TRADING_DAY, "refused", "refused", "refused"),
    ],
)
def test_what_shanghai_takes_in_each_phase(phase, limit, market, cancel):
    where = {"exchange": Exchange.SH, "board": Board.MAIN, "day": DAY}
    assert PHASES.may_place(phase, OrderKind.LIMIT, **where) == limit
    assert PHASES.may_place(phase, OrderKind.MARKET, **where) == market
    found = PHASES.may_cancel(phase, OrderKind.LIMIT, exchange=Exchange.SH, day=DAY)
    assert found == cancel


def test_shenzhen_keeps_orders_of_the_gap_until_half_past_nine():
    where = {"exchange": Exchange.SZ, "day": DAY}
    placed = PHASES.may_place(Phase.AUCTION_GAP, OrderKind.LIMIT, board=Board.MAIN, **where)
    assert placed is Permit.QUEUED
    assert PHASES.may_cancel(Phase.AUCTION_GAP, OrderKind.LIMIT, **where) is Permit.QUEUED


@pytest.mark.parametrize(
    ("exchange", "board", "first_day"),
    [
        (Exchange.SH, Board.STAR, date(2019, 7, 22)),
        (Exchange.SZ, Board.CHINEXT, date(2020, 8, 24)),
        (Exchange.SH, Board.MAIN, date(2026, 7, 6)),
        (Exchange.SZ, Board.MAIN, date(2026, 7, 6)),
    ],
)
def test_after_hours_trading_begins_on_its_day(exchange, board, first_day):
    def placed(day):
        return PHASES.may_place(
            Phase.AFTER_HOURS_FIXED,
            OrderKind.AFTER_HOURS_FIXED,
            exchange=exchange,
            board=board,
            day=day,
        )

    assert placed(first_day) is Permit.ACCEPTED
    assert placed(date.fromordinal(first_day.toordinal() - 1)) is Permit.REFUSED


def test_beijing_has_no_after_hours_trading_yet():
    assert not PHASES.after_hours(Exchange.BJ, Board.BSE, DAY)


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("09:14:00", None),
        ("09:16:00", "09:20:00"),
        ("09:21:00", None),
        ("10:00:00", "11:30:00"),
        ("11:40:00", None),
        ("13:30:00", "14:57:00"),
        ("14:58:00", None),
        ("16:00:00", None),
    ],
)
def test_until_when_a_resting_order_can_be_cancelled(moment, until):
    found = PHASES.cancelable_until(at(moment), session=True)
    assert found == (None if until is None else at(until))
    assert PHASES.cancelable_until(at(moment), session=False) is None


def test_shanghais_funds_close_by_auction_since_2026_07_06():
    def phase(day, instrument):
        moment = at("14:58", date.fromisoformat(day))
        return PHASES.phase_of(moment, session=True, instrument=instrument)

    assert phase("2026-07-03", Instrument.FUND) is Phase.CONTINUOUS_PM
    assert phase("2026-07-06", Instrument.FUND) is Phase.CLOSING_AUCTION
    assert phase("2026-07-06", Instrument.CONVERTIBLE) is Phase.CONTINUOUS_PM


def test_shenzhen_takes_in_orders_at_the_close_from_the_opening_auction():
    def place(phase, exchange):
        kind = OrderKind.AFTER_HOURS_FIXED
        return PHASES.may_place(phase, kind, exchange=exchange, board=Board.MAIN, day=DAY)

    assert place(Phase.OPEN_AUCTION, Exchange.SZ) is Permit.ACCEPTED
    assert place(Phase.OPEN_AUCTION, Exchange.SH) is Permit.REFUSED
    assert place(Phase.MIDDAY_BREAK, Exchange.SZ) is Permit.REFUSED
    assert place(Phase.AFTER_HOURS_FIXED, Exchange.SH) is Permit.ACCEPTED
