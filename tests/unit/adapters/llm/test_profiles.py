"""The profiles that are shipped hold; a wrong one is refused with its field."""

from __future__ import annotations

import dataclasses
import re
from importlib import resources

import pytest

from caopan.adapters.llm.addresses import lane_of
from caopan.adapters.llm.profiles import load_profiles
from caopan.domain.gateway.endpoint import StructuredOutput
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid

PROFILES = load_profiles()
WANTED = {
    "deepseek", "dashscope", "dashscope_intl", "moonshot", "zhipu", "volcengine", "minimax",
    "siliconflow", "openai", "anthropic", "gemini", "openrouter", "ollama", "vllm", "sglang",
    "lmstudio", "llamacpp", "openai_compatible", "builtin", "replay", "faulty",
}  # fmt: skip
GOOD = 'title_zh = "某"\ntitle_en = "Some"\n'


def test_every_vendor_of_the_list_has_one():
    assert PROFILES.keys() >= WANTED
    assert all(profile.name == name for name, profile in PROFILES.items())


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_a_shipped_profile_is_usable(profile):
    assert profile.title_zh
    assert profile.title_en
    if profile.url:
        lane_of(profile.url, private_address=profile.auth == "none")
        assert not profile.url.endswith("/")


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_shipped_profile_says_where_its_facts_are_from_and_when_they_were_read(name):
    text = resources.files("caopan.adapters.llm").joinpath(f"profiles/{name}.toml").read_text()
    if PROFILES[name].url:
        comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        assert re.search(r"Sources?\b", comments)
        assert re.search(r"\b20\d\d-\d\d", comments)


def test_every_field_of_a_profile_can_be_written_in_a_file():
    from caopan.adapters.llm import profiles

    fields = {field.name for field in dataclasses.fields(Profile)} - {"name"}
    assert set(profiles._FIELDS) == fields


def test_facts_that_decide_about_money_and_answers():
    deepseek, dashscope = PROFILES["deepseek"], PROFILES["dashscope"]
    assert deepseek.structured == {"*": StructuredOutput.JSON_OBJECT}
    assert deepseek.json_word
    assert deepseek.cached_tokens[0] == "prompt_cache_hit_tokens"
    tokens = [sign for sign in dashscope.errors if sign.code == "insufficient_quota"]
    assert [(sign.failure, sign.status) for sign in tokens] == [(FailureClass.RATE_LIMIT, 429)]
    assert dashscope.replaced == {"tool_choice": {"required": "auto"}}
    assert PROFILES["dashscope_intl"].errors == dashscope.errors
    assert PROFILES["dashscope_intl"].currency == "USD"
    assert PROFILES["openai_compatible"].structured == {}


def test_a_profile_of_the_users_own_adds_or_replaces(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD + 'like = "deepseek"\nurl = "https://mine.example"')
    (tmp_path / "ollama.toml").write_text(GOOD + "stream_usage = false")
    found = load_profiles(tmp_path)
    assert found["mine"].cached_tokens == PROFILES["deepseek"].cached_tokens
    assert found["mine"].name == "mine"
    assert not found["ollama"].stream_usage
    assert found["deepseek"] == PROFILES["deepseek"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("title_zh = ", "file"),
        (GOOD + "colour = 1", "colour"),
        (GOOD + "name = 'other'", "name"),
        (GOOD + "json_word = 'yes'", "json_word"),
        (GOOD + "dropped = 'seed'", "dropped"),
        (GOOD + "structured = {'*' = 'xml'}", "structured"),
        (GOOD + "auth = 'basic'", "auth"),
        (GOOD + "currency = 'EUR'", "currency"),
        (GOOD + "like = 'nobody'", "like"),
        (GOOD + "like = 'zai'", "like"),
        (GOOD + "[[errors]]\nfailure = 'bad'\ntext = 'x'", "errors"),
        (GOOD + "[[errors]]\nfailure = 'auth'", "errors"),
        (GOOD + "[[errors]]\nfailure = 'auth'\ntext = 'Not Lower'", "errors"),
        (GOOD + "[[errors]]\nfailure = 'auth'\nstatus = 9", "errors"),
        (GOOD + "[[errors]]\nfailure = 'auth'\nstatus = 'x'", "errors"),
        (GOOD + "[[errors]]\nfailure = 'auth'\ncode = 'x'\nwhy = 'y'", "errors"),
        ("title_en = 'Some'", "title_zh"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_field(tmp_path, text, field):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        load_profiles(tmp_path)
    assert caught.value.code == "PROFILE_INVALID"
    assert "mine" in caught.value.message
    assert field in caught.value.message
