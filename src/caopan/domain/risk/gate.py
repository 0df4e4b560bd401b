"""The gate: judges orders in turn against the account as it would then stand.

Owns `judge_order` (every rule, every reason), `clear` (the same, and the clearance) and `reserve`
(what a passed order takes from the account before the next is judged). Must never change a
proposed order. Tests: tests/property/domain/risk.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import ActionVerdict
from caopan.domain.orders.order import Order, Side
from caopan.domain.risk.clearance import Clearance, mint
from caopan.domain.risk.question import Question, Standing
from caopan.domain.risk.rulebook import RULEBOOK


def judge_order(question: Question) -> ActionVerdict:
    """Return the verdict of the whole rulebook on one order."""
    found = (rule.judge(question) for rule in RULEBOOK)
    return ActionVerdict(
        question.order.action_index, tuple(reason for reason in found if reason is not None)
    )


def clear(question: Question, order: Order) -> tuple[ActionVerdict, Clearance | None]:
    """Judge an order right before it is sent and mint its clearance if every rule passes."""
    verdict = judge_order(question)
    same = (
        question.order.symbol == order.symbol
        and question.order.side is order.side
        and question.order.price == order.price
        and question.order.qty == order.qty
    )
    if not verdict.passed or not same:
        return verdict, None
    return verdict, mint(order, question.policy.version)


def reserve(standing: Standing, question: Question) -> None:
    """Take from `standing` what the passed order may use: cash or shares, and its exposure."""
    order = question.order
    standing.open_orders += 1
    standing.orders_today += 1
    standing.working.add((order.symbol, order.side))
    if order.side is Side.BUY:
        standing.cash_free -= question.cost_bound
        standing.exposure[order.symbol] = standing.exposure.get(order.symbol, 0) + order.value
    else:
        standing.sellable[order.symbol] = standing.sellable.get(order.symbol, 0) - order.qty
