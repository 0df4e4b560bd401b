"""XTP: its order states and price types.

Owns XTP. State 2 is a part fill with its rest still queueing, 3 a part fill whose rest was
cancelled. Its error codes are many and not public in one place: texts are read. Tests:
tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.reading import CounterCodes
from caopan.domain.market.order_types import ExchangeOrderType as T
from caopan.domain.orders.order import OrderStatus as S

XTP: Final = CounterCodes(
    "XTP",
    {
        "0": S.ACCEPTED,
        "1": S.FILLED,
        "2": S.PARTIALLY_FILLED,
        "3": S.CANCELED,
        "4": S.ACCEPTED,
        "5": S.CANCELED,
        "6": S.REJECTED,
        "7": S.UNKNOWN,
    },
)
PRICE_TYPES: Final = {
    T.LIMIT: 1,
    T.MARKET_IOC: 2,
    T.MARKET_BEST5_LIMIT: 3,
    T.MARKET_BEST5_CANCEL: 4,
    T.MARKET_FOK: 5,
    T.MARKET_OWN_BEST: 6,
    T.MARKET_PEER_BEST: 7,
}
