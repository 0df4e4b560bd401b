"""Which price holds and what a call costs, against a clear and slow reading of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from caopan.domain.gateway.endpoint import PriceRule
from caopan.domain.gateway.pricing import ModelPrices, assumed_cost
from caopan.domain.gateway.usage import Tokens

BEIJING = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 9, 30, 16, 0, tzinfo=UTC)
"""Midnight in Beijing, the first day of a holiday, a Thursday."""
MODEL = "deepseek-flash"
NAMES = st.sampled_from([MODEL, "DeepSeek-Flash", "deepseek-*", "*", "other", "deepseek-f*"])
EDGES = ["00:00", "00:01", "09:00", "12:00", "18:00", "23:59"]
RULES = st.builds(
    PriceRule,
    NAMES,
    st.sampled_from(
        ["2026-09-01T00:00:00+00:00", "2026-10-01T00:00:00+08:00", "2026-10-01T09:30:00+08:00"]
    ),
    st.sampled_from(["CNY", "CNY", "USD"]),
    st.sampled_from(["0", "1", "0.02", "4.5"]),
    st.sampled_from(["0", "8", "13.5", "0.003625"]),
    st.sampled_from([None, "0.02", "5"]),
    st.sampled_from([0, 0, 32_001, 128_001]),
    st.none() | st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)),
    st.none() | st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    cache_write_mtok=st.sampled_from([None, None, "9.99"]),
    except_days=st.sampled_from([(), (), ("2026-10-01", "2026-10-02")]),
)
LAYERS = st.lists(st.lists(RULES, max_size=4), max_size=3)
INSTANTS = st.builds(
    lambda day, minute, second: START + timedelta(days=day, minutes=minute, seconds=second),
    st.integers(-1, 4),
    st.sampled_from([0, 1, 539, 540, 570, 719, 720, 1080, 1439]),
    st.sampled_from([0, 0, 59]),
)
PROMPTS = st.sampled_from([0, 1, 32_000, 32_001, 128_000, 128_001, 999_999])
RATES = st.sampled_from([None, "7.1234"])
USAGES = st.builds(
    Tokens,
    PROMPTS,
    st.integers(0, 50_000),
    st.none() | st.integers(0, 200_000),
    cache_write=st.none() | st.integers(0, 200_000),
)


def reads(name: str) -> int:
    if name.lower() == MODEL:
        return 99
    return len(name) if name.endswith("*") and MODEL.startswith(name[:-1]) else -1


def holds(rule: PriceRule, at: datetime, prompt: int) -> bool:
    here = at.astimezone(BEIJING)
    now = f"{here:%H:%M}"
    begin, end = rule.hours or ("", "")
    inside = (begin <= now < end) if begin < end else (now >= begin or now < end)
    return (
        reads(rule.model) >= 0
        and datetime.fromisoformat(rule.valid_from) <= at
        and rule.tier_from <= prompt
        and (rule.weekdays is None or here.isoweekday() in rule.weekdays)
        and here.date().isoformat() not in rule.except_days
        and (rule.hours is None or begin == end or inside)
    )


def naive_rule(
    layers: Sequence[Sequence[PriceRule]], at: datetime, prompt: int
) -> PriceRule | None:
    for layer in layers:
        best, rank = None, None
        for rule in layer:
            mine = (
                reads(rule.model),
                datetime.fromisoformat(rule.valid_from),
                rule.tier_from,
                bool(rule.hours or rule.weekdays or rule.except_days),
            )
            if holds(rule, at, prompt) and (rank is None or mine >= rank):
                best, rank = rule, mine
        if best is not None:
            return best
    return None


def naive_cost(rule: PriceRule | None, tokens: Tokens, usd: str | None) -> int | None:
    if rule is None or (rule.currency == "USD" and usd is None):
        return None
    assert tokens.prompt is not None
    assert tokens.completion is not None
    exchange = Decimal(usd or "1") if rule.currency == "USD" else Decimal(1)
    cached = min(tokens.cached or 0, tokens.prompt)
    written = min(tokens.cache_write or 0, tokens.prompt - cached)
    total = (
        Decimal(rule.input_mtok) * (tokens.prompt - cached - written)
        + Decimal(rule.cached_mtok or rule.input_mtok) * cached
        + Decimal(rule.cache_write_mtok or rule.input_mtok) * written
        + Decimal(rule.output_mtok) * tokens.completion
    ) * exchange
    return int((total * 100).to_integral_value(ROUND_HALF_UP))


@given(LAYERS, INSTANTS, PROMPTS)
def test_the_rule_in_force_is_the_one_a_reader_would_take(layers, at, prompt):
    prices = ModelPrices(MODEL, layers, usd_cny="7.1")
    assert prices.in_force(at, prompt) == naive_rule(layers, at, prompt)
    assert prices.is_known == any(reads(rule.model) >= 0 for layer in layers for rule in layer)


@given(LAYERS, INSTANTS, USAGES, RATES)
def test_the_cost_is_exact_and_unknown_where_the_price_is(layers, at, tokens, usd):
    cost = ModelPrices(MODEL, layers, usd_cny=usd).cost(tokens, at)
    rule = naive_rule(layers, at, tokens.prompt or 0)
    assert (None if cost is None else cost.amount) == naive_cost(rule, tokens, usd)


@given(LAYERS, INSTANTS, st.integers(0, 3 * 24 * 60), st.data(), PROMPTS, RATES)
def test_no_usage_within_its_bounds_costs_more_than_the_most(
    layers, begin, span, data, prompt, usd
):
    """And where any price within them is unknown, the most is."""
    prices = ModelPrices(MODEL, layers, usd_cny=usd)
    end = begin + timedelta(minutes=span)
    most = prices.most(prompt, 5_000, begin, end)
    at = begin + timedelta(minutes=data.draw(st.integers(0, span)))
    tokens = data.draw(
        st.builds(
            Tokens,
            st.integers(0, prompt),
            st.integers(0, 5_000),
            st.integers(0, prompt),
            cache_write=st.integers(0, prompt),
        )
    )
    cost = prices.cost(tokens, at)
    assert most is None or (cost is not None and cost.amount <= most)


@given(RULES, INSTANTS, PROMPTS, st.integers(0, 5_000), RATES)
def test_the_most_is_what_the_dearest_usage_costs(rule, at, prompt, completion, usd):
    """One rule, one instant: the bound is met, not only kept."""
    prices = ModelPrices(MODEL, [[replace(rule, tier_from=0)]], usd_cny=usd)
    most = prices.most(prompt, completion, at, at)
    ways = [
        Tokens(prompt, completion),
        Tokens(prompt, completion, prompt),
        Tokens(prompt, completion, cache_write=prompt),
    ]
    costs = [prices.cost(one, at) for one in ways]
    assert most == (
        None if costs[0] is None else max(cost.amount for cost in costs if cost is not None)
    )


@given(LAYERS, INSTANTS, PROMPTS, PROMPTS, st.integers(0, 999), st.integers(0, 999), RATES)
def test_the_most_grows_with_its_bounds(layers, at, prompt, other, completion, more, usd):
    prices = ModelPrices(MODEL, layers, usd_cny=usd)
    small = prices.most(min(prompt, other), completion, at, at)
    large = prices.most(max(prompt, other), completion + more, at, at + timedelta(hours=1))
    assert large is None or (small is not None and small <= large)


@given(RULES, INSTANTS, USAGES)
def test_parts_add_up_to_the_whole_but_for_one_rounding(rule, at, tokens):
    prices = ModelPrices(MODEL, [[replace(rule, model=MODEL, tier_from=0)]], usd_cny="7.1234")
    whole = prices.cost(replace(tokens, cached=None, cache_write=None), at)
    assume(whole is not None)
    sides = [
        prices.cost(Tokens(tokens.prompt, 0), at),
        prices.cost(Tokens(0, tokens.completion), at),
    ]
    assert whole is not None
    assert abs(whole.amount - sum(side.amount for side in sides if side is not None)) <= 1


ALWAYS = RULES.map(
    lambda rule: replace(
        rule,
        model=MODEL,
        valid_from="2026-09-01T00:00:00+00:00",
        tier_from=0,
        hours=None,
        weekdays=None,
        except_days=(),
    )
)


@given(ALWAYS, ALWAYS, INSTANTS, st.sampled_from(["7.1", "7.2"]))
def test_a_price_version_names_one_price(rule, other, at, usd):
    tokens = Tokens(1_000, 1_000)
    one = ModelPrices(MODEL, [[rule]], usd_cny="7.1").cost(tokens, at)
    two = ModelPrices(MODEL, [[other]], usd_cny=usd).cost(tokens, at)
    assert one is not None
    assert two is not None
    same = rule == other and (usd == "7.1" or rule.currency == "CNY")
    assert (one.price_version == two.price_version) == same


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**12))
def test_what_an_unknown_price_counts_as_is_never_less(prompt, completion, per_mtok):
    amount = assumed_cost(prompt, completion, per_mtok)
    exact = Decimal((prompt + completion) * per_mtok) / 1_000_000
    assert exact <= amount < exact + 1
