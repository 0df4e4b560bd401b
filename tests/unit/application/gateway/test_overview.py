"""What is shown of a gateway is what it has seen, and nothing secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from caopan.application.contracts.models_parsing import parse_models
from caopan.application.gateway.breakers import Standing
from caopan.application.gateway.overview import Overview, shown
from caopan.application.gateway.tallies import Tallies
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Path
from caopan.domain.gateway.breaker import Phase
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.profile import Profile
from caopan.domain.gateway.usage import Tokens

AT = datetime(2026, 11, 20, tzinfo=UTC)
PROFILES = {"p": Profile("p", "", "", "https://p.example/v1")}
ENDPOINT = {"alias": "actor", "provider": "p", "model": "m", "auth_secret_ref": "env:CANARY_NAME"}
CLOSED = Standing(Phase.CLOSED, "new", 0, None, None, 1.0, "", None, ())


def overview(tallies: Tallies, standing: Standing = CLOSED) -> Overview:
    body = {
        "endpoints": [ENDPOINT, {**ENDPOINT, "alias": "checker", "name": "second"}],
        "aliases": {"checker": {"also": [{"endpoint": "actor-p"}], "budget": {"daily_cny": "2"}}},
        "budget": {"daily_cny": "10"},
    }
    snapshot = parse_models(body, version=4, profiles=PROFILES)
    return Overview(
        snapshot=snapshot,
        tallies=tallies,
        standings=dict.fromkeys(snapshot.endpoints, standing),
        spent={"all": 150_000_000, "alias:checker": 300_000_000},
        started_at=AT,
        is_shared=True,
        audit_waiting=2,
        loop_lag_ms=0.25,
        config_error="",
    )


def seen() -> Tallies:
    tallies = Tallies()
    for number, alias in enumerate(("actor", "checker")):
        call = UUID(int=number)
        tallies.began(
            AttemptBegan(
                call, 1, "t", None, "actor", "c", Path.CHAT, alias, "actor-p", "p", "m", "h", "",
                4, False, AT, b"a prompt", (), 0, (),
            )
        )  # fmt: skip
        failed = number == 1
        tallies.ended(
            AttemptEnded(
                call, 1, AT, Outcome.FAILED if failed else Outcome.OK,
                "MODEL_TIMEOUT" if failed else None, "no answer" if failed else "", 200, "m",
                Tokens(100, 20), None, None if failed else 150_000_000, "v", 30, 50, 0.5,
                "closed", None, b"an answer",
            )
        )  # fmt: skip
    return tallies


def test_an_endpoint_is_told_over_all_its_aliases():
    told = shown(overview(seen()))
    one = next(part for part in told["endpoints"] if part["endpoint"] == "actor-p")
    assert one["aliases"] == ["actor", "checker"]
    assert one["attempts"] == {"ok": 1, "failed": 1}
    assert one["errors"] == {"MODEL_TIMEOUT": 1}
    assert one["last_error"]["code"] == "MODEL_TIMEOUT"
    assert one["tokens"] == {"prompt": 200, "completion": 40}
    assert (one["cost_cny"], one["unpriced"]) == ("1.5", 1)
    assert one["total_ms"]["count"] == 1
    assert 50 <= one["total_ms"]["p99"] <= 55


def test_budgets_tell_what_is_left_and_never_less_than_nothing():
    told = {one["scope"]: one for one in shown(overview(Tallies()))["budgets"]}
    assert told["all"]["left_cny"] == "8.5"
    assert (told["alias:checker"]["spent_cny"], told["alias:checker"]["left_cny"]) == ("3", "0")


def test_a_standing_is_told_in_instants():
    standing = Standing(Phase.OPEN, "error_rate", 1_790_000_000_000, 1_790_000_015_000, None, 1.0, "", None, ())  # fmt: skip  # noqa: E501 - one value
    one = shown(overview(Tallies(), standing))["endpoints"][0]
    assert (one["state"], one["reason"]) == ("open", "error_rate")
    assert one["until"] == "2026-09-21T14:13:35.000Z"


def test_neither_reference_nor_prompt_nor_answer_is_shown():
    text = json.dumps(shown(overview(seen())))
    assert not any(word in text for word in ("CANARY_NAME", "a prompt", "an answer"))
