"""Words of case files for phases of the day and kinds of fund, in English and Chinese.

Owns which word means what. Must never guess: a word that is none of them is refused. Tests:
tests/unit/adapters/rules/test_case_words.py.
"""

from __future__ import annotations

import re

from caopan.adapters.rules.case_file import UnreadableError
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import FundKind

_PHASES = (
    (r"open|开盘", Phase.OPEN_AUCTION),
    (r"clos|收盘", Phase.CLOSING_AUCTION),
    (r"after|盘后", Phase.AFTER_HOURS_FIXED),
    (r"continuous|连续", Phase.CONTINUOUS_AM),
)
"""Patterns, the first that is found in a word tells its phase."""
_AUCTION = re.compile(r"auction|call|集合竞价")
_FUND_KINDS = {
    "cross_border": FundKind.CROSSBORDER,
    "跨境": FundKind.CROSSBORDER,
    "stock": FundKind.EQUITY,
    "股票": FundKind.EQUITY,
    "债券": FundKind.BOND,
    "货币": FundKind.MONEY,
    "黄金": FundKind.GOLD,
    "商品": FundKind.COMMODITY,
}


def is_halt(word: str) -> bool:
    """Return whether a state or phase is a temporary halt."""
    return re.search(r"halt|临时停牌|临停", word.lower()) is not None


def phase_named(word: str, by_time: Phase | None) -> Phase:
    """Return the phase a word names; `by_time` tells which auction where it says only "auction".

    Raises:
        UnreadableError: if it names none.
    """
    text = _plain(word)
    if text in set(Phase):
        return Phase(text)
    for pattern, phase in _PHASES:
        if re.search(pattern, text):
            return phase
    if _AUCTION.search(text):
        return by_time or Phase.OPEN_AUCTION
    raise UnreadableError("context.phase", word)


def fund_kind(word: str) -> FundKind:
    """Return the kind of fund a word names. Raises UnreadableError if it names none."""
    text = _plain(word)
    if text in set(FundKind):
        return FundKind(text)
    if text not in _FUND_KINDS:
        raise UnreadableError("context.etf_kind", word)
    return _FUND_KINDS[text]


def _plain(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().lower())
