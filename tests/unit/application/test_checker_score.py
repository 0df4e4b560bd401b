"""A model checker's verdicts beside gate and market, on a desk's own ledger and on small cases."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.checker_score import Judged, Traded, judged_decisions, result_of, score
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.domain.orders.order import Side
from caopan.kernel.errors import Unavailable
from caopan.kernel.money import units
from caopan.testing.models import ScriptedModel, buy_action, decision_json
from caopan.testing.samples import sample_id
from caopan.testing.table_desk import DAY, FIRST, SECOND, THIRD, TableDesk

LIBRARY = PromptLibrary()
ACTOR = Prompting(LIBRARY, LIBRARY.find("actor", "en"))
CHECKER = Prompting(LIBRARY, LIBRARY.find("checker", "en"))
PASS = json.dumps({"verdict": "pass", "reasons": []})
REFUSE = json.dumps(
    {"verdict": "refuse", "reasons": [{"code": "CHECKER_RANGE", "detail": "too much"}]}
)
BUY = Traded("a", Side.BUY, 100, units(10), units(5), date(2023, 6, 6))
SELL = Traded("b", Side.SELL, 100, units(10), units(6), date(2023, 6, 6))


async def desk_with(verdicts):
    """Return a desk whose checker gives one verdict after the other."""
    rest = iter(verdicts)
    second = ScriptedModel(lambda _: next(rest), language=True, alias="second")
    checker = ModelChecker(second, CHECKER, 1_000, "p")
    return await TableDesk().led_by_a_language_model(ACTOR, checker=checker).open()


async def judged(desk):
    async with desk.pipeline.seat.begin() as uow:
        return judged_decisions([pair async for pair in uow.ledger.entries()])


async def test_verdicts_gate_and_fills_of_a_desks_ledger():
    down = Unavailable("MODEL_UNAVAILABLE", "down")
    desk = await desk_with([PASS, REFUSE, "?", down, PASS, PASS])
    asked = [
        [buy_action(FIRST, 1_000, "10.00")],
        [buy_action(SECOND, 1_000, "10.00")],
        [buy_action(SECOND, 1_000, "10.00")],
        [buy_action(SECOND, 1_000, "10.00")],
        [buy_action(SECOND, 150, "10.00")],
        [buy_action(SECOND, 1_000, "10.00"), buy_action(THIRD, 150, "10.00")],
        [{"type": "no_op"}],
        [buy_action("600999.SH", 100, "10.00")],
    ]
    for number, actions in enumerate(asked):
        desk.says = lambda request, actions=actions: decision_json(request, *actions)
        await desk.pipeline.run_cycle(f"slot {number}", DAY)
    first = (await desk.orders())[0]
    desk.counter.fill(first, 1_000)
    await desk.settle(timedelta(minutes=1))
    found = await judged(desk)
    assert [(one.passed, one.answered, one.gate) for one in found] == [
        (True, True, [True]),
        (False, True, None),
        (False, False, None),
        (False, False, None),
        (True, True, [False]),
        (True, True, [True, False]),
    ]
    assert [(one.symbol, one.qty, one.price) for one in found[0].fills] == [
        (FIRST, 1_000, units("10.00"))
    ]
    (told,) = score(found, lambda symbol, _: units("10.50") if symbol == FIRST else None)
    assert told.as_json() == {
        "checker": "second",
        "judged": 6,
        "passed": 3,
        "refused": 3,
        "unanswered": 2,
        "gate": {"judged": 3, "refused": 1, "refused_in_part": 1},
        # 1,000 shares gained 0.50 each; five yuan of commission and ten fen of transfer fee.
        "market": {"filled": 1, "measured": 1, "gained": 1, "result": "494.90"},
    }


def test_what_is_not_known_is_absent_never_zero():
    (told,) = score([Judged(sample_id(1), "m", True, True, [True], [BUY])], lambda *_: None)
    assert (told.filled, told.measured, told.result) == (1, 0, None)
    assert "result" not in told.as_json()["market"]
    assert score([], lambda *_: units(10)) == []


@pytest.mark.parametrize(
    ("fills", "close", "result"),
    [
        ([BUY], "11.00", "95"),
        ([BUY], "9.00", "-105"),
        ([SELL], "9.00", "94"),
        ([SELL], "11.00", "-106"),
        ([BUY, SELL], "11.00", "-11"),
        ([BUY], "10.05", "0"),
    ],
)
def test_trading_is_compared_with_not_trading(fills, close, result):
    assert result_of(fills, lambda *_: units(close)) == units(result)


def test_one_unknown_close_leaves_the_whole_decision_unmeasured():
    assert result_of([BUY, SELL], lambda symbol, _: {"a": units(11)}.get(symbol)) is None
    assert result_of([], lambda *_: units(11)) is None


def test_every_checker_has_a_score_of_its_own():
    found = [
        Judged(sample_id(1), "b", True, True),
        Judged(sample_id(2), "a", False, True),
        Judged(sample_id(3), "b", False, False),
    ]
    told = score(found, lambda *_: None)
    assert [(one.checker, one.passed, one.refused, one.unanswered) for one in told] == [
        ("a", 0, 1, 0),
        ("b", 1, 1, 1),
    ]
    assert all(one.gate_judged == 0 for one in told)
