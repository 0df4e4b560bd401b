"""RISK_STALE_PRICE: no order on a price that is too old.

In the opening auction the day's reference price is the price, and it must be today's. Must never
let a missing price pass.
"""

from __future__ import annotations

from datetime import timedelta

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.phases import Phase
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.clock import shanghai

_BEFORE_FIRST_TRADE = frozenset(
    {Phase.PRE_OPEN, Phase.OPEN_AUCTION, Phase.OPEN_AUCTION_NO_CANCEL, Phase.AUCTION_GAP}
)


def judge(question: Question) -> Reason | None:
    """Refuse orders without a price, or with one older than the policy allows."""
    quote = question.quote
    if quote is None or quote.price <= 0:
        return question.no("RISK_STALE_PRICE", f"no price of {question.order.symbol}")
    if question.leaves:
        # Age makes such a sale no worse. Its limit is the least it takes and lies at or above
        # limit-down, which is of the day and not of the quote; the exchange fills it at the best
        # bid there is, and turns back one below the true cage. Only the want of any price refuses.
        return None
    if question.phase in _BEFORE_FIRST_TRADE:
        fresh = shanghai(quote.as_of).date() == question.trading_day
    else:
        fresh = question.now - quote.as_of <= timedelta(
            milliseconds=question.policy.max_quote_age_ms
        )
    if fresh and quote.as_of <= question.now:
        return None
    return question.no(
        "RISK_STALE_PRICE",
        f"the price of {question.order.symbol} is of {shanghai(quote.as_of):%Y-%m-%d %H:%M:%S}",
        limit=f"{question.policy.max_quote_age_ms} ms",
        actual=f"{(question.now - quote.as_of) // timedelta(milliseconds=1)} ms",
    )


RULE = Rule(
    codes=("RISK_STALE_PRICE",),
    exchange=False,
    source="policy max_quote_age_ms",
    zh="行情过期",
    en="The price is stale",
    judge=judge,
    parameters=("max_quote_age_ms",),
)
