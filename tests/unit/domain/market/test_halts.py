"""Temporary halts and auction ranges of securities without a limit."""

from datetime import date, time
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.halts import Direction, Tier, halt_after
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.errors import Denied

TABLE = load_rules().market.halts
DAY = date(2026, 11, 20)
ROW = TABLE.row(Exchange.SH, Board.MAIN, DAY)
UP30, UP60 = Tier(Direction.UP, Fraction(3, 10)), Tier(Direction.UP, Fraction(6, 10))
DOWN30 = Tier(Direction.DOWN, Fraction(3, 10))
OPEN = 200_000


def halt(price, at="09:45:00", done=()):
    return halt_after(ROW, OPEN, price, at_shanghai(DAY, time.fromisoformat(at)), frozenset(done))


def resumes(price, at="09:45:00", done=()):
    found = halt(price, at, done)
    return found and f"{shanghai(found.until):%H:%M:%S}"


@pytest.mark.parametrize(
    ("price", "at", "done", "until"),
    [
        (260_000, "09:45:00", (), "09:55:00"),
        (259_900, "09:45:00", (), None),
        (140_000, "09:45:00", (), "09:55:00"),
        (140_100, "09:45:00", (), None),
        (270_000, "09:45:00", (UP30,), None),
        (320_000, "09:45:00", (UP30,), "09:55:00"),
        (140_000, "09:45:00", (UP30, UP60), "09:55:00"),
        (400_000, "09:45:00", (UP30, UP60), None),
        (260_000, "14:50:00", (), "14:57:00"),
        (260_000, "14:47:00", (), "14:57:00"),
        # Five minutes before the break are left, five after it.
        (260_000, "11:25:00", (), "13:05:00"),
        (260_000, "11:20:00", (), "11:30:00"),
        (OPEN, "10:00:00", (), None),
    ],
)
def test_when_trading_resumes(price, at, done, until):
    assert resumes(price, at, done) == until


def test_a_leap_over_both_tiers_uses_both_up():
    found = halt(330_000)
    assert found
    assert found.reached == {UP30, UP60}
    assert halt(350_000, done=found.reached) is None


def test_cut_short_tells_a_halt_that_does_not_last_its_minutes():
    late, just, leap = halt(260_000, "14:50:00"), halt(260_000, "14:47:00"), halt(140_000)
    assert late
    assert just
    assert leap
    assert (late.cut_short, just.cut_short) == (True, False)
    assert leap.reached == {DOWN30}


def test_days_and_boards_without_a_known_rule_are_refused():
    with pytest.raises(Denied, match="temporary halts of main"):
        TABLE.row(Exchange.SH, Board.MAIN, date(2023, 4, 7))


def test_the_ranges_of_the_auctions():
    shenzhen = TABLE.auction_range(Exchange.SZ, Phase.OPEN_AUCTION, DAY)
    assert shenzhen
    assert (shenzhen.highest, shenzhen.lowest, shenzhen.held) == (9, None, True)
    shanghai_row = TABLE.auction_range(Exchange.SH, Phase.OPEN_AUCTION_NO_CANCEL, DAY)
    assert shanghai_row
    assert shanghai_row.lowest == Fraction(1, 2)
    assert TABLE.auction_range(Exchange.SZ, Phase.CONTINUOUS_AM, DAY) is None
    closing = TABLE.auction_range(Exchange.SZ, Phase.CONTINUOUS_AM, DAY, halted=True)
    assert closing
    assert closing.highest == Fraction(11, 10)
    # Beijing's are not known.
    assert TABLE.auction_range(Exchange.BJ, Phase.OPEN_AUCTION, DAY) is None
