"""The list of every rule of the gate, in the order they are judged.

Owns RULEBOOK. Adding a rule means adding its file in rules/ and its line here; it can only ever
refuse more. Must never skip a rule because another one refused: every reason is reported.
"""

from __future__ import annotations

from caopan.domain.risk.question import Rule
from caopan.domain.risk.rules import (
    cash,
    drift,
    duplicate,
    exit_plan,
    expired,
    gross_cap,
    lists,
    loss_halt,
    new_listing,
    order_rate,
    order_type,
    order_value,
    position_cap,
    price_band,
    quantity,
    risk_warning,
    rules_known,
    session,
    stale_price,
    suspended,
    t_plus_one,
    tick,
)

RULEBOOK: tuple[Rule, ...] = (
    expired.RULE,
    rules_known.RULE,
    session.RULE,
    suspended.RULE,
    order_type.RULE,
    tick.RULE,
    price_band.RULE,
    quantity.RULE,
    t_plus_one.RULE,
    cash.RULE,
    stale_price.RULE,
    drift.RULE,
    order_value.RULE,
    position_cap.RULE,
    gross_cap.RULE,
    lists.RULE,
    risk_warning.RULE,
    new_listing.RULE,
    exit_plan.RULE,
    duplicate.RULE,
    order_rate.RULE,
    loss_halt.RULE,
)
