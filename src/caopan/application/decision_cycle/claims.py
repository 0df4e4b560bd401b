"""What a decision says of the world, compared with the observation it names.

Owns the claims part of the rule checker: the stated account, cited evidence and stated values, the
orders a change names, what is sold, what prices a day can have. Where the gate says no by itself a
false claim is only recorded: a finding. Must never read claims out of free text: a rationale is
for people. Tests: tests/unit/application/decision_cycle/test_claims.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from caopan.domain.decision.shapes import Action, ActionType, Decision, Reason
from caopan.domain.orders.order import Side
from caopan.kernel.money import units, yuan

HALLUCINATION: Final = "CHECKER_HALLUCINATION"
UNKNOWN_REF: Final = "CHECKER_UNKNOWN_REF"
TOLERANCE_BPS: Final = 50
"""How far a stated value may differ before it counts as invented."""
_BPS: Final = 10_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,20})?")
_SECTIONS: Final = ("features", "fundamentals", "market_rules", "positions", "events")
"""What of the observation goes by symbol, in the order a short name is looked up."""


def account_claims(decision: Decision, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield each part of the stated account that is beyond tolerance."""
    for name, stated, true in _account(decision, observation):
        if _is_beyond(stated, true):
            yield _account_reason(name, stated, true)


def findings(decision: Decision, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield what is false or out of reach in a decision, but is not the checker's to refuse."""
    for name, stated, true in _account(decision, observation):
        if stated != true and not _is_beyond(stated, true):
            yield _account_reason(name, stated, true)
    held = {one["symbol"]: one for one in observation.get("positions", ())}
    for action in decision.actions:
        if action.type is ActionType.PLACE_ORDER:
            yield from _sale_findings(action, held)
            yield from _price_findings(action, observation)
        yield from _value_findings(action, observation)
    yield from _cash_findings(decision, observation)
    yield from _target_findings(decision)


def evidence_claims(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield each cited reference that does not exist, and each stated value that is not its own."""
    if action.intent is None:
        return
    ids = _ids(observation)
    for cited in action.intent.evidence:
        if cited in ids:
            continue
        name, stated = _stated(cited)
        true = _lookup(name, action.symbol, observation)
        if true is None:
            detail = "the cited evidence is not in the observation"
            yield Reason(UNKNOWN_REF, action.index, detail, actual=cited)
        elif stated is not None and not _agrees(stated, true):
            yield _value_reason(action, name, stated, true)


def change_claims(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield what a cancel or change says wrongly of the order it names."""
    shown = {order["order_id"]: order for order in observation.get("open_orders", ())}
    order = shown.get(action.target_order_id)
    if order is None:
        yield Reason(
            UNKNOWN_REF,
            action.index,
            "the order is not among the observation's open orders",
            actual=action.target_order_id,
        )
        return
    yield from _other_order(action, order)
    if action.type is not ActionType.CANCEL_ORDER:
        return
    if action.qty is not None and "qty" in order:
        qty, open_qty = order["qty"], order["qty"] - order.get("filled_qty", 0)
        if action.qty not in {qty, open_qty}:
            yield Reason(
                HALLUCINATION,
                action.index,
                "a cancel takes all that is open of an order, and another quantity is stated",
                limit=str(open_qty),
                actual=str(action.qty),
            )
    if action.price is not None and "price" in order and action.price != units(order["price"]):
        yield Reason(
            HALLUCINATION,
            action.index,
            "the order to be cancelled has another price",
            limit=str(order["price"]),
            actual=yuan(action.price),
        )


def _other_order(action: Action, order: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield what a change says of its order that is not so, beside what it changes."""
    stated = {
        "symbol": action.symbol,
        "side": None if action.side is None else action.side.value,
        "order_type": None if action.order_type is None else action.order_type.value,
    }
    for name, value in stated.items():
        if value is not None and name in order and value != order[name]:
            yield Reason(
                HALLUCINATION,
                action.index,
                f"the order named has another {name}",
                limit=str(order[name]),
                actual=value,
            )


def plan_references(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield each feature that an exit plan watches and the observation does not have."""
    if action.exit_plan is None or action.symbol is None:
        return
    known = observation["features"].get(action.symbol, {})
    for one in action.exit_plan.invalidation:
        if one.feature.removeprefix(f"{action.symbol}.") not in known:
            yield Reason(
                UNKNOWN_REF,
                action.index,
                f"the exit plan watches a feature that {action.symbol} does not have",
                actual=one.feature,
            )


# --- the account ------------------------------------------------------------------------------


def _account(decision: Decision, observation: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    for name, stated in (("nav", decision.nav), ("cash", decision.cash)):
        yield name, stated, units(observation["account"][name])


def _is_beyond(stated: int, true: int) -> bool:
    return abs(stated - true) * _BPS > TOLERANCE_BPS * max(true, 1)


def _account_reason(name: str, stated: int, true: int) -> Reason:
    return Reason(
        HALLUCINATION,
        None,
        f"account_view.{name} is not the account's",
        limit=yuan(true),
        actual=yuan(stated),
    )


# --- orders -----------------------------------------------------------------------------------


def _sale_findings(action: Action, held: Mapping[str, Any]) -> Iterator[Reason]:
    if action.side is not Side.SELL or action.qty is None or action.symbol is None:
        return
    has = held.get(action.symbol, {}).get("qty", 0)
    if action.qty > has:
        yield Reason(
            HALLUCINATION,
            action.index,
            f"more of {action.symbol} is sold than is held",
            limit=str(has),
            actual=str(action.qty),
        )


def _price_findings(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    rules = observation["market_rules"].get(action.symbol, {})
    if action.price is None:
        return
    up, down = rules.get("limit_up"), rules.get("limit_down")
    if up is not None and action.price > units(up):
        limit = up
    elif down is not None and action.price < units(down):
        limit = down
    else:
        return
    yield Reason(
        HALLUCINATION,
        action.index,
        f"{action.symbol} cannot have this price today",
        limit=str(limit),
        actual=yuan(action.price),
    )


def _cash_findings(decision: Decision, observation: Mapping[str, Any]) -> Iterator[Reason]:
    account = observation["account"]
    cash = account.get("available_cash", account["cash"])
    wanted = sum(
        (action.price or 0) * (action.qty or 0)
        for action in decision.actions
        if action.type is ActionType.PLACE_ORDER and action.side is Side.BUY
    )
    if wanted > units(cash):
        yield Reason(
            "CHECKER_RANGE",
            None,
            "the buys cost more than the cash there is",
            limit=str(cash),
            actual=yuan(wanted),
        )


def _target_findings(decision: Decision) -> Iterator[Reason]:
    weights = [
        Decimal(action.target_weight)
        for action in decision.actions
        if action.target_weight is not None and _NUMBER.fullmatch(action.target_weight)
    ]
    if sum(weights) > 1:
        yield Reason(
            "CHECKER_RANGE",
            None,
            "the targets are more than the whole account",
            limit="1",
            actual=str(sum(weights)),
        )


# --- evidence ---------------------------------------------------------------------------------


def _ids(observation: Mapping[str, Any]) -> set[str]:
    """Return the ids of news and events."""
    found = {str(item["id"]) for item in observation.get("news", ()) if "id" in item}
    for events in observation.get("events", {}).values():
        found.update(str(event["id"]) for event in events if "id" in event)
    return found


def _stated(cited: str) -> tuple[str, str | None]:
    """Return the name of a citation, and the value it states if it does."""
    name, sign, stated = cited.partition("=")
    return name.strip(), stated.strip() if sign else None


def _value_reason(action: Action, name: str, stated: str, true: object) -> Reason:
    return Reason(
        HALLUCINATION,
        action.index,
        f"the stated value of {name} is not the observation's",
        limit=str(true),
        actual=stated,
    )


def _value_findings(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield prices that are stated a little wrongly; a statistic may be rounded."""
    for cited in () if action.intent is None else action.intent.evidence:
        name, stated = _stated(cited)
        true = None if stated is None else _lookup(name, action.symbol, observation)
        if stated is None or not isinstance(true, str) or not _agrees(stated, true):
            continue
        if stated != true and Decimal(stated) != Decimal(true):
            yield _value_reason(action, name, stated, true)


def _lookup(name: str, symbol: str | None, observation: Mapping[str, Any]) -> object:
    """Return what the observation has under `name`, None where it has nothing.

    A name is SYMBOL.feature, the feature of the action's own symbol alone, or the way to it from
    the observation's top, such as features.SYMBOL.feature, account.nav or market.breadth.
    """
    for section in ("account", "market", "clock"):
        if name.startswith(f"{section}."):
            return observation.get(section, {}).get(name.partition(".")[2])
    sections = _SECTIONS
    head, _, rest = name.partition(".")
    if head in _SECTIONS:
        sections, name = (head,), rest
    owner, dot, field = name.rpartition(".")
    for section in sections:
        found = _of_symbol(section, owner if dot else symbol, field, observation)
        if found is not None:
            return found
    return None


def _of_symbol(
    section: str, symbol: str | None, field: str, observation: Mapping[str, Any]
) -> object:
    """Return a field that one section of the observation has of `symbol`."""
    if symbol is None or not field:
        return None
    if section == "positions":
        held = {one["symbol"]: one for one in observation.get("positions", ())}
        return held.get(symbol, {}).get(field)
    if section == "events":
        events = observation.get("events", {}).get(symbol, ())
        return next(
            (event.get("date", field) for event in events if event.get("type") == field), None
        )
    return observation.get(section, {}).get(symbol, {}).get(field)


def _agrees(stated: str, true: object) -> bool:
    """Tell whether a stated value is the observation's: a number within tolerance, or rounded."""
    if stated == str(true):
        return True
    if isinstance(true, bool) or _NUMBER.fullmatch(stated) is None:
        return False
    if _NUMBER.fullmatch(str(true)) is None:
        return False
    claim, fact = Decimal(stated), Decimal(str(true))
    if abs(claim - fact) * _BPS <= TOLERANCE_BPS * abs(fact):
        return True
    # Prices are texts, and no one rounds them; statistics are numbers.
    digits = -int(claim.as_tuple().exponent)
    return isinstance(true, float) and digits > 0 and round(fact, digits) == claim
