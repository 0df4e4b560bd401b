"""A models document is read whole or refused whole, and no key is ever repeated."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.contracts.models_parsing import parse_models
from caopan.application.contracts.models_writing import models_document
from caopan.domain.gateway.endpoint import CNY, AuthType, Fallback, StructuredOutput
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid

KEY = "sk-3f9a7c1d5e8b2046a1c3e5f7092b4d68"
PROFILES = {
    "deepseek": Profile("deepseek", "深度求索", "DeepSeek", "https://api.deepseek.com/v1"),
    "ollama": Profile("ollama", "Ollama", "Ollama", "http://localhost:11434/v1", auth="none"),
    "azure": Profile("azure", "Azure", "Azure", "https://a.example/v1", auth="api_key"),
}


def endpoint(**fields: Any) -> dict[str, Any]:
    plain = {"alias": "actor", "provider": "deepseek", "model": "deepseek-chat"}
    return {**plain, "auth_secret_ref": "env:DEEPSEEK_API_KEY", **fields}


def document(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"endpoints": list(endpoints) or [endpoint()], **fields}


def refusal(body: Any) -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        parse_models(body, version=1, profiles=PROFILES)
    assert caught.value.code == "MODELS_INVALID"
    assert KEY not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_a_name_and_a_key_reference_are_enough():
    snapshot = parse_models(document(), version=7, profiles=PROFILES)
    one = snapshot.endpoints["actor-deepseek"]
    assert snapshot.version == 7
    assert (one.url, one.auth) == ("https://api.deepseek.com/v1", AuthType.BEARER)
    assert [target.endpoint for target in snapshot.routes["actor"].targets] == ["actor-deepseek"]
    assert snapshot.routes["actor"].targets[0].fallback is Fallback.SAME_MODEL


def test_the_contracts_own_words_are_taken():
    body = endpoint(
        endpoint_url="https://api.deepseek.com/",
        auth_type="bearer",
        default_params={"temperature": 0, "max_tokens": 512, "timeout_ms": 9_000, "seed": 1},
        capabilities={"json_schema": False, "json_object": True, "tools": True},
        retry={"max_attempts": 2, "backoff": {"base_ms": 10, "cap_ms": 20}},
        routing={"weight": 0.5, "priority": 1, "fallback": "none"},
        circuit_breaker={"enabled": True, "window": 5_000, "error_rate": 0.2},
        budget={"daily_cny": "12.5", "per_decision_cny": "0.00000001"},
        rate_limit={"rpm": 60, "tpm": 100_000, "concurrency": 4},
    )
    one = parse_models(document(body), version=1, profiles=PROFILES).endpoints["actor-deepseek"]
    assert one.url == "https://api.deepseek.com"
    assert one.timeouts.total_ms == 9_000
    assert one.default_params == {"temperature": 0, "max_tokens": 512, "seed": 1}
    assert one.structured is StructuredOutput.JSON_OBJECT
    assert one.breaker.window_ms == 5_000
    assert (one.budget.daily, one.budget.per_decision) == (1_250_000_000, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("auth_secret_ref", KEY),
        ("auth_secret_ref", f"Bearer {KEY}"),
        ("auth_secret_ref", f"env:{KEY}"),
        ("endpoint_url", f"https://api.example/v1?key={KEY}"),
        ("endpoint_url", f"https://me:{KEY}@api.example/v1"),
        ("api_key", KEY),
        ("kind", KEY),
        ("provider", KEY),
        ("name", f"  {KEY}"),
        ("default_params", {"extra": {"api_key": KEY}}),
        ("default_params", {"temperature": KEY}),
        ("prices", [{"input_mtok": KEY, "output_mtok": "1"}]),
    ],
)
def test_a_key_pasted_anywhere_is_refused_and_not_repeated(field, value):
    told = refusal(document(endpoint(**{field: value})))
    assert told.message.startswith(f"endpoints[0].{field}")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "endpoints"),
        ({"endpoints": []}, "endpoints"),
        (document(nonsense=1), "nonsense"),
        (document(endpoint(provider="deepsek")), "endpoints[0].provider"),
        (document(endpoint(routing={"weight": 1.5})), "endpoints[0].routing.weight=1.5"),
        (document(endpoint(routing={"weight": "1"})), "endpoints[0].routing.weight='1'"),
        (document(endpoint(routing={"fallback": "listed"})), "endpoints[0].routing.fallback"),
        (document(endpoint(routing={"weight": 0})), "aliases.actor"),
        (document(endpoint(enabled=False)), "aliases.actor"),
        (document(endpoint(), endpoint()), "endpoints[1].name='actor-deepseek'"),
        (document(endpoint(alias="a b")), "endpoints[0].alias='a b'"),
        (document(endpoint(auth_secret_ref=None)), "endpoints[0].auth_secret_ref"),
        (document(endpoint(auth_type="none")), "endpoints[0].auth_type"),
        (document(endpoint(endpoint_url="http://api.example/v1")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="ftp://api.example")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://[::1")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://a:99999/")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://169.254.169.254/")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://127.0.0.1/v1")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://[::1]/v1")), "endpoints[0].endpoint_url"),
        (document(endpoint(endpoint_url="https://localhost/v1")), "endpoints[0].endpoint_url"),
        (document(endpoint(budget={"daily_cny": 5})), "endpoints[0].budget.daily_cny=5"),
        (document(endpoint(budget={"daily_cny": "-5"})), "endpoints[0].budget.daily_cny='-5'"),
        (
            document(endpoint(default_params={"extra": {"model": "x"}})),
            "endpoints[0].default_params.extra.model",
        ),
        (
            document(endpoint(default_params={"timeout_ms": 500}, timeouts={"total_ms": 600})),
            "endpoints[0].default_params.timeout_ms",
        ),
        (
            document(endpoint(retry={"backoff": {"base_ms": 5, "cap_ms": 1}})),
            "endpoints[0].retry.backoff.cap_ms",
        ),
        (
            document(endpoint(circuit_breaker={"open_ms": 400_000})),
            "endpoints[0].circuit_breaker.max_open_ms",
        ),
        (document(prices=[{"input_mtok": "1", "output_mtok": "1"}]), "prices[0].model"),
        (
            document(
                endpoint(
                    prices=[{"input_mtok": "1", "output_mtok": "1", "valid_from": "2026-11-01"}]
                )
            ),
            "endpoints[0].prices[0].valid_from='2026-11-01'",
        ),
        (document(aliases={"other": {}}), "aliases.other"),
        (document(aliases={"x": {"also": [{"endpoint": "y"}]}}), "aliases.x.also[0].endpoint='y'"),
        (document(aliases={"actor": {"also": [{"endpoint": "actor-deepseek"}]}}), "aliases.actor"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body, path):
    assert refusal(body).message.startswith(path)


def test_every_problem_is_told_at_once():
    told = refusal(document(endpoint(provider="x"), endpoint(name="b", provider="y")))
    assert len(told.message.splitlines()) == 2


def test_a_server_of_ones_own_needs_an_administrators_word():
    local = {"provider": "ollama", "model": "qwen3", "alias": "local"}
    assert refusal(document(local)).message.startswith("endpoints[0].endpoint_url")
    allowed = parse_models(
        document({**local, "private_address": True}), version=1, profiles=PROFILES
    )
    assert allowed.endpoints["local-ollama"].auth is AuthType.NONE


def test_one_endpoint_may_serve_several_aliases():
    body = document(aliases={"checker": {"also": [{"endpoint": "actor-deepseek", "weight": 0.5}]}})
    snapshot = parse_models(body, version=1, profiles=PROFILES)
    assert snapshot.routes["checker"].targets[0].endpoint == "actor-deepseek"
    assert snapshot.routes["checker"].targets[0].weight == 0.5


CNY_TEXT = st.integers(0, 10**17 - 1).map(lambda units: f"{units // CNY}.{units % CNY:08d}")
SHARE = st.floats(0.01, 1)
BUDGET = st.fixed_dictionaries(
    {}, optional={"daily_cny": CNY_TEXT, "per_decision_cny": CNY_TEXT, "soft_share": SHARE}
)
PRICE = st.fixed_dictionaries(
    {"input_mtok": st.just("0.5"), "output_mtok": CNY_TEXT.map(lambda text: text[-12:])},
    optional={
        "model": st.sampled_from(["m", "m-*"]),
        "currency": st.sampled_from(["CNY", "USD"]),
        "cached_mtok": st.just("0.1"),
        "tier_from": st.integers(0, 10**6),
        "hours": st.just(["00:30", "08:30"]),
        "weekdays": st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True),
        "valid_from": st.just("2026-11-01T00:00:00+08:00"),
        "source": st.text(max_size=20),
    },
)
MAYBE = st.one_of(st.none(), st.booleans())
ENDPOINT = st.fixed_dictionaries(
    {
        "alias": st.sampled_from(["actor", "checker", "a/b"]),
        "provider": st.just("deepseek"),
        "model": st.sampled_from(["deepseek-chat", "m2"]),
        "auth_secret_ref": st.sampled_from(["env:KEY", "file:a/b c", "sealed:deepseek"]),
    },
    optional={
        "auth_type": st.sampled_from(["bearer", "api_key"]),
        "default_params": st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.floats(0, 2),
                "max_tokens": st.integers(1, 1000),
                "timeout_ms": st.integers(100, 5_000),
                "extra": st.just({"enable_thinking": False, "a": [1, None, {"b": "c"}]}),
            },
        ),
        "capabilities": st.fixed_dictionaries(
            {},
            optional={
                "json_schema": MAYBE,
                "json_object": MAYBE,
                "tools": MAYBE,
                "stream_usage": MAYBE,
            },
        ),
        "routing": st.fixed_dictionaries(
            {}, optional={"weight": SHARE, "priority": st.integers(0, 3)}
        ),
        "budget": BUDGET,
        "rate_limit": st.fixed_dictionaries({}, optional={"rpm": st.integers(1, 100)}),
        "prices": st.lists(PRICE, max_size=2),
        "unknown_price_mtok_cny": CNY_TEXT,
        "private_address": st.booleans(),
    },
)


@st.composite
def documents(draw) -> dict[str, Any]:
    endpoints = draw(st.lists(ENDPOINT, min_size=1, max_size=4))
    for number, one in enumerate(endpoints):
        one["name"] = f"e{number}"
    body: dict[str, Any] = {"endpoints": endpoints, "budget": draw(BUDGET)}
    if draw(st.booleans()):
        settings = {"sticky": draw(st.booleans()), "budget": draw(BUDGET)}
        body["aliases"] = {"extra": {**settings, "also": [{"endpoint": "e0"}]}}
    if draw(st.booleans()):
        body["usd_cny"] = "7.12"
        body["prices"] = [{**draw(PRICE), "model": "all-*"}]
    return body


@given(documents())
def test_what_a_snapshot_says_as_a_document_reads_back_as_it(body):
    given_body = copy.deepcopy(body)
    snapshot = parse_models(body, version=3, profiles=PROFILES)
    assert body == given_body
    written = models_document(snapshot)
    assert parse_models(written, version=3, profiles=PROFILES) == snapshot
    assert models_document(parse_models(written, version=3, profiles=PROFILES)) == written


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["endpoints", "alias", "aliases", "x"]), inner, max_size=3
            ),
        ),
    )
)
def test_nonsense_is_refused_by_our_own_error(body):
    refusal(body)
