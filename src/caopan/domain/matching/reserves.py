"""What an order holds back of the account until it ends: cash or shares, and whether it pays.

Owns the amount of a reserve. Must never move cash or shares but into a reserve. Tests:
tests/unit/domain/matching/test_exchange_rules.py.
"""

from __future__ import annotations

from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.matching.admission import FUNDS, OTHER, POSITION, Refusal
from caopan.domain.matching.terms import NO_LIMIT_UP, Listing, LiveOrder
from caopan.kernel.money import yuan


def hold_back(
    listing: Listing, order: LiveOrder, account: TradingAccount, *, at_last: bool
) -> Refusal | None:
    """Freeze what `order` needs, or return why the account has not got it.

    A market buy reserves at limit-up; with `at_last`, or without limits, at the last price.
    """
    number, reserve = order.number, order.reserve
    if not order.is_buy:
        if account.freeze_shares(number, reserve, order.symbol, order.qty):
            return None
        return (POSITION, f"{order.qty} shares are not sellable")
    price = order.price or _market_price(listing, at_last=at_last)
    if not price:
        return (OTHER, "no price to reserve cash at")
    amount = order.qty * price
    order.reserve_price = price
    order.fee_bound = listing.fees.buy_bound(amount)
    if account.freeze_cash(number, reserve, amount + order.fee_bound):
        return None
    needed = yuan(amount + order.fee_bound)
    return (FUNDS, f"{needed} needed, {yuan(account.cash_free)} free")


def affordable(
    listing: Listing, order: LiveOrder, account: TradingAccount, qty: int, price: int
) -> bool:
    """Return whether reserve and free cash pay; only a reserve at the last price may not."""
    if price <= order.reserve_price or not order.is_buy:
        return True
    total = order.amount + qty * price
    due = qty * price + listing.fees.buy_bound(total) - order.commission - order.transfer_fee
    return due <= order.reserve.cash + account.cash_free


def _market_price(listing: Listing, *, at_last: bool) -> int:
    if at_last or listing.limit_up == NO_LIMIT_UP:
        return 0 if listing.bar is None else listing.bar.close
    return listing.limit_up
