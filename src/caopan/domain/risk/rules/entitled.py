"""RISK_NOT_ENTITLED: a buy needs the permission its board or state asks for.

A broker account without a list of permissions has none. Sales are exempt: what is held may be left.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.reference import Board, TradingStatus
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.venue import Permission, Venue

_BOARDS = {
    Board.CHINEXT: Permission.CHINEXT,
    Board.STAR: Permission.STAR,
    Board.BSE: Permission.BSE,
}
_NONE: frozenset[Permission] = frozenset()


def judge(question: Question) -> Reason | None:
    """Refuse buys of boards and states the account has no permission for."""
    reference, standing = question.reference, question.standing
    if reference is None or not question.is_buy:
        return None
    held = standing.permissions
    if held is None:
        if standing.venue is Venue.SANDBOX:
            return None
        held = _NONE
    needed = {_BOARDS.get(reference.board)}
    if reference.is_st:
        needed.add(Permission.ST)
    if reference.trading_status is TradingStatus.DELISTING_PERIOD:
        needed.add(Permission.DELISTING)
    missing = sorted(one for one in needed if one is not None and one not in held)
    if not missing:
        return None
    return question.no(
        "RISK_NOT_ENTITLED",
        f"buying {question.order.symbol} needs the permission {', '.join(missing)}",
        limit=", ".join(missing),
        actual=", ".join(sorted(held)) or "none",
    )


RULE = Rule(
    codes=("RISK_NOT_ENTITLED",),
    exchange=True,
    source="suitability rules of the exchanges: ChiNext, STAR, BSE, risk-warning, delisting",
    zh="账户无该板块或风险警示、退市整理股票的交易权限",
    en="The account lacks the permission for this board or kind of stock",
    judge=judge,
)
