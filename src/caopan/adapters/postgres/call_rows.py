"""Attempts at model endpoints as rows: batches by COPY, stored once however often they come.

Owns the writing of llm_call and llm_body. A batch is copied into a temporary table and merged from
there: a new attempt is inserted, one that is stored and has ended is left alone, one that is stored
and under way is completed. Must never change what is recorded of an attempt that has ended (a
trigger sees to it, too), nor cut a value to make it fit. Tests: tests/contract/gateway,
tests/integration/gateway. Measured: bench/gateway_store.py.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from typing import Any, Final, LiteralString, cast

import orjson
import psycopg
from psycopg.conninfo import make_conninfo

from caopan.adapters.postgres.connection import conninfo, place, session_options
from caopan.adapters.postgres.errors import not_connected, translated
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded
from caopan.application.ports.model_calls import KeptAttempt
from caopan.domain.gateway.outcome import Outcome

_SILENT_MS: Final = 10_000
"""After which a server that does not acknowledge what was sent is taken for lost."""
_STATEMENT_MS: Final = 30_000
_LEVEL: Final = 1
"""Of compression: on a long prompt level 6 takes several times as long for a little less space."""
_ROLES: Final = frozenset({"actor", "checker", "analyst"})

_KEY: Final = ("call_id uuid", "attempt int8", "began_at timestamptz", "fresh bool")
_BEGINNING: Final = (
    "process text",
    "trace_id text",
    "decision_id text",
    "role text",
    "client text",
    "path text",
    "alias text",
    "endpoint text",
    "provider text",
    "model_asked text",
    "prompt_hash text",
    "prompt_version text",
    "config_version int8",
    "stream bool",
    "adapted text[]",
    "scopes text[]",
    "claimed int8",
    "request bytea",
)
_END: Final = (
    "ended_at timestamptz",
    "model_served text",
    "price_version text",
    "charged int8",
    "cost int8",
    "tokens_prompt int8",
    "tokens_completion int8",
    "tokens_cached int8",
    "tokens_reasoning int8",
    "tokens_estimated bool",
    "usage_raw text",
    "status int8",
    "outcome text",
    "error_code text",
    "detail text",
    "quality text",
    "breaker text",
    "ttft_ms int8",
    "latency_ms int8",
    "overhead_ms float8",
    "response bytea",
)
_COLUMNS: Final = (*_KEY, *_BEGINNING, *_END)
_NAMES: Final = tuple(column.split()[0] for column in _COLUMNS)
_TYPES: Final = tuple(column.split()[1] for column in _COLUMNS)
_NO_BEGINNING: Final = (None,) * len(_BEGINNING)
_NO_END: Final = (None,) * len(_END)
_BATCH: Final = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS attempt_batch ({', '.join(_COLUMNS)})"
    " ON COMMIT DELETE ROWS"
)
_COPY: Final = f"COPY attempt_batch ({', '.join(_NAMES)}) FROM STDIN (FORMAT binary)"

# Whole units times 1e-8 is exact, and so is NUMERIC.
_UNIT: Final = "0.00000001"
_KEPT: Final = tuple(
    name
    for name in (*(c.split()[0] for c in _BEGINNING), *(c.split()[0] for c in _END))
    if name not in {"claimed", "charged", "cost", "request", "response", "usage_raw"}
)
_ENDS: Final = tuple(c.split()[0] for c in _END if c.split()[0] in _KEPT)
_CHARGED: Final = "coalesce(b.charged, b.cost, CASE b.outcome WHEN 'refused' THEN 0 END, {claimed})"
_INSERT: Final = f"""
    INSERT INTO llm_call AS c (call_id, attempt, began_at, {", ".join(_KEPT)},
        usage_raw, claimed_cny, charged_cny, cost_cny)
    SELECT call_id, attempt, began_at, {", ".join(_KEPT)}, usage_raw::json,
        claimed * {_UNIT}, {_CHARGED.format(claimed="b.claimed")} * {_UNIT}, cost * {_UNIT}
    FROM attempt_batch b WHERE fresh
    ON CONFLICT (call_id, attempt, began_at) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _ENDS)},
        usage_raw = excluded.usage_raw, charged_cny = excluded.charged_cny,
        cost_cny = excluded.cost_cny
    WHERE c.outcome IS NULL AND excluded.outcome IS NOT NULL
"""  # noqa: S608 - our own names
_COMPLETE: Final = f"""
    UPDATE llm_call c SET {", ".join(f"{name} = b.{name}" for name in _ENDS)},
        usage_raw = b.usage_raw::json, cost_cny = b.cost * {_UNIT},
        charged_cny = {_CHARGED.format(claimed="(c.claimed_cny / 0.00000001)")} * {_UNIT}
    FROM attempt_batch b
    WHERE NOT b.fresh AND c.outcome IS NULL
        AND (c.call_id, c.attempt, c.began_at) = (b.call_id, b.attempt, b.began_at)
"""  # noqa: S608 - our own names
_UNKNOWN: Final = """
    SELECT call_id, attempt, began_at FROM attempt_batch b WHERE NOT fresh AND NOT EXISTS (
        SELECT FROM llm_call c
        WHERE (c.call_id, c.attempt, c.began_at) = (b.call_id, b.attempt, b.began_at))
"""
_INSERT_BODIES: Final = """
    INSERT INTO llm_body AS c (call_id, attempt, began_at, request, response)
    SELECT call_id, attempt, began_at, request, response FROM attempt_batch WHERE fresh
    ON CONFLICT (call_id, attempt, began_at) DO UPDATE SET response = excluded.response
    WHERE c.response IS NULL AND excluded.response IS NOT NULL
"""
_COMPLETE_BODIES: Final = """
    UPDATE llm_body c SET response = b.response FROM attempt_batch b
    WHERE NOT b.fresh AND b.response IS NOT NULL AND c.response IS NULL
        AND (c.call_id, c.attempt, c.began_at) = (b.call_id, b.attempt, b.began_at)
"""


class PostgresCallRows:
    """AttemptSink on PostgreSQL, with one connection of its own; threads take turns."""

    def __init__(self, url: str) -> None:
        """Keep where the database is; connects with the first batch, and again when it must."""
        self._place = place(url)
        options = f"{session_options()} -c statement_timeout={_STATEMENT_MS}"
        self._target = make_conninfo(conninfo(url, options), tcp_user_timeout=_SILENT_MS)
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def write(self, attempts: Sequence[KeptAttempt]) -> Sequence[KeptAttempt]:
        """Make all durable or none; return those that ended and whose beginning is not stored.

        Raises CorruptState CHECK_VIOLATION, DB_VALUE or NULL_VIOLATION where a row can never be
        stored; Unavailable and others where it is worth repeating.
        """
        rows = [_row(attempt) for attempt in attempts]
        with self._turn:
            connection = self._connected()
            try:
                unknown = self._merge(connection, rows)
                connection.commit()
            except psycopg.Error as error:
                lost = connection.closed
                self._discard()
                raise translated(error, lost=lost) from error
        if not unknown:
            return ()
        return [one for one in attempts if (one.call_id, one.attempt, one.began_at) in unknown]

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._discard()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            try:
                self._connection = psycopg.connect(self._target)
            except psycopg.Error as error:
                raise not_connected(error, self._place) from error
        return self._connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @staticmethod
    def _merge(
        connection: psycopg.Connection[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]
    ) -> set[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(_BATCH)
            with cursor.copy(cast("LiteralString", _COPY)) as copy:
                copy.set_types(_TYPES)
                for row in rows:
                    copy.write_row(row)
            cursor.execute(cast("LiteralString", _INSERT))
            cursor.execute(_INSERT_BODIES)
            endings = sum(not row[3] for row in rows)
            if not endings:
                return set()
            completed = cursor.execute(cast("LiteralString", _COMPLETE)).rowcount
            cursor.execute(_COMPLETE_BODIES)
            if completed == endings:
                return set()
            return set(cursor.execute(_UNKNOWN).fetchall())


def _row(kept: KeptAttempt) -> tuple[Any, ...]:
    began, ended = kept.began, kept.ended
    return (
        kept.call_id,
        kept.attempt,
        kept.began_at,
        began is not None,
        *(_NO_BEGINNING if began is None else _beginning(kept.process, began)),
        *(_NO_END if ended is None else _end(ended)),
    )


def _beginning(process: str, began: AttemptBegan) -> tuple[Any, ...]:
    return (
        process,
        _text(began.trace_id),
        None if began.decision_id is None else _text(began.decision_id),
        began.role if began.role in _ROLES else "other",
        _text(began.client),
        began.path.value,
        _text(began.alias),
        _text(began.endpoint),
        _text(began.provider),
        _text(began.model_asked),
        began.prompt_hash,
        _text(began.prompt_version),
        began.config_version,
        began.stream,
        [_text(one) for one in began.adapted],
        [_text(one) for one in began.scopes],
        began.claimed,
        zlib.compress(began.request, _LEVEL) if began.request else None,
    )


def _end(ended: AttemptEnded) -> tuple[Any, ...]:
    tokens, usage = ended.tokens, ended.usage_raw
    lost = ended.outcome is Outcome.LOST
    return (
        ended.at,
        _text(ended.model_served) or None,
        ended.price_version,
        ended.charged,
        ended.cost,
        tokens.prompt,
        tokens.completion,
        tokens.cached,
        tokens.reasoning,
        tokens.estimated,
        None if usage is None else _text(orjson.dumps(usage).decode()),
        ended.status,
        ended.outcome.value,
        ended.error_code,
        _text(ended.detail),
        ended.quality,
        ended.breaker or None,
        ended.ttft_ms,
        None if lost else ended.latency_ms,
        None if lost else ended.overhead_ms,
        None if lost else zlib.compress(ended.response, _LEVEL),
    )


def _text(text: str) -> str:
    """Return `text` as PostgreSQL can hold it: it knows no NUL and no half of a character."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def unpacked(stored: bytes | None) -> bytes | None:
    """Return a body as it was before it was stored."""
    return None if stored is None else zlib.decompress(stored)
