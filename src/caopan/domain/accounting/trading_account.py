"""One account at the exchange: free and frozen cash, lots by day of purchase, T+1, entitlements.

Owns TradingAccount, made for a matching loop: plain integers, one small row per movement. Every
row expands to a balanced Transaction of the double-entry journal (movements.py), so the account
can always be proved against a Book. Must never decide a price, a fee rate or whether an order is
lawful. Tests: tests/property/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any

from caopan.domain.accounting.dividend_tax import (
    PAR_VALUE,
    DividendTaxTable,
    Income,
)
from caopan.domain.accounting.holdings import (
    Holding,
    LotState,
    Receivable,
    Reserve,
    exported_lot,
    tax_due,
)
from caopan.domain.accounting.journal import Book, Kind
from caopan.domain.accounting.movements import LotPart, Movement
from caopan.kernel.errors import ConfigInvalid, CorruptState
from caopan.kernel.money import yuan


class TradingAccount:
    """Cash and shares of one account; every method keeps free cash and every lot at 0 or more."""

    __slots__ = (
        "cash_free",
        "cash_frozen",
        "dividend_tax",
        "holdings",
        "movements",
        "receivables",
        "today",
        "unlisted",
        "unsettled",
    )

    def __init__(
        self, cash: int, today: date, dividend_tax: DividendTaxTable | None = None
    ) -> None:
        """Open with `cash` units paid in; without a table no dividend is taxed."""
        if cash < 0:
            raise ConfigInvalid("CASH_INVALID", f"account cash {yuan(cash)} is negative")
        self.today = today
        self.dividend_tax = dividend_tax
        """Rates are told anew after a restart; what was earned and not taxed is exported."""
        self.cash_free = cash
        self.cash_frozen = 0
        self.holdings: dict[str, Holding] = {}
        self.unsettled: list[Holding] = []
        """Holdings with shares that may be sold from tomorrow on."""
        self.unlisted: list[Holding] = []
        """Holdings with shares that wait for their listing."""
        self.receivables: list[Receivable] = []
        """Dividends that are due and not yet paid; wealth, but no cash to buy with."""
        self.movements: list[Movement] = []
        """Since the account was opened or `take_movements` was called."""
        if cash:
            self.note(Kind.DEPOSIT, cash_free=cash)

    def open_day(self, day: date) -> None:
        """Begin `day`: what was bought before it becomes sellable, dividends payable are paid.

        Raises:
            ConfigInvalid: DAY_ORDER if `day` is not later than the account's day.
        """
        if day < self.today:
            raise ConfigInvalid("DAY_ORDER", f"day {day} comes after {self.today}")
        if day > self.today:
            for holding in self.unsettled:
                holding.sellable = holding.settled
            self.unsettled.clear()
            if self.unlisted:
                self._list_due(day)
        self.today = day
        for due in [one for one in self.receivables if one.pay_date <= day]:
            self.receivables.remove(due)
            self.cash_free += due.cash
            self._receive(due, cash_free=due.cash, change=-due.cash)

    def _list_due(self, day: date) -> None:
        self.today = day
        for holding in self.unlisted:
            due = holding.list_due(day)
            if due:
                parts = [LotPart(one.bought_on, -one.free, 0, one.listed_on) for one in due]
                self.note(Kind.RELEASE, symbol=holding.symbol, parts=tuple(parts))
        self.unlisted = [holding for holding in self.unlisted if holding.unlisted]

    def sellable(self, symbol: str) -> int:
        """Return shares that may be sold now."""
        holding = self.holdings.get(symbol)
        return 0 if holding is None else holding.sellable

    def freeze_cash(self, order: int, reserve: Reserve, amount: int) -> bool:
        """Move `amount` units to `reserve`; return False, and change nothing, if it is not free."""
        if amount > self.cash_free:
            return False
        self.cash_free -= amount
        self.cash_frozen += amount
        reserve.cash += amount
        self.note(Kind.FREEZE, order=order, cash_free=-amount, cash_frozen=amount)
        return True

    def freeze_shares(self, order: int, reserve: Reserve, symbol: str, qty: int) -> bool:
        """Move `qty` sellable shares, oldest lots first, to `reserve`; False if there are fewer."""
        holding = self.holdings.get(symbol)
        if holding is None or holding.sellable < qty:
            return False
        holding.sellable -= qty
        parts: list[LotPart] = []
        wanted = qty
        for lot in holding.lots:
            taken = min(lot.free, wanted) if lot.listed_on is None else 0
            if taken:
                lot.free -= taken
                lot.frozen += taken
                reserve.lots.append((lot, taken))
                parts.append(LotPart(lot.bought_on, taken, 0))
                wanted -= taken
                if not wanted:
                    break
        self.note(Kind.FREEZE, order=order, symbol=symbol, parts=tuple(parts))
        return True

    def buy(
        self,
        order: int,
        reserve: Reserve,
        symbol: str,
        qty: int,
        amount: int,
        fees: tuple[int, int, int],
        *,
        settled: bool,
        keep: int,
    ) -> None:
        """Book a purchase; `keep` units stay frozen for what the order may still buy.

        `settled` tells that the shares may be sold today (T+0).

        Raises:
            CorruptState: BALANCE_NEGATIVE if frozen and free cash together do not pay for it.
        """
        due = amount + fees[0] + fees[1] + fees[2]
        freed = reserve.cash - keep
        if self.cash_free + freed < due:
            raise CorruptState(
                "BALANCE_NEGATIVE", f"order {order}: {yuan(due)} due, not enough was frozen"
            )
        reserve.cash = keep
        self.cash_frozen -= freed
        self.cash_free += freed - due
        holding = self.holdings.get(symbol)
        if holding is None:
            holding = self.holdings[symbol] = Holding(symbol)
        holding.take_in(qty, amount, self.today)
        if settled:
            holding.sellable += qty
        else:
            self.unsettled.append(holding)
        self.movements.append(
            Movement(
                Kind.FILL,
                self.today,
                order,
                symbol,
                freed - due,
                -freed,
                (LotPart(self.today, qty, amount),),
                fees,
                amount,
            )
        )

    def sell(
        self,
        order: int,
        reserve: Reserve,
        symbol: str,
        qty: int,
        amount: int,
        fees: tuple[int, int, int],
    ) -> None:
        """Book a sale out of the order's frozen lots, oldest first, less dividend tax by their age.

        Raises:
            CorruptState: SHARES_MISSING if fewer are frozen, BALANCE_NEGATIVE if fees and tax
                exceed proceeds and free cash, DIVIDEND_TAX_MISSING if the rates were not told.
        """
        tax = tax_due(self.dividend_tax, reserve, qty, self.today)
        gained = amount - fees[0] - fees[1] - fees[2] - tax
        if self.cash_free + gained < 0:
            raise CorruptState("BALANCE_NEGATIVE", f"order {order}: fees and tax exceed free cash")
        holding = self.holdings[symbol]
        parts: list[LotPart] = []
        wanted = qty
        left: list[tuple[LotState, int]] = []
        for lot, frozen in reserve.lots:
            taken = min(frozen, wanted)
            if taken:
                # The last shares of a lot take its whole remaining cost: nothing is left behind.
                cost = lot.cost * taken // (lot.free + lot.frozen)
                lot.frozen -= taken
                lot.cost -= cost
                wanted -= taken
                parts.append(LotPart(lot.bought_on, -taken, -cost))
            if taken < frozen:
                left.append((lot, frozen - taken))
        if wanted:
            raise CorruptState("SHARES_MISSING", f"order {order}: {wanted} shares are not frozen")
        reserve.lots = left
        holding.qty -= qty
        holding.lots = [lot for lot in holding.lots if lot.free or lot.frozen]
        if not holding.qty:
            del self.holdings[symbol]
        self.cash_free += gained
        self.movements.append(
            Movement(
                Kind.FILL, self.today, order, symbol, gained, 0, tuple(parts), fees, amount, tax
            )
        )

    def release(self, order: int, reserve: Reserve, symbol: str) -> None:
        """Free whatever `reserve` still holds."""
        cash = reserve.cash
        if not cash and not reserve.lots:
            return
        self.cash_frozen -= cash
        self.cash_free += cash
        reserve.cash = 0
        parts: list[LotPart] = []
        for lot, frozen in reserve.lots:
            lot.frozen -= frozen
            lot.free += frozen
            self.holdings[symbol].sellable += frozen
            parts.append(LotPart(lot.bought_on, -frozen, 0))
        reserve.lots = []
        self.note(
            Kind.RELEASE,
            order=order,
            symbol=symbol,
            cash_free=cash,
            cash_frozen=-cash,
            parts=tuple(parts),
        )

    def entitle(
        self,
        symbol: str,
        cash_per_share: int,
        share_factor: Fraction,
        bonus: Fraction | int = 0,
        recorded_on: date | None = None,
        pay_date: date | None = None,
        listed_on: date | None = None,
    ) -> None:
        """Pay the dividend on the old holding, then multiply it; part shares are dropped.

        New shares carry their lot's day of purchase, and are sellable at once, or from `listed_on`
        on where that lies ahead. A holding left without a whole share is a realised loss. The
        dividend is paid in full; where tax is taken, it is owed at the sale, and so it is for
        `bonus`, the part of the new shares per share that is income at par (送股, not 转增). The
        rates are those of `recorded_on`, the ex-date itself where it is not told. Where `pay_date`
        lies ahead, the dividend is a receivable until that day is opened; else it is paid now.

        Raises:
            CorruptState: SHARES_FROZEN if an order holds shares of `symbol` (none rests overnight).
        """
        holding = self.holdings.get(symbol)
        if holding is None:
            return
        if any(lot.frozen for lot in holding.lots):
            raise CorruptState("SHARES_FROZEN", f"{symbol}: an order rests over the ex-date")
        dividend = holding.qty * cash_per_share
        income = Fraction(cash_per_share + bonus * PAR_VALUE)
        earned = Income(recorded_on or self.today, income) if self.dividend_tax and income else None
        ahead = listed_on if listed_on is not None and listed_on > self.today else None
        parts = holding.multiply(share_factor, earned, ahead)
        unsold = sum(lot.free for lot in holding.lots if lot.bought_on == self.today)
        holding.sellable = max(holding.settled - unsold, 0)
        if not holding.qty:
            self.forget(holding)
        elif holding.unlisted and holding not in self.unlisted:
            self.unlisted.append(holding)
        if dividend and pay_date is not None and pay_date > self.today:
            due = Receivable(pay_date, symbol, dividend)
            self.receivables.append(due)
            self._receive(due, amount=dividend, change=dividend)
            dividend = 0
        self.cash_free += dividend
        if dividend or parts:
            self.note(
                Kind.CORPORATE_ACTION,
                symbol=symbol,
                cash_free=dividend,
                parts=tuple(parts),
                amount=dividend,
            )

    def forget(self, holding: Holding) -> None:
        """Strike out a holding of which nothing is left."""
        del self.holdings[holding.symbol]
        self.unsettled = [one for one in self.unsettled if one is not holding]
        self.unlisted = [one for one in self.unlisted if one is not holding]

    def _receive(
        self, due: Receivable, *, change: int, cash_free: int = 0, amount: int = 0
    ) -> None:
        row = Movement(
            Kind.CORPORATE_ACTION,
            self.today,
            0,
            due.symbol,
            cash_free,
            0,
            (),
            (0, 0, 0),
            amount,
            receivable=change,
            pay_date=due.pay_date,
        )
        self.movements.append(row)

    def take_movements(self) -> list[Movement]:
        """Return the movements since the last call, and forget them."""
        taken, self.movements = self.movements, []
        return taken

    def export(self) -> dict[str, Any]:
        """Return cash and lots as plain values; reserves belong to their orders.

        Receivables stand there only where there are some.
        """
        due = [[one.pay_date.isoformat(), one.symbol, one.cash] for one in self.receivables]
        return {
            "today": self.today.isoformat(),
            "cash_free": self.cash_free,
            "cash_frozen": self.cash_frozen,
            "holdings": [
                {
                    "symbol": held.symbol,
                    "sellable": held.sellable,
                    "lots": [exported_lot(lot) for lot in held.lots],
                }
                for held in sorted(self.holdings.values(), key=lambda one: one.symbol)
            ],
            **({"receivables": due} if due else {}),
        }

    def note(
        self,
        kind: Kind,
        *,
        order: int = 0,
        symbol: str = "",
        cash_free: int = 0,
        cash_frozen: int = 0,
        parts: tuple[LotPart, ...] = (),
        amount: int = 0,
    ) -> None:
        """Append a movement of today."""
        row = Movement(
            kind, self.today, order, symbol, cash_free, cash_frozen, parts, (0, 0, 0), amount
        )
        self.movements.append(row)

    def restore_unsettled(self) -> None:
        """Note again, after a rebuild, which holdings have shares that settle or list later."""
        self.unlisted = [held for held in self.holdings.values() if held.unlisted]
        self.unsettled = [
            held
            for held in self.holdings.values()
            if any(lot.bought_on == self.today for lot in held.lots)
        ]


def prove(account: TradingAccount, book: Book) -> None:
    """Compare the account with the double-entry book of all its movements.

    Raises:
        CorruptState: BOOKS_DIFFER naming the first figure that differs; trading must stop.
    """
    ours = {name: held.qty for name, held in account.holdings.items()}
    pairs: Iterable[tuple[str, object, object]] = (
        ("cash.free", account.cash_free, book.cash_free),
        ("cash.frozen", account.cash_frozen, book.cash_frozen),
        ("shares", ours, book.quantities()),
        ("receivable", sum(one.cash for one in account.receivables), book.receivable),
    )
    for name, here, there in pairs:
        if here != there:
            raise CorruptState("BOOKS_DIFFER", f"{name}: account {here}, journal {there}")
