"""Who decides at a desk: by name, by setting, by actor.json, and never another than asked for."""

from __future__ import annotations

import json

import pytest

from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.application.decision_cycle.briefing import BUDGET_TOKENS
from caopan.bootstrap.gateway_presence import Presence, present
from caopan.bootstrap.models import FILE, ActorFile, choose_deciders, read_actor_file
from caopan.kernel.errors import ConfigInvalid, Unavailable
from caopan.settings import Secret, load_settings

TEMPLATE = """+++
template_id = "{name}"
role = "{role}"
version = "1.0.0"
locale = "zh"
variables = ["clock"]
change_log = "mine"
+++
=== user
{{{{ clock.phase }}}}
"""


@pytest.fixture
def settings(tmp_path):
    """Return settings(**changes): of a home of its own, with an endpoint of one's own."""

    def _settings(**changes):
        given = {"home": tmp_path, "lang": "zh", "model_base_url": "http://127.0.0.1:9/v1"}
        return load_settings(given | changes, environ={})

    return _settings


@pytest.fixture
def actor_file(tmp_path):
    def _write(body):
        text = body if isinstance(body, str) else json.dumps(body)
        (tmp_path / FILE).write_text(text, "utf-8")

    return _write


@pytest.fixture
def gateway(tmp_path):
    """A gateway of this home, as far as others can see."""
    key = Secret("cpg-local")
    with present(tmp_path, Presence("127.0.0.1", 4_321, 1, "2026-01-01T00:00:00Z", key)) as one:
        yield one


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_built_in_trader_needs_no_prompt_and_no_file(settings, actor_file, name):
    actor_file("not even JSON")
    found = choose_deciders(name, settings(), "policy-1")
    assert found.model.alias == name
    assert (found.prompting, found.checker, found.samples) == (None, None, 1)
    assert not found.model.is_language_model


def test_the_setting_stands_in_for_a_name_and_the_strongest_for_both(settings):
    assert choose_deciders(None, settings(), "p").model.alias == "builtin/momentum"
    configured = choose_deciders(None, settings(model="builtin/mean_reversion"), "p")
    assert configured.model.alias == "builtin/mean_reversion"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_language_model_is_shown_the_newest_template_in_ones_language(settings, lang):
    found = choose_deciders("qwen", settings(lang=lang), "p")
    assert found.prompting is not None
    assert found.model.is_language_model
    assert found.prompting.template.locale == lang
    assert found.prompting.template.role == "actor"
    assert found.prompting.budget_tokens == BUDGET_TOKENS
    assert found.model.prompt_version == found.prompting.template.name
    assert found.model.prompt_hash == found.prompting.template.digest
    assert found.checker is None


def test_actor_json_says_prompt_budget_samples_and_checker(settings, actor_file, tmp_path):
    (tmp_path / "prompts").mkdir()
    for name in ("actor", "checker"):
        text = TEMPLATE.format(name=f"my_{name}", role=name)
        (tmp_path / "prompts" / f"{name}.md").write_text(text, "utf-8")
    actor_file(
        {
            "prompt": "my_actor",
            "budget_tokens": 5_000,
            "samples": 3,
            "checker": "other-model",
            "checker_prompt": "my_checker-1.0.0.zh",
            "checker_deadline_ms": 30_000,
        }
    )
    found = choose_deciders("qwen", settings(), "policy-1")
    assert found.prompting is not None
    assert found.checker is not None
    assert (found.prompting.template.name, found.samples) == ("my_actor-1.0.0.zh", 3)
    assert found.prompting.budget_tokens == found.checker.prompting.budget_tokens == 5_000
    assert found.checker.model.alias == "other-model"
    assert found.checker.prompting.template.name == "my_checker-1.0.0.zh"
    assert (found.checker.deadline_ms, found.checker.config_version) == (30_000, "policy-1")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{", "no JSON"),
        ("[]", "not one JSON object"),
        ("[" * 100_000, "no JSON"),
        ({"promt": "actor"}, "'promt'"),
        ({"samples": 0}, "samples"),
        ({"samples": 10}, "samples"),
        ({"samples": True}, "samples"),
        ({"samples": "3"}, "samples"),
        ({"budget_tokens": 1_999}, "budget_tokens"),
        ({"checker_deadline_ms": 180_001}, "checker_deadline_ms"),
        ({"prompt": None}, "prompt"),
        ({"checker": 5}, "checker"),
        ({"prompt": "checker"}, "checker-1.0.0.zh is for the checker"),
        ({"checker": "m", "checker_prompt": "actor"}, "is for the actor"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_field(settings, actor_file, body, named):
    actor_file(body)
    with pytest.raises(ConfigInvalid) as caught:
        choose_deciders("qwen", settings(), "p")
    assert caught.value.code == "ACTOR_FILE_INVALID"
    assert named in caught.value.message
    assert "budget_tokens" in caught.value.remedy


def test_no_file_is_the_defaults_and_null_is_no_checker(tmp_path, actor_file):
    assert read_actor_file(tmp_path / FILE) == ActorFile()
    actor_file({"checker": None})
    assert read_actor_file(tmp_path / FILE) == ActorFile()


@pytest.mark.parametrize("prompt", ["mine", "actor-9.9.9.zh"])
def test_an_unknown_template_is_named(settings, actor_file, prompt):
    actor_file({"prompt": prompt})
    with pytest.raises(ConfigInvalid, match=prompt) as caught:
        choose_deciders("qwen", settings(), "p")
    assert caught.value.code == "PROMPT_UNKNOWN"


@pytest.mark.parametrize(
    ("name", "changes"),
    [("builtin/nobody", {}), ("qwen", {"model_base_url": None})],
)
def test_an_unknown_model_is_never_replaced_by_another(settings, name, changes):
    with pytest.raises(ConfigInvalid, match=name) as caught:
        choose_deciders(name, settings(**changes), "p")
    assert caught.value.code == "MODEL_UNKNOWN"


@pytest.mark.parametrize("of_checker", [False, True])
def test_a_gateway_that_does_not_run_is_said_at_the_start(settings, actor_file, of_checker):
    actor_file({"checker": "gateway:second"} if of_checker else {})
    with pytest.raises(Unavailable) as caught:
        choose_deciders("qwen" if of_checker else "gateway:first", settings(), "p")
    assert caught.value.code == "GATEWAY_NOT_RUNNING"
    assert "caopan gateway" in caught.value.remedy


@pytest.mark.usefixtures("gateway")
def test_a_model_behind_the_gateway_of_this_home(settings):
    found = choose_deciders("gateway:first", settings(model_base_url=None), "p")
    assert found.model.alias == "first"
    assert found.model.is_language_model
    assert found.prompting is not None
