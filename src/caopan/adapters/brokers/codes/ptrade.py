"""PTrade (Hundsun): its order states.

Owns PTRADE. The letters are those of Hundsun's counters, as strings of one character. Its error
numbers are the counter's own, like QMT's. Tests: tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.qmt import QMT
from caopan.adapters.brokers.codes.reading import CounterCodes
from caopan.domain.orders.order import OrderStatus as S

PTRADE: Final = CounterCodes(
    "PTrade",
    {
        "0": S.ACCEPTED,
        "1": S.ACCEPTED,
        "2": S.ACCEPTED,
        "3": S.PENDING_CANCEL,
        "4": S.PENDING_CANCEL,
        "5": S.CANCELED,
        "6": S.CANCELED,
        "7": S.PARTIALLY_FILLED,
        "8": S.FILLED,
        "9": S.REJECTED,
        "+": S.ACCEPTED,
        "-": S.ACCEPTED,
        "V": S.ACCEPTED,
    },
    QMT.errors,
)
