"""What the exchange refuses when an order is placed, and with which code.

Owns the checks in their order: suspension, hours, order type, price, quantity. Each rule itself is
the market room's. Must never change an order's price or quantity: what does not fit is refused.
Tests: tests/unit/domain/matching/test_exchange_rules.py.
"""

from __future__ import annotations

from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType, check_after_hours_price
from caopan.domain.market.phases import OrderKind, Permit
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.held_orders import HELD_MS, beyond_cage
from caopan.domain.matching.terms import (
    AFTER_HOURS_MS,
    CONTINUOUS_MS,
    NO_LIMIT_UP,
    Listing,
    LiveOrder,
    SecurityTerms,
)
from caopan.kernel.money import yuan

FUNDS = "BROKER_REJECT_FUNDS"
POSITION = "BROKER_REJECT_POSITION"
PRICE_LIMIT = "BROKER_REJECT_PRICE_LIMIT"
SESSION = "BROKER_REJECT_SESSION"
OTHER = "BROKER_REJECT_OTHER"

_AT_CLOSE = ExchangeOrderType.AFTER_HOURS_FIXED

Refusal = tuple[str, str]
"""The code and a sentence."""


def refusal(
    listing: Listing, order: LiveOrder, rules: DayRules | None, account: TradingAccount
) -> Refusal | None:
    """Return why the exchange does not take `order`, or None.

    An order that is kept until continuous trading begins gets that moment as `active_ms`, one that
    is held beyond the price cage gets HELD_MS.

    Raises:
        Denied: RISK_RULES_UNKNOWN where a dated table does not know the case.
    """
    if listing.suspended:
        return (OTHER, "suspended")
    return (
        _out_of_hours(listing, order, rules)
        or _bad_type(listing, order, rules)
        or _bad_price(listing, order, has_hours=rules is not None)
        or _outside_cage(listing, order, rules)
        or _bad_quantity(listing.terms, order, account)
    )


def _halted(listing: Listing, order: LiveOrder) -> bool:
    return listing.halts is not None and listing.halts.holds(order.placed_ms)


def _out_of_hours(listing: Listing, order: LiveOrder, rules: DayRules | None) -> Refusal | None:
    if rules is None:
        return None
    if _halted(listing, order) and order.kind.kind is OrderKind.MARKET:
        return (SESSION, "temporary halt")
    terms = listing.terms
    permit = rules.may_place(order.placed_ms, terms, order.kind.kind)
    if permit is Permit.REFUSED:
        return (SESSION, rules.phase(order.placed_ms).value)
    if permit is Permit.QUEUED:
        order.active_ms = max(order.active_ms, CONTINUOUS_MS)
    return None


def _bad_type(listing: Listing, order: LiveOrder, rules: DayRules | None) -> Refusal | None:
    kind = order.kind
    if kind is ExchangeOrderType.LIMIT:
        return None
    if rules is None:
        return None
    has_limits = listing.limit_up != NO_LIMIT_UP
    # Brokers put the day's limit where a client gives no protective price.
    protection = order.price or (listing.limit_up if has_limits else None)
    refused = rules.type_refusal(kind, listing.terms, has_limits=has_limits, protection=protection)
    if refused:
        return (OTHER, refused.detail)
    is_market = kind.kind is OrderKind.MARKET
    if is_market and order.price and not rules.protects(kind, listing.terms):
        return (OTHER, f"{kind} orders on {listing.exchange} carry no protective price")
    return None


def _bad_price(listing: Listing, order: LiveOrder, *, has_hours: bool) -> Refusal | None:
    price, kind = order.price, order.kind
    if not price and kind is not ExchangeOrderType.LIMIT and kind is not _AT_CLOSE:
        return None
    if price <= 0:
        what = "an order at the close" if kind is _AT_CLOSE else "a limit order"
        return (OTHER, f"{what} needs a price")
    if price % listing.tick:
        return (OTHER, f"price {yuan(price)} is not on the tick {yuan(listing.tick)}")
    if not listing.limit_down <= price <= listing.limit_up:
        return (PRICE_LIMIT, f"price {yuan(price)} is outside the limits")
    return _void_at_close(listing, order) if kind is _AT_CLOSE and has_hours else None


def _void_at_close(listing: Listing, order: LiveOrder) -> Refusal | None:
    """Refuse at once what could never trade at a close that is known already."""
    if order.placed_ms < AFTER_HOURS_MS or not listing.close:
        return None
    void = check_after_hours_price(order.price, listing.close, buying=order.is_buy)
    return (PRICE_LIMIT, void) if void else None


def _outside_cage(listing: Listing, order: LiveOrder, rules: DayRules | None) -> Refusal | None:
    """Refuse beyond the cage, or hold the order where the exchange keeps it for later."""
    if rules is None or order.kind is not ExchangeOrderType.LIMIT:
        return None
    last = None if listing.bar is None else listing.bar.close
    if last is not None and _halted(listing, order):
        return _outside_halted_range(listing, order, rules, last)
    bound = beyond_cage(listing, order, rules, order.placed_ms)
    if bound is None:
        return None
    if rules.holds_beyond_cage(listing.terms):
        order.active_ms = HELD_MS
        return None
    return (PRICE_LIMIT, f"price {yuan(order.price)} is beyond the price cage {yuan(bound)}")


def _outside_halted_range(
    listing: Listing, order: LiveOrder, rules: DayRules, last: int
) -> Refusal | None:
    """Refuse what the auction that ends the halt does not take; the cage rests meanwhile."""
    row = rules.halted_range(order.placed_ms, listing.terms)
    if row is None or (row.lowest or 0) * last <= order.price <= row.highest * last:
        return None
    return (PRICE_LIMIT, f"price {yuan(order.price)} is too far from the last {yuan(last)}")


def _bad_quantity(
    terms: SecurityTerms, order: LiveOrder, account: TradingAccount
) -> Refusal | None:
    qty = order.qty
    if order.kind is ExchangeOrderType.LIMIT:
        most = terms.max_limit_qty
    elif order.kind is _AT_CLOSE:
        most = terms.max_after_hours_qty or terms.max_limit_qty
    else:
        most = terms.max_market_qty
    if qty <= 0 or qty > most:
        return (OTHER, f"{qty} shares are not between 1 and {most}")
    step, least = terms.step, terms.min_buy
    if order.is_buy:
        if qty < least or (qty - least) % step:
            return (OTHER, f"a buy is for {least} shares and steps of {step}, not {qty}")
        return None
    sellable = account.sellable(order.symbol)
    if qty > sellable:
        return (POSITION, f"{qty} of {sellable} sellable shares")
    if sellable < least:
        odd = qty != sellable
    elif step < least:
        odd = qty < least
    else:
        odd = qty % step not in (0, sellable % step)
    return (OTHER, f"odd lot: {qty} of {sellable} sellable shares") if odd else None
