"""Samples of one decision: a majority acts, disagreement abstains."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.decision.shapes import Action, ActionType, Decision
from caopan.domain.decision.voting import vote
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.money import units

NOW = datetime(2023, 6, 1, tzinfo=UTC)


def order(side, symbol, qty=100, price="10"):
    return Action(0, ActionType.PLACE_ORDER, symbol, side, OrderType.LIMIT, units(price), qty)


def target(symbol, weight):
    return Action(0, ActionType.SET_TARGET, symbol, target_weight=weight)


def sample(*actions, **changes):
    numbered = tuple(replace(action, index=index) for index, action in enumerate(actions))
    decision = Decision(UUID(int=1), "ab", 1, 1, numbered, NOW, NOW + timedelta(minutes=5))
    return replace(decision, **changes)


BUY, SELL = order(Side.BUY, "600001.SH"), order(Side.SELL, "600002.SH")
NOTHING = Action(0, ActionType.NO_OP)


def test_only_what_more_than_half_ask_for_is_done():
    found = vote([sample(BUY, SELL), sample(BUY), sample(NOTHING)], asked=3)
    assert [action.symbol for action in found.decision.actions] == ["600001.SH"]
    assert found.agreement == {"buy 600001.SH": 2, "no_op": 1, "sell 600002.SH": 1}
    assert not found.is_unanimous


def test_a_sample_nobody_could_read_counts_against():
    assert vote([sample(BUY), sample(BUY)], asked=4).decision.actions[0].type is ActionType.NO_OP


def test_opposite_wishes_abstain():
    other = order(Side.SELL, "600001.SH")
    assert vote([sample(BUY), sample(other)], asked=2).decision.actions == (NOTHING,)


def test_among_those_who_agree_the_most_cautious_counts():
    large, small = order(Side.BUY, "600001.SH", 900), order(Side.BUY, "600001.SH", 200, "10.5")
    assert vote([sample(large), sample(small)], asked=2).decision.actions[0].qty == 200
    weights = [sample(target("600001.SH", weight)) for weight in ("0.2", "0.05", "0.1")]
    assert vote(weights, asked=3).decision.actions[0].target_weight == "0.05"


def test_leaving_is_not_holding_less():
    held = [sample(target("600001.SH", weight)) for weight in ("0.0", "0.1", "0.1")]
    assert vote(held, asked=3).decision.actions[0].target_weight == "0.1"


def test_the_tightest_wish_for_the_account_counts():
    found = vote(
        [sample(BUY, asked_posture="cautious", max_new_cash=5), sample(BUY, max_new_cash=3)], 2
    )
    assert found.decision.asked_posture == "cautious"
    assert found.decision.max_new_cash == 3


def test_what_waits_for_another_action_is_left_out():
    waiting = replace(BUY, depends_on=0)
    found = vote([sample(SELL, waiting), sample(SELL, waiting)], asked=2)
    assert [action.side for action in found.decision.actions] == [Side.SELL]


ACTIONS = st.one_of(
    st.builds(
        order,
        st.sampled_from(Side),
        st.sampled_from(["600001.SH", "600002.SH"]),
        st.integers(1, 9).map(lambda lots: lots * 100),
    ),
    st.builds(
        target, st.sampled_from(["600001.SH", "600002.SH"]), st.sampled_from(["0", "0.1", "0.2"])
    ),
    st.just(NOTHING),
)


@given(st.lists(st.lists(ACTIONS, min_size=1, max_size=3), min_size=1, max_size=7), st.data())
def test_every_action_is_some_samples_own_and_held_by_most(drawn, data):
    samples = [sample(*actions) for actions in drawn]
    asked = data.draw(st.integers(len(samples), len(samples) + 3))
    found = vote(samples, asked)
    assert [action.index for action in found.decision.actions] == list(
        range(len(found.decision.actions))
    )
    for action in found.decision.actions:
        if action.type is ActionType.NO_OP:
            continue
        alike = [
            one
            for one in samples
            if any(
                (other.type, other.symbol, other.side) == (action.type, action.symbol, action.side)
                for other in one.actions
            )
        ]
        assert len(alike) * 2 > asked
        assert any(
            replace(action, index=other.index) == other for one in samples for other in one.actions
        )
