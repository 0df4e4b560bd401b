"""Whatever is asked for, what is planned is legal, paid for, and towards the target."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.market.quantity import check_quantity
from caopan.domain.orders.order import Side
from caopan.domain.planning.targets import Position, Target, plan
from caopan.kernel.money import units
from caopan.testing.samples import sample_reference

SYMBOLS = ("600001.SH", "688001.SH", "300001.SZ")
LOTS = {
    "600001.SH": {"lot_size": 100, "min_buy_qty": 100, "qty_step": 100},
    "688001.SH": {"lot_size": 200, "min_buy_qty": 200, "qty_step": 1},
    "300001.SZ": {"lot_size": 100, "min_buy_qty": 100, "qty_step": 100},
}


def cost(symbol: str, qty: int, price: int) -> int:
    """Bound the cost of a buy: the amount and a fee with a floor, like the real one."""
    return qty * price + max(qty * price // 4000, units(5))


@st.composite
def situations(draw):
    references, prices, positions, targets = {}, {}, {}, []
    for index, symbol in enumerate(SYMBOLS):
        price = draw(st.integers(100, 50_000)) * 100
        prices[symbol] = price
        references[symbol] = sample_reference(
            symbol,
            pre_close=price,
            limit_up=price * 11 // 10 // 100 * 100,
            limit_down=-(-price * 9 // 10 // 100) * 100,
            tick_size=100,
            max_limit_qty=draw(st.sampled_from([2_000, 100_000, 1_000_000])),
            **LOTS[symbol],
        )
        held = draw(st.integers(0, 3_000))
        sellable = draw(st.integers(0, held))
        positions[symbol] = Position(held, sellable, draw(st.sampled_from([0, 100, 500])), 0)
        weight = draw(st.fractions(0, 1, max_denominator=100))
        most = draw(st.none() | st.integers(price // 2, price * 2))
        targets.append(Target(index, symbol, weight, most, chase_bps=draw(st.integers(0, 2_000))))
    cash = units(draw(st.integers(0, 2_000_000)))
    value = sum(prices[s] * positions[s].held for s in SYMBOLS)
    return targets, cash + value, cash, positions, references, prices


@given(situations())
def test_what_is_planned_is_legal_affordable_and_towards_the_target(situation):
    targets, nav, cash, positions, references, prices = situation
    found = plan(
        targets,
        nav=nav,
        cash=cash,
        positions=positions,
        references=references,
        prices=prices,
        cost_of_buy=cost,
    )
    by_index = {target.index: target for target in targets}
    handled = [one.index for one in (*found.orders, *found.left)]
    assert sorted(handled) == sorted(by_index)
    sides = [order.side for order in found.orders]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    spent = 0
    for order in found.orders:
        target, reference = by_index[order.index], references[order.symbol]
        position, price = positions[order.symbol], prices[order.symbol]
        goal = Fraction(nav) * target.weight / price
        selling = order.side is Side.SELL
        assert not check_quantity(reference, order.qty, selling=selling, sellable=position.sellable)
        assert order.price % reference.tick_size == 0
        assert reference.limit_down <= order.price or not selling
        if selling:
            assert order.qty <= position.sellable
            assert position.to_be - order.qty >= int(goal)
        else:
            spent += cost(order.symbol, order.qty, order.price)
            assert order.price <= reference.limit_up
            assert target.max_price is None or order.price <= target.max_price
            assert position.to_be + order.qty <= goal
    assert spent <= cash


@given(situations())
def test_a_target_that_was_reached_asks_for_nothing_more(situation):
    targets, nav, _, positions, references, prices = situation
    given_ = {"nav": nav, "references": references, "prices": prices, "cost_of_buy": cost}
    first = plan(targets, cash=10**15, positions=positions, **given_)
    after = dict(positions)
    for order in first.orders:
        old = after[order.symbol]
        moved = order.qty if order.side is Side.BUY else -order.qty
        sold = 0 if moved > 0 else order.qty
        after[order.symbol] = Position(old.held + moved, old.sellable - sold, old.buying, 0)
    again = plan(targets, cash=10**15, positions=after, **given_)
    for order in again.orders:
        # Only what one order could not hold is left.
        (before,) = [one for one in first.orders if one.index == order.index]
        assert before.side is order.side
        limit = references[order.symbol].max_limit_qty
        assert before.qty + references[order.symbol].min_buy_qty > limit
