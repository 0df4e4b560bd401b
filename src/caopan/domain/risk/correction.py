"""What a refused order would have to be, to pass: suggested and recorded, never applied.

Owns `suggest`. Must never propose more than was asked for, nor what the whole rulebook does not
pass. Tests: tests/property/domain/risk/test_gate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from caopan.domain.decision.shapes import ActionVerdict
from caopan.domain.market.price_cage import applies, base_price, cage_bound
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.question import Question
from caopan.kernel.money import yuan

_BY_PRICE = frozenset({"RISK_TICK", "RISK_PRICE_BAND", "RISK_PRICE_CAGE", "RISK_DRIFT"})
_BY_LESS = frozenset(
    {
        "RISK_INSUFFICIENT_CASH",
        "RISK_TPLUS1",
        "RISK_NO_POSITION",
        "RISK_MAX_ORDER_QTY",
        "RISK_POSITION_CAP",
        "RISK_INDUSTRY_CAP",
        "RISK_GROSS_CAP",
        "RISK_ORDER_CAP",
        "RISK_NET_BUY_CAP",
        "RISK_TURNOVER_CAP",
        "RISK_PARTICIPATION",
        "RISK_IMPACT",
        "RISK_ST",
        "RISK_OUTSIDE_SLEEVE",
    }
)
"""Codes that fewer shares can lift."""
_MENDABLE = _BY_PRICE | _BY_LESS | {"RISK_LOT_SIZE", "RISK_SELF_TRADE"}
_BPS = 10_000


def suggest(question: Question, verdict: ActionVerdict) -> Mapping[str, Any] | None:
    """Return {"qty", "price"} of the order that would pass: the nearest price, the most shares.

    None where the order passed or no price and quantity up to its own would mend it. Price as a
    decimal string; absent where the order has none.
    """
    codes = {reason.code for reason in verdict.reasons}
    if verdict.passed or not codes <= _MENDABLE or question.reference is None:
        return None
    priced = _at_nearest_price(question)
    if priced is None:
        return None
    fitting = _with_most_shares(priced)
    if fitting is None:
        return None
    order = fitting.order
    found: dict[str, Any] = {"qty": order.qty}
    if order.price > 0:
        found["price"] = yuan(order.price)
    return found


def _at_nearest_price(question: Question) -> Question | None:
    order, reference = question.order, question.reference
    if reference is None or order.order_type is not OrderType.LIMIT:
        return question
    low, high = _bounds(question)
    tick = reference.tick_size
    lowest = -(-low // tick) * tick
    highest = None if high is None else high // tick * tick
    if highest is not None and lowest > highest:
        return None
    # Between two ticks the careful one.
    price = order.price // tick * tick if question.is_buy else -(-order.price // tick) * tick
    price = max(price, lowest)
    price = price if highest is None else min(price, highest)
    return _changed(question, price, order.qty)


def _bounds(question: Question) -> tuple[int, int | None]:
    """Return the lowest and highest price (units) that the rules on price let through."""
    reference, policy, quote = question.reference, question.policy, question.quote
    lows, highs = [1], list[int]()
    if reference is not None:
        if reference.limit_down is not None:
            lows.append(reference.limit_down)
        if reference.limit_up is not None:
            queued = question.is_buy and not policy.allow_limit_up_buy
            highs.append(reference.limit_up - queued)
        cage = _cage(question)
        if cage is not None:
            (highs if question.is_buy else lows).append(cage)
    if quote is not None and quote.price > 0 and not question.leaves:
        drift = Fraction(policy.max_drift_bps, _BPS)
        if question.is_buy:
            highs.append(int(quote.price * (1 + drift)))
        else:
            lows.append(_up(quote.price * (1 - drift)))
        if policy.price_collar_pct is not None:
            highs.append(int(quote.price * (1 + policy.price_collar_pct)))
            lows.append(_up(quote.price * (1 - policy.price_collar_pct)))
    return max(lows), min(highs, default=None)


def _up(value: Fraction) -> int:
    return -int(-value // 1)


def _cage(question: Question) -> int | None:
    row = None if question.terms is None else question.terms.cage
    top, reference = question.top, question.reference
    if row is None or top is None or reference is None:
        return None
    kind = question.order.order_type.kind
    if not applies(row, question.phase, kind, halted=question.halted):
        return None
    base = base_price(top, buying=question.is_buy)
    if base <= 0:
        return None
    return cage_bound(row, base, reference.tick_size, buying=question.is_buy)


def _with_most_shares(question: Question) -> Question | None:
    reference, asked = question.reference, question.order.qty
    if judge_order(question).passed:
        return question
    if reference is None or asked <= 0:
        return None
    step, least = reference.qty_step, reference.min_buy_qty
    first = least if question.is_buy else 0
    low, high = 0, (asked - first) // step
    if high < 0:
        low, high = 0, -1
    fits = -1
    while low <= high:
        middle = (low + high) // 2
        if _too_much(_changed(question, question.order.price, first + middle * step)):
            high = middle - 1
        else:
            fits, low = middle, middle + 1
    sizes = [first + fits * step] if fits >= 0 else []
    if not question.is_buy:
        sellable = question.standing.sellable.get(question.order.symbol, 0)
        # The odd lot goes whole, alone or on top of whole lots.
        odd = sellable % step if sellable >= least else sellable
        sizes += [size + odd - back * step for size in [*sizes, 0] for back in (0, 1)]
    for size in sorted({size for size in sizes if 0 < size <= asked}, reverse=True):
        tried = _changed(question, question.order.price, size)
        if judge_order(tried).passed:
            return tried
    return None


def _too_much(question: Question) -> bool:
    return any(reason.code in _BY_LESS for reason in judge_order(question).reasons)


def _changed(question: Question, price: int, qty: int) -> Question:
    """Return the question about another price and quantity, with the cash that would need."""
    changed = replace(question, order=replace(question.order, price=price, qty=qty))
    if not question.is_buy or question.costs is None:
        return changed  # without fees the cash of the order as it was stays: the careful side
    return replace(changed, cost_bound=question.costs.of_buy(qty, changed.worst_price))
