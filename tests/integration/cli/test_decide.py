"""`caopan decide` as a person or a script meets it."""

import json

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.bootstrap import deciding
from caopan.bootstrap.models import Deciders
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.errors import Unavailable
from caopan.messages import catalogue
from caopan.testing.models import ScriptedModel, buy_action, decision_json

BUY = buy_action("600002.SH", 100, "10.00", stop="9.00")
LIBRARY = PromptLibrary()


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))


@pytest.fixture
def observation(tmp_path):
    path = tmp_path / "o.json"
    values = {"observation_id": "x", **sample_observation()}
    path.write_text(json.dumps(values, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture
def decide(observation, capsys):
    """Return decide(*words): the exit code and what was told, on the file's observation."""

    def _decide(*words):
        code = main(("decide", "--observation", str(observation), *words))
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in words else out

    return _decide


@pytest.fixture
def scripted(monkeypatch):
    """Return scripted(script, second): let a scripted language model decide."""

    def _scripted(script, second=None):
        prompting = Prompting(LIBRARY, LIBRARY.find("actor", "zh"))
        checker = None
        if second is not None:
            judge = ScriptedModel(lambda _: second, language=True, alias="judge")
            of_checker = Prompting(LIBRARY, LIBRARY.find("checker", "zh"))
            checker = ModelChecker(judge, of_checker, 1_000, "none")
        model = ScriptedModel(script, language=True)
        found = Deciders(model, prompting, checker)
        monkeypatch.setattr(deciding, "choose_deciders", lambda *_: found)
        return model

    return _scripted


def buys(request):
    return decision_json(request, BUY)


@pytest.mark.parametrize("model", ["builtin/momentum", "builtin/mean_reversion"])
def test_a_built_in_trader_decides_on_a_file(decide, model):
    code, told = decide("--model", model, "--json")
    assert code == 0
    assert (told["model"], told["is_language_model"]) == (model, False)
    assert told["decisions"][0]["checker"]["pass"] is True
    assert (told["sent"], told["recorded"]) == (False, False)


def test_a_built_in_trader_takes_a_file_with_little_in_it(decide, observation):
    values = json.loads(observation.read_text("utf-8"))
    for name in ("positions", "open_orders", "features", "own_record", "costs", "events", "news"):
        del values[name]
    observation.write_text(json.dumps(values), "utf-8")
    for model in ("builtin/momentum", "builtin/mean_reversion"):
        code, told = decide("--model", model, "--json")
        assert code == 0, told


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_person_reads_decision_verdict_and_cost(decide, scripted, lang):
    scripted(buys, second='{"verdict": "pass", "reasons": []}')
    code, told = decide("--lang", lang)
    texts = catalogue(lang)
    assert code == 0
    assert "place_order buy 600002.SH 100 10.00" in told
    assert texts["actor.checked"] in told
    assert texts["decide.second_passed"].format(model="judge") in told
    assert texts["decide.nothing_done"] in told
    assert "actor-2.0.0.zh" in told


def test_five_answers_and_how_far_they_agree(decide, scripted):
    reads = iter([True, True, True, False, False, True])
    model = scripted(lambda request: buys(request) if next(reads) else "no")
    code, told = decide("--repeat", "5", "--json")
    assert code == 0
    assert len(model.requests) == 6, "the one that could not be read was asked again"
    assert told["agreement"]["by_action"] == {"buy 600002.SH": 0.8}
    assert told["agreement"]["valid_share"] == 0.8


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_person_reads_how_far_answers_agree(decide, scripted, lang):
    scripted(buys)
    code, told = decide("--repeat", "2", "--lang", lang)
    texts = catalogue(lang)
    assert code == 0
    assert texts["decide.valid"].format(asked=2, valid=2) in told
    assert "100%  buy 600002.SH" in told
    assert texts["decide.unanimous"].format(share="100%") in told


def failing(code):
    return lambda _: Unavailable(code, "none")


@pytest.mark.parametrize(
    ("script", "second", "code", "outcome"),
    [
        (lambda r: decision_json(r, BUY | {"symbol": "600999.SH"}), None, 4, "parsed"),
        (buys, "unreadable", 4, "parsed"),
        (lambda _: "I would hold.", None, 4, "MODEL_PARSE_FAIL"),
        (failing("MODEL_TIMEOUT"), None, 5, "MODEL_TIMEOUT"),
        (failing("BUDGET_EXCEEDED"), None, 5, "BUDGET_EXCEEDED"),
    ],
)
def test_the_shell_learns_what_came_of_it(decide, scripted, script, second, code, outcome):
    scripted(script, second)
    found, told = decide("--json")
    assert found == code
    assert told["decisions"][0]["outcome"] == outcome
    assert decide("--lang", "zh")[0] == code


def test_several_refused_answers_are_a_measurement(decide, scripted):
    scripted(lambda r: decision_json(r, BUY | {"symbol": "600999.SH"}))
    assert decide("--repeat", "2", "--json")[0] == 0


def test_without_a_file_or_a_dry_run_it_sends_a_person_to_cycle(capsys):
    assert main(("decide", "--model", "builtin/momentum", "--json")) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "DRY_RUN_NEEDED"
    assert "caopan cycle" in error["remedy"]


def test_a_model_behind_a_gateway_that_does_not_run(decide):
    code, told = decide("--model", "gateway:actor", "--json")
    assert (code, told["error"]["code"]) == (5, "GATEWAY_NOT_RUNNING")


def test_an_unknown_model_and_a_wrong_file(decide, observation):
    code, told = decide("--model", "nobody", "--json")
    assert (code, told["error"]["code"]) == (2, "MODEL_UNKNOWN")
    observation.write_text("{}", "utf-8")
    code, told = decide("--model", "builtin/momentum", "--json")
    assert (code, told["error"]["code"]) == (2, "GATE_FILE_INVALID")
