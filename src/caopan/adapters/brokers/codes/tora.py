"""TORA: its order states.

Owns TORA. State 0 waits at the counter, 1 is not known, 2 is at the exchange; 5 and 6 are
cancelled, in part or whole. Its texts are read. Tests: tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.reading import CounterCodes
from caopan.domain.orders.order import OrderStatus as S

TORA: Final = CounterCodes(
    "TORA",
    {
        "0": S.ACCEPTED,
        "1": S.UNKNOWN,
        "2": S.ACCEPTED,
        "3": S.PARTIALLY_FILLED,
        "4": S.FILLED,
        "5": S.CANCELED,
        "6": S.CANCELED,
        "7": S.REJECTED,
    },
)
