"""The cost of holdings, told again from what was booked: trades, shares brought in, ex-dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction

from caopan.application.holding_costs import cost_bases
from caopan.domain.accounting.bookings import (
    BroughtLot,
    book_entitlement,
    book_fill,
    brought_in,
    deposit,
    release,
    withdrawal,
)
from caopan.domain.accounting.cost_basis import CostBasis
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.market.reference import CorporateAction
from caopan.domain.orders.order import Fill, Side
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW, sample_id, sample_order

FIRST, SECOND = "600001.SH", "600002.SH"
EARLIER = date(2023, 5, 30)
FEES = units("5.10")


@dataclass
class Life:
    """An account's journal and fills, as they would have been booked."""

    book: Book = field(default_factory=Book)
    journal: list[Transaction] = field(default_factory=list[Transaction])
    fills: list[Fill] = field(default_factory=list[Fill])

    def post(self, transaction: Transaction | None) -> None:
        assert transaction is not None
        self.book.post(transaction)
        self.journal.append(transaction)

    def trade(self, side: Side, symbol: str, qty: int, price: str, on: date = DAY) -> None:
        number = 100 + len(self.fills)
        order = sample_order(
            number, symbol=symbol, side=side, qty=qty, price=units(price), trading_day=on
        )
        fill = Fill(
            fill_id=sample_id(1_000 + number),
            order_id=order.order_id,
            decision_id=order.decision_id,
            broker="sandbox",
            broker_fill_id=f"T{number}",
            trading_day=on,
            symbol=symbol,
            side=side,
            qty=qty,
            price=units(price),
            commission=units(5),
            stamp_duty=0,
            transfer_fee=units("0.10"),
            other_fees=0,
            filled_at=NOW + timedelta(minutes=number),
        )
        self.fills.append(fill)
        self.post(book_fill(sample_id(2_000 + number), fill, order, self.book))

    def entitle(self, symbol: str, cash: str, factor: Fraction) -> None:
        action = CorporateAction(units(cash), factor, estimated=False)
        lots = self.book.lots(symbol)
        self.post(book_entitlement(sample_id(len(self.journal)), symbol, lots, action, NOW))

    def bases(self, fills: Sequence[Fill] | None = None) -> dict[str, CostBasis]:
        return dict(cost_bases(self.journal, self.fills if fills is None else fills))


def rich() -> Life:
    life = Life()
    life.post(deposit(sample_id(1), units(1_000_000), NOW))
    return life


def test_trades_are_told_with_their_fees_per_symbol():
    life = rich()
    life.trade(Side.BUY, FIRST, 1_000, "10.00", on=EARLIER)
    life.trade(Side.BUY, SECOND, 200, "5.00")
    life.trade(Side.SELL, FIRST, 400, "12.00")
    bought = CostBasis().bought(1_000, units(10_000), FEES)
    assert life.bases() == {
        FIRST: bought.sold(400, units(4_800), FEES),
        SECOND: CostBasis().bought(200, units(1_000), FEES),
    }


def test_money_in_and_out_and_what_is_reserved_costs_no_share_anything():
    life = rich()
    life.post(withdrawal(sample_id(2), units(100), NOW))
    assert life.bases() == {}


def test_shares_brought_in_bear_the_cost_they_came_with():
    life = rich()
    lots = [
        BroughtLot(FIRST, 700, units("7000.50"), EARLIER),
        BroughtLot(FIRST, 300, units(2_400), DAY),
        BroughtLot(SECOND, 100, 0, EARLIER),
    ]
    life.post(brought_in(sample_id(3), lots, NOW))
    assert life.bases() == {
        FIRST: CostBasis().bought(1_000, units("9400.50"), 0),
        SECOND: CostBasis().bought(100, 0, 0),
    }


def test_an_ex_date_spreads_the_cost_and_pays_the_dividend():
    life = rich()
    life.trade(Side.BUY, FIRST, 1_000, "10.00", on=EARLIER)
    life.entitle(FIRST, "0.50", Fraction(13, 10))
    (basis,) = life.bases().values()
    assert basis == CostBasis().bought(1_000, units(10_000), FEES).entitled(
        units(500), Fraction(13, 10)
    )
    assert basis.qty == life.book.quantities()[FIRST] == 1_300
    # Cash alone names its share in the memo only.
    life.entitle(FIRST, "0.10", Fraction(1))
    assert life.bases()[FIRST] == basis.entitled(units(130), Fraction(1))


def test_what_the_books_hold_is_what_is_told_of():
    life = rich()
    life.trade(Side.BUY, FIRST, 1_000, "10.00", on=EARLIER)
    life.entitle(FIRST, "0", Fraction(10_333, 10_000))
    life.trade(Side.SELL, FIRST, 1_033, "9.00")
    life.trade(Side.BUY, FIRST, 100, "9.00")
    basis = life.bases()[FIRST]
    assert basis.qty == life.book.quantities()[FIRST] == 100
    # Both costs begin anew after the last share was sold.
    assert basis.diluted_cost == basis.holding_cost == units(900) + FEES


def test_a_booking_whose_fill_is_not_given_is_left_out():
    life = rich()
    life.trade(Side.BUY, FIRST, 1_000, "10.00")
    life.trade(Side.BUY, SECOND, 100, "10.00")
    assert set(life.bases(life.fills[1:])) == {SECOND}
    order = replace(sample_order(100), filled_qty=0)
    assert release(sample_id(9), order, life.book, NOW) is None
