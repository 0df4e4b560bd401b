"""From a counter's status, error code and text to our states and codes.

Owns CounterCodes and the reading of texts. A code decides where the table knows it; else the text,
by the words below; what neither explains is BROKER_REJECT_OTHER. A status nobody knows is UNKNOWN:
it waits for evidence, and is never taken for a failure. Must never act. Tests:
tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from caopan.domain.orders.order import OrderStatus
from caopan.kernel.errors import CaopanError, Denied, OutcomeUnknown, Unavailable

FUNDS: Final = "BROKER_REJECT_FUNDS"
POSITION: Final = "BROKER_REJECT_POSITION"
PRICE: Final = "BROKER_REJECT_PRICE_LIMIT"
SESSION: Final = "BROKER_REJECT_SESSION"
RATE: Final = "BROKER_RATE_LIMIT"
DISCONNECTED: Final = "BROKER_DISCONNECTED"
TIMEOUT: Final = "BROKER_TIMEOUT"
BLOCKED: Final = "BROKER_BLOCKED"
OTHER: Final = "BROKER_REJECT_OTHER"

UNSET_ERROR: Final = 2**31 - 1
"""The error id of a callback whose maker filled in none."""

# The first pattern that is found decides; the more telling ones stand first.
_TEXTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"资金[^,,。]{0,12}不足|余额[^,,。]{0,8}不足|insufficient (funds|cash)", FUNDS),
        (r"(证券|股份|股票|持仓|可用数量|可卖|仓位)[^,,。]{0,12}(不足|超过)|不能卖空", POSITION),
        (r"(涨停|跌停|涨跌幅|价格范围|价格笼子|有效竞价范围|有效申报价格)", PRICE),
        (r"(当前|非|不在|已过|未到)[^,,。]{0,8}(时间|时段|交易日)|已?闭市|休市|未开市", SESSION),
        (r"流控|过快|频繁|每秒|超过许可数|限速", RATE),
        (r"断开|未连接|网络|连接失败|前置不活跃|会话", DISCONNECTED),
        (r"超时|time ?out", TIMEOUT),
    )
)
_BRACKETED_CODE: Final = re.compile(r"\[(\d{3,8})\]")
_LIVE_CONNECTION: Final = frozenset({DISCONNECTED, TIMEOUT})


@dataclass(frozen=True, slots=True)
class CounterCodes:
    """One counter's words. Codes and states are keys as text, as the counter writes them."""

    name: str
    statuses: Mapping[str, OrderStatus]
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    """By error code; what is missing is read from the text."""

    def status(self, said: str | int) -> OrderStatus:
        """Return our state for a counter's; UNKNOWN for one that nobody knows."""
        return self.statuses.get(str(said).strip(), OrderStatus.UNKNOWN)

    def reason(self, code: str | int | None, text: str = "") -> str:
        """Return our code for what a counter gave as the reason of a refusal."""
        written = "" if code is None or str(code) == str(UNSET_ERROR) else str(code).strip()
        found = self.errors.get(written)
        if found is None:
            within = _BRACKETED_CODE.search(text)
            found = self.errors.get(within[1]) if within else None
        return found or reason_of_text(text)


def reason_of_text(text: str) -> str:
    """Return our code for a reason given in words only."""
    flat = re.sub(r"[\[\]\s]", "", text)
    return next((code for words, code in _TEXTS if words.search(flat)), OTHER)


def refusal(
    codes: CounterCodes, code: str | int | None, text: str, *, has_left: bool
) -> CaopanError:
    """Return the error to raise for an answer that is no success.

    `has_left` tells that the order may have reached the venue: then a broken line is an unknown
    outcome, never a refusal.
    """
    reason = codes.reason(code, text)
    message = f"{codes.name} says {'' if code is None else code} {text}".strip()
    if reason in _LIVE_CONNECTION:
        kind = OutcomeUnknown if has_left else Unavailable
        return kind(reason, message, remedy="ask for the order by its tag")
    return Denied(reason, message)


def tag_of(remark: str) -> str:
    """Return the tag in an order's remark, which may be empty, or written twice with | between.

    The first writing may carry a prefix of whoever passed it on. Two tags are none.
    """
    parts = sorted((part.strip() for part in remark.split("|") if part.strip()), key=len)
    return parts[0] if parts and all(part.endswith(parts[0]) for part in parts) else ""
