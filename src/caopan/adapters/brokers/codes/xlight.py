"""Xlight, an A-share counter: the numbers of its errors.

Owns XLIGHT. 101 to 103 carry an exchange's own sub-code, so their text decides. Tests:
tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.reading import (
    BLOCKED,
    DISCONNECTED,
    FUNDS,
    OTHER,
    POSITION,
    PRICE,
    RATE,
    TIMEOUT,
    CounterCodes,
)

XLIGHT: Final = CounterCodes(
    "Xlight",
    {},
    {
        **dict.fromkeys(("201", "304", "305", "307", "308"), DISCONNECTED),
        **dict.fromkeys(("301", "401", "501", "503", "801"), OTHER),
        **dict.fromkeys(("601", "701"), BLOCKED),
        "306": TIMEOUT,
        "309": RATE,
        "502": PRICE,
        "504": FUNDS,
        "505": POSITION,
    },
)
