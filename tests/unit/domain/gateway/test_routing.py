"""Who may be asked now, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace

from caopan.domain.gateway.breaker import (
    BreakerState,
    Gate,
    Phase,
    Reason,
    Transition,
    new_breaker,
)
from caopan.domain.gateway.endpoint import BreakerSettings, Endpoint, Fallback, Route, Target
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.routing import (
    WELL,
    Failed,
    Health,
    PassedOver,
    Skipped,
    choose,
    health_of,
    rank,
)

NOW = 1_800_000_000_000
HERE = Endpoint("one", "deepseek", "deepseek-flash")


def moved_to(after: Phase, until: int, ramp: int = 0) -> BreakerState:
    last = Transition(NOW, 0, until, 1, "one", Phase.CLOSED, after, Reason.IN_A_ROW)
    return BreakerState(last, ramp=ramp)


def test_a_new_endpoint_is_well():
    assert health_of(HERE, new_breaker("one"), Gate(), NOW) is WELL


def test_switched_off_by_hand_goes_before_all_else():
    off = replace(HERE, enabled=False)
    state = moved_to(Phase.OPEN, NOW + 5)
    assert health_of(off, state, Gate(NOW + 9), NOW) == Health(PassedOver.DISABLED)


def test_an_open_breaker_says_until_when():
    state = moved_to(Phase.OPEN, NOW + 5)
    assert health_of(HERE, state, Gate(NOW + 9), NOW) == Health(PassedOver.OPEN, NOW + 5)
    assert health_of(HERE, state, Gate(), NOW + 5) is WELL


def test_probes_that_are_taken_have_no_time():
    state = moved_to(Phase.HALF_OPEN, NOW)
    assert health_of(HERE, state, Gate(), NOW) is WELL
    taken = state._replace(trial=state.trial._replace(under_way=1, last_at=NOW))
    assert health_of(HERE, taken, Gate(), NOW) == Health(PassedOver.OPEN)


def test_a_rate_limit_says_until_when():
    health = health_of(HERE, new_breaker("one"), Gate(NOW + 9), NOW)
    assert health == Health(PassedOver.RATE_LIMITED, NOW + 9)


def test_after_a_failure_it_has_part_of_its_weight():
    state = moved_to(Phase.CLOSED, NOW, ramp=10)
    assert health_of(HERE, state, Gate(), NOW) == Health(share=0.25)
    off = replace(HERE, breaker=BreakerSettings(enabled=False))
    assert health_of(off, state, Gate(), NOW) is WELL


ROUTE = Route(
    "trader",
    (
        Target("one", 0, fallback=Fallback.SAME_MODEL),
        Target("other", 1),
        Target("gone", 2),
        Target("twin", 3),
    ),
)
ENDPOINTS = {
    "one": HERE,
    "other": Endpoint("other", "kimi", "kimi-k3"),
    "twin": Endpoint("twin", "siliconflow", "deepseek-flash"),
}


def test_every_reason_is_told_where_nobody_can_be_asked():
    ranking = rank(ROUTE, ENDPOINTS, lambda: 0.5)
    choice = choose(
        ranking,
        lambda endpoint: Health(PassedOver.RATE_LIMITED, 70) if endpoint.name == "twin" else WELL,
        [Failed("one", FailureClass.AUTH)],
    )
    assert choice.endpoint is None
    assert choice.retry_at == 70
    assert set(choice.skipped) == {
        Skipped("one", PassedOver.FAILED, None, FailureClass.AUTH),
        Skipped("other", PassedOver.NOT_ALLOWED),
        Skipped("gone", PassedOver.UNKNOWN),
        Skipped("twin", PassedOver.RATE_LIMITED, 70),
    }


def test_the_same_model_elsewhere_stands_in_though_another_model_is_nearer():
    ranking = rank(ROUTE, ENDPOINTS, lambda: 0.5)
    choice = choose(ranking, lambda _: WELL, [Failed("one", FailureClass.SERVER)])
    assert choice.endpoint is ENDPOINTS["twin"]
    assert not choice.again


def test_the_last_one_left_is_asked_again_after_what_may_pass():
    ranking = rank(Route("trader", ROUTE.targets[:1]), ENDPOINTS, lambda: 0.5)
    choice = choose(ranking, lambda _: WELL, [Failed("one", FailureClass.TIMEOUT)])
    assert (choice.endpoint, choice.again) == (HERE, True)
    choice = choose(ranking, lambda _: WELL, [Failed("one", FailureClass.TLS)])
    assert choice.endpoint is None


def test_one_that_will_not_pass_is_not_asked_again_when_another_failed_later():
    ranking = rank(ROUTE, ENDPOINTS, lambda: 0.5)
    failed = [Failed("one", FailureClass.TLS), Failed("twin", FailureClass.SERVER)]
    choice = choose(ranking, lambda _: WELL, failed)
    assert choice.endpoint is ENDPOINTS["twin"]
    assert choice.again


def test_one_switched_off_by_hand_holds_nobody_back():
    """A person took it out of the route: its fallback says nothing any more."""
    off = {**ENDPOINTS, "one": replace(HERE, enabled=False)}
    choice = choose(
        rank(ROUTE, off, lambda: 0.5),
        lambda endpoint: WELL if endpoint.enabled else Health(PassedOver.DISABLED),
    )
    assert choice.endpoint is ENDPOINTS["other"]
    assert Skipped("one", PassedOver.DISABLED) in choice.skipped


def test_a_lower_tier_goes_first_whatever_is_drawn():
    route = Route("trader", (Target("other", 1), Target("one", 0)))
    draws = iter([0.0, 0.999999])
    choice = choose(rank(route, ENDPOINTS, lambda: next(draws)), lambda _: WELL)
    assert choice.endpoint is HERE
