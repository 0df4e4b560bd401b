"""A person's small change becomes the next whole document, and the one before stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from caopan.application.contracts.models_editing import (
    NewEndpoint,
    with_endpoint,
    with_field,
    without_endpoint,
)
from caopan.application.contracts.models_parsing import parse_models
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid

PROFILE = Profile("deepseek", "深度求索", "DeepSeek", "https://api.deepseek.com/v1")
BODY: dict[str, Any] = {
    "endpoints": [
        {
            "alias": "actor",
            "provider": "deepseek",
            "model": "deepseek-chat",
            "auth_secret_ref": "env:A",
        }
    ]
}


def judge(body):
    return parse_models(body, version=1, profiles={"deepseek": PROFILE})


def changed(field: str, text: str, name: str = "actor-deepseek"):
    before = copy.deepcopy(BODY)
    after = judge(with_field(BODY, name, field, text, judge))
    assert before == BODY
    return after


def test_a_preset_a_model_and_a_key_reference_make_an_endpoint():
    new = NewEndpoint(PROFILE, "deepseek-reasoner", "checker", "env:B")
    after = judge(with_endpoint(BODY, new))
    assert after.endpoints["checker-deepseek"].url == PROFILE.url
    assert after.endpoints["checker-deepseek"].secret_ref == "env:B"
    assert len(BODY["endpoints"]) == 1


@pytest.mark.parametrize(
    ("profile", "fields"),
    [
        (
            Profile("ollama", "", "", "http://127.0.0.1:11434/v1", auth="none"),
            {"private_address": True},
        ),
        (Profile("faulty", "", "", "", auth="none"), {"kind": "faulty"}),
    ],
)
def test_a_preset_on_this_machine_or_of_our_own_needs_no_further_word(profile, fields):
    added = with_endpoint(BODY, NewEndpoint(profile, "m", "other"))["endpoints"][-1]
    assert fields.items() <= added.items()
    parse_models({"endpoints": [added]}, version=1, profiles={profile.name: profile})


def test_the_same_endpoint_twice_is_refused_by_its_name():
    new = NewEndpoint(PROFILE, "deepseek-reasoner", "actor", "env:B")
    with pytest.raises(ConfigInvalid, match=r"endpoints\[1\].name"):
        judge(with_endpoint(BODY, new))


@pytest.mark.parametrize(
    ("field", "text", "found"),
    [
        ("routing.weight", "0.5", lambda one: one.routes["actor"].targets[0].weight == 0.5),
        ("model", "123", lambda one: one.endpoints["actor-deepseek"].model == "123"),
        ("model", '"x"', lambda one: one.endpoints["actor-deepseek"].model == "x"),
        ("budget.daily_cny", "12.5", lambda one: one.endpoints["actor-deepseek"].budget.daily),
        ("rate_limit.rpm", "null", lambda one: True),
        (
            "default_params.extra.enable_thinking",
            "false",
            lambda one: one.endpoints["actor-deepseek"].default_params["enable_thinking"] is False,
        ),
        (
            "prices",
            '[{"input_mtok": "1", "output_mtok": "2"}]',
            lambda one: one.endpoints["actor-deepseek"].prices[0].model == "deepseek-chat",
        ),
    ],
)
def test_a_field_takes_json_or_plain_text_whichever_it_means(field, text, found):
    assert found(changed(field, text))


def test_settings_beside_the_endpoints_have_names_too():
    assert changed("sticky", "true", "alias:actor").routes["actor"].sticky
    assert changed("usd_cny", "7.1", "document").usd_cny == "7.1"


@pytest.mark.parametrize(
    ("field", "text", "code", "told"),
    [
        ("routing.weight", "1.5", "MODELS_INVALID", "endpoints[0].routing.weight=1.5"),
        ("routing.wieght", "1", "MODELS_INVALID", "endpoints[0].routing.wieght"),
        ("enabled", "maybe", "MODELS_INVALID", "endpoints[0].enabled='maybe'"),
        ("model.name", "x", "FIELD_UNKNOWN", "model.name"),
    ],
)
def test_what_a_field_does_not_take_is_refused_with_its_path(field, text, code, told):
    with pytest.raises(ConfigInvalid) as caught:
        changed(field, text)
    assert caught.value.code == code
    assert caught.value.message.startswith(told)


def test_an_unknown_name_is_refused_and_the_known_ones_are_told():
    for change in (
        lambda: with_field(BODY, "actor", "model", "x", judge),
        lambda: without_endpoint(BODY, "actor"),
    ):
        with pytest.raises(ConfigInvalid, match="ENDPOINT_UNKNOWN") as caught:
            change()
        assert "actor-deepseek" in caught.value.remedy


def test_an_endpoint_goes_with_what_referred_to_it_alone():
    second = NewEndpoint(PROFILE, "deepseek-chat", "checker", "env:B")
    body = with_endpoint(BODY, second)
    body["aliases"] = {
        "actor": {"sticky": True},
        "both": {"also": [{"endpoint": "actor-deepseek"}, {"endpoint": "checker-deepseek"}]},
        "one": {"also": [{"endpoint": "actor-deepseek"}]},
    }
    after = judge(without_endpoint(body, "actor-deepseek"))
    assert set(after.routes) == {"checker", "both"}
