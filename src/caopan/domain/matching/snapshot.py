"""The exchange's state as plain events, and an exchange rebuilt from them.

Owns `export` and `rebuild`. What is exported is JSON as it stands: one record of the account, one
of the clock, one for each security quoted today and one for each resting order. Must never export
what can be told anew (terms, securities, fees are the caller's). Tests:
tests/simulation/domain/test_exchange_restart.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.trading_account import Reserve, TradingAccount, rebuilt
from caopan.domain.market.halts import Direction, Tier
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Exchange
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.halt_watch import HaltWatch
from caopan.domain.matching.terms import (
    NO_LIMIT_UP,
    Bar,
    Listing,
    LiveOrder,
    SecurityTerms,
)
from caopan.domain.orders.order import Side
from caopan.kernel.errors import CorruptState

Record = dict[str, Any]

_ORDER_FIELDS = (
    "number",
    "symbol",
    "price",
    "qty",
    "open",
    "placed_ms",
    "active_ms",
    "tag",
    "reserve_price",
    "fee_bound",
    "amount",
    "commission",
    "stamp_duty",
    "transfer_fee",
    "cancel_ms",
    "queue_ahead",
)


def export(exchange: SandboxExchange) -> list[Record]:
    """Return all that a restart must know, in the order `rebuild` reads it."""
    records: list[Record] = [
        {"record": "account", **exchange.account.export()},
        {
            "record": "clock",
            "day": exchange.day.isoformat(),
            "now_ms": exchange.now_ms,
            "is_open": exchange.is_open,
            "next_order": exchange.next_order,
            "next_event": exchange.next_event,
        },
    ]
    records.extend(_listing_record(one) for one in exchange.listings.values() if one.pre_close)
    records.extend(
        _order_record(order) for one in exchange.listings.values() for order in one.resting
    )
    return records


def rebuild(
    terms: ExchangeTerms,
    securities: Iterable[SecurityTerms],
    fees: Mapping[Exchange, FeeTerms],
    records: Sequence[Record],
) -> SandboxExchange:
    """Return the exchange that `export` described; it goes on as if nothing had happened.

    Raises:
        CorruptState: SNAPSHOT_INVALID if the records do not fit together.
    """
    by_kind: dict[str, list[Record]] = {}
    for record in records:
        by_kind.setdefault(str(record.get("record")), []).append(record)
    if len(by_kind.get("account", [])) != 1 or len(by_kind.get("clock", [])) != 1:
        raise _invalid("there is not exactly one account and one clock")
    account = rebuilt(by_kind["account"][0])
    exchange = SandboxExchange(terms, securities, account, fees)
    clock = by_kind["clock"][0]
    exchange.day = date.fromisoformat(clock["day"])
    exchange.now_ms, exchange.is_open = clock["now_ms"], clock["is_open"]
    exchange.next_order, exchange.next_event = clock["next_order"], clock["next_event"]
    if terms.rules is not None and exchange.is_open:
        terms.rules.open_day(exchange.day)
    for record in by_kind.get("listing", []):
        _restore_listing(exchange.listing(record["symbol"]), record, terms.rules)
    for record in by_kind.get("order", []):
        order = _restore_order(record, account)
        exchange.live[order.number] = order
        exchange.listing(order.symbol).resting.append(order)
    # A dictionary keeps the order of arrival, by which a day's end is logged.
    exchange.live = dict(sorted(exchange.live.items()))
    _check_reserves(exchange)
    return exchange


def _listing_record(listing: Listing) -> Record:
    return {
        "record": "listing",
        "symbol": listing.symbol,
        "pre_close": listing.pre_close,
        "limit_up": None if listing.limit_up == NO_LIMIT_UP else listing.limit_up,
        "limit_down": listing.limit_down,
        "suspended": listing.suspended,
        "bar": None if listing.bar is None else list(listing.bar),
        "left": listing.left,
        "bars_today": listing.bars_today,
        "unlimited": listing.unlimited,
        "halts": None if listing.halts is None else _halts_record(listing.halts),
    }


def _halts_record(halts: HaltWatch) -> Record:
    return {
        "opening": halts.opening,
        "until_ms": halts.until_ms,
        "done": sorted([tier.direction.value, str(tier.share)] for tier in halts.done),
        "resumes": halts.resumes,
    }


def _restore_listing(listing: Listing, record: Record, rules: DayRules | None) -> None:
    up, bar = record["limit_up"], record["bar"]
    listing.pre_close = record["pre_close"]
    listing.limit_up = NO_LIMIT_UP if up is None else up
    listing.limit_down = record["limit_down"]
    listing.suspended = record["suspended"]
    listing.bar = None if bar is None else Bar._make(bar)
    listing.left, listing.bars_today = record["left"], record["bars_today"]
    listing.unlimited = record["unlimited"]
    halts = record["halts"]
    if halts is not None and rules is not None:
        done = (Tier(Direction(way), Fraction(share)) for way, share in halts["done"])
        listing.halts = HaltWatch(
            rules.halts(listing.terms),
            halts["opening"],
            halts["until_ms"],
            frozenset(done),
            halts["resumes"],
        )


def _order_record(order: LiveOrder) -> Record:
    return {
        "record": "order",
        "side": order.side.value,
        "kind": order.kind.value,
        **{name: getattr(order, name) for name in _ORDER_FIELDS},
        "reserved_cash": order.reserve.cash,
        "reserved_lots": [
            [lot.bought_on.isoformat(), frozen] for lot, frozen in order.reserve.lots
        ],
    }


def _restore_order(record: Record, account: TradingAccount) -> LiveOrder:
    side = Side(record["side"])
    order = LiveOrder(
        side=side,
        is_buy=side is Side.BUY,
        kind=ExchangeOrderType(record["kind"]),
        reserve=Reserve(record["reserved_cash"]),
        **{name: record[name] for name in _ORDER_FIELDS},
    )
    if record["reserved_lots"]:
        holding = account.holdings.get(order.symbol)
        lots = {} if holding is None else {lot.bought_on: lot for lot in holding.lots}
        for day, frozen in record["reserved_lots"]:
            lot = lots.get(date.fromisoformat(day))
            if lot is None:
                raise _invalid(f"order {order.number} holds shares of a lot that is not there")
            order.reserve.lots.append((lot, frozen))
    return order


def _check_reserves(exchange: SandboxExchange) -> None:
    """Every frozen unit and share belongs to exactly one order."""
    cash = sum(order.reserve.cash for order in exchange.live.values())
    if cash != exchange.account.cash_frozen:
        raise _invalid(f"orders hold {cash} units, the account {exchange.account.cash_frozen}")
    shares = sum(frozen for order in exchange.live.values() for _, frozen in order.reserve.lots)
    held = sum(lot.frozen for one in exchange.account.holdings.values() for lot in one.lots)
    if shares != held:
        raise _invalid(f"orders hold {shares} shares, the account {held}")


def _invalid(why: str) -> CorruptState:
    return CorruptState(
        "SNAPSHOT_INVALID", f"the exchange cannot go on: {why}", remedy="replay it from its log"
    )
