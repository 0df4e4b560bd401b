"""CTP-style counters: their order states and the error numbers that concern an order of shares.

Owns CTP. A refusal by the exchange comes as the state of a cancel, with the reason in the text:
`ended` tells the two apart. Tests: tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.reading import (
    BLOCKED,
    DISCONNECTED,
    FUNDS,
    OTHER,
    POSITION,
    RATE,
    CounterCodes,
    reason_of_text,
)
from caopan.domain.orders.order import OrderStatus as S

_NO_CONNECTION = ("1", "6", "7", "8", "21", "39", "78", "79", "90")
_NOT_ALLOWED = ("3", "9", "19", "28", "42", "60", "63", "75")
_WRONG = ("15", "16", "17", "22", "23", "24", "25", "26", "27", "80")

CTP: Final = CounterCodes(
    "CTP",
    {
        "0": S.FILLED,
        "1": S.PARTIALLY_FILLED,
        "2": S.CANCELED,
        "3": S.ACCEPTED,
        "4": S.REJECTED,
        "5": S.CANCELED,
        "a": S.UNKNOWN,
    },
    {
        **dict.fromkeys(_NO_CONNECTION, DISCONNECTED),
        **dict.fromkeys(_NOT_ALLOWED, BLOCKED),
        **dict.fromkeys(_WRONG, OTHER),
        **dict.fromkeys(("29", "30", "37", "50", "51"), POSITION),
        **dict.fromkeys(("40", "41"), RATE),
        "31": FUNDS,
    },
)


def reason_of_status(text: str) -> str:
    """Return our code for the text beside a state: the number before it is the exchange's own."""
    return reason_of_text(text)


def ended(status: str, text: str) -> S:
    """Return the state of an order; a "cancel" whose text tells of a refusal is one."""
    found = CTP.status(status)
    return S.REJECTED if found is S.CANCELED and "被拒绝" in text else found
