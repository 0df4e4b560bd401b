"""Who answers: by weight, by key, never another model unless the route says so."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caopan.domain.gateway.endpoint import Endpoint, Fallback, Route, Target
from caopan.domain.gateway.outcome import CONSEQUENCES, After, FailureClass
from caopan.domain.gateway.routing import (
    WELL,
    Choice,
    Failed,
    Health,
    PassedOver,
    Ranking,
    choose,
    rank,
)

NAMES = ("a", "b", "c", "d")
MODELS: dict[str, str] = dict(zip(NAMES, ("x", "x", "y", "x"), strict=True))
ENDPOINTS = {name: Endpoint(name, "vendor", model) for name, model in MODELS.items()}
TARGETS = st.builds(
    Target,
    st.none(),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from(Fallback),
)
ROUTES = st.lists(TARGETS, min_size=1, max_size=4).map(
    lambda targets: tuple(
        Target(name, one.priority, one.weight, one.fallback)
        for name, one in zip(NAMES, targets, strict=False)
    )
)
HEALTH = st.sampled_from(
    [
        WELL,
        WELL,
        Health(PassedOver.OPEN, 5),
        Health(PassedOver.RATE_LIMITED, 7),
        Health(PassedOver.DISABLED),
        Health(share=0.25),
    ]
)
SICK_BAY = st.fixed_dictionaries(dict.fromkeys(NAMES, HEALTH))
PASSING = st.sampled_from(
    [one for one in FailureClass if After.ELSEWHERE in CONSEQUENCES[one].after]
)


def ranked(targets: tuple[Target, ...], seed: int) -> Ranking:
    chance = Random(seed)  # noqa: S311 - no secret
    return rank(Route("alias", targets), ENDPOINTS, chance.random)


def played(
    ranking: Ranking, health: dict[str, Health], failures: list[FailureClass]
) -> list[tuple[Choice, list[Failed]]]:
    """Return every choice of a call whose attempts fail one after the other."""
    failed = list[Failed]()
    choices = list[tuple[Choice, list[Failed]]]()
    for failure in [*failures, FailureClass.SERVER]:
        choice = choose(ranking, lambda endpoint: health[endpoint.name], failed)
        choices.append((choice, [*failed]))
        if choice.endpoint is None:
            break
        failed.append(Failed(choice.endpoint.name, failure))
    return choices


CALLS = (ROUTES, st.integers(0, 99), SICK_BAY, st.lists(PASSING, max_size=6))


@given(*CALLS)
def test_everyone_is_asked_or_told_why_not(targets, seed, health, failures):
    for choice, _ in played(ranked(targets, seed), health, failures):
        named = [one.endpoint for one in choice.skipped]
        named += [choice.endpoint.name] if choice.endpoint else []
        assert sorted(named) == sorted(one.endpoint for one in targets)


@given(*CALLS)
def test_nobody_is_asked_who_cannot_be(targets, seed, health, failures):
    for choice, _ in played(ranked(targets, seed), health, failures):
        assert choice.endpoint is None or health[choice.endpoint.name].reason is None
        for one in choice.skipped:
            reason = health[one.endpoint].reason
            assert reason in {None, one.reason} or one.reason is PassedOver.NOT_ALLOWED


@given(*CALLS)
def test_a_call_keeps_its_model_unless_every_one_before_lets_it_go(targets, seed, health, failures):
    places = ranked(targets, seed).places
    by_name = {place.endpoint.name: place.target for place in places}
    part = [one for one in places if health[one.endpoint.name].reason is not PassedOver.DISABLED]
    for choice, failed in played(ranked(targets, seed), health, failures):
        if choice.endpoint is None:
            continue
        asked = choice.endpoint.name
        turn = [one.endpoint.name for one in part]
        ill = [name for name in turn[: turn.index(asked)] if health[name] != WELL] + [
            one.endpoint for one in failed if one.endpoint != asked
        ]
        for name in ill:
            match by_name[name].fallback:
                case Fallback.SAME_MODEL:
                    assert MODELS[asked] == MODELS[name]
                case Fallback.NONE:
                    pytest.fail(f"{asked} answered for {name}")
                case Fallback.LISTED:
                    pass


@given(*CALLS)
def test_with_same_model_everywhere_a_call_has_one_model(targets, seed, health, failures):
    """Whoever is first by configuration fixes it, ill or well."""
    same = tuple(Target(one.endpoint, one.priority, one.weight) for one in targets)
    places = ranked(same, seed).places
    part = [one for one in places if health[one.endpoint.name].reason is not PassedOver.DISABLED]
    for choice, _ in played(ranked(same, seed), health, failures):
        assert choice.endpoint is None or choice.endpoint.model == part[0].endpoint.model


@given(*CALLS)
def test_nobody_is_asked_twice_while_another_may_be(targets, seed, health, failures):
    free = tuple(Target(one.endpoint, one.priority, one.weight, Fallback.LISTED) for one in targets)
    for choice, failed in played(ranked(free, seed), health, failures):
        tried = {one.endpoint for one in failed}
        names = {one.endpoint for one in free}
        untried = {name for name in names - tried if health[name].reason is None}
        if untried:
            assert choice.endpoint is not None
            assert choice.endpoint.name in untried
            assert not choice.again
        elif choice.endpoint is not None:
            assert choice.again
            last = next(
                one.failure for one in reversed(failed) if one.endpoint == choice.endpoint.name
            )
            assert After.AGAIN in CONSEQUENCES[last].after


@given(*CALLS[:3])
def test_the_first_choice_is_of_the_lowest_tier_that_has_one(targets, seed, health):
    free = tuple(Target(one.endpoint, one.priority, one.weight, Fallback.LISTED) for one in targets)
    choice = choose(ranked(free, seed), lambda endpoint: health[endpoint.name])
    able = [one for one in free if health[one.endpoint].reason is None]
    if not able:
        assert choice.endpoint is None
        return
    weighty = [one for one in able if one.weight > 0] or able
    chosen = next(one for one in able if choice.endpoint and one.endpoint == choice.endpoint.name)
    assert chosen in weighty
    assert chosen.priority == min(one.priority for one in weighty)


@given(*CALLS[:3], st.sampled_from([FailureClass.CALLER, FailureClass.CONTENT_FILTER]))
def test_a_fault_of_the_caller_goes_nowhere_else(targets, seed, health, failure):
    ranking = ranked(targets, seed)
    for name in NAMES:
        choice = choose(ranking, lambda endpoint: health[endpoint.name], [Failed(name, failure)])
        assert (choice.endpoint, choice.retry_at) == (None, None)


@given(*CALLS)
def test_a_rest_until_a_rate_limit_ends_is_offered_only_where_nobody_can_be_asked(
    targets, seed, health, failures
):
    for choice, _ in played(ranked(targets, seed), health, failures):
        if choice.retry_at is not None:
            assert choice.endpoint is None
            limited = [one for one in choice.skipped if one.reason is PassedOver.RATE_LIMITED]
            assert choice.retry_at in {one.until for one in limited}


def shares(
    weights: dict[str, float], health: dict[str, Health], sticky: bool, rounds: int = 20_000
) -> dict[str, float]:
    targets = tuple(Target(name, 0, weight) for name, weight in weights.items())
    alike = {name: Endpoint(name, "vendor", "x") for name in weights}
    route = Route("alias", targets, sticky=sticky)
    chance = Random(7)  # noqa: S311 - no secret
    seen = Counter[str]()
    for number in range(rounds):
        ranking = rank(route, alike, chance.random, f"decision-{number}" if sticky else None)
        choice = choose(ranking, lambda endpoint: health.get(endpoint.name, WELL))
        assert choice.endpoint is not None
        seen[choice.endpoint.name] += 1
    return {name: seen[name] / rounds for name in weights}


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize(
    ("weights", "health", "expected"),
    [
        ({"a": 1.0, "b": 1.0}, {}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.7, "b": 0.2, "c": 0.1}, {}, {"a": 0.7, "b": 0.2, "c": 0.1}),
        (
            {"a": 0.5, "b": 0.3, "c": 0.2},
            {"a": Health(PassedOver.OPEN)},
            {"a": 0, "b": 0.6, "c": 0.4},
        ),
        ({"a": 1.0, "b": 1.0}, {"a": Health(share=0.25)}, {"a": 0.2, "b": 0.8}),
        ({"a": 1.0, "b": 0.0}, {}, {"a": 1.0, "b": 0.0}),
    ],
)
def test_calls_are_shared_by_weight(weights, health, expected, sticky):
    """Three standard deviations of 20,000 draws are about 0.011."""
    assert shares(weights, health, sticky) == pytest.approx(expected, abs=0.012)


KEYS = st.text(min_size=1, max_size=12)
WEIGHTS = st.fixed_dictionaries(dict.fromkeys(NAMES, st.sampled_from([0.1, 0.5, 1.0])))


def order(weights: dict[str, float], key: str) -> list[str]:
    targets = tuple(Target(name, 0, weight) for name, weight in weights.items())
    ranking = rank(Route("alias", targets, sticky=True), ENDPOINTS, lambda: 0.0, key)
    return [place.endpoint.name for place in ranking.places]


@given(WEIGHTS, KEYS, st.sampled_from(NAMES))
def test_an_endpoint_less_moves_only_its_own_keys(weights, key, gone):
    left = {name: weight for name, weight in weights.items() if name != gone}
    assert order(left, key) == [name for name in order(weights, key) if name != gone]


@given(WEIGHTS, KEYS, st.sampled_from(NAMES))
def test_more_weight_only_draws_keys_nearer(weights, key, grown):
    before, after = order(weights, key), order({**weights, grown: 1.0}, key)
    assume(weights[grown] < 1.0)
    assert after.index(grown) <= before.index(grown)
    assert [n for n in after if n != grown] == [n for n in before if n != grown]


@given(KEYS, st.randoms(use_true_random=False))
def test_a_route_that_is_not_sticky_takes_no_notice_of_the_key(key, chance):
    targets = tuple(Target(name) for name in NAMES)
    state = chance.getstate()
    with_key = rank(Route("alias", targets), ENDPOINTS, chance.random, key)
    chance.setstate(state)
    assert with_key == rank(Route("alias", targets), ENDPOINTS, chance.random)
