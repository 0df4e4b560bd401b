"""An observation out of a file, for whatever judges or shows one without a database.

Owns `read_observation`: the values in the form the chain builds them, parts that are not in the
file empty, and the hash they are named by; and `read_shown`, the same fit to be shown to a model.
Must never fill in a figure. Tests: tests/integration/cli/test_actor_parse.py,
tests/integration/cli/test_prompt.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from caopan.application.decision_cycle.observe import Observation
from caopan.application.file_fields import Node
from caopan.kernel.canonical import Json, canonical, sha256_hex
from caopan.kernel.ids import derived_uuid
from caopan.kernel.money import yuan

_BY_SYMBOL: Final = ("features", "fundamentals", "market_rules")
_NAMED: Final = {"positions": "symbol", "open_orders": "order_id"}
"""Lists whose members are told apart by a field."""
_MONEY: Final = {
    "account": ("nav", "cash", "available_cash", "frozen_cash"),
    "market_rules": ("tick_size", "limit_up", "limit_down", "cage_up", "cage_down"),
    "open_orders": ("price",),
    "positions": ("avg_price", "market_value", "unrealized_pnl"),
}


def read_observation(root: Node) -> tuple[Observation, datetime]:
    """Return the observation of a file, and when it was made.

    It is named by its `content_hash` where the file gives one, else by the hash of what it holds.

    Raises:
        ConfigInvalid: GATE_FILE_INVALID naming file, field, value and remedy.
    """
    values: dict[str, Any] = _plain(root.members())
    told = values.pop("content_hash", None)
    body = canonical(values)
    named = sha256_hex(body) if told is None else root.at("content_hash").text()
    made = root.at("generated_at").instant()
    account = root.at("account")
    for name in ("nav", "cash"):
        account.at(name).money()
    values["account"] |= _money(account, _MONEY["account"])
    for name in _BY_SYMBOL:
        values[name] = _sections(root, name)
    for name, key in _NAMED.items():
        values[name] = _named(root, name, key)
    values["news"] = [_plain(item.members()) for item in _list(root, "news")]
    values["events"] = {
        symbol: [_plain(event.members()) for event in _list(root.at("events"), symbol)]
        for symbol in (root.at("events").members() if root.has("events") else ())
    }
    if root.has("valid_ttl_ms"):
        root.at("valid_ttl_ms").whole()
    return Observation(_id(root, made), values, body, named), made


def read_shown(root: Node) -> tuple[Observation, datetime]:
    """Return what `read_observation` does, with every part that a prompt is rendered from.

    Raises:
        ConfigInvalid: GATE_FILE_INVALID as there, and for parts that only a prompt needs.
    """
    observation, made = read_observation(root)
    values = dict(observation.values)
    clock = root.at("clock")
    for name in ("trading_day", "phase"):
        clock.at(name).text()
    clock.at("seconds_to_phase_end").whole()
    # Whoever names no universe means what it gives rules of.
    values["universe"] = sorted(values["market_rules"])
    if root.has("universe"):
        values["universe"] = [one.text() for one in root.at("universe").items()]
    for name in ("market", "costs", "data_quality"):
        values[name] = _plain(root.at(name).members()) if root.has(name) else {}
    for source in values["data_quality"]:
        root.at("data_quality").at(source).members()
    for entry in _list(root, "own_record"):
        _past(entry)
    return replace(observation, values=values), made


def _past(entry: Node) -> None:
    """Refuse a decision of the past that could not be told of."""
    for refusal in entry.at("refusals").items():
        refusal.text()
    for order in entry.at("orders").items():
        order.members()


def _sections(root: Node, name: str) -> dict[str, Any]:
    """Return what a part of the observation has by symbol."""
    if not root.has(name):
        return {}
    part = root.at(name)
    return {
        symbol: _plain(part.at(symbol).members()) | _money(part.at(symbol), _MONEY.get(name, ()))
        for symbol in part.members()
    }


def _named(root: Node, name: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in _list(root, name):
        item.at(key).text()
        for count in ("qty", "filled_qty", "sellable_qty"):
            if item.has(count):
                item.at(count).whole()
        found.append(_plain(item.members()) | _money(item, _MONEY[name]))
    return found


def _list(root: Node, name: str) -> list[Node]:
    return list(root.at(name).items()) if root.has(name) else []


def _money(node: Node, names: tuple[str, ...]) -> dict[str, str]:
    """Return the amounts a node has, as the decimal texts of the contract."""
    return {name: yuan(node.at(name).money()) for name in names if node.has(name)}


def _plain(value: Json) -> Json:
    """Return JSON values with floats for decimals, as a statistic is one."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(one) for one in cast("list[Any]", value)]
    return float(value) if isinstance(value, Decimal) else value


def _id(root: Node, made: datetime) -> UUID:
    """Return the id of the file's observation, one of its own where it is named otherwise."""
    told = str(root.at("observation_id").value)
    try:
        return UUID(told)
    except ValueError:
        return derived_uuid(made, "observation file", told)
