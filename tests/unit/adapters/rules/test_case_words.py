"""Words of case files: what each names, and the refusal of the rest."""

import pytest

from caopan.adapters.rules.case_file import UnreadableError
from caopan.adapters.rules.case_words import fund_kind, is_halt, phase_named
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import FundKind


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("midday_break", Phase.MIDDAY_BREAK),
        ("Opening auction", Phase.OPEN_AUCTION),
        ("close_call", Phase.CLOSING_AUCTION),
        ("收盘集合竞价", Phase.CLOSING_AUCTION),
        ("盘后固定价格", Phase.AFTER_HOURS_FIXED),
        ("连续竞价", Phase.CONTINUOUS_AM),
        ("call auction", Phase.OPEN_AUCTION),
    ],
)
def test_phases(word, phase):
    assert phase_named(word, None) is phase


def test_an_auction_without_a_name_is_the_one_of_the_moment():
    assert phase_named("集合竞价", Phase.CLOSING_AUCTION) is Phase.CLOSING_AUCTION


@pytest.mark.parametrize("word", ["temp_halt", "临时停牌", "halt auction"])
def test_halts(word):
    assert is_halt(word)


@pytest.mark.parametrize(
    ("word", "kind"),
    [("cross-border", FundKind.CROSSBORDER), ("黄金", FundKind.GOLD), ("bond", FundKind.BOND)],
)
def test_kinds_of_fund(word, kind):
    assert fund_kind(word) is kind


@pytest.mark.parametrize(
    ("read", "field"),
    [(lambda: phase_named("teatime", None), "context.phase"), (lambda: fund_kind("art"), "kind")],
)
def test_other_words_are_refused_by_field(read, field):
    with pytest.raises(UnreadableError, match=field):
        read()
