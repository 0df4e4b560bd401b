"""The account's risk policy: every tunable limit of the gate.

Owns RiskPolicy, its JSON, its halved form and its version. Exchange rules are not in here, because
nobody may switch them off. Must never judge. Shares are exact fractions of 1, money is units. An
optional limit that is None is not set.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime, time
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy_limits import LIMITS, read_limit, refused, written
from caopan.kernel.canonical import content_hash
from caopan.kernel.clock import shanghai
from caopan.kernel.money import units

_RANK = {Posture.NORMAL: 0, Posture.CAUTIOUS: 1, Posture.FLAT_ONLY: 2}


def tightest(*postures: Posture) -> Posture:
    """Return the tightest of `postures`."""
    return max(postures, key=_RANK.__getitem__)


@dataclass(frozen=True, slots=True)
class PostureSlot:
    """A posture from one time of the day up to and excluding another (Asia/Shanghai)."""

    start: time
    end: time
    posture: Posture

    def as_json(self) -> dict[str, str]:
        """Return the slot as JSON values."""
        return {
            "from": f"{self.start:%H:%M}",
            "posture": self.posture.value,
            "to": f"{self.end:%H:%M}",
        }


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """Limits of one account. Defaults suit an account of about one million yuan."""

    single_order_cap: int = units(200_000)
    """Largest value of one order, units."""
    min_order_value: int = units(2_000)
    """Smallest value of a buy: below it the minimum commission eats the trade."""
    symbol_nav_cap: Fraction = Fraction(12, 100)
    gross_cap: Fraction = Fraction(95, 100)
    max_positions: int = 15
    max_open_orders: int = 40
    orders_per_day: int = 200
    max_drift_bps: int = 150
    daily_loss_halt_pct: Fraction = Fraction(5, 100)
    max_drawdown_halt_pct: Fraction = Fraction(25, 100)
    max_quote_age_ms: int = 3_000
    allow_st: bool = False
    new_listing_days_refused: int = 20
    allow_limit_up_buy: bool = False
    exit_plan_required: bool = True
    blacklist: frozenset[str] = frozenset()
    whitelist: frozenset[str] | None = None
    """None means every symbol that no rule refuses; empty means that nothing may be bought."""
    price_collar_pct: Fraction | None = None
    """How far from the last price a limit may lie, either way."""
    daily_net_buy_cap: int | None = None
    daily_turnover_cap: int | None = None
    industry_nav_cap: Fraction | None = None
    participation_cap_pct: Fraction | None = None
    """Share of an average day's volume that all of today's orders of a symbol may make."""
    vol_impact_cap_bps: int | None = None
    """Most that an order may be expected to move the price: volatility x sqrt(participation)."""
    orders_per_second: int | None = None
    cancel_ratio: Fraction | None = None
    """Most cancels per order today."""
    cancel_ratio_from: int = 10
    """Orders a day from which `cancel_ratio` is counted: one cancel of one order is no pattern."""
    max_new_positions_per_day: int | None = None
    min_holding_days: int | None = None
    """Calendar days, as the observation's days_held."""
    reentry_cooldown_days: int | None = None
    max_round_trip_cost_bps: int | None = None
    loss_streak_pause: int | None = None
    """Sales at a loss in a row after which nothing is bought for the rest of the day."""
    max_account_age_ms: int = 30_000
    order_timeout_s: int | None = None
    """How long an order may rest before it is cancelled; None: to the end of its day. No rule of
    the gate: the hand keeps to it."""
    posture_mode: Posture = Posture.NORMAL
    posture_schedule: tuple[PostureSlot, ...] = ()
    all_or_none: bool = False
    """True where one refused action refuses the whole decision."""

    def posture_at(self, instant: datetime) -> Posture:
        """Return the posture of the policy at `instant` (aware)."""
        if not self.posture_schedule:
            return self.posture_mode
        moment = shanghai(instant).time()
        slots = (slot.posture for slot in self.posture_schedule if slot.start <= moment < slot.end)
        return tightest(self.posture_mode, *slots)

    def as_json(self) -> dict[str, Any]:
        """Return the policy as JSON values, grouped as in contracts.md; unset ones are left out.

        Money and shares are decimal strings. `from_json` reads it back to an equal policy.
        """
        limits = {name: written(getattr(self, name), limit.kind) for name, limit in LIMITS.items()}
        lists: dict[str, Any] = {"blacklist": sorted(self.blacklist)}
        if self.whitelist is not None:
            lists["whitelist"] = sorted(self.whitelist)
        return {
            "all_or_none": self.all_or_none,
            "exit_plan_required": self.exit_plan_required,
            "limit_up_buy": _word(allowed=self.allow_limit_up_buy),
            "limits": {name: value for name, value in limits.items() if value is not None},
            "lists": lists,
            "new_listing_policy": self.new_listing_days_refused,
            "posture": {
                "mode": self.posture_mode.value,
                "schedule": [slot.as_json() for slot in self.posture_schedule],
            },
            "st_policy": _word(allowed=self.allow_st),
        }

    @classmethod
    def from_json(cls, body: object) -> RiskPolicy:
        """Return the policy that JSON values state; what is left out keeps its default.

        Numbers must be exact (int, Decimal or decimal strings, no floats).

        Raises:
            ConfigInvalid: POLICY_INVALID naming the field, the value and the remedy.
        """
        whole = _object("policy", body, _FIELDS)
        given: dict[str, Any] = {}
        for name, value in _object("limits", whole.get("limits", {}), LIMITS).items():
            given[name] = read_limit(f"limits.{name}", LIMITS[name], value)
        lists = _object("lists", whole.get("lists", {}), ("blacklist", "whitelist"))
        for name, value in lists.items():
            none = name == "whitelist" and value is None
            given[name] = None if none else _symbols(f"lists.{name}", value)
        posture = _object("posture", whole.get("posture", {}), ("mode", "schedule"))
        if "mode" in posture:
            given["posture_mode"] = _posture("posture.mode", posture["mode"])
        if "schedule" in posture:
            given["posture_schedule"] = _schedule(posture["schedule"])
        for name, field_name in _WORDS.items():
            if name in whole:
                given[field_name] = _allowed(name, whole[name])
        for name in ("exit_plan_required", "all_or_none"):
            if name in whole:
                given[name] = _truth(name, whole[name])
        if "new_listing_policy" in whole:
            given["new_listing_days_refused"] = _sessions(whole["new_listing_policy"])
        return cls(**given)

    @property
    def version(self) -> str:
        """Return the first 16 hex digits of the policy's content hash."""
        return content_hash(self.as_json())[:16]


_CAPS = tuple(field.name for field in fields(RiskPolicy) if "_cap" in field.name)
_WORDS = {"st_policy": "allow_st", "limit_up_buy": "allow_limit_up_buy"}
_FIELDS = frozenset(
    ("limits", "lists", "posture", "new_listing_policy", "exit_plan_required", "all_or_none")
) | frozenset(_WORDS)
_SYMBOL = re.compile(r"\d{6}\.(SH|SZ|BJ)")
_MOST_SESSIONS = 10_000


@lru_cache(maxsize=64)
def cautious(policy: RiskPolicy) -> RiskPolicy:
    """Return `policy` with every cap halved; whole numbers are rounded down."""
    halves: dict[str, Any] = {}
    for name in _CAPS:
        value = getattr(policy, name)
        if value is not None:
            halves[name] = value / 2 if isinstance(value, Fraction) else value // 2
    return replace(policy, **halves)


def _word(*, allowed: bool) -> str:
    return "allow" if allowed else "refuse"


def _object(path: str, value: object, names: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refused(path, value, "write a JSON object")
    found = cast("dict[str, Any]", value)
    for name in found:
        if name not in names:
            raise refused(
                name if path == "policy" else f"{path}.{name}",
                found[name],
                f"the field is not known; {path} has {', '.join(sorted(names))}",
            )
    return found


def _list(path: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise refused(path, value, "write a JSON array")
    return cast("list[Any]", value)


def _symbols(path: str, value: object) -> frozenset[str]:
    for symbol in (found := _list(path, value)):
        if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
            raise refused(path, symbol, "write symbols as 600519.SH, 000001.SZ or 920047.BJ")
    return frozenset(found)


def _posture(path: str, value: object) -> Posture:
    if not isinstance(value, str) or value not in set(Posture):
        raise refused(path, value, f"write one of {', '.join(Posture)}")
    return Posture(value)


def _schedule(value: object) -> tuple[PostureSlot, ...]:
    slots: list[PostureSlot] = []
    for index, item in enumerate(_list("posture.schedule", value)):
        path = f"posture.schedule[{index}]"
        slot = _object(path, item, ("from", "to", "posture"))
        start, end = (_moment(f"{path}.{name}", slot.get(name)) for name in ("from", "to"))
        if start >= end:
            raise refused(path, f"{start:%H:%M}-{end:%H:%M}", "`from` lies before `to`")
        slots.append(PostureSlot(start, end, _posture(f"{path}.posture", slot.get("posture"))))
    return tuple(slots)


def _moment(path: str, value: object) -> time:
    try:
        return datetime.strptime(str(value), "%H:%M").time()  # noqa: DTZ007 - a time of day
    except ValueError as error:
        raise refused(path, value, "write an exchange time as 14:50") from error


def _allowed(path: str, value: object) -> bool:
    if value not in ("allow", "refuse"):
        raise refused(path, value, "write refuse or allow")
    return value == "allow"


def _truth(path: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refused(path, value, "write true or false")
    return value


def _sessions(value: object) -> int:
    if value in ("allow", "refuse"):
        return 0 if value == "allow" else RiskPolicy().new_listing_days_refused
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_SESSIONS:
        remedy = "write refuse, allow, or the number of sessions after listing without buys"
        raise refused("new_listing_policy", value, remedy)
    return value


def parameters(policy: RiskPolicy, names: Collection[str]) -> dict[str, Any]:
    """Return the fields `names` of a policy as JSON values; null where a limit is not set."""
    body, found = policy.as_json(), dict[str, Any]()
    words = {field_name: name for name, field_name in _WORDS.items()}
    for name in names:
        if name in LIMITS:
            found[name] = body["limits"].get(name)
        elif name in ("blacklist", "whitelist"):
            found[name] = body["lists"].get(name)
        elif name.startswith("posture_"):
            found[name] = body["posture"][name.removeprefix("posture_")]
        elif name == "new_listing_days_refused":
            found["new_listing_policy"] = body["new_listing_policy"]
        else:
            word = words.get(name, name)
            found[word] = body[word]
    return found
