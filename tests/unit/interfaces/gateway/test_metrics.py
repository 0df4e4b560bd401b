"""The page of metrics is well-formed and says what was counted."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from caopan.application.contracts.models_parsing import parse_models
from caopan.application.gateway.breakers import Standing
from caopan.application.gateway.overview import Overview
from caopan.application.gateway.tallies import EndpointTally, Tallies
from caopan.domain.gateway.breaker import Phase
from caopan.domain.gateway.profile import Profile
from caopan.interfaces.gateway.metrics import metrics_page

BODY = {
    "endpoints": [
        {"alias": "actor", "provider": "p", "model": "m", "auth_secret_ref": "env:KEY"},
    ],
    "budget": {"daily_cny": "10"},
}


def page(tallies: Tallies) -> dict[str, float]:
    snapshot = parse_models(
        BODY, version=3, profiles={"p": Profile("p", "", "", "https://p.example/v1")}
    )
    overview = Overview(
        snapshot=snapshot,
        tallies=tallies,
        standings={"actor-p": Standing(Phase.OPEN, "auth", 1, 2, 3, 1.0, "", None, ())},
        spent={"all": 250_000_000},
        started_at=datetime(2026, 11, 20, tzinfo=UTC),
        is_shared=False,
        audit_waiting=9,
        loop_lag_ms=1.5,
        config_error="",
    )
    families = text_string_to_metric_families(metrics_page(overview).decode())
    return {
        f"{one.name.removeprefix('caopan_gateway_')}{sorted(one.labels.values())}": one.value
        for family in families
        for one in family.samples
    }


def tallies() -> Tallies:
    found = Tallies()
    found.answered("actor", "chat/completions", 200)
    found.retries["actor-p", "MODEL_TIMEOUT"] = 2
    found.fallbacks["actor-p", "other", "MODEL_TIMEOUT"] = 3
    found.moves["actor-p", "open", "auth"] = 1
    found.reloads_failed = 4
    tally = found.endpoints["actor", "actor-p"] = EndpointTally()
    tally.outcomes["failed", "MODEL_TIMEOUT"] = 5
    tally.tokens["prompt"] = 70
    tally.quality["blank"] = 1
    tally.cost = 150_000_000
    for milliseconds in (0.5, 5, 50, 1e9):
        tally.total.add(milliseconds)
    return found


def test_counts_states_and_money_are_told():
    told = page(tallies())
    assert told["calls_total['200', 'actor', 'chat/completions']"] == 1
    assert told["attempts_total['MODEL_TIMEOUT', 'actor', 'actor-p', 'failed']"] == 5
    assert told["retries_total['MODEL_TIMEOUT', 'actor-p']"] == 2
    assert told["fallbacks_total['MODEL_TIMEOUT', 'actor-p', 'other']"] == 3
    assert told["breaker_state['actor-p', 'open']"] == 1
    assert told["breaker_state['actor-p', 'closed']"] == 0
    assert told["breaker_moves_total['actor-p', 'auth', 'open']"] == 1
    assert told["rate_limit_gate['actor-p']"] == 1
    assert told["tokens_total['actor', 'actor-p', 'prompt']"] == 70
    assert told["bad_answers_total['actor', 'actor-p', 'blank']"] == 1
    assert told["cost_cny_total['actor', 'actor-p']"] == 1.5
    assert told["budget_left_cny['all']"] == 7.5
    assert told["audit_waiting[]"] == 9
    assert told["config_version[]"] == 3
    assert told["config_reload_failures_total[]"] == 4
    assert told["limits_shared[]"] == 0
    assert told["event_loop_lag_seconds[]"] == 0.0015


def test_a_histogram_grows_to_its_count():
    told = page(tallies())
    buckets = [value for name, value in told.items() if name.startswith("total_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == told["total_seconds_count['actor', 'actor-p']"] == 4


def test_a_gateway_that_has_seen_nothing_has_a_page_too():
    assert page(Tallies())["config_version[]"] == 3
