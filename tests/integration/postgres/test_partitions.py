"""Months are made ahead of need, never lost, and removed only by retention."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import LiteralString

import psycopg
import pytest

from caopan.adapters.postgres.partitions import PARTITIONED
from caopan.domain.ledger.chain import Stage, Verifier
from caopan.testing.store_samples import sample_draft, sample_id, sample_observation, sample_time


def parts(link: psycopg.Connection, parent: str) -> list[str]:
    found = link.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
        " WHERE inhparent = %s::regclass ORDER BY relname",
        [parent],
    )
    return [row[0].removeprefix(f"{parent}_") for row in found]


def ensure(link: psycopg.Connection, first: date, last: date) -> int:
    row = link.execute("SELECT ensure_partitions(%s, %s)", [first, last]).fetchone()
    assert row is not None
    return row[0]


def test_across_the_end_of_a_year_every_table_gets_each_month_once(owner):
    first, last = date(2030, 11, 30), date(2031, 2, 1)
    assert ensure(owner, first, last) == 4 * len(PARTITIONED)
    assert ensure(owner, first, last) == 0
    for parent in PARTITIONED:
        assert {"p203011", "p203012", "p203101", "p203102"} < set(parts(owner, parent))


def test_the_present_month_and_the_next_three_stand_after_a_migration(owner):
    today = datetime.now(UTC).date()
    months: set[str] = set()
    for number in range(today.year * 12 + today.month - 1, today.year * 12 + today.month + 3):
        months.add(f"p{number // 12}{number % 12 + 1:02d}")
    for parent in PARTITIONED:
        assert set(parts(owner, parent)) == {"default", *months}


async def test_rows_without_a_month_are_kept_and_filed_when_it_is_made(store, run_id, superuser):
    await _append(store, run_id)
    superuser.execute(
        "INSERT INTO ledger_payload SELECT run_id, seq + n, ts, body FROM ledger_payload,"
        " (VALUES (1, '2035-05-31 23:59:59+00'::timestamptz), (2, '2035-06-01 00:00:00+00'),"
        " (3, '2035-07-01 00:00:00+00')) AS late(n, ts)"
    )
    assert _rows(superuser, "ledger_payload_default") == 3
    assert ensure(superuser, date(2035, 5, 1), date(2035, 6, 1)) == 2 * len(PARTITIONED)
    assert _rows(superuser, "ledger_payload_p203505") == 1
    assert _rows(superuser, "ledger_payload_p203506") == 1
    assert _rows(superuser, "ledger_payload_default") == 1
    assert _rows(superuser, "ledger_payload") == 4
    with pytest.raises(psycopg.errors.RestrictViolation):
        superuser.execute("DELETE FROM ledger_payload_default")


async def test_a_month_is_decided_in_utc_whatever_the_session_says(owner):
    owner.execute("SET TimeZone = 'Asia/Shanghai'")
    ensure(owner, date(2035, 5, 1), date(2035, 5, 1))
    bounds = owner.execute(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'ledger_entry_p203505'"
    ).fetchone()
    assert bounds is not None
    assert "2035-05-01 08:00:00+08" in bounds[0]


async def test_pruned_payloads_are_pruned_and_lost_ones_are_faults(store, run_id, superuser):
    observation_id, digest, body = sample_observation()
    async with store.begin(run_id) as uow:
        await uow.observations.add(
            observation_id, sample_id("decision"), sample_time(), digest, body
        )
        await uow.ledger.append([type(sample_draft())(Stage.OBSERVATION, sample_time(), body)])
        await uow.commit()
    await _append(store, run_id)
    _age(superuser)
    assert (await _verdict(store, run_id)).verified

    removed = superuser.execute("SELECT prune_payloads('2020-03-15')").fetchone()
    assert removed == (2,)
    kept = superuser.execute("SELECT source, month, removed FROM ledger_pruning ORDER BY source")
    assert kept.fetchall() == [
        ("ledger_payload", date(2020, 2, 1), 1),
        ("observation", date(2020, 2, 1), 1),
    ]
    verdict = await _verdict(store, run_id)
    assert (verdict.verified, verdict.pruned, verdict.entries) == (True, 2, 2)

    await _append(store, run_id)
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("DELETE FROM ledger_payload")
    verdict = await _verdict(store, run_id)
    assert (verdict.verified, verdict.first_bad_seq) == (False, 3)


async def test_the_present_month_is_never_pruned(store, run_id, superuser):
    await _append(store, run_id)
    assert superuser.execute("SELECT prune_payloads('2999-01-01')").fetchone() == (0,)
    assert (await _verdict(store, run_id)).pruned == 0


async def _append(store, run_id) -> None:
    async with store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft()])
        await uow.commit()


def _age(superuser: psycopg.Connection) -> None:
    """Move all that is recorded to February 2020, as if it had been recorded then."""
    superuser.execute("SELECT ensure_partitions('2020-02-01', '2020-02-01')")
    superuser.execute("SET session_replication_role = replica")
    for table in ("ledger_entry", "ledger_payload", "observation"):
        superuser.execute(f"UPDATE {table} SET recorded_at = '2020-02-10'")  # noqa: S608
    superuser.execute("RESET session_replication_role")


async def _verdict(store, run_id):
    verifier = Verifier()
    async with store.begin(run_id) as uow:
        async for entry, payload in uow.ledger.entries():
            verifier.feed(entry, payload)
        return verifier.finish(await uow.ledger.head())


def _rows(link: psycopg.Connection, table: LiteralString) -> int:
    row = link.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    assert row is not None
    return row[0]
