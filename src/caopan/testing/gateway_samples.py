"""Attempts, claims and keys of the model gateway, as tests want them.

Owns sample values only: plain, valid, told apart by a number. Must never hold a rule.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Claim, ClientKey, Path
from caopan.domain.gateway.budget import BudgetClaim
from caopan.domain.gateway.endpoint import RateLimit
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.ids import derived_uuid

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
"""A Friday, 11:00 in Beijing."""
DAY = "2026-11-20"


def sample_began(nth: int = 0, **changes: Any) -> AttemptBegan:  # noqa: ANN401 - any field
    """Return the nth attempt, begun nth milliseconds after AT."""
    at = changes.get("at", AT + timedelta(milliseconds=nth))
    plain = AttemptBegan(
        call_id=derived_uuid(at, "sample call", nth),
        attempt=1,
        trace_id=f"trace-{nth}",
        decision_id=None,
        role="actor",
        client="desk",
        path=Path.CHAT,
        alias="main",
        endpoint="deepseek",
        provider="deepseek",
        model_asked="deepseek-chat",
        prompt_hash=f"{nth:064x}",
        prompt_version="1.0.0",
        config_version=3,
        stream=False,
        at=at,
        request=json.dumps({"messages": [{"content": f"第{nth}问"}]}).encode(),
        adapted=("json_schema->json_object",),
        claimed=5_000_000,
        scopes=("all", "alias:main"),
    )
    return replace(plain, **changes)


def sample_ended(began: AttemptBegan, **changes: Any) -> AttemptEnded:  # noqa: ANN401 - any field
    """Return a good end of `began`, a second later."""
    plain = AttemptEnded(
        call_id=began.call_id,
        attempt=began.attempt,
        at=began.at + timedelta(seconds=1),
        outcome=Outcome.OK,
        error_code=None,
        detail="",
        status=200,
        model_served="deepseek-chat-1120",
        tokens=Tokens(100, 20, 40, 5),
        usage_raw={"prompt_tokens": 100, "completion_tokens": 20},
        cost=1_234_567,
        price_version="2026-11-01",
        ttft_ms=300,
        latency_ms=1_000,
        overhead_ms=0.75,
        breaker="closed",
        quality=None,
        response=b'{"choices": []}',
        charged=1_234_567,
    )
    return replace(plain, **changes)


def sample_claim(  # noqa: PLR0913 - one for each thing that may be bounded
    nth: int,
    *,
    limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
    tokens: int = 0,
    cost: int = 0,
    budgets: dict[str, int] | None = None,
    client_rpm: tuple[str, int] | None = None,
    endpoint: str = "deepseek",
    at: datetime = AT,
    expires_ms: int = 600_000,
) -> Claim:
    """Return the nth claim; `budgets` maps scopes to limits, alerts are due at 80 %."""
    return Claim(
        claim_id=sample_claim_id(nth),
        endpoint=endpoint,
        limit=limit,
        tokens=tokens,
        cost=cost,
        budgets=tuple(
            BudgetClaim(scope, most, most * 8 // 10) for scope, most in (budgets or {}).items()
        ),
        client_rpm=client_rpm,
        at=at,
        expires_ms=expires_ms,
    )


def sample_claim_id(nth: int) -> UUID:
    """Return the id of the nth claim."""
    return derived_uuid(AT, "sample claim", nth)


def sample_key(name: str = "research", **changes: Any) -> ClientKey:  # noqa: ANN401 - any field
    """Return a client's key called `name`."""
    plain = ClientKey(
        client_id=f"id-{name}",
        name=name,
        aliases=("main", "cheap"),
        admin=False,
        daily_budget=12_345_678_901,
        rpm=60,
        expires_at=AT + timedelta(days=30),
        revoked_at=None,
        created_at=AT,
    )
    return replace(plain, **changes)
