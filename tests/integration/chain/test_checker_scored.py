"""`caopan actor score` on a desk's own ledger and market."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, time
from decimal import ROUND_DOWN, Decimal

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.bootstrap import desks
from caopan.bootstrap.cycling import CycleRequest, run_cycle
from caopan.bootstrap.models import Deciders
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.messages import catalogue
from caopan.settings import load_settings
from caopan.testing.models import ScriptedModel, buy_action, decision_json

DAYS = [date(2025, 6, day) for day in (9, 10, 11, 12, 13, 16, 17)]
LIBRARY = PromptLibrary()
PASS = json.dumps({"verdict": "pass", "reasons": []})


def buys_some(request):
    """Buy some of each of the first candidates, a percent above the market: some will trade."""
    rules, features = (request.observation[name] for name in ("market_rules", "features"))
    symbols = [symbol for symbol in rules if rules[symbol]["max_buy_qty"] >= 500][:5]
    prices = [Decimal(features[symbol]["last"]) * Decimal("1.01") for symbol in symbols]
    told = [str(price.quantize(Decimal("0.01"), ROUND_DOWN)) for price in prices]
    orders = [buy_action(*one) for one in zip(symbols, [500] * 5, told, strict=True)]
    return decision_json(request, *orders)


@pytest.fixture
def caopan(clean_database, services, tmp_path, monkeypatch, capsys):
    """Return caopan(*words): the exit code and what was told, on a desk with a model checker."""
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def run(*words):
        capsys.readouterr()
        code = main(words)
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in words else out

    return run


@pytest.fixture
def decide(clean_database, tmp_path, monkeypatch):
    settings = load_settings({"home": tmp_path}, environ={})
    second = ScriptedModel(lambda _: PASS, language=True, alias="second")
    checker = ModelChecker(second, Prompting(LIBRARY, LIBRARY.find("checker", "en")), 1_000, "p")
    actor = Prompting(LIBRARY, LIBRARY.find("actor", "en"))
    found = Deciders(ScriptedModel(buys_some, language=True), actor, checker)
    monkeypatch.setattr(desks, "choose_deciders", lambda *_: found)

    def at(moment: datetime):
        request = CycleRequest(cash=units(1_000_000), model=None, data=None, seed=7, at=moment)
        return asyncio.run(run_cycle(clean_database, settings, request))

    return at


def test_what_was_passed_is_measured_once_the_sessions_are_over(caopan, decide):
    decide(at_shanghai(DAYS[0], time(9, 16)))
    code, told = caopan("actor", "score", "--sessions", "2", "--json")
    assert code == 0
    (one,) = told["checkers"]
    assert (one["checker"], one["judged"], one["passed"]) == ("second", 1, 1)
    assert one["gate"]["judged"] == 1
    assert one["market"]["measured"] == 0
    assert "result" not in one["market"]

    decide(at_shanghai(DAYS[4], time(9, 16)))
    (one,) = caopan("actor", "score", "--sessions", "2", "--json")[1]["checkers"]
    assert (one["judged"], one["market"]["filled"]) == (2, 1)
    assert one["market"]["measured"] == 1
    assert "result" in one["market"]
    # Ten sessions later is not known yet.
    (one,) = caopan("actor", "score", "--sessions", "10", "--json")[1]["checkers"]
    assert one["market"]["measured"] == 0


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_person_reads_it_in_their_language(caopan, decide, lang):
    decide(at_shanghai(DAYS[0], time(9, 16)))
    code, told = caopan("actor", "score", "--lang", lang)
    texts = catalogue(lang)
    assert code == 0
    counted = {"judged": 1, "passed": 1, "refused": 0, "unanswered": 0}
    assert texts["score.checker"].format(checker="second", **counted) in told
    assert texts["score.gate"].split("{")[0].strip() in told


def test_a_run_without_a_model_checker_says_so(caopan):
    assert caopan("actor", "score", "--json")[1]["error"]["code"] == "DESK_UNKNOWN"
    caopan("cycle", "--at", "2025-06-09T09:16", "--json")
    assert caopan("actor", "score", "--json")[1]["checkers"] == []
    assert caopan("actor", "score")[0] == 0
    code, told = caopan("actor", "score", "--run", "99", "--json")
    assert (code, told["error"]["code"]) == (2, "RUN_UNKNOWN")
