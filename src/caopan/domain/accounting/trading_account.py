"""One account at the exchange: free and frozen cash, lots by day of purchase, T+1, entitlements.

Owns TradingAccount, made for a matching loop: plain integers, one small row per movement. Every
row expands to a balanced Transaction of the double-entry journal (`transaction`), so the account
can always be proved against a Book. Must never decide a price, a fee rate or whether an order is
lawful. Tests: tests/property/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from caopan.domain.accounting import journal as j
from caopan.domain.accounting.journal import Book, Kind, Posting, Transaction
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid, CorruptState
from caopan.kernel.money import yuan


class LotPart(NamedTuple):
    """Shares taken from, or given to, the lot of one day; `cost` in units where it moves."""

    bought_on: date
    qty: int
    cost: int


class Movement(NamedTuple):
    """One movement of the account: what happened, in the numbers that make its postings."""

    kind: Kind
    day: date
    order: int
    """The order's number at the exchange, 0 where there is none."""
    symbol: str
    cash_free: int
    cash_frozen: int
    parts: tuple[LotPart, ...]
    """FREEZE and RELEASE: shares frozen or freed. FILL: bought (> 0) or sold from frozen (< 0)."""
    fees: tuple[int, int, int]
    """Commission, stamp duty, transfer fee."""
    amount: int
    """Traded amount of a fill, cash dividend of a corporate action."""


@dataclass(slots=True)
class LotState:
    """Shares of one symbol bought on one day; `cost` in units, fees excluded."""

    bought_on: date
    free: int
    frozen: int
    cost: int

    @property
    def qty(self) -> int:
        """Return all shares of the lot."""
        return self.free + self.frozen


@dataclass(slots=True)
class Holding:
    """All lots of one symbol, oldest first, and what of them may be sold now."""

    symbol: str
    lots: list[LotState] = field(default_factory=list[LotState])
    qty: int = 0
    sellable: int = 0
    """Settled and not frozen."""


@dataclass(slots=True)
class Reserve:
    """What one resting order holds back: cash of a buy, lots of a sale."""

    cash: int = 0
    lots: list[tuple[LotState, int]] = field(default_factory=list[tuple[LotState, int]])


class TradingAccount:
    """Cash and shares of one account; every method keeps free cash and every lot at 0 or more."""

    __slots__ = ("_unsettled", "cash_free", "cash_frozen", "holdings", "movements", "today")

    def __init__(self, cash: int, today: date) -> None:
        """Open with `cash` units paid in."""
        if cash < 0:
            raise ConfigInvalid("CASH_INVALID", f"account cash {yuan(cash)} is negative")
        self.today = today
        self.cash_free = cash
        self.cash_frozen = 0
        self.holdings: dict[str, Holding] = {}
        self._unsettled: list[Holding] = []
        self.movements: list[Movement] = []
        """Since the account was opened or `take_movements` was called."""
        if cash:
            self._note(Kind.DEPOSIT, cash_free=cash)

    def open_day(self, day: date) -> None:
        """Begin `day`: what was bought before it becomes sellable.

        Raises:
            ConfigInvalid: DAY_ORDER if `day` is not later than the account's day.
        """
        if day < self.today:
            raise ConfigInvalid("DAY_ORDER", f"day {day} comes after {self.today}")
        if day > self.today:
            for holding in self._unsettled:
                holding.sellable = sum(lot.free for lot in holding.lots)
            self._unsettled.clear()
        self.today = day

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
        self._note(Kind.FREEZE, order=order, cash_free=-amount, cash_frozen=amount)
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
            taken = min(lot.free, wanted)
            if taken:
                lot.free -= taken
                lot.frozen += taken
                reserve.lots.append((lot, taken))
                parts.append(LotPart(lot.bought_on, taken, 0))
                wanted -= taken
                if not wanted:
                    break
        self._note(Kind.FREEZE, order=order, symbol=symbol, parts=tuple(parts))
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
        if holding.lots and holding.lots[-1].bought_on == self.today:
            lot = holding.lots[-1]
            lot.free += qty
            lot.cost += amount
        else:
            holding.lots.append(LotState(self.today, qty, 0, amount))
        holding.qty += qty
        if settled:
            holding.sellable += qty
        else:
            self._unsettled.append(holding)
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
        """Book a sale out of the order's frozen lots, oldest first.

        Raises:
            CorruptState: SHARES_MISSING if fewer are frozen, BALANCE_NEGATIVE if the fees exceed
                proceeds and free cash.
        """
        gained = amount - fees[0] - fees[1] - fees[2]
        if self.cash_free + gained < 0:
            raise CorruptState("BALANCE_NEGATIVE", f"order {order}: fees exceed free cash")
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
            Movement(Kind.FILL, self.today, order, symbol, gained, 0, tuple(parts), fees, amount)
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
        self._note(
            Kind.RELEASE,
            order=order,
            symbol=symbol,
            cash_free=cash,
            cash_frozen=-cash,
            parts=tuple(parts),
        )

    def entitle(self, symbol: str, cash_per_share: int, share_factor: Fraction) -> None:
        """Pay the dividend on the old holding, then multiply it; part shares are dropped.

        The whole holding is rounded down once; what a lot's own rounding would lose goes to the
        lot that completes the next whole share. New shares carry their lot's day of purchase.

        Raises:
            CorruptState: SHARES_FROZEN if an order holds shares of `symbol` (none rests overnight).
        """
        holding = self.holdings.get(symbol)
        if holding is None:
            return
        if any(lot.frozen for lot in holding.lots):
            raise CorruptState("SHARES_FROZEN", f"{symbol}: an order rests over the ex-date")
        dividend = holding.qty * cash_per_share
        parts: list[LotPart] = []
        before = after = 0
        for lot in holding.lots:
            before += lot.free
            whole = int(before * share_factor)
            given = whole - after - lot.free
            after = whole
            if given:
                parts.append(LotPart(lot.bought_on, given, 0))
                lot.free += given
        unsold = sum(lot.free for lot in holding.lots if lot.bought_on == self.today)
        holding.qty = after
        holding.sellable = after - unsold
        self.cash_free += dividend
        if dividend or parts:
            self._note(
                Kind.CORPORATE_ACTION,
                symbol=symbol,
                cash_free=dividend,
                parts=tuple(parts),
                amount=dividend,
            )

    def take_movements(self) -> list[Movement]:
        """Return the movements since the last call, and forget them."""
        taken, self.movements = self.movements, []
        return taken

    def export(self) -> dict[str, Any]:
        """Return cash and lots as plain values; reserves belong to their orders."""
        return {
            "today": self.today.isoformat(),
            "cash_free": self.cash_free,
            "cash_frozen": self.cash_frozen,
            "holdings": [
                {
                    "symbol": held.symbol,
                    "sellable": held.sellable,
                    "lots": [
                        [lot.bought_on.isoformat(), lot.free, lot.frozen, lot.cost]
                        for lot in held.lots
                    ],
                }
                for held in sorted(self.holdings.values(), key=lambda one: one.symbol)
            ],
        }

    def _note(
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
        row = Movement(
            kind, self.today, order, symbol, cash_free, cash_frozen, parts, (0, 0, 0), amount
        )
        self.movements.append(row)

    def restore_unsettled(self) -> None:
        """Note again, after a rebuild, which holdings have shares that settle tomorrow."""
        self._unsettled = [
            held
            for held in self.holdings.values()
            if any(lot.bought_on == self.today for lot in held.lots)
        ]


def rebuilt(state: Mapping[str, Any]) -> TradingAccount:
    """Return the account that `export` described; its reserves are given back by the exchange."""
    account = TradingAccount(0, date.fromisoformat(state["today"]))
    account.cash_free = state["cash_free"]
    account.cash_frozen = state["cash_frozen"]
    for held in state["holdings"]:
        lots = [
            LotState(date.fromisoformat(day), free, frozen, cost)
            for day, free, frozen, cost in held["lots"]
        ]
        account.holdings[held["symbol"]] = Holding(
            held["symbol"], lots, sum(lot.qty for lot in lots), held["sellable"]
        )
    account.restore_unsettled()
    return account


def transaction(number: int, row: Movement) -> Transaction:
    """Return movement `number` as a balanced transaction of the double-entry journal."""
    order_id = UUID(int=row.order) if row.order else None
    postings: list[Posting] = []
    if row.cash_free:
        postings.append(Posting(j.CASH_FREE, j.CNY, row.cash_free))
    if row.cash_frozen:
        postings.append(Posting(f"{j.CASH_FROZEN}/{order_id}", j.CNY, row.cash_frozen))
    for part in row.parts:
        postings.extend(_part_postings(row, part, order_id))
    postings.extend(_money_postings(row))
    at = at_shanghai(row.day, time(15, 0))
    return Transaction(UUID(int=number), row.kind, at, tuple(postings), order_id=order_id)


def _part_postings(row: Movement, part: LotPart, order_id: UUID | None) -> list[Posting]:
    day = part.bought_on.isoformat()
    free, frozen = f"{j.SHARES_FREE}/{day}", f"{j.SHARES_FROZEN}/{order_id}/{day}"
    if row.kind in (Kind.FREEZE, Kind.RELEASE):
        return [Posting(free, row.symbol, -part.qty), Posting(frozen, row.symbol, part.qty)]
    account = frozen if row.kind is Kind.FILL and part.qty < 0 else free
    made = [Posting(account, row.symbol, part.qty), Posting(j.OUTSIDE, row.symbol, -part.qty)]
    if part.cost:
        made.append(Posting(f"{j.INVENTORY}/{row.symbol}/{day}", j.CNY, part.cost))
    return made


def _money_postings(row: Movement) -> list[Posting]:
    if row.kind is Kind.DEPOSIT:
        return [Posting(j.CAPITAL, j.CNY, -row.cash_free)]
    if row.kind is Kind.CORPORATE_ACTION and row.amount:
        return [Posting(j.DIVIDEND, j.CNY, -row.amount)]
    if row.kind is not Kind.FILL:
        return []
    accounts = (j.COMMISSION, j.STAMP_DUTY, j.TRANSFER_FEE)
    made = [
        Posting(account, j.CNY, fee) for account, fee in zip(accounts, row.fees, strict=True) if fee
    ]
    sold = row.parts[0].qty < 0
    if sold:
        cost = -sum(part.cost for part in row.parts)
        made.append(Posting(j.REALISED, j.CNY, cost - row.amount))
    return made


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
    )
    for name, here, there in pairs:
        if here != there:
            raise CorruptState("BOOKS_DIFFER", f"{name}: account {here}, journal {there}")
