"""The exchange's state as plain events, and an exchange rebuilt from them.

Owns `export` and `rebuild`. What is exported is JSON as it stands: one record of the account, one
of the clock, one for each security quoted today and one for each resting order. Must never export
what can be told anew (terms, securities, fees are the caller's). Tests:
tests/simulation/domain/test_exchange_restart.py, tests/unit/domain/matching/test_snapshot.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from caopan.domain.accounting.account_records import rebuilt
from caopan.domain.accounting.dividend_tax import DividendTaxTable
from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.holdings import Reserve
from caopan.domain.accounting.plain_record import PlainRecord
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.halts import Direction, Tier
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Exchange
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.halt_watch import HaltWatch
from caopan.domain.matching.held_orders import HELD_MS
from caopan.domain.matching.sweep import Resting
from caopan.domain.matching.terms import (
    NO_LIMIT_UP,
    Bar,
    Listing,
    LiveOrder,
    SecurityTerms,
    Status,
)
from caopan.domain.matching.visible_book import VisibleBook
from caopan.domain.orders.order import Side
from caopan.kernel.errors import CorruptState

Record = dict[str, Any]

_ORDER_NUMBERS = (
    "number",
    "price",
    "qty",
    "open",
    "placed_ms",
    "active_ms",
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
        _order_record(order)
        for one in exchange.listings.values()
        for order in (*one.resting, *one.after_hours)
        if order.status is Status.LIVE
    )
    return records


def rebuild(
    terms: ExchangeTerms,
    securities: Iterable[SecurityTerms],
    fees: Mapping[Exchange, FeeTerms],
    records: Sequence[Record],
    dividend_tax: DividendTaxTable | None = None,
) -> SandboxExchange:
    """Return the exchange that `export` described; it goes on as if nothing had happened.

    `dividend_tax` are the rates of the account, where it has any: without them, shares that earned
    under tax cannot be sold.

    Raises:
        CorruptState: SNAPSHOT_INVALID naming the record and field, if one is missing or wrong, or
            if the records do not fit together.
    """
    by_kind: dict[str, list[PlainRecord]] = {"account": [], "clock": [], "listing": [], "order": []}
    for number, record in enumerate(records):
        plain = PlainRecord(record, f"record {number}")
        kind = plain.text("record")
        if kind not in by_kind:
            plain.refuse("record", kind, f"is none of {', '.join(by_kind)}")
        by_kind[kind].append(PlainRecord(record, f"record {number} ({kind})"))
    if len(by_kind["account"]) != 1 or len(by_kind["clock"]) != 1:
        raise _invalid("there is not exactly one account and one clock")
    account = rebuilt(by_kind["account"][0], dividend_tax)
    exchange = SandboxExchange(terms, securities, account, fees)
    _restore_clock(exchange, by_kind["clock"][0])
    if terms.rules is not None and exchange.is_open:
        terms.rules.open_day(exchange.day)
    for record in by_kind["listing"]:
        _restore_listing(_listing(exchange, record), record, terms.rules)
    for record in by_kind["order"]:
        listing = _listing(exchange, record)
        order = _restore_order(record, account)
        if order.number in exchange.live:
            record.refuse("number", order.number, "stands there twice")
        if order.number >= exchange.next_order:
            record.refuse("number", order.number, f"is not below {exchange.next_order}")
        exchange.live[order.number] = order
        listing.queue(order).append(order)
        listing.holds = listing.holds or order.active_ms == HELD_MS
        listing.leaving = listing.leaving or order.cancel_ms >= 0
        if order.kind is ExchangeOrderType.AFTER_HOURS_FIXED:
            exchange.after_hours.restore(listing, order)
    # A dictionary keeps the order of arrival, by which a day's end is logged.
    exchange.live = dict(sorted(exchange.live.items()))
    _check_reserves(exchange)
    return exchange


def _restore_clock(exchange: SandboxExchange, clock: PlainRecord) -> None:
    exchange.day = clock.day("day")
    exchange.now_ms, exchange.is_open = clock.whole("now_ms", 0), clock.flag("is_open")
    exchange.next_order = clock.whole("next_order", 1)
    exchange.next_event = clock.whole("next_event", 1)


def _listing(exchange: SandboxExchange, record: PlainRecord) -> Listing:
    found = exchange.listings.get(record.text("symbol"))
    if found is None:
        record.refuse("symbol", record.text("symbol"), "is no security of this exchange")
    return found


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
        "book": None if listing.book is None else _book_record(listing.book),
        "close": listing.close,
        "close_fixed": listing.close_fixed,
        "traded": listing.traded,
        "unlimited": listing.unlimited,
        "halts": None if listing.halts is None else _halts_record(listing.halts),
    }


def _book_record(book: VisibleBook) -> Record:
    return {
        "at_ms": book.at_ms,
        "bids": [[one.price, one.qty] for one in book.bids],
        "asks": [[one.price, one.qty] for one in book.asks],
    }


def _restore_book(record: PlainRecord) -> VisibleBook:
    sides = (
        [
            Resting("", record.as_whole(name, price, 1), record.as_whole(name, qty, 1))
            for price, qty in record.rows(name, 2)
        ]
        for name in ("bids", "asks")
    )
    return VisibleBook(record.whole("at_ms", 0), *sides)


def _halts_record(halts: HaltWatch) -> Record:
    return {
        "opening": halts.opening,
        "until_ms": halts.until_ms,
        "done": sorted([tier.direction.value, str(tier.share)] for tier in halts.done),
        "resumes": halts.resumes,
    }


def _restore_listing(listing: Listing, record: PlainRecord, rules: DayRules | None) -> None:
    up = record.whole_or_none("limit_up", 0)
    listing.pre_close = record.whole("pre_close", 1)
    listing.limit_up = NO_LIMIT_UP if up is None else up
    listing.limit_down = record.whole("limit_down", 0)
    listing.suspended = record.flag("suspended")
    if record.value("bar") is None:
        listing.bar = None
    else:
        listing.bar = Bar._make(record.numbers("bar", len(Bar._fields)))
    listing.left, listing.bars_today = record.whole("left", 0), record.whole("bars_today", 0)
    listing.close, listing.traded = record.whole("close", 0), record.whole("traded", 0)
    listing.close_fixed = record.flag("close_fixed")
    if record.value("book") is not None:
        listing.book = _restore_book(record.inner("book"))
    listing.unlimited = record.flag("unlimited")
    if record.value("halts") is not None and rules is not None:
        listing.halts = _restore_halts(listing, record.inner("halts"), rules)


def _restore_halts(listing: Listing, halts: PlainRecord, rules: DayRules) -> HaltWatch:
    done: set[Tier] = set()
    for way, share in halts.rows("done", 2):
        if way not in tuple(Direction):
            halts.refuse("done", way, f"is none of {', '.join(Direction)}")
        done.add(Tier(Direction(way), halts.as_share("done", share)))
    return HaltWatch(
        rules.halts(listing.terms),
        halts.whole("opening", 0),
        halts.whole("until_ms", 0),
        frozenset(done),
        halts.flag("resumes"),
    )


def _order_record(order: LiveOrder) -> Record:
    return {
        "record": "order",
        "side": order.side.value,
        "kind": order.kind.value,
        "symbol": order.symbol,
        "tag": order.tag,
        **{name: getattr(order, name) for name in _ORDER_NUMBERS},
        "reserved_cash": order.reserve.cash,
        "reserved_lots": [
            [lot.bought_on.isoformat(), frozen] for lot, frozen in order.reserve.lots
        ],
    }


def _restore_order(record: PlainRecord, account: TradingAccount) -> LiveOrder:
    side, kind = record.text("side"), record.text("kind")
    if side not in tuple(Side):
        record.refuse("side", side, f"is none of {', '.join(Side)}")
    if kind not in tuple(ExchangeOrderType):
        record.refuse("kind", kind, f"is none of {', '.join(ExchangeOrderType)}")
    numbers: dict[str, Any] = {name: record.whole(name) for name in _ORDER_NUMBERS}
    order = LiveOrder(
        side=Side(side),
        is_buy=side == Side.BUY,
        kind=ExchangeOrderType(kind),
        reserve=Reserve(record.whole("reserved_cash", 0)),
        symbol=record.text("symbol"),
        tag=record.text("tag"),
        **numbers,
    )
    if not 0 < order.open <= order.qty:
        record.refuse("open", order.open, f"is not between 1 and the {order.qty} ordered")
    holding = account.holdings.get(order.symbol)
    held = () if holding is None else holding.lots
    lots = {lot.bought_on: lot for lot in held if lot.listed_on is None}
    for day, frozen in record.rows("reserved_lots", 2):
        lot = lots.get(record.as_day("reserved_lots", day))
        if lot is None:
            record.refuse("reserved_lots", day, "is no lot of the account")
        order.reserve.lots.append((lot, record.as_whole("reserved_lots", frozen, 1)))
    return order


def _check_reserves(exchange: SandboxExchange) -> None:
    """Every frozen unit and share belongs to exactly one order."""
    cash = sum(order.reserve.cash for order in exchange.live.values())
    if cash != exchange.account.cash_frozen:
        raise _invalid(f"orders hold {cash} units, the account {exchange.account.cash_frozen}")
    reserved: dict[int, int] = {}
    for order in exchange.live.values():
        for lot, frozen in order.reserve.lots:
            reserved[id(lot)] = reserved.get(id(lot), 0) + frozen
    for held in exchange.account.holdings.values():
        for lot in held.lots:
            shares = reserved.get(id(lot), 0)
            if shares != lot.frozen:
                raise _invalid(
                    f"orders hold {shares} shares of {held.symbol} bought on {lot.bought_on}, "
                    f"the account {lot.frozen}"
                )


def _invalid(why: str) -> CorruptState:
    return CorruptState(
        "SNAPSHOT_INVALID", f"the exchange cannot go on: {why}", remedy="replay it from its log"
    )
