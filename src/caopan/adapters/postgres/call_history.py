"""Recorded model calls as they are asked for: lists, one call, metrics, costs, recorded answers.

Owns the reading of llm_call and llm_body, and the clearing of bodies by retention. Must never
change a row of llm_call. Tests: tests/contract/gateway/test_call_history.py.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres.call_rows import unpacked
from caopan.adapters.postgres.connection import Pool, Session
from caopan.application.ports.model_calls import (
    CallDetail,
    CallFilter,
    CallPage,
    CallRecord,
    CostBy,
    CostLine,
    EndpointMetrics,
    Percentiles,
    RecordedAnswer,
)
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid

_MOST: Final = 1_000
_PLAIN: Final = (
    "call_id",
    "attempt",
    "began_at",
    "ended_at",
    "process",
    "trace_id",
    "decision_id",
    "role",
    "client",
    "path",
    "alias",
    "endpoint",
    "provider",
    "model_asked",
    "model_served",
    "prompt_hash",
    "prompt_version",
    "config_version",
    "price_version",
    "stream",
    "usage_raw",
    "status",
    "error_code",
    "detail",
    "quality",
    "breaker",
    "ttft_ms",
    "latency_ms",
    "overhead_ms",
)
_SPECIAL: Final = (
    "adapted",
    "scopes",
    "claimed_cny",
    "charged_cny",
    "cost_cny",
    "tokens_prompt",
    "tokens_completion",
    "tokens_cached",
    "tokens_reasoning",
    "tokens_estimated",
    "outcome",
)
_COLUMNS: Final = (*_PLAIN, *_SPECIAL)
_LISTED: Final = ", ".join(f"c.{name}" for name in _COLUMNS)
_EQUAL: Final = ("alias", "endpoint", "client", "role", "decision_id", "trace_id", "outcome")

_CALL: Final = f"""
    SELECT {_LISTED}, b.request, b.response
    FROM llm_call c LEFT JOIN llm_body b
        ON (b.call_id, b.attempt, b.began_at) = (c.call_id, c.attempt, c.began_at)
    WHERE c.call_id = %(call_id)s ORDER BY c.began_at, c.attempt
"""  # noqa: S608 - our own names
_METRICS: Final = """
    SELECT endpoint, count(*), count(*) FILTER (WHERE outcome IS NULL),
        percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY ttft_ms)
            FILTER (WHERE outcome = 'ok' AND ttft_ms IS NOT NULL),
        percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY latency_ms)
            FILTER (WHERE outcome = 'ok' AND latency_ms IS NOT NULL),
        coalesce(sum(cost_cny), 0), count(*) FILTER (WHERE outcome = 'ok' AND cost_cny IS NULL),
        coalesce(sum(tokens_prompt), 0)::bigint, coalesce(sum(tokens_completion), 0)::bigint
    FROM llm_call WHERE began_at >= %(since)s AND began_at < %(until)s AND endpoint <> ''
    GROUP BY endpoint ORDER BY endpoint
"""
_OUTCOMES: Final = """
    SELECT endpoint, outcome, count(*) FROM llm_call
    WHERE began_at >= %(since)s AND began_at < %(until)s AND endpoint <> ''
        AND outcome IS NOT NULL
    GROUP BY endpoint, outcome
"""
_LAST_ERRORS: Final = """
    SELECT DISTINCT ON (endpoint) endpoint, ended_at, error_code, detail FROM llm_call
    WHERE began_at >= %(since)s AND began_at < %(until)s AND endpoint <> ''
        AND outcome IN ('failed', 'truncated', 'lost')
    ORDER BY endpoint, began_at DESC
"""
_KEYS: Final = {
    CostBy.DAY: "to_char(began_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD')",
    CostBy.ALIAS: "alias",
    CostBy.CLIENT: "client",
}
_COSTS: Final = """
    SELECT {key}, count(*), coalesce(sum(cost_cny), 0), sum(charged_cny),
        count(*) FILTER (WHERE outcome = 'ok' AND cost_cny IS NULL),
        coalesce(sum(tokens_prompt), 0)::bigint, coalesce(sum(tokens_completion), 0)::bigint
    FROM llm_call WHERE began_at >= %(since)s AND began_at < %(until)s
    GROUP BY 1 ORDER BY 1
"""
_RECORDED: Final = """
    SELECT c.call_id, c.attempt, c.began_at, c.model_served, c.status, c.stream, c.tokens_prompt,
        c.tokens_completion, c.tokens_cached, c.tokens_reasoning, c.tokens_estimated, b.response
    FROM llm_call c JOIN llm_body b
        ON (b.call_id, b.attempt, b.began_at) = (c.call_id, c.attempt, c.began_at)
    WHERE c.prompt_hash = %(prompt_hash)s AND c.outcome = 'ok' AND b.response IS NOT NULL
        AND (%(model)s::text IS NULL OR c.model_asked = %(model)s)
    ORDER BY c.began_at, c.call_id, c.attempt LIMIT 1
"""
# Scopes are read off the row, so that a budget set at noon counts the morning, too.
_SPENT: Final = """
    SELECT process, CASE
            WHEN grouping(alias) = 0 THEN 'alias:' || alias
            WHEN grouping(endpoint) = 0 THEN 'endpoint:' || endpoint
            WHEN grouping(client) = 0 THEN 'client:' || client
            WHEN grouping(decision_id) = 0 THEN 'decision:' || decision_id
            ELSE 'all' END,
        sum(charged_cny)
    FROM llm_call
    WHERE began_at >= %(since)s AND began_at < %(until)s AND charged_cny > 0
        AND (outcome IS NOT NULL OR %(under_way)s)
    GROUP BY process, GROUPING SETS ((), (alias), (endpoint), (client), (decision_id))
"""
_CLEAR: Final = """
    DELETE FROM llm_body WHERE (call_id, attempt, began_at) IN (
        SELECT call_id, attempt, began_at FROM llm_body WHERE began_at < %(before)s
        ORDER BY began_at LIMIT %(most)s)
"""


class PostgresCallHistory:
    """CallHistory on PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Keep where the database is; nothing is connected yet."""
        self._pool = Pool(url, synchronous_commit=True, size=2)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def page(self, wanted: CallFilter, most: int = 50, cursor: str | None = None) -> CallPage:
        """Return attempts, newest first. Raises ConfigInvalid CURSOR_INVALID."""
        most = max(1, min(most, _MOST))
        terms, params = _terms(wanted)
        if cursor is not None:
            terms.append("(c.began_at, c.call_id, c.attempt) < (%(at)s, %(id)s, %(nth)s)")
            params["at"], params["id"], params["nth"] = _place(cursor)
        statement = (
            f"SELECT {_LISTED} FROM llm_call c"  # noqa: S608 - our own names
            f" WHERE {' AND '.join(terms) or 'TRUE'}"
            " ORDER BY c.began_at DESC, c.call_id DESC, c.attempt DESC LIMIT %(most)s"
        )
        rows = await self._rows(statement, {**params, "most": most + 1})
        calls = [_record(row) for row in rows[:most]]
        return CallPage(calls, _cursor(calls[-1]) if len(rows) > most else None)

    async def call(self, call_id: UUID) -> Sequence[CallDetail]:
        """Return every attempt of one call with its bodies, in order; empty if there is none."""
        rows = await self._rows(_CALL, {"call_id": call_id})
        return [CallDetail(_record(row), unpacked(row[-2]), unpacked(row[-1])) for row in rows]

    async def endpoint_metrics(self, since: datetime, until: datetime) -> Sequence[EndpointMetrics]:
        """Return what became of attempts that began in [since, until), by endpoint's name."""
        span = {"since": since, "until": until}
        async with self._session() as session:
            session.one_view()
            rows = await session.rows(_METRICS, span)
            counted = await session.rows(_OUTCOMES, span)
            errors = await session.rows(_LAST_ERRORS, span)
        outcomes: dict[str, dict[Outcome, int]] = {}
        for endpoint, outcome, count in counted:
            outcomes.setdefault(endpoint, {})[Outcome(outcome)] = count
        last = {row[0]: row[1:] for row in errors}
        return [_metrics(row, outcomes, last) for row in rows]

    async def costs(self, since: datetime, until: datetime, by: CostBy) -> Sequence[CostLine]:
        """Return what attempts that began in [since, until) have cost, in order of the key."""
        rows = await self._rows(_COSTS.format(key=_KEYS[by]), {"since": since, "until": until})
        return [
            CostLine(key, attempts, _units(cost), _units(charged), *rest)
            for key, attempts, cost, charged, *rest in rows
        ]

    async def recorded(self, prompt_hash: str, model: str | None = None) -> RecordedAnswer | None:
        """Return the first whole answer recorded to a prompt (of `model`, if named)."""
        rows = await self._rows(_RECORDED, {"prompt_hash": prompt_hash, "model": model})
        if not rows:
            return None
        call_id, attempt, began_at, served, status, stream, *tokens, estimated, response = rows[0]
        return RecordedAnswer(
            call_id=call_id,
            attempt=attempt,
            began_at=began_at,
            model_served=served or "",
            status=status,
            stream=stream,
            tokens=Tokens(*tokens, estimated=bool(estimated)),
            response=unpacked(response) or b"",
        )

    async def spent_of(self, day: str, *, under_way: bool) -> Mapping[str, Mapping[str, int]]:
        """Return what each process charged each scope on `day` (YYYY-MM-DD, Beijing)."""
        since = at_shanghai(date.fromisoformat(day), time())
        span = {"since": since, "until": since + timedelta(days=1), "under_way": under_way}
        spent: dict[str, dict[str, int]] = {}
        for process, scope, charged in await self._rows(_SPENT, span):
            # What belongs to no decision has no scope of that kind.
            if scope is not None:
                spent.setdefault(process, {})[scope] = _units(charged)
        return spent

    async def clear_bodies(self, before: datetime, most: int = _MOST) -> int:
        """Clear at most `most` bodies of attempts that began before; return how many."""
        async with self._session() as session:
            cleared = (await session.run(_CLEAR, {"before": before, "most": most})).rowcount
            await session.commit()
        return cleared

    async def _rows(self, statement: str, params: Mapping[str, Any]) -> list[Any]:
        async with self._session() as session:
            return await session.rows(statement, params)

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        session = Session(self._pool)
        await session.open()
        try:
            yield session
        finally:
            await session.close()


def _terms(wanted: CallFilter) -> tuple[list[str], dict[str, Any]]:
    terms: list[str] = []
    params: dict[str, Any] = {}
    for name in _EQUAL:
        value = getattr(wanted, name)
        if value is not None:
            terms.append(f"c.{name} = %({name})s")
            params[name] = str(value)
    if wanted.since is not None:
        terms.append("c.began_at >= %(since)s")
        params["since"] = wanted.since
    if wanted.until is not None:
        terms.append("c.began_at < %(until)s")
        params["until"] = wanted.until
    if wanted.under_way:
        terms.append("c.outcome IS NULL")
    return terms, params


def _cursor(call: CallRecord) -> str:
    told = f"{call.began_at.isoformat()} {call.call_id} {call.attempt}"
    return urlsafe_b64encode(told.encode()).decode()


def _place(cursor: str) -> tuple[datetime, UUID, int]:
    try:
        at, call_id, attempt = urlsafe_b64decode(cursor).decode().split()
        return datetime.fromisoformat(at), UUID(call_id), int(attempt)
    except (ValueError, binascii.Error) as error:
        raise ConfigInvalid(
            "CURSOR_INVALID",
            f"cursor {cursor[:80]!r} is not one that a page ended with",
            remedy="pass on the cursor of the page before, unchanged",
        ) from error


def _record(row: Sequence[Any]) -> CallRecord:
    read = dict(zip(_COLUMNS, row, strict=False))
    outcome, cost = read["outcome"], read["cost_cny"]
    return CallRecord(
        **{name: read[name] for name in _PLAIN},
        adapted=tuple(read["adapted"]),
        scopes=tuple(read["scopes"]),
        claimed=_units(read["claimed_cny"]),
        charged=_units(read["charged_cny"]),
        cost=None if cost is None else _units(cost),
        tokens=Tokens(
            read["tokens_prompt"],
            read["tokens_completion"],
            read["tokens_cached"],
            read["tokens_reasoning"],
            bool(read["tokens_estimated"]),
        ),
        outcome=None if outcome is None else Outcome(outcome),
    )


def _metrics(
    row: Sequence[Any],
    outcomes: Mapping[str, Mapping[Outcome, int]],
    last: Mapping[str, Sequence[Any]],
) -> EndpointMetrics:
    endpoint, attempts, under_way, ttft, latency, cost, unpriced, prompt, completion = row
    error_at, error_code, error_detail = last.get(endpoint, (None, None, None))
    return EndpointMetrics(
        endpoint=endpoint,
        attempts=attempts,
        under_way=under_way,
        outcomes=outcomes.get(endpoint, {}),
        last_error_at=error_at,
        last_error_code=error_code,
        last_error_detail=error_detail,
        ttft_ms=None if ttft is None else Percentiles(*ttft),
        latency_ms=None if latency is None else Percentiles(*latency),
        cost=_units(cost),
        unpriced=unpriced,
        tokens_prompt=prompt,
        tokens_completion=completion,
    )


def _units(value: Decimal) -> int:
    return int(value.scaleb(8))
