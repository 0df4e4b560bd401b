"""What the JSON values of a reply mean, told without the reader under test.

Owns `meaning_of`, the oracle of contracts.md's "Decision". Must never call application/contracts:
an oracle that shares code with what it judges proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast

from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    Comparison,
    Decision,
    Entry,
    ExitPlan,
    Intent,
    Invalidation,
    SecurityEvent,
    StopBasis,
)
from caopan.domain.orders.order import OrderType, Side
from caopan.testing.replies import Values
from caopan.testing.samples import NOW, sample_id

UNTIL: Final = NOW + timedelta(minutes=10)
_MOST_ACTIONS: Final = 40
_MOST_EVIDENCE: Final = 20
_ONE: Final = 10_000
_LONGEST_STATE: Final = 40
_SYMBOL_LETTERS: Final = 9


class _Meaningless(Exception):
    """The contract allows no such value."""


def meaning_of(values: object) -> Decision | None:
    """Return what the values of a reply mean; None where contracts.md has no such decision.

    Values are as JSON has them, numbers as int, float or Decimal; whatever is money is text.
    """
    try:
        return _decision(_fields(values, _ROOT, {"observation_ref", "account_view", "actions"}))
    except (_Meaningless, TypeError):
        # An array where a word is asked for cannot even be looked up.
        return None


_ROOT: Final = frozenset({"observation_ref", "account_view", "global_intent", "notes", "actions"})
_PLAN: Final = frozenset(
    {
        *("stop_price", "stop_basis", "take_profit", "trail_pct", "time_stop_days"),
        *("invalidation", "on_event", "min_price"),
    }
)
_BY_TYPE: Final[Mapping[str, tuple[set[str], set[str]]]] = {
    "set_target": ({"symbol", "target_weight"}, {"entry", "exit_plan"}),
    "place_order": ({"symbol", "side", "order_type", "qty"}, {"price", "tif", "exit_plan"}),
    "modify_order": (
        {"target_order_id"},
        {"symbol", "side", "order_type", "price", "qty", "exit_plan"},
    ),
    "cancel_order": ({"target_order_id"}, {"symbol", "side", "order_type", "price", "qty"}),
    "no_op": (set(), {"symbol"}),
}
_TYPES: Final = {
    ("limit", "day"): OrderType.LIMIT,
    ("market", "day"): OrderType.MARKET_BEST5_CANCEL,
    ("market", "ioc"): OrderType.MARKET_IOC,
    ("market", "fok"): OrderType.MARKET_FOK,
}


def _need(holds: object) -> None:
    if not holds:
        raise _Meaningless


def _fields(value: object, known: frozenset[str] | set[str], needed: set[str]) -> Values:
    """Return the members of an object that are not null."""
    if not isinstance(value, dict):
        raise _Meaningless
    given = cast("Values", value)
    found: Values = {name: one for name, one in given.items() if one is not None}
    _need(set(given) <= known)
    _need(needed <= set(found))
    return found


def _decision(found: Values) -> Decision:
    view = _fields(found["account_view"], {"nav", "cash"}, {"nav", "cash"})
    asked = _fields(found.get("global_intent", {}), {"risk_posture", "max_new_cash"}, set())
    posture = asked.get("risk_posture", "normal")
    _need(posture in {"normal", "cautious", "flat_only"})
    actions = _items(found["actions"], _MOST_ACTIONS)
    _need(actions)
    most = asked.get("max_new_cash")
    return Decision(
        decision_id=sample_id(1),
        observation_ref=_name(found["observation_ref"], 64),
        nav=_amount(view["nav"], 15),
        cash=_amount(view["cash"], 15),
        actions=tuple(_meant(n, one) for n, one in enumerate(actions)),
        made_at=NOW,
        valid_until=UNTIL,
        notes=_string(found.get("notes", ""), 500),
        asked_posture=posture,
        max_new_cash=None if most is None else max(_amount(most, 15), 0),
    )


def _meant(index: int, value: object) -> Action:
    always = {"type", "depends_on", "intent"}
    every = always.union(*(a | b for a, b in _BY_TYPE.values()))
    found = _fields(value, every, {"type"})
    kind, order_type = found["type"], found.get("order_type")
    _need(isinstance(kind, str) and kind in _BY_TYPE)
    needed, allowed = _BY_TYPE[kind]
    _need(needed <= set(found) <= needed | allowed | always)
    if kind == "place_order":
        _need((order_type == "limit") == ("price" in found))
    _need(order_type is None or (order_type, found.get("tif", "day")) in _TYPES)
    _need(found.get("side", "buy") in {"buy", "sell"})
    _need(kind != "modify_order" or "price" in found or "qty" in found)
    return Action(
        index=index,
        type=ActionType(kind),
        symbol=None if "symbol" not in found else _symbol(found["symbol"]),
        side=None if "side" not in found else Side(found["side"]),
        order_type=None if order_type is None else _TYPES[order_type, found.get("tif", "day")],
        price=_maybe_price(found.get("price")),
        qty=_maybe_whole(found.get("qty"), 1, 10_000_000),
        depends_on=_maybe_whole(found.get("depends_on"), 0, 39),
        target_order_id=None
        if "target_order_id" not in found
        else _name(found["target_order_id"], 64),
        exit_plan=None if "exit_plan" not in found else _plan(found["exit_plan"]),
        intent=None if "intent" not in found else _intent(found["intent"]),
        target_weight=None if "target_weight" not in found else _part(found["target_weight"], 0),
        entry=None if "entry" not in found else _meant_entry(found["entry"]),
    )


def _intent(value: object) -> Intent:
    found = _fields(value, {"rationale", "confidence", "evidence"}, {"rationale", "confidence"})
    sure = found["confidence"]
    _need(isinstance(sure, int | float | Decimal) and not isinstance(sure, bool))
    _need(0 <= sure <= 1)
    cited = _items(found.get("evidence", []), _MOST_EVIDENCE)
    return Intent(
        _string(found["rationale"], 240), float(sure), tuple(_name(one, 80) for one in cited)
    )


def _plan(value: object) -> ExitPlan:
    found = _fields(value, _PLAN, {"stop_price"})
    steps = [
        _fields(one, {"price", "fraction"}, {"price", "fraction"})
        for one in _items(found.get("take_profit", []), 5)
    ]
    conditions = [
        _fields(one, {"feature", "op", "value"}, {"feature", "op", "value"})
        for one in _items(found.get("invalidation", []), 5)
    ]
    events = _items(found.get("on_event", []), 8)
    _need(all(one in set(SecurityEvent) for one in events))
    _need(all(one["op"] in set(Comparison) for one in conditions))
    basis = found.get("stop_basis", "last")
    _need(basis in {"last", "close"})
    trail = found.get("trail_pct")
    _need(trail is None or 0 < Decimal(_part(trail)) < 1)
    return ExitPlan(
        stop_price=_price_units(found["stop_price"]),
        take_profit=tuple((_price_units(one["price"]), _part(one["fraction"])) for one in steps),
        time_stop_days=_maybe_whole(found.get("time_stop_days"), 1, 250),
        stop_basis=StopBasis(basis),
        trail_pct=None if trail is None else _part(trail),
        invalidation=tuple(
            Invalidation(
                _name(one["feature"], 80),
                Comparison(one["op"]),
                _threshold(one["value"], one["op"]),
            )
            for one in conditions
        ),
        on_event=tuple(SecurityEvent(one) for one in events),
        min_price=_maybe_price(found.get("min_price")),
    )


def _meant_entry(value: object) -> Entry:
    found = _fields(value, {"max_price", "max_chase_bps", "tranches", "cancel_at"}, set())
    parts = [_part(one) for one in _items(found.get("tranches", []), 5)]
    _need(not parts or sum(map(Decimal, parts)) == 1)
    return Entry(
        max_price=_maybe_price(found.get("max_price")),
        max_chase_bps=_maybe_whole(found.get("max_chase_bps"), 0, 1_000),
        tranches=tuple(parts),
        cancel_at=None if "cancel_at" not in found else _moment(found["cancel_at"]),
    )


def _moment(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(_string(value, 40))
    except ValueError:
        raise _Meaningless from None
    _need(found.tzinfo is not None)
    return found.astimezone(UTC)


def _items(value: object, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise _Meaningless
    found = cast("list[Any]", value)
    _need(len(found) <= most)
    return found


def _string(value: object, longest: int) -> str:
    _need(isinstance(value, str) and len(value) <= longest)
    return str(value)


def _name(value: object, longest: int) -> str:
    """Return a name; spaces around it are no part of it."""
    _need(isinstance(value, str))
    return _string(str(value).strip(), longest)


def _symbol(value: object) -> str:
    text = _string(value, _SYMBOL_LETTERS)
    _need(
        text[6:] in {".SH", ".SZ", ".BJ"}
        and _is_digits(text[:6], 6)
        and len(text) == _SYMBOL_LETTERS
    )
    return text


def _is_digits(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and 1 <= len(text) <= most


def _amount(value: object, most: int) -> int:
    """Return CNY text as units."""
    text = _string(value, 30)
    whole, point, rest = text.removeprefix("-").partition(".")
    _need(_is_digits(whole, most) and (_is_digits(rest, 4) if point else True))
    found = int(whole) * 10_000 + int((rest + "0000")[:4])
    return -found if text.startswith("-") else found


def _price_units(value: object) -> int:
    found = _amount(value, 7)
    _need(found > 0)
    return found


def _maybe_price(value: object) -> int | None:
    return None if value is None else _price_units(value)


def _part(value: object, least: int = 1) -> str:
    found = _amount(value, 1)
    _need(least <= found <= _ONE)
    return _short(str(value))


def _maybe_whole(value: object, least: int, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Meaningless
    _need(least <= value <= most)
    return value


def _threshold(value: object, op: str) -> str:
    if isinstance(value, str):
        _need(op in {"eq", "ne"} and 0 < len(value) <= _LONGEST_STATE)
        _need(set(value) <= set("abcdefghijklmnopqrstuvwxyz_") and value[0] != "_")
        _need(value not in {"nan", "inf", "infinity"})
        return value
    _need(isinstance(value, int | float | Decimal) and not isinstance(value, bool))
    return _short(str(value))


def _short(text: str) -> str:
    short = (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return "0" if short in {"-0", "-"} else short
