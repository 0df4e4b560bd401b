"""What befalls a holding beside dividends: rights taken up, a new code, a delisting.

Owns these three changes of a TradingAccount, each one balanced movement. Must never decide whether
they happen: it is told. Tests: tests/property/domain/accounting/test_trading_account.py,
tests/unit/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from datetime import date

from caopan.domain.accounting.holdings import Holding, LotState
from caopan.domain.accounting.journal import Kind
from caopan.domain.accounting.movements import LotPart, Movement
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.kernel.errors import ConfigInvalid, CorruptState


def take_up_rights(
    account: TradingAccount, symbol: str, qty: int, price: int, listed_on: date | None = None
) -> bool:
    """Buy `qty` rights shares (配股) at `price`, free of fees; False if cash does not suffice.

    They count from today, and are sellable like what is bought today, or from `listed_on` on.
    """
    amount = qty * price
    if amount > account.cash_free:
        return False
    account.cash_free -= amount
    holding = account.holdings.setdefault(symbol, Holding(symbol))
    waits_for = listed_on if listed_on is not None and listed_on > account.today else None
    if waits_for is None:
        holding.take_in(qty, amount, account.today)
        account.unsettled.append(holding)
    else:
        holding.lots.append(LotState(account.today, qty, 0, amount, (), waits_for))
        holding.qty += qty
        if holding not in account.unlisted:
            account.unlisted.append(holding)
    account.note(
        Kind.CORPORATE_ACTION,
        symbol=symbol,
        cash_free=-amount,
        parts=(LotPart(account.today, qty, amount, waits_for),),
    )
    return True


def write_off(account: TradingAccount, symbol: str) -> int:
    """Give up a delisted holding; its whole cost, which is returned, is a realised loss.

    Raises:
        CorruptState: SHARES_FROZEN if an order still holds shares of `symbol`.
    """
    holding = account.holdings.get(symbol)
    if holding is None:
        return 0
    _refuse_frozen(holding, "the delisting")
    account.forget(holding)
    parts = tuple(
        LotPart(lot.bought_on, -lot.free, -lot.cost, lot.listed_on) for lot in holding.lots
    )
    account.note(Kind.CORPORATE_ACTION, symbol=symbol, parts=parts)
    return sum(lot.cost for lot in holding.lots)


def change_code(account: TradingAccount, symbol: str, new_symbol: str) -> None:
    """Move a holding to its new code: lots, days of purchase, costs and untaxed income stay.

    Raises:
        ConfigInvalid: CODE_TAKEN if `new_symbol` is held already: then it is another security.
        CorruptState: SHARES_FROZEN if an order still holds shares of `symbol`.
    """
    holding = account.holdings.get(symbol)
    if holding is None:
        return
    if new_symbol in account.holdings:
        raise ConfigInvalid("CODE_TAKEN", f"{symbol} becomes {new_symbol}, which is held")
    _refuse_frozen(holding, "the code change")
    # The place among the holdings stays, too: answers list them in this order.
    holding.symbol = new_symbol
    account.holdings = {held.symbol: held for held in account.holdings.values()}
    parts = tuple(LotPart(lot.bought_on, lot.free, lot.cost, lot.listed_on) for lot in holding.lots)
    kind, no_fees = Kind.CORPORATE_ACTION, (0, 0, 0)
    account.movements.append(
        Movement(kind, account.today, 0, symbol, 0, 0, parts, no_fees, 0, 0, new_symbol)
    )


def _refuse_frozen(holding: Holding, over: str) -> None:
    if any(lot.frozen for lot in holding.lots):
        raise CorruptState("SHARES_FROZEN", f"{holding.symbol}: an order rests over {over}")
