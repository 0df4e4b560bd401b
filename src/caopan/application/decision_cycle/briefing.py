"""The observation as a model is shown it: what it may do, in figures it need not derive.

Owns the variables of the prompt templates and what is left out, in which order, to fit a budget of
tokens. Everything shown comes from the observation; the account's number and name never do. Must
never show text from outside but cleaned and inside the fence. Tests:
tests/unit/application/decision_cycle/test_briefing.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caopan.application.decision_cycle.outside_text import MOST_SUMMARY, MOST_TITLE, cleaned
from caopan.application.ports.prompts import Prompt, Prompts, Template
from caopan.kernel.errors import ConfigInvalid

FEATURES: Final = (
    "last",
    "bid1",
    "ask1",
    "ret_5m",
    "ret_1d",
    "ret_5d",
    "ret_20d",
    "ret_60d",
    "ma20_gap",
    "vol_20d",
    "vol_ratio_5m",
    "vol_ratio_5d",
    "turnover_rate",
    "beta",
    "liq_rank",
    "distance_to_limit_up",
    "distance_to_limit_down",
    "limit_state",
    "consecutive_limit_days",
    "risk_flags",
    "news_flags",
)
"""Columns of the table of candidates, in this order, where any symbol has them."""
KEY_FEATURES: Final = ("last", "ret_1d", "ret_20d", "vol_20d", "liq_rank", "risk_flags")
_SHARES: Final = frozenset(
    {"ret_5m", "ret_1d", "ret_5d", "ret_20d", "ret_60d", "ma20_gap", "vol_20d", "turnover_rate"}
    | {"distance_to_limit_up", "distance_to_limit_down"}
)
"""Features that are shares of 1 and read better in percent."""
ABSENT: Final = "-"
"""Shown for what is not known: a file may say less of a security than a desk does."""
_OF_ACCOUNT: Final = (
    *("nav", "cash", "available_cash", "frozen_cash"),
    *("risk_posture", "orders_today", "orders_per_day"),
)
_OF_POSITION: Final = (
    *("qty", "sellable_qty", "avg_price", "market_value", "unrealized_pnl", "weight_nav"),
    "days_held",
)
_OF_ORDER: Final = ("side", "symbol", "qty", "price", "filled_qty", "status")
_OF_RULES: Final = (
    *("min_buy_qty", "qty_step", "limit_up", "limit_down", "max_buy_qty", "max_sell_qty"),
)
_OF_EVENT: Final = ("type", "date")
_OF_RECORD: Final = ("decided_at", "status")
_OF_COSTS: Final = ("commission_rate", "commission_min", "stamp_duty_sell", "transfer_fee")
BUDGET_TOKENS: Final = 16_000
"""Tokens of a prompt, by our own estimate, where a desk does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of an observation is shown; None is all of it."""

    summaries: bool = True
    news: int | None = None
    record: int | None = None
    features: tuple[str, ...] = FEATURES
    candidates: int | None = None


LADDER: Final = (
    Depth(),
    Depth(summaries=False),
    Depth(summaries=False, news=10, record=5),
    Depth(summaries=False, news=10, record=5, features=KEY_FEATURES),
    Depth(summaries=False, news=5, record=3, features=KEY_FEATURES, candidates=150),
    Depth(summaries=False, news=5, record=3, features=KEY_FEATURES, candidates=80),
    Depth(summaries=False, news=5, record=3, features=KEY_FEATURES, candidates=40),
    Depth(summaries=False, news=3, record=2, features=KEY_FEATURES, candidates=20),
    Depth(summaries=False, news=0, record=0, features=KEY_FEATURES, candidates=10),
)
"""What goes first when a prompt is too long: summaries of news, older news and older decisions,
features beyond the key ones, then the least liquid candidates. Holdings always stay."""


@dataclass(frozen=True, slots=True)
class Prompting:
    """Which template is rendered, and how long it may become."""

    prompts: Prompts
    template: Template
    budget_tokens: int = BUDGET_TOKENS


@dataclass(frozen=True, slots=True)
class Briefed:
    """A prompt within its budget, and what the model was not shown."""

    prompt: Prompt
    left_out: Mapping[str, Any]


def brief(
    observation: Mapping[str, Any],
    prompting: Prompting,
    *,
    content_hash: str,
    fence: str,
    proposal: str = "",
) -> Briefed:
    """Return the fullest prompt of `observation` within the budget; a checker's has a `proposal`.

    Raises:
        ConfigInvalid: PROMPT_TOO_LARGE if even the shortest has more; PROMPT_* of the template.
    """
    tokens, template = 0, prompting.template
    for depth in LADDER:
        variables, left_out = variables_of(observation, depth)
        variables |= {"content_hash": content_hash, "fence": fence, "proposal": proposal}
        wanted = {name: variables[name] for name in template.variables if name in variables}
        prompt = prompting.prompts.render(template, wanted)
        if prompt.tokens <= prompting.budget_tokens:
            return Briefed(prompt, left_out)
        tokens = prompt.tokens
    raise ConfigInvalid(
        "PROMPT_TOO_LARGE",
        f"the shortest prompt has about {tokens} tokens; the budget is {prompting.budget_tokens}",
        remedy="raise budget_tokens in actor.json, hold fewer positions, or use a shorter template",
    )


def variables_of(
    observation: Mapping[str, Any], depth: Depth
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a template is told of an observation, and what of it is left out."""
    held = [position["symbol"] for position in observation["positions"]]
    held += [order["symbol"] for order in observation["open_orders"] if "symbol" in order]
    chosen, dropped = _candidates(observation, held, depth)
    news, older = _newest(observation["news"], depth.news, "published_at")
    record, forgotten = _newest(observation.get("own_record", []), depth.record, "decided_at")
    present = {name for symbol in chosen for name in observation["features"].get(symbol, {})}
    columns = [name for name in depth.features if name in present]
    costs = observation.get("costs")
    left_out: dict[str, Any] = {}
    if dropped:
        left_out["candidates"] = dropped
    if older:
        left_out["news"] = [item.get("id", ABSENT) for item in older]
    if forgotten:
        left_out["own_record"] = len(forgotten)
    if unseen := sorted(present - set(columns) - {"as_of"}):
        left_out["features"] = unseen
    if news and not depth.summaries:
        left_out["news_summaries"] = len(news)
    variables = {
        "account": _account(observation["account"]),
        "candidates": [_candidate(observation, symbol, columns) for symbol in chosen],
        "clock": observation["clock"],
        "columns": columns,
        "costs": _known(costs, _OF_COSTS) if costs else {},
        "events": _events(observation, chosen),
        "market": {name: _figure(name, value) for name, value in observation["market"].items()},
        "news": [_news(item, with_summary=depth.summaries) for item in news],
        "open_orders": [_known(order, _OF_ORDER) for order in observation["open_orders"]],
        "own_record": [_own_words(entry) for entry in record],
        "positions": [_position(position) for position in observation["positions"]],
        "stale": _stale(observation),
    }
    return variables, left_out


def _account(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account without whose it is."""
    return {n: value for n, value in _known(account, _OF_ACCOUNT).items() if not n.endswith("_id")}


def _known(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return `values` with the mark of the unknown for those of `names` that are not there."""
    told = {name: ABSENT if value is None else value for name, value in values.items()}
    return {**dict.fromkeys(names, ABSENT), **told}


def _candidates(
    observation: Mapping[str, Any], held: Sequence[str], depth: Depth
) -> tuple[list[str], list[str]]:
    universe: Sequence[str] = observation["universe"]
    if depth.candidates is None:
        return list(universe), []
    features = observation["features"]

    def liquidity(symbol: str) -> float:
        rank = features.get(symbol, {}).get("liq_rank")
        return float(rank) if isinstance(rank, int | float) else -1.0

    others = [symbol for symbol in universe if symbol not in held]
    liquid = sorted(others, key=lambda symbol: (-liquidity(symbol), symbol))
    kept = {*held, *liquid[: depth.candidates]}
    return (
        [symbol for symbol in universe if symbol in kept],
        [symbol for symbol in universe if symbol not in kept],
    )


def _newest(
    items: Sequence[Mapping[str, Any]], most: int | None, by: str
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    ordered = sorted(items, key=lambda item: str(item.get(by, "")), reverse=True)
    cut = len(ordered) if most is None else most
    return ordered[:cut], ordered[cut:]


def _candidate(
    observation: Mapping[str, Any], symbol: str, columns: Iterable[str]
) -> dict[str, Any]:
    rules = observation["market_rules"].get(symbol, {})
    features = observation["features"].get(symbol, {})
    may: list[str] = []
    if rules.get("max_buy_qty"):
        may.append("buy")
    if rules.get("max_sell_qty"):
        may.append("sell")
    name = rules.get("name")
    return {
        "symbol": symbol,
        "name": "" if name is None else cleaned(str(name), 20),
        "may": may,
        "rules": _known(rules, _OF_RULES),
        "features": [_figure(column, features.get(column)) for column in columns],
    }


def _position(position: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(position)
    if "thesis" in shown:
        # Our own record, but written by a model that had read text from outside.
        shown["thesis"] = cleaned(str(shown["thesis"]), 240)
    return _known(shown, _OF_POSITION)


def _own_words(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": "",
        **_known(entry, _OF_RECORD),
        "orders": [_known(order, _OF_ORDER) for order in entry["orders"]],
        # A refusal may repeat what a model wrote.
        "refusals": [cleaned(text, 240) for text in entry["refusals"]],
    }


def _news(item: Mapping[str, Any], *, with_summary: bool) -> dict[str, Any]:
    return {
        "id": cleaned(str(item.get("id", ABSENT)), 80),
        "symbol": cleaned(str(item.get("symbol") or ABSENT), 20),
        "published_at": str(item.get("published_at", ABSENT)),
        "source": cleaned(str(item.get("source", ABSENT)), 40),
        "title": cleaned(str(item.get("title", "")), MOST_TITLE),
        "summary": cleaned(str(item.get("summary", "")), MOST_SUMMARY) if with_summary else "",
    }


def _events(observation: Mapping[str, Any], chosen: Iterable[str]) -> list[dict[str, Any]]:
    found = observation.get("events", {})
    return [
        {"symbol": symbol, **_known(event, _OF_EVENT)}
        for symbol in chosen
        for event in found.get(symbol, [])
    ]


def _stale(observation: Mapping[str, Any]) -> list[str]:
    quality: Mapping[str, Mapping[str, Any]] = observation.get("data_quality", {})
    return sorted(name for name, source in quality.items() if source.get("stale"))


def _figure(name: str, value: object) -> str:
    """Return a feature as text; what is not known is never zero."""
    if value is None or value == []:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name in _SHARES:
        return f"{value:+.2%}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - flags are short words
    return str(value)
