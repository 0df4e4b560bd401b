"""Decisions as a careful model writes them, drawn by chance.

Owns the generator of true decisions and the kinds of their fields. What they mean is told by
reply_meaning.py, how else they may be written by reply_dress.py. Must never be used by production
code.
"""

from __future__ import annotations

import random  # noqa: TID251 - handed in, seeded: it draws the decisions
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from caopan.domain.decision.shapes import Comparison, SecurityEvent
from caopan.testing.samples import sample_id

Values: TypeAlias = dict[str, Any]

PRICE_FIELDS: Final = frozenset({"price", "stop_price", "min_price", "max_price"})
MONEY_FIELDS: Final = frozenset({"nav", "cash", "max_new_cash"})
SHARE_FIELDS: Final = frozenset({"fraction", "target_weight", "trail_pct", "tranches"})
WHOLE_FIELDS: Final = frozenset({"qty", "depends_on", "time_stop_days", "max_chase_bps"})
WORD_FIELDS: Final = frozenset(
    {"type", "side", "order_type", "tif", "risk_posture", "stop_basis", "op", "on_event"}
)
TEXT_FIELDS: Final = frozenset({"rationale", "notes"})

_SYMBOLS: Final = ("600519.SH", "000001.SZ", "920047.BJ", "688981.SH", "300750.SZ", "510300.SH")
_ALPHABET: Final = (
    *"abc XYZ 0123456789.,:;-_/()#%+*=",
    *"白酒涨停，板块：回调。“强势”「龙头」１２３％",
    *"{}[]<>'\"\\`~\n\té😀",
    *("</think>", "<think>", "```", '{"actions"', "null", "//", "/*", "\u200b"),
)


def true_decision(rng: random.Random, texts: Sequence[str] = ()) -> Values:
    """Return a decision as a careful model writes it; free text may hold pieces of `texts`."""
    values: Values = {
        "observation_ref": f"{rng.getrandbits(256):064x}",
        "account_view": {"nav": _money(rng), "cash": _money(rng)},
    }
    if _chance(rng, 40):
        asked: Values = {}
        if _chance(rng, 60):
            asked["risk_posture"] = rng.choice(("normal", "cautious", "flat_only"))
        if _chance(rng, 60):
            asked["max_new_cash"] = _money(rng)
        values["global_intent"] = asked
    if _chance(rng, 50):
        values["notes"] = _text(rng, 500, texts)
    values["actions"] = [_action(rng, texts) for _ in range(rng.choice((1, 1, 2, 3, 5)))]
    return values


def _action(rng: random.Random, texts: Sequence[str]) -> Values:
    kind = rng.choice(
        ("place_order",) * 5 + ("set_target", "modify_order", "cancel_order", "no_op")
    )
    values: Values = {"type": kind}
    if kind == "place_order":
        values |= _order(rng)
    elif kind == "set_target":
        values |= {"symbol": rng.choice(_SYMBOLS), "target_weight": _share(rng, 0)}
        if _chance(rng, 70):
            values["entry"] = _entry(rng)
    elif kind != "no_op":
        values["target_order_id"] = str(sample_id(rng.randint(1, 9)))
        if _chance(rng, 30):
            values |= {"symbol": rng.choice(_SYMBOLS), "side": "sell", "order_type": "limit"}
    if kind == "modify_order":
        values |= rng.choice(({"price": _price(rng)}, {"qty": rng.randint(1, 9_999)}))
    if kind in {"place_order", "set_target"} and _chance(rng, 60):
        values["exit_plan"] = _exit_plan(rng)
    if _chance(rng, 70):
        values["intent"] = _intent(rng, texts)
    return values


def _order(rng: random.Random) -> Values:
    values: Values = {"symbol": rng.choice(_SYMBOLS), "side": rng.choice(("buy", "sell"))}
    is_limit = _chance(rng, 75)
    values["order_type"] = "limit" if is_limit else "market"
    if is_limit:
        values["price"] = _price(rng)
    values["qty"] = rng.choice((100, 200, 1_000, rng.randint(1, 10_000_000)))
    if _chance(rng, 50):
        values["tif"] = rng.choice(("day",) if is_limit else ("day", "ioc", "fok"))
    if _chance(rng, 20):
        values["depends_on"] = rng.randint(0, 39)
    return values


def _intent(rng: random.Random, texts: Sequence[str]) -> Values:
    days = range(rng.randint(0, 3))
    return {
        "rationale": _text(rng, 240, texts),
        "confidence": rng.choice((0, 1, 0.5, round(rng.random(), 2), rng.random())),
        "evidence": [f"{rng.choice(_SYMBOLS)}.ret_{rng.randint(1, 60)}d" for _ in days],
    }


def _entry(rng: random.Random) -> Values:
    values: Values = {}
    if _chance(rng, 60):
        values["max_price"] = _price(rng)
    if _chance(rng, 60):
        values["max_chase_bps"] = rng.randint(0, 1_000)
    if _chance(rng, 50):
        values["tranches"] = rng.choice((["1"], ["0.5", "0.5"], ["0.2", "0.3", "0.5000"]))
    if _chance(rng, 50):
        zone = rng.choice(("+08:00", "Z", "+00:00"))
        values["cancel_at"] = f"2026-11-2{rng.randint(0, 9)}T14:{rng.randint(10, 59)}:00{zone}"
    return values


def _exit_plan(rng: random.Random) -> Values:
    values: Values = {"stop_price": _price(rng)}
    if _chance(rng, 50):
        values["stop_basis"] = rng.choice(("last", "close"))
    if _chance(rng, 50):
        steps = range(rng.randint(0, 3))
        values["take_profit"] = [{"price": _price(rng), "fraction": _share(rng)} for _ in steps]
    if _chance(rng, 30):
        values["trail_pct"] = f"0.{rng.randint(1, 9_999):04d}"
    if _chance(rng, 50):
        values["time_stop_days"] = rng.randint(1, 250)
    if _chance(rng, 30):
        values["invalidation"] = [_condition(rng) for _ in range(rng.randint(0, 2))]
    if _chance(rng, 30):
        values["on_event"] = [event.value for event in rng.sample(tuple(SecurityEvent), 2)]
    if _chance(rng, 30):
        values["min_price"] = _price(rng)
    return values


def _condition(rng: random.Random) -> Values:
    if _chance(rng, 30):
        state = rng.choice(("sealed_up", "sealed_down", "reopened"))
        return {"feature": "limit_state", "op": rng.choice(("eq", "ne")), "value": state}
    value = rng.choice((0, -0.0, -3, 1.5, -0.05, 12))
    return {"feature": "ret_20d", "op": rng.choice(tuple(Comparison)).value, "value": value}


def _price(rng: random.Random) -> str:
    whole = rng.choice((rng.randint(1, 99), rng.randint(1, 9_999_999)))
    return f"{whole}{rng.choice(('', '.5', '.05', '.88', '.1234', '.50', '.00'))}"


def _money(rng: random.Random) -> str:
    return f"{rng.randint(0, 10 ** rng.randint(1, 14))}{rng.choice(('', '.5', '.05', '.00'))}"


def _share(rng: random.Random, least: int = 1) -> str:
    if _chance(rng, 20):
        return rng.choice(("1", "1.0"))
    return f"0.{rng.randint(least, 9_999):04d}"


def _text(rng: random.Random, longest: int, texts: Sequence[str]) -> str:
    if texts and _chance(rng, 50):
        source = rng.choice(texts)
        start = rng.randrange(len(source) + 1)
        return source[start : start + longest // 2]
    return "".join(rng.choices(_ALPHABET, k=rng.randint(0, longest // 12)))[:longest]


def _chance(rng: random.Random, percent: int) -> bool:
    return rng.randrange(100) < percent
