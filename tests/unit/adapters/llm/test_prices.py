"""The price tables: whole, dated, with their vendors as sources, and quick to ask."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from caopan.adapters.llm import prices
from caopan.adapters.llm.prices import price_rules, price_vendors
from caopan.adapters.llm.profiles import load_profiles
from caopan.domain.gateway.endpoint import CNY
from caopan.domain.gateway.pricing import ModelPrices
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.errors import ConfigInvalid

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
"""A Friday, 10:00 in Beijing."""
SUNDAY = datetime(2026, 11, 22, 2, tzinfo=UTC)
SITES = {
    "anthropic": {"www.anthropic.com"},
    "dashscope": {"help.aliyun.com"},
    "deepseek": {"api-docs.deepseek.com"},
    "google": {"ai.google.dev"},
    "minimax": {"platform.minimax.io"},
    "mistral": {"mistral.ai"},
    "moonshotai": {"platform.kimi.com", "platform.kimi.ai"},
    "openai": {"developers.openai.com"},
    "volcengine": {"www.volcengine.com"},
    "x-ai": {"docs.x.ai"},
    "zai": {"docs.z.ai"},
    "zhipuai": {"docs.bigmodel.cn"},
}


def every_rule(vendor: str):
    return [*prices._own(vendor), *prices._of_library(vendor)]


def cost(vendor: str, model: str, tokens: Tokens, at: datetime = AT, currency: str = "CNY"):
    rules = price_rules(vendor, model, currency)
    found = ModelPrices(model, [rules], usd_cny="7.1").cost(tokens, at)
    return None if found is None else found.amount


def test_every_vendor_has_a_table():
    assert set(price_vendors()) == {*SITES, "local"}


@pytest.mark.parametrize("vendor", sorted(SITES))
def test_every_rule_can_be_read_and_names_its_vendors_page(vendor):
    rules = every_rule(vendor)
    assert rules
    for rule in rules:
        assert urlsplit(rule.source).hostname in SITES[vendor], rule.source
        assert ModelPrices(rule.model, [[rule]], usd_cny="7.1").is_known
        assert float(rule.output_mtok) > 0 or "embed" in rule.model, rule


@pytest.mark.parametrize("vendor", sorted(SITES))
def test_no_two_rules_of_a_table_say_the_same_thing_twice(vendor):
    keys = [
        (rule.model, rule.valid_from, rule.currency, rule.tier_from, rule.hours, rule.weekdays)
        for rule in every_rule(vendor)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("vendor", sorted(SITES))
def test_a_cached_token_is_never_dearer_and_a_higher_tier_never_cheaper(vendor):
    """Not a law, but true of every vendor: a slip of the pen would break it."""
    by_name = dict[tuple[str | None, ...], list[tuple[int, float]]]()
    for rule in every_rule(vendor):
        assert float(rule.cached_mtok or 0) <= float(rule.input_mtok), rule
        key = rule.model, rule.valid_from, rule.currency, str(rule.hours)
        by_name.setdefault(key, []).append((rule.tier_from, float(rule.input_mtok)))
    for tiers in by_name.values():
        assert [price for _, price in sorted(tiers)] == sorted(price for _, price in tiers)


@pytest.mark.parametrize(
    ("vendor", "model", "currency", "at", "yuan"),
    [
        ("deepseek", "deepseek-flash", "CNY", AT, 2 + 8),
        ("deepseek", "deepseek-flash", "CNY", SUNDAY, 1 + 4),
        ("deepseek", "deepseek-v4-pro", "CNY", AT, 9 + 27),
        ("deepseek", "deepseek-v4-pro", "USD", SUNDAY, 7.1 * (0.66 + 1.98)),
        ("moonshotai", "kimi-k3", "CNY", AT, 20 + 100),
        ("moonshotai", "kimi-k3", "USD", AT, 7.1 * (3 + 15)),
        ("zhipuai", "GLM-5.3", "CNY", AT, 8 + 28),
        ("dashscope", "qwen3.8-max", "CNY", AT, 12 + 36),
        ("dashscope", "qwen3.7-plus", "CNY", AT, 6 + 24),
        ("volcengine", "doubao-seed-2-1-pro-260628", "CNY", AT, 6 + 30),
        ("volcengine", "doubao-seed-2-0-pro-260215", "CNY", AT, 9.6 + 48),
        ("openai", "gpt-4.1-mini", "USD", AT, 7.1 * (0.4 + 1.6)),
        ("local", "qwen3:8b", "CNY", AT, 0),
    ],
)
def test_a_million_tokens_each_way_cost_what_the_page_says(vendor, model, currency, at, yuan):
    million = Tokens(1_000_000, 1_000_000)
    assert cost(vendor, model, million, at, currency) == round(yuan * CNY)


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("dashscope", "qwen-plus"),
        ("dashscope", "qwen9-max"),
        ("nobody", "gpt-4.1"),
        ("../library/openai", "gpt-4.1"),
        ("", "gpt-4.1"),
    ],
)
def test_what_is_not_published_is_unknown(vendor, model):
    assert price_rules(vendor, model, "CNY") == ()
    assert cost(vendor, model, Tokens(1, 1)) is None


def test_a_table_is_read_once_and_a_look_up_is_kept():
    assert price_rules("openai", "gpt-4.1", "USD") is price_rules("openai", "gpt-4.1", "USD")
    assert prices._of_library("openai") is prices._of_library("openai")


def test_a_damaged_table_is_told_by_its_name(monkeypatch, tmp_path):
    (tmp_path / "bad.toml").write_text("[[price]]\nmodels = ['x']\n", "utf-8")
    (tmp_path / "worse.json").write_text('{"rules": [[1]]}', "utf-8")
    monkeypatch.setattr(prices, "_TABLES", tmp_path)
    monkeypatch.setattr(prices, "_LIBRARY", tmp_path)
    for vendor in ("bad", "worse"):
        with pytest.raises(ConfigInvalid, match=vendor) as caught:
            price_rules(vendor, "x", "CNY")
        assert caught.value.code == "MODEL_PRICES_UNREADABLE"


def test_the_library_itself_is_not_there_at_run_time():
    code = (
        "import sys; from caopan.adapters.llm.prices import price_rules;"
        "assert price_rules('openai', 'gpt-4.1', 'USD');"
        "print([name for name in ('genai_prices', 'pydantic', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NO_TABLE = {"", "openrouter"}
"""Its prices go by the provider behind it, which changes."""


def test_every_profile_names_a_table_that_there_is():
    named = {name: profile.price_provider for name, profile in load_profiles(None).items()}
    assert set(named.values()) <= {*price_vendors(), *NO_TABLE}
    assert named["dashscope_intl"] == ""


@pytest.mark.parametrize("name", ["builtin", "replay", "faulty", "ollama", "vllm"])
def test_what_runs_here_is_known_to_cost_nothing(name):
    profile = load_profiles(None)[name]
    assert cost(profile.price_provider, "any", Tokens(5, 5), AT, profile.currency) == 0
