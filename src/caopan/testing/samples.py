"""Plain, valid domain values for tests to vary: one order, one reference, one account, one fee.

Owns the makers below; every keyword replaces one field. What they give is unremarkable on purpose:
the gate passes `sample_question()` as it stands. Must never be used by production code.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from fractions import Fraction
from typing import Any, TypeAlias
from uuid import UUID

from caopan.domain.accounting.fees import FeeKind, FeeRow, FeeSchedule, FeeTable
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange, Instrument, Reference, TradingStatus
from caopan.domain.orders.order import Order, OrderType, Side
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import ProposedOrder, Question, Quote, Standing
from caopan.domain.risk.venue import Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.ids import client_order_id
from caopan.kernel.money import rate, units

SYMBOL = "600001.SH"
DAY = date(2023, 6, 1)
"""A Thursday and a session."""
NOW = at_shanghai(DAY, time(9, 16))
"""In the opening auction of DAY."""


AnyField: TypeAlias = Any
"""A value of whichever field a keyword names."""


def sample_id(number: int) -> UUID:
    """Return a distinct id for each number."""
    return UUID(int=number, version=4)


def sample_fees() -> FeeSchedule:
    """Return 0.025 % commission (5 yuan least), 0.05 % stamp duty, 0.001 % transfer fee.

    Funds pay the commission alone.
    """
    rates = {
        (Instrument.STOCK, FeeKind.STAMP_DUTY_SELL): "0.0005",
        (Instrument.STOCK, FeeKind.TRANSFER_FEE): "0.00001",
        (Instrument.FUND, FeeKind.STAMP_DUTY_SELL): "0",
        (Instrument.FUND, FeeKind.TRANSFER_FEE): "0",
    }
    rows = [
        FeeRow(
            exchange=exchange,
            instrument=instrument,
            kind=kind,
            rate=rate(share),
            effective_from=date(2000, 1, 1),
            source="sample",
            confidence="V",
        )
        for exchange in Exchange
        for (instrument, kind), share in rates.items()
    ]
    return FeeSchedule(Fraction(25, 100_000), units(5), FeeTable(rows))


def sample_order(number: int = 1, **changes: AnyField) -> Order:
    """Return a fresh buy of 1,000 shares at 10.00; `number` tells one order from another."""
    decision_id = sample_id(1)
    order = Order(
        order_id=sample_id(1_000 + number),
        client_order_id=client_order_id(decision_id, number, 1),
        decision_id=decision_id,
        action_index=number,
        account_id="sandbox",
        symbol=SYMBOL,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        price=units(10),
        qty=1_000,
        broker="sandbox",
        clearance_id=sample_id(2_000 + number),
        trading_day=DAY,
        not_after=NOW + timedelta(minutes=4),
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(order, **changes)


def sample_reference(symbol: str = SYMBOL, **changes: AnyField) -> Reference:
    """Return a main-board share that closed at 10.00, with limits of 10 %."""
    reference = Reference(
        symbol=symbol,
        day=DAY,
        board=Board.MAIN,
        pre_close=units(10),
        limit_up=units(11),
        limit_down=units(9),
        limits_known=True,
        tick_size=100,
        lot_size=100,
        min_buy_qty=100,
        qty_step=100,
        max_limit_qty=1_000_000,
        t_plus_one=True,
        trading_status=TradingStatus.NORMAL,
        is_st=False,
        listing_day_index=None,
        action=None,
    )
    return replace(reference, **changes)


def sample_proposal(**changes: AnyField) -> ProposedOrder:
    """Return a proposed buy of 1,000 shares at 10.00 with an exit plan."""
    proposal = ProposedOrder(
        action_index=0,
        symbol=SYMBOL,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        price=units(10),
        qty=1_000,
        has_exit_plan=True,
    )
    return replace(proposal, **changes)


def sample_standing(**changes: AnyField) -> Standing:
    """Return an account of one million, half of it free, with 5,000 sellable shares of SYMBOL."""
    standing = Standing(
        nav=units(1_000_000),
        nav_day_open=units(1_000_000),
        nav_peak=units(1_000_000),
        cash_free=units(500_000),
        sellable={SYMBOL: 5_000},
        held={SYMBOL: 6_000},
        exposure={SYMBOL: units(60_000)},
        open_orders=0,
        orders_today=0,
        venue=Venue.SANDBOX,
    )
    return replace(standing, **changes)


def sample_question(**changes: AnyField) -> Question:
    """Return a question that every rule passes, asked in the opening auction of DAY."""
    question = Question(
        order=sample_proposal(),
        reference=sample_reference(),
        quote=Quote(units(10), at_shanghai(DAY, time())),
        standing=sample_standing(),
        policy=RiskPolicy(),
        phase=Phase.OPEN_AUCTION,
        may_place=True,
        trading_day=DAY,
        now=NOW,
        valid_until=NOW + timedelta(minutes=4),
        cost_bound=units(10_010),
    )
    return replace(question, **changes)
