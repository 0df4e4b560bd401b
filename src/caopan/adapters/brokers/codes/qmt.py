"""QMT (xtquant): its order states and the codes its counters put into texts.

Owns QMT. In states 48 and 49 the counter has the order and has not sent it on; 51 and 52 are
cancels on their way, not ends; 53 is a part fill whose rest was cancelled; 255 is not a failure.
Where the counter gives no code, error_id holds the largest int and the text must be read.
Tests: tests/unit/adapters/brokers/test_codes.py.
"""

from __future__ import annotations

from typing import Final

from caopan.adapters.brokers.codes.reading import FUNDS, POSITION, SESSION, CounterCodes
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Exchange
from caopan.domain.orders.order import OrderStatus as S

QMT: Final = CounterCodes(
    "QMT",
    {
        "48": S.ACCEPTED,
        "49": S.ACCEPTED,
        "50": S.ACCEPTED,
        "51": S.PENDING_CANCEL,
        "52": S.PENDING_CANCEL,
        "53": S.CANCELED,
        "54": S.CANCELED,
        "55": S.PARTIALLY_FILLED,
        "56": S.FILLED,
        "57": S.REJECTED,
        "255": S.UNKNOWN,
        # The client's own list shows words.
        "未报": S.ACCEPTED,
        "待报": S.ACCEPTED,
        "已报": S.ACCEPTED,
        "已报待撤": S.PENDING_CANCEL,
        "部成待撤": S.PENDING_CANCEL,
        "部撤": S.CANCELED,
        "已撤": S.CANCELED,
        "部成": S.PARTIALLY_FILLED,
        "已成": S.FILLED,
        "废单": S.REJECTED,
        "未知": S.UNKNOWN,
    },
    {"251005": POSITION, "260200": FUNDS, "120144": SESSION},
)

_T = ExchangeOrderType
PRICE_TYPES: Final = {
    _T.LIMIT: dict.fromkeys(Exchange, 11),
    _T.MARKET_BEST5_CANCEL: {Exchange.SH: 42, Exchange.BJ: 42, Exchange.SZ: 47},
    _T.MARKET_BEST5_LIMIT: {Exchange.SH: 43, Exchange.BJ: 43},
    _T.MARKET_PEER_BEST: dict.fromkeys(Exchange, 44),
    _T.MARKET_OWN_BEST: dict.fromkeys(Exchange, 45),
    _T.MARKET_IOC: {Exchange.SZ: 46},
    _T.MARKET_FOK: {Exchange.SZ: 48},
}
"""The price_type of an order sent, by exchange; a missing one does not exist there."""
MARKETS: Final = {Exchange.SH: 0, Exchange.SZ: 1, Exchange.BJ: 70}
"""The market number of a cancel by the exchange's own order number."""
