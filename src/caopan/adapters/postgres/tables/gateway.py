"""What the model gateway keeps: every attempt, its bodies, its configuration, its callers' keys.

Owns llm_call, llm_body, models_config and client_key. An attempt's row is written when it begins
and completed once when it ends; then a trigger refuses any change. Bodies stand apart because
retention clears them and the rows stay. llm_call and llm_body are partitioned by month of
began_at, which is part of the attempt's identity, so that storing one again changes nothing.
models_config is append-only.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql

from caopan.adapters.postgres.tables.base import (
    Row,
    column,
    cost,
    document,
    flag,
    instant,
    is_hash,
    key,
    key_number,
    key_text,
    number,
    one_of,
    recorded_at,
    rule,
    text,
)
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.outcome import Outcome


def _began_at() -> Any:  # noqa: ANN401 - as the kinds of columns in base
    return column(Column(DateTime(timezone=True), primary_key=True))


def _words() -> Any:  # noqa: ANN401 - as the kinds of columns in base
    return column(Column(ARRAY(Text), nullable=False))


def _bytes() -> Any:  # noqa: ANN401 - as the kinds of columns in base
    return column(Column(LargeBinary, nullable=True))


class LlmCallRow(Row, table=True):
    """One attempt at an endpoint, or a call refused before any was asked (attempt 0)."""

    __table_args__ = (
        Index("ix_llm_call_began", "began_at", "call_id", "attempt"),
        Index("ix_llm_call_endpoint", "endpoint", "began_at"),
        Index("ix_llm_call_prompt", "prompt_hash", "began_at"),
        Index(
            "ix_llm_call_decision",
            "decision_id",
            "began_at",
            postgresql_where=sql("decision_id IS NOT NULL"),
        ),
        rule("attempt", "attempt >= 0"),
        rule("role", "role IN ('actor', 'checker', 'analyst', 'other')"),
        one_of("path", Path),
        # A request refused before it was understood has no prompt.
        rule(
            "prompt_hash",
            "prompt_hash = '' OR (length(prompt_hash) = 64 AND prompt_hash ~ '^[0-9a-f]+$')",
        ),
        one_of("outcome", Outcome),
        rule("ended", "(outcome IS NULL) = (ended_at IS NULL)"),
        rule("latency_ms", "latency_ms >= 0"),
        rule("ttft_ms", "ttft_ms >= 0"),
        rule("overhead_ms", "overhead_ms >= 0"),
        rule(
            "tokens",
            "tokens_prompt >= 0 AND tokens_completion >= 0"
            " AND tokens_reasoning >= 0 AND tokens_cached >= 0",
        ),
        rule("money", "claimed_cny >= 0 AND charged_cny >= 0 AND cost_cny >= 0"),
        rule("status", "status >= 100 AND status <= 599"),
        rule("quality", "quality IN ('invalid_json', 'blank')"),
        {"postgresql_partition_by": "RANGE (began_at)"},
    )

    call_id: UUID = key()
    attempt: int = key_number()
    began_at: datetime = _began_at()
    ended_at: datetime | None = instant(nullable=True)
    process: str = text()
    trace_id: str = text()
    decision_id: str | None = text(nullable=True)
    role: str = text()
    client: str = text()
    path: str = text()
    alias: str = text()
    endpoint: str = text()
    provider: str = text()
    model_asked: str = text()
    model_served: str | None = text(nullable=True)
    prompt_hash: str = text()
    prompt_version: str = text()
    config_version: int = number()
    price_version: str | None = text(nullable=True)
    stream: bool = flag()
    adapted: list[str] = _words()
    scopes: list[str] = _words()
    claimed_cny: Decimal = cost(nullable=False)
    charged_cny: Decimal = cost(nullable=False)
    cost_cny: Decimal | None = cost()
    tokens_prompt: int | None = number(nullable=True)
    tokens_completion: int | None = number(nullable=True)
    tokens_cached: int | None = number(nullable=True)
    tokens_reasoning: int | None = number(nullable=True)
    tokens_estimated: bool | None = column(Column(Boolean, nullable=True))
    usage_raw: dict[str, Any] | None = document(nullable=True)
    status: int | None = number(nullable=True)
    outcome: str | None = text(nullable=True)
    error_code: str | None = text(nullable=True)
    detail: str | None = text(nullable=True)
    quality: str | None = text(nullable=True)
    breaker: str | None = text(nullable=True)
    ttft_ms: int | None = number(nullable=True)
    latency_ms: int | None = number(nullable=True)
    overhead_ms: float | None = column(Column(Double, nullable=True))


class LlmBodyRow(Row, table=True):
    """What was sent to the vendor and what came back, compressed; cleared by retention."""

    __table_args__ = (
        Index("ix_llm_body_began", "began_at"),
        {"postgresql_partition_by": "RANGE (began_at)"},
    )

    call_id: UUID = key()
    attempt: int = key_number()
    began_at: datetime = _began_at()
    request: bytes | None = _bytes()
    response: bytes | None = _bytes()


class ModelsConfigRow(Row, table=True):
    """One version of the models document; append-only, the newest is in force."""

    __table_args__ = (
        rule("version", "version >= 1"),
        rule("author", "author <> ''"),
    )

    version: int = key_number()
    body: dict[str, Any] = document()
    author: str = text()
    note: str = text()
    created_at: datetime = instant()
    recorded_at: datetime = recorded_at()


class ClientKeyRow(Row, table=True):
    """A caller's key: its SHA-256, never the key. A voided one keeps its name and its id."""

    __table_args__ = (
        UniqueConstraint("digest", name="uq_client_key_digest"),
        UniqueConstraint("name", name="uq_client_key_name"),
        is_hash("digest"),
        rule("client_id", "client_id <> ''"),
        rule("name", "name <> ''"),
        rule("daily_budget_cny", "daily_budget_cny >= 0"),
        rule("rpm", "rpm >= 0"),
    )

    client_id: str = key_text()
    digest: str = text()
    name: str = text()
    aliases: list[str] = _words()
    admin: bool = flag()
    daily_budget_cny: Decimal | None = cost()
    rpm: int | None = number(nullable=True)
    expires_at: datetime | None = instant(nullable=True)
    revoked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()
