"""Several samples of one model's decision, and what of them a majority agrees on.

Owns `vote`. What has no majority is left out: where samples disagree the desk abstains. Among those
who agree the most cautious wording counts. Must never make up an action no sample holds. Tests:
tests/unit/domain/decision/test_voting.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from caopan.domain.decision.shapes import Action, ActionType, Decision
from caopan.domain.orders.order import Side

_TIGHTEST_LAST = ("normal", "cautious", "flat_only")


@dataclass(frozen=True, slots=True)
class Vote:
    """What a majority agrees on, and how many samples hold each action."""

    decision: Decision
    agreement: Mapping[str, int]
    """By what is asked for (`buy 600519.SH`): how many of the samples ask for it."""
    samples: int
    """How many were asked, those without a readable answer too."""

    @property
    def is_unanimous(self) -> bool:
        """Return whether every sample asks for the same."""
        return all(count == self.samples for count in self.agreement.values())


def vote(decisions: Sequence[Decision], asked: int) -> Vote:
    """Return what more than half of `asked` samples want; `decisions` are those that were read.

    The first decision's account view and reference stand; it must not be empty.
    """
    ballots: dict[str, list[Action]] = {}
    for decision in decisions:
        for key, action in {_key(action): action for action in decision.actions}.items():
            ballots.setdefault(key, []).append(action)
    won = {key: held for key, held in ballots.items() if len(held) * 2 > asked}
    won.pop("no_op", None)
    # An action that waits for another stands or falls with it; no sample's index is another's.
    chosen = [
        _most_cautious(held)
        for held in won.values()
        if not any(action.depends_on is not None for action in held)
    ]
    actions = tuple(replace(action, index=index) for index, action in enumerate(chosen))
    first = decisions[0]
    return Vote(
        decision=replace(
            first,
            actions=actions or (Action(0, ActionType.NO_OP),),
            asked_posture=max((one.asked_posture for one in decisions), key=_TIGHTEST_LAST.index),
            max_new_cash=min(
                (one.max_new_cash for one in decisions if one.max_new_cash is not None),
                default=None,
            ),
        ),
        agreement={key: len(held) for key, held in sorted(ballots.items())},
        samples=asked,
    )


def _key(action: Action) -> str:
    """Return what an action asks for, without how much and at what price."""
    if action.type is ActionType.PLACE_ORDER and action.side is not None:
        return f"{action.side.value} {action.symbol}"
    if action.type is ActionType.SET_TARGET:
        leaves = Decimal(action.target_weight or "0") == 0
        return f"{'leave' if leaves else 'hold'} {action.symbol}"
    if action.target_order_id is not None:
        return f"{action.type.value} {action.target_order_id}"
    return action.type.value


def _most_cautious(held: Sequence[Action]) -> Action:
    """Return the action that risks least: the smallest size, then the better price."""

    def risk(action: Action) -> tuple[Decimal, int, int]:
        price = action.price or 0
        dearness = -price if action.side is Side.SELL else price
        return Decimal(action.target_weight or "0"), action.qty or 0, dearness

    return min(held, key=risk)
