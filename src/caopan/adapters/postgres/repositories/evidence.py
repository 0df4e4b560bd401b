"""What a decision saw and which models were asked: observations and model calls.

Owns the tables observation and model_call. Must never redact (the caller has) or parse a reply.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres import values
from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.statements import insert, selected
from caopan.adapters.postgres.tables import MODEL_CALL, OBSERVATION
from caopan.application.ports.store import ModelCall
from caopan.kernel.canonical import canonical

_OBSERVATION: Final = insert(
    OBSERVATION,
    ("run_id", "observation_id", "decision_id", "at", "content_hash", "body"),
)
_BODY: Final = (
    "SELECT body FROM observation WHERE run_id = %(run_id)s AND observation_id = %(observation_id)s"
)
_PLAIN: Final = (
    "call_id",
    "trace_id",
    "decision_id",
    "role",
    "alias",
    "endpoint",
    "provider",
    "model_asked",
    "model_served",
    "prompt_hash",
    "prompt_version",
    "config_version",
    "outcome",
    "created_at",
    "latency_ms",
    "attempt",
    "tokens_prompt",
    "tokens_completion",
    "tokens_reasoning",
    "tokens_cached",
    "ttft_ms",
    "error_code",
    "price_version",
)
_CALL: Final = (*_PLAIN, "request", "response", "usage_raw", "cost_cny")
_INSERT_CALL: Final = insert(MODEL_CALL, ("run_id", *_CALL))
_SELECT_CALLS: Final = (
    selected(MODEL_CALL, _CALL)
    + " WHERE run_id = %(run_id)s AND decision_id = %(decision_id)s"
    + " ORDER BY created_at, attempt, call_id"
)


class PostgresObservations:
    """ObservationRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def add(
        self, observation_id: UUID, decision_id: UUID, at: datetime, content_hash: str, body: bytes
    ) -> None:
        """Store one observation; `body` is its canonical JSON."""
        self._session.queue(
            _OBSERVATION,
            {
                "run_id": self._run_id,
                "observation_id": observation_id,
                "decision_id": decision_id,
                "at": at,
                "content_hash": content_hash,
                "body": values.pack(body),
            },
        )

    async def get(self, observation_id: UUID) -> bytes | None:
        """Return the canonical JSON, None where there is none or retention dropped it."""
        params = {"run_id": self._run_id, "observation_id": observation_id}
        rows = await self._session.rows(_BODY, params)
        return values.unpack(rows[0][0]) if rows else None


class PostgresModelCalls:
    """ModelCallRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def add(self, call: ModelCall) -> None:
        """Store one call."""
        params: dict[str, Any] = {name: getattr(call, name) for name in _PLAIN}
        params["run_id"] = self._run_id
        params["request"] = values.pack(canonical(call.request))
        params["response"] = values.pack_text(call.response)
        params["usage_raw"] = None if call.usage_raw is None else json.dumps(call.usage_raw)
        params["cost_cny"] = values.cost_numeric(call.cost_cny)
        self._session.queue(_INSERT_CALL, params)

    async def of_decision(self, decision_id: UUID) -> Sequence[ModelCall]:
        """Return the calls of one decision, oldest first."""
        params = {"run_id": self._run_id, "decision_id": decision_id}
        rows = await self._session.rows(_SELECT_CALLS, params)
        return [_call(dict(zip(_CALL, row, strict=True))) for row in rows]


def _call(row: dict[str, Any]) -> ModelCall:
    row["request"] = json.loads(values.unpack(row["request"]))
    row["response"] = values.unpack_text(row["response"])
    row["cost_cny"] = values.cost_text(row["cost_cny"])
    return ModelCall(**row)
