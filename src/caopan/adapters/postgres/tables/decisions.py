"""Decisions, what they saw and which models were asked.

Owns decision, observation and model_call. observation and model_call are partitioned by month of
recorded_at, so a key of theirs is unique within a month; ids are derived from the run, and the
decision row, which is not partitioned, keeps a slot from being decided twice.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint

from caopan.adapters.postgres.tables.base import (
    Row,
    body,
    cost,
    day,
    document,
    ident,
    instant,
    is_hash,
    key,
    number,
    one_of,
    recorded_at,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin


class DecisionRow(Row, table=True):
    """One decision's cycle: how far it is recorded and what became of it."""

    __table_args__ = (
        within_run("run"),
        UniqueConstraint("run_id", "trading_day", "slot", name="uq_decision_slot"),
        Index("ix_decision_id", "decision_id"),
        one_of("stage", CycleStage),
        one_of("status", DecisionStatus),
        rule("slot", "slot <> ''"),
        rule("closed", "(stage = 'closed') = (closed_at IS NOT NULL)"),
        rule("final", "stage <> 'closed' OR status <> 'in_progress'"),
        one_of("origin", Origin),
        rule(
            "observed",
            "stage IN ('opened', 'closed') OR observation_id IS NOT NULL OR origin <> 'model'",
        ),
    )

    run_id: int = run_key()
    decision_id: UUID = key()
    trace_id: UUID = ident()
    account_id: str = text()
    trading_day: date = day()
    slot: str = text()
    opened_at: datetime = instant()
    stage: str = text()
    status: str = text()
    status_code: str | None = text(nullable=True)
    observation_id: UUID | None = ident(nullable=True)
    valid_until: datetime | None = instant(nullable=True)
    closed_at: datetime | None = instant(nullable=True)
    origin: str = text()


class ObservationRow(Row, table=True):
    """One observation; its canonical JSON is the payload of the ledger entry beside it."""

    __table_args__ = (
        within_run("decision", "decision_id"),
        UniqueConstraint("run_id", "content_hash", "recorded_at", name="uq_observation_content"),
        is_hash("content_hash"),
        {"postgresql_partition_by": "RANGE (recorded_at)"},
    )

    run_id: int = run_key()
    observation_id: UUID = key()
    recorded_at: datetime = recorded_at(primary_key=True)
    decision_id: UUID = ident()
    at: datetime = instant()
    content_hash: str = text()
    body: bytes = body()


class ModelCallRow(Row, table=True):
    """One call of a model, request and reply stored redacted and compressed."""

    __table_args__ = (
        within_run("decision", "decision_id"),
        Index("ix_model_call_decision", "run_id", "decision_id"),
        rule("role", "role IN ('actor', 'checker', 'analyst', 'other')"),
        rule("outcome", "outcome <> ''"),
        is_hash("prompt_hash"),
        rule("attempt", "attempt >= 1"),
        rule("latency_ms", "latency_ms >= 0"),
        rule("ttft_ms", "ttft_ms >= 0"),
        rule(
            "tokens",
            "tokens_prompt >= 0 AND tokens_completion >= 0"
            " AND tokens_reasoning >= 0 AND tokens_cached >= 0",
        ),
        rule("cost_cny", "cost_cny >= 0"),
        {"postgresql_partition_by": "RANGE (recorded_at)"},
    )

    run_id: int = run_key()
    call_id: UUID = key()
    recorded_at: datetime = recorded_at(primary_key=True)
    trace_id: UUID = ident()
    decision_id: UUID = ident()
    role: str = text()
    alias: str = text()
    endpoint: str = text()
    provider: str = text()
    model_asked: str = text()
    model_served: str = text()
    prompt_hash: str = text()
    prompt_version: str = text()
    config_version: str = text()
    price_version: str | None = text(nullable=True)
    request: bytes = body()
    response: bytes = body()
    tokens_prompt: int | None = number(nullable=True)
    tokens_completion: int | None = number(nullable=True)
    tokens_reasoning: int | None = number(nullable=True)
    tokens_cached: int | None = number(nullable=True)
    usage_raw: dict[str, Any] | None = document(nullable=True)
    latency_ms: int = number()
    ttft_ms: int | None = number(nullable=True)
    attempt: int = number()
    outcome: str = text()
    error_code: str | None = text(nullable=True)
    cost_cny: Decimal | None = cost()
    created_at: datetime = instant()
