"""Orders: no sequence of events leaves the table, and the amounts stay exact."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caopan.domain.orders.order import (
    EDGES,
    MAY_BE_AT_VENUE,
    NEVER_FILLED,
    TERMINAL,
    Order,
    OrderStatus,
    moved,
    with_fill,
)
from caopan.kernel.errors import CorruptState
from caopan.testing.samples import NOW, sample_order

# Written out again from contracts.md ("Order and Fill"), so that an edge cannot slip in.
ALLOWED = {
    "created": "sending not_sent canceled expired",
    "sending": "accepted rejected unknown not_sent partially_filled filled",
    "unknown": "accepted rejected not_sent partially_filled filled canceled expired",
    "accepted": "partially_filled filled pending_cancel canceled expired rejected",
    "partially_filled": "partially_filled filled pending_cancel canceled expired",
    "pending_cancel": "pending_cancel canceled filled partially_filled accepted expired rejected",
    "filled": "",
    "rejected": "",
    "canceled": "canceled filled",
    "expired": "expired filled",
    "not_sent": "",
}
TAKES_FILLS = {
    *("sending", "unknown", "accepted", "partially_filled", "pending_cancel"),
    *("canceled", "expired"),
}


def test_the_table_is_the_contract():
    assert {str(s): set(map(str, after)) for s, after in EDGES.items()} == {
        status: set(after.split()) for status, after in ALLOWED.items()
    }


def test_terminal_states_absorb():
    assert {str(status) for status in TERMINAL} == {
        *("filled", "rejected", "canceled", "expired", "not_sent")
    }
    late = {OrderStatus.CANCELED, OrderStatus.EXPIRED}
    for status in TERMINAL:
        assert EDGES[status] <= ({status, OrderStatus.FILLED} if status in late else set())
    assert not MAY_BE_AT_VENUE & TERMINAL
    assert MAY_BE_AT_VENUE | TERMINAL | {OrderStatus.CREATED} == set(OrderStatus)


def test_every_state_can_be_reached_and_left():
    reached, frontier = {OrderStatus.CREATED}, [OrderStatus.CREATED]
    while frontier:
        for status in EDGES[frontier.pop()] - reached:
            reached.add(status)
            frontier.append(status)
    assert reached == set(OrderStatus)
    assert all(EDGES[status] for status in set(OrderStatus) - TERMINAL)


class OrderLife(RuleBasedStateMachine):
    """An order against the table above and a plain sum of its fills."""

    order: Order

    def __init__(self):
        super().__init__()
        self.order = sample_order(qty=700)
        self.fills: list[tuple[int, int]] = []
        self.changes = 0
        self.at = NOW

    def _tick(self):
        self.at += timedelta(seconds=1)
        return self.at

    @rule(status=st.sampled_from([s for s in OrderStatus if "filled" not in s]))
    def moves(self, status):
        contradicts_its_fills = bool(self.fills) and status in NEVER_FILLED
        if str(status) in ALLOWED[self.order.status].split() and not contradicts_its_fills:
            self.order = moved(self.order, status, self._tick(), reject_code=f"WHY_{status}")
            self.changes += 1
            assert self.order.status is status
            assert self.order.reject_code == f"WHY_{status}"
        else:
            with pytest.raises(CorruptState) as caught:
                moved(self.order, status, self._tick())
            assert caught.value.code == "ORDER_EDGE"

    @rule(qty=st.sampled_from([-100, 0, 1, 99, 100, 300, 700, 701]), price=st.integers(1, 10**7))
    def trades(self, qty, price):
        before, open_qty = self.order, self.order.open_qty
        legal = str(before.status) in TAKES_FILLS and 0 < qty <= open_qty
        if not legal:
            with pytest.raises(CorruptState) as caught:
                with_fill(before, qty, price, self._tick())
            assert caught.value.code in {"ORDER_OVERFILL", "ORDER_EDGE"}
            return
        self.order = with_fill(before, qty, price, self._tick())
        self.fills.append((qty, price))
        self.changes += 1
        if qty == open_qty:
            assert self.order.status is OrderStatus.FILLED
        elif before.status in {"canceled", "expired", "pending_cancel"}:
            assert self.order.status is before.status
        else:
            assert self.order.status is OrderStatus.PARTIALLY_FILLED

    @precondition(lambda self: self.order.status is OrderStatus.CREATED)
    @rule()
    def is_sent(self):
        self.order = moved(self.order, OrderStatus.SENDING, self._tick())
        self.changes += 1
        assert self.order.submitted_at == self.order.updated_at

    @invariant()
    def adds_up(self):
        order = self.order
        assert 0 <= order.filled_qty <= order.qty
        assert order.filled_qty == sum(qty for qty, _ in self.fills)
        assert order.filled_amount == sum(qty * price for qty, price in self.fills)
        assert order.open_qty == order.qty - order.filled_qty
        assert (order.status is OrderStatus.FILLED) == (order.open_qty == 0)
        assert order.version == 1 + self.changes
        assert order.is_terminal == (order.status in TERMINAL)
        if order.status in {"rejected", "not_sent", "created", "sending"}:
            assert order.filled_qty == 0


TestOrderLife = OrderLife.TestCase
TestOrderLife.settings = settings(deadline=None, max_examples=60, stateful_step_count=20)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 10**6)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_fills_does_not_matter(fills, chance):
    total = sum(qty for qty, _ in fills)
    shuffled = list(fills)
    chance.shuffle(shuffled)
    ends = []
    for sequence in (fills, shuffled):
        order = moved(sample_order(qty=total), OrderStatus.SENDING, NOW)
        for qty, price in sequence:
            order = with_fill(order, qty, price, NOW)
        ends.append(order)
    assert ends[0] == ends[1]
    assert ends[0].status is OrderStatus.FILLED
