"""What a day does to the books by itself: entitlements at its open, NAV at its close.

Owns both computations. Must never store anything (the pipeline does, once).
"""

from __future__ import annotations

from datetime import date, datetime, time

from caopan.application.account import AccountCache
from caopan.application.desk import Desk
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.store import NavPoint
from caopan.domain.accounting.bookings import book_entitlement
from caopan.domain.accounting.journal import Book, Transaction
from caopan.kernel.clock import at_shanghai
from caopan.kernel.ids import derived_uuid


def entitlements_of(
    market: MarketData, id_seed: str, book: Book, day: date, now: datetime
) -> list[Transaction]:
    """Return what holders of record receive on `day`, by symbol.

    Shares bought on `day` itself were not held at the close before and receive nothing, so the
    answer is the same however often, and however late on that day, it is asked for.
    """
    references = market.references(day, now)
    # The day, not the moment, names the booking: asking twice on one day books it once.
    midnight = at_shanghai(day, time())
    found: list[Transaction] = []
    for symbol in sorted(book.quantities()):
        reference = references.get(symbol)
        if reference is None or reference.action is None:
            continue
        txn_id = derived_uuid(midnight, id_seed, "ex", symbol)
        of_record = [lot for lot in book.lots(symbol) if lot.bought_on < day]
        found.append(book_entitlement(txn_id, symbol, of_record, reference.action, now))
    return [transaction for transaction in found if transaction.postings]


def nav_point_of(desk: Desk, account: AccountCache, day: date, benchmark: int | None) -> NavPoint:
    """Return the account at the close of `day`, holdings at their last close."""
    now = desk.clock.now()
    nav = account.nav(desk.market.closes(day, now))
    book = account.book
    return NavPoint(
        trading_day=day,
        at=now,
        nav=nav,
        cash_free=book.cash_free,
        cash_frozen=book.cash_frozen,
        market_value=nav - book.cash_free - book.cash_frozen + book.cash_owed,
        fees_total=account.fees_total,
        realised_total=account.realised_total,
        benchmark=benchmark,
    )
