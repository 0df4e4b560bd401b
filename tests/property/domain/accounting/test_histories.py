"""Books under any valid history: balanced, never negative, equal to a naive account beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caopan.domain.accounting import journal as j
from caopan.domain.accounting.bookings import (
    book_entitlement,
    book_fill,
    deposit,
    freeze_buy,
    freeze_sell,
    release,
)
from caopan.domain.accounting.fees import order_fees, upper_bound
from caopan.domain.accounting.journal import Book, Transaction, fold
from caopan.domain.market.reference import CorporateAction, Exchange
from caopan.domain.orders.order import Fill, Order, OrderStatus, Side, moved, with_fill
from caopan.kernel.money import units
from caopan.testing.samples import NOW, sample_fees, sample_id, sample_order

FEES = sample_fees()
SYMBOLS = ("600001.SH", "000002.SZ")
ticks = st.integers(1, 3_000).map(lambda count: count * 100)


@dataclass
class Naive:
    """The account as a person would keep it on paper: cash, and shares by day of purchase."""

    paid_in: int = 0
    spent: int = 0
    received: int = 0
    fees: int = 0
    dividends: int = 0
    shares: dict[tuple[str, date], int] = field(default_factory=dict)
    reserved: dict[UUID, dict[tuple[str, date], int]] = field(default_factory=dict)

    @property
    def cash(self) -> int:
        return self.paid_in - self.spent + self.received - self.fees + self.dividends

    def reserve(self, order: Order, before: date) -> None:
        """Set aside the oldest shares bought before a day that nobody else has set aside."""
        wanted, mine = order.qty, self.reserved.setdefault(order.order_id, {})
        for symbol, day in sorted(self.shares):
            if symbol == order.symbol and day < before:
                others = sum(lots.get((symbol, day), 0) for lots in self.reserved.values())
                mine[symbol, day] = min(wanted, self.shares[symbol, day] - others)
                wanted -= mine[symbol, day]
        assert wanted == 0

    def give_up(self, order: Order, qty: int) -> None:
        mine = self.reserved[order.order_id]
        for key in sorted(mine):
            taken = min(qty, mine[key])
            mine[key] -= taken
            self.shares[key] -= taken
            qty -= taken
        assert qty == 0


class Account(RuleBasedStateMachine):
    """Deposits, orders, partial fills, endings and ex-dates in any order that can happen."""

    @initialize(cash=st.integers(1, 10**6))
    def opens(self, cash):
        self.journal: list[Transaction] = []
        self.book = Book()
        self.naive = Naive()
        self.today = date(2023, 6, 1)
        self.number = 0
        self.working: dict[int, Order] = {}
        self.ended: list[Order] = []
        self.pays_in(cash)

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _post(self, transaction: Transaction) -> None:
        for asset in {posting.asset for posting in transaction.postings}:
            assert sum(p.amount for p in transaction.postings if p.asset == asset) == 0
        self.book.post(transaction)
        self.journal.append(transaction)

    @rule(cash=st.integers(1, 10**6))
    def pays_in(self, cash):
        self._post(deposit(sample_id(self._next()), units(cash), NOW))
        self.naive.paid_in += units(cash)

    @rule(symbol=st.sampled_from(SYMBOLS), lots=st.integers(1, 60), limit=ticks)
    def places_a_buy(self, symbol, lots, limit):
        bound = upper_bound(FEES, lots * 100, limit, self.today, Exchange(symbol[-2:]))
        if bound > self.book.cash_free:
            return
        order = self._order(symbol, Side.BUY, lots * 100, limit)
        self._post(freeze_buy(sample_id(self._next()), order, bound, NOW))

    @rule(symbol=st.sampled_from(SYMBOLS), qty=st.integers(1, 5_000), limit=ticks)
    def places_a_sale(self, symbol, qty, limit):
        sellable = self.book.sellable(symbol, self.today, t_plus_one=True)
        if not sellable:
            return
        order = self._order(symbol, Side.SELL, min(qty, sellable), limit)
        number = sample_id(self._next())
        self._post(freeze_sell(number, order, self.book, self.today, NOW, t_plus_one=True))
        assert self.book.sellable(symbol, self.today, t_plus_one=True) == sellable - order.qty
        self.naive.reserve(order, self.today)

    def _order(self, symbol: str, side: Side, qty: int, limit: int) -> Order:
        number = self._next()
        order = sample_order(
            number, symbol=symbol, side=side, qty=qty, price=limit, trading_day=self.today
        )
        order = moved(moved(order, OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)
        self.working[number] = order
        return order

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def trades(self, data):
        number = data.draw(st.sampled_from(sorted(self.working)))
        order = self.working[number]
        qty = data.draw(st.integers(1, order.open_qty))
        better = data.draw(st.integers(0, order.price // 100 - 1)) * 100
        price = order.price - better if order.side is Side.BUY else order.price + better
        after = self._fill(order, qty, price)
        self.working[number] = after
        if after.is_terminal:
            self._end(number)

    def _fill(self, order: Order, qty: int, price: int) -> Order:
        after = with_fill(order, qty, price, NOW)
        place = Exchange(order.symbol[-2:])
        cost = order_fees(FEES, order.side, after.filled_amount, self.today, place)
        cost -= order_fees(FEES, order.side, order.filled_amount, self.today, place)
        number = self._next()
        fill = Fill(
            fill_id=sample_id(number),
            order_id=order.order_id,
            decision_id=order.decision_id,
            broker=order.broker,
            broker_fill_id=f"T{number}",
            trading_day=self.today,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            commission=cost.commission,
            stamp_duty=cost.stamp_duty,
            transfer_fee=cost.transfer_fee,
            other_fees=cost.other_fees,
            filled_at=NOW,
        )
        self._post(book_fill(sample_id(self._next()), fill, order, self.book))
        self.naive.fees += cost.total
        if order.side is Side.BUY:
            key = (order.symbol, self.today)
            self.naive.spent += qty * price
            self.naive.shares[key] = self.naive.shares.get(key, 0) + qty
        else:
            self.naive.received += qty * price
            self.naive.give_up(order, qty)
        return after

    def _end(self, number: int) -> None:
        order = self.working.pop(number)
        freed = release(sample_id(self._next()), order, self.book, NOW)
        if freed is not None:
            self._post(freed)
        assert release(sample_id(self._next()), order, self.book, NOW) is None
        self.naive.reserved.pop(order.order_id, None)
        self.ended.append(order)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def ends(self, data):
        number = data.draw(st.sampled_from(sorted(self.working)))
        self.working[number] = moved(self.working[number], OrderStatus.EXPIRED, NOW)
        self._end(number)

    @precondition(lambda self: any(o.open_qty and o.filled_qty for o in self.ended))
    @rule()
    def trades_late(self):
        """A fill that was on its way when the order's end was booked, if it can be paid."""
        order = next(o for o in reversed(self.ended) if o.open_qty and o.filled_qty)
        sellable = self.book.sellable(order.symbol, order.trading_day, t_plus_one=True)
        payable = self.book.cash_free >= order.price + units(10)
        if order.trading_day != self.today or not (payable if order.side is Side.BUY else sellable):
            return
        self.ended.remove(order)
        if order.side is Side.SELL:
            self.naive.reserve(replace(order, qty=1), self.today)
        self.ended.append(self._fill(order, 1, order.price))
        self.naive.reserved.pop(order.order_id, None)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        cash=st.integers(0, 20_000),
        factor=st.sampled_from([Fraction(1), Fraction(11, 10), Fraction(13, 10), Fraction(2)]),
    )
    def next_day(self, symbol, cash, factor):
        """Orders live for a day; the next one begins with an ex-date."""
        for number in sorted(self.working):
            self.working[number] = moved(self.working[number], OrderStatus.EXPIRED, NOW)
            self._end(number)
        self.today += timedelta(days=1)
        lots = self.book.lots(symbol)
        if not lots:
            return
        action = CorporateAction(cash, factor, estimated=False)
        self._post(book_entitlement(sample_id(self._next()), symbol, lots, action, NOW))
        for lot in lots:
            self.naive.shares[lot.symbol, lot.bought_on] += int(lot.qty * factor) - lot.qty
        self.naive.dividends += cash * sum(lot.qty for lot in lots)

    @invariant()
    def keeps_the_naive_account(self):
        assert self.book.cash_free + self.book.cash_frozen == self.naive.cash
        lots = {(lot.symbol, lot.bought_on): lot.qty for lot in self.book.lots()}
        assert lots == {key: qty for key, qty in self.naive.shares.items() if qty}
        expenses = (j.COMMISSION, j.STAMP_DUTY, j.TRANSFER_FEE, j.OTHER_FEES)
        assert sum(map(self.book.balance, expenses)) == self.naive.fees
        assert -self.book.balance(j.CAPITAL) == self.naive.paid_in
        assert -self.book.balance(j.DIVIDEND) == self.naive.dividends

    @invariant()
    def balances(self):
        book = self.book
        by_asset: dict[str, int] = {}
        for (account, asset), amount in book.balances.items():
            by_asset[asset] = by_asset.get(asset, 0) + amount
            assert amount != 0
            if account.startswith(("cash.", "shares.", "inventory")):
                assert amount > 0
        assert not any(by_asset.values())
        assert fold(self.journal).balances == book.balances

    @invariant()
    def holds_cost_only_with_shares(self):
        lots = self.book.lots()
        assert sum(lot.cost for lot in lots) == self.book.total(j.INVENTORY)
        # What was bought is either still there at cost or has gone into the realised result.
        realised = -self.book.balance(j.REALISED)
        assert self.book.total(j.INVENTORY) == self.naive.spent + realised - self.naive.received

    @invariant()
    def sells_nothing_bought_today(self):
        for symbol in SYMBOLS:
            lots = self.book.lots(symbol)
            assert [lot.bought_on for lot in lots] == sorted(lot.bought_on for lot in lots)
            free_before = sum(lot.free_qty for lot in lots if lot.bought_on < self.today)
            assert self.book.sellable(symbol, self.today, t_plus_one=True) == free_before
            everything = sum(lot.free_qty for lot in lots)
            assert self.book.sellable(symbol, self.today, t_plus_one=False) == everything
        assert self.book.quantities() == {
            symbol: held
            for symbol in sorted(SYMBOLS)
            if (held := sum(lot.qty for lot in self.book.lots(symbol)))
        }

    @invariant()
    def freezes_only_for_working_orders(self):
        ids = {str(order.order_id) for order in self.working.values()}
        for account, _ in self.book.balances:
            if account.startswith((j.CASH_FROZEN, j.SHARES_FROZEN)):
                assert account.split("/")[1] in ids


TestAccount = Account.TestCase
TestAccount.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
