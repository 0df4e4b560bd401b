"""RISK_ORDER_RATE: orders a second, a day and at once, far below the programme-trading thresholds.

The limit is the smallest of the policy's, the reported one and the exchange's. Must never count
cancels against a cancel.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.venue import Venue

_CODE = "RISK_ORDER_RATE"


def judge(question: Question) -> Reason | None:
    """Refuse orders over a rate or over the number of open orders.

    Limits of the policy hold back no sale that leaves a position; the report and the figures of
    the exchange do.
    """
    standing, policy, report = question.standing, question.policy, question.standing.report
    days = [] if question.leaves else [policy.orders_per_day]
    days += [] if report is None else [report.max_per_day]
    if days and standing.orders_today >= (day := min(days)):
        return _refused(question, f"{standing.orders_today} orders were placed today", day)
    adds = not question.modifies and not question.leaves
    if adds and standing.open_orders >= policy.max_open_orders:
        return question.no(
            _CODE,
            f"{standing.open_orders} orders are open",
            limit=policy.max_open_orders,
            actual=standing.open_orders + 1,
        )
    return _per_second(question) or _high_frequency(question)


def _per_second(question: Question) -> Reason | None:
    standing, most = question.standing, question.policy.orders_per_second
    seconds = [] if most is None or question.leaves else [most]
    seconds += [] if standing.report is None else [standing.report.max_per_second]
    if not seconds:
        return None
    second, sent = min(seconds), standing.requests_last_second
    if sent is None:
        return question.unknown(_CODE, "orders_per_second", "what was just sent")
    if sent < second:
        return None
    return question.no(
        _CODE,
        f"{sent} orders and cancels were sent within a second",
        limit=second,
        actual=sent + 1,
    )


def _high_frequency(question: Question) -> Reason | None:
    """Refuse what would make the account high-frequency, whatever policy and report say.

    At a broker what is not known refuses. The figures do not reach a sandbox, which is held to
    them as far as its counts are known.
    """
    terms, standing = question.terms, question.standing
    binding = standing.venue is Venue.BROKER
    if terms is None:
        return question.unknown(_CODE, "hft_per_day", "the exchange's figure") if binding else None
    orders, cancels, second = (
        standing.orders_today,
        standing.cancels_today,
        standing.requests_last_second,
    )
    for name, most, known, sent in (
        ("hft_per_day", terms.hft_per_day, cancels is not None, orders + (cancels or 0)),
        ("hft_per_second", terms.hft_per_second, second is not None, second or 0),
    ):
        if most is None:
            continue  # there is no such figure on that day
        if binding and not known:
            return question.unknown(_CODE, name, "how much was sent")
        if sent + 1 >= most:
            return _refused(question, f"{sent} orders and cancels were sent", most - 1)
    return None


def _refused(question: Question, detail: str, limit: int) -> Reason:
    return question.no(_CODE, detail, limit=limit, actual=limit + 1)


RULE = Rule(
    codes=(_CODE,),
    exchange=True,
    source="programme-trading rules of 2025-07-07; the account's report; policy",
    zh="委托笔数或速率超出上限",
    en="Too many orders a second, today or at once",
    judge=judge,
    parameters=("orders_per_day", "orders_per_second", "max_open_orders"),
)
