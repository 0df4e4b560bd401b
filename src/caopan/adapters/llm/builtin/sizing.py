"""What the built-in traders share: reading an observation and writing a decision as JSON.

Owns the sizing by volatility and the JSON shape. Must never look at anything but the observation,
so that a built-in trader knows exactly what a language model would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

_DAILY_RISK = Decimal("0.0015")
"""Share of NAV that one position may move in a usual day."""
_CAP = Decimal("0.12")
"""Largest share of NAV that a trader puts into one symbol."""
_STOP_DAYS = Decimal(4)
"""Stops lie this many usual days' moves below the price."""
_MOST_ACTIONS = 40
"""As many as one decision may hold; sales come first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One symbol with what sizing needs."""

    symbol: str
    score: float
    vol: float
    last: Decimal
    rules: Mapping[str, Any]


@dataclass(slots=True)
class Budget:
    """What a trader thinks it may still spend in this decision. Money in yuan."""

    nav: Decimal
    cash: Decimal

    @classmethod
    def of(cls, observation: Mapping[str, Any]) -> Budget:
        """Read the budget from an observation."""
        account = observation["account"]
        return cls(Decimal(account["nav"]), Decimal(account["available_cash"]))


def candidates(observation: Mapping[str, Any], score_of: str) -> list[Candidate]:
    """Return tradable symbols that have the scored feature and a volatility, in symbol order."""
    found: list[Candidate] = []
    for symbol in observation["universe"]:
        features = observation["features"].get(symbol, {})
        rules = observation["market_rules"].get(symbol)
        score, vol, last = features.get(score_of), features.get("vol_20d"), features.get("last")
        if rules is None or score is None or not vol or last is None:
            continue
        if rules["trading_status"] != "normal":
            continue
        found.append(Candidate(symbol, float(score), float(vol), Decimal(last), rules))
    return found


def buy(
    candidate: Candidate, budget: Budget, chase: Decimal, why: str, evidence: str
) -> dict[str, Any] | None:
    """Return a buy sized so that a usual day moves NAV by the daily risk; None if under half.

    The budget knows nothing of fees or caps, as a careless model would not: the gate does.
    """
    vol = Decimal(str(candidate.vol))
    price = on_tick(candidate.last * (1 + chase), candidate.rules)
    wanted = budget.nav * min(_DAILY_RISK / vol, _CAP)
    money = min(wanted, budget.cash)
    qty = min(int(money / price), candidate.rules["max_order_qty"])
    tick = Decimal(candidate.rules["tick_size"])
    least, step = candidate.rules["min_buy_qty"], candidate.rules["qty_step"]
    # Nor if no stop fits below the price.
    if money * 2 < wanted or qty < least or price <= tick:
        return None
    qty -= (qty - least) % step
    budget.cash -= price * qty
    stop = on_tick(price * (1 - _STOP_DAYS * vol), candidate.rules)
    return {
        "type": "place_order",
        "symbol": candidate.symbol,
        "side": "buy",
        "order_type": "limit",
        "price": str(price),
        "qty": qty,
        "tif": "day",
        "exit_plan": {
            "stop_price": str(max(min(stop, price - tick), tick)),
            "time_stop_days": 40,
        },
        "intent": _intent(why, evidence, candidate),
    }


def sell(candidate: Candidate, qty: int, chase: Decimal, why: str, evidence: str) -> dict[str, Any]:
    """Return a sale of `qty` shares a little below the last price."""
    return {
        "type": "place_order",
        "symbol": candidate.symbol,
        "side": "sell",
        "order_type": "limit",
        "price": str(on_tick(candidate.last * (1 - chase), candidate.rules)),
        "qty": min(qty, candidate.rules["max_order_qty"]),
        "tif": "day",
        "intent": _intent(why, evidence, candidate),
    }


def on_tick(price: Decimal, rules: Mapping[str, Any]) -> Decimal:
    """Return `price` on the symbol's tick, held inside the day's limits."""
    tick = Decimal(rules["tick_size"])
    rounded = (price / tick).to_integral_value(ROUND_HALF_UP) * tick
    if rules["limit_up"] is not None:
        rounded = min(rounded, Decimal(rules["limit_up"]))
    if rules["limit_down"] is not None:
        rounded = max(rounded, Decimal(rules["limit_down"]))
    return rounded.quantize(Decimal("0.01"), ROUND_DOWN)


def answer(
    observation: Mapping[str, Any], observation_hash: str, actions: Sequence[dict[str, Any]]
) -> str:
    """Return the decision as the JSON text a model would send."""
    account = observation["account"]
    chosen = list(actions[:_MOST_ACTIONS]) or [
        {
            "type": "no_op",
            "intent": {"rationale": "nothing to do", "confidence": 0.5, "evidence": []},
        }
    ]
    return json.dumps(
        {
            "observation_ref": observation_hash,
            "account_view": {"nav": account["nav"], "cash": account["cash"]},
            "actions": chosen,
        },
        ensure_ascii=False,
    )


def _intent(why: str, evidence: str, candidate: Candidate) -> dict[str, Any]:
    return {
        "rationale": why,
        "confidence": 0.5,
        "evidence": [f"{candidate.symbol}.{evidence}", f"{candidate.symbol}.vol_20d"],
    }
