"""What is recorded stays: refused by privilege to the owner, by trigger to a superuser."""

from __future__ import annotations

import psycopg
import pytest

from caopan.adapters.postgres.partitions import PARTITIONED
from caopan.domain.ledger.chain import Stage
from caopan.kernel.errors import Denied
from caopan.testing.store_samples import sample_draft, sample_id, sample_observation, sample_time

LEDGER = ["ledger_entry", "ledger_payload", "ledger_pruning", "observation", "model_call"]
OTHERS = [
    "sandbox_event",
    "journal_posting",
    "exit_plan",
    "nav_point",
    "calendar_snapshot",
    "dataset",
    "control",
    "system_control",
    "reconciliation",
    "models_config",
]
BY_TRIGGER_ALONE = ["journal_transaction", "fill"]
CHANGES = [
    "UPDATE {} SET {column} = {column} WHERE false",
    "DELETE FROM {} WHERE false",
    "TRUNCATE {} CASCADE",
    "MERGE INTO {} t USING (SELECT 1) s ON false WHEN MATCHED THEN DELETE",
]


def tables_with_partitions(link: psycopg.Connection, names: list[str]) -> list[str]:
    found = link.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent::regclass::text = ANY(%s)",
        [names],
    )
    return names + sorted(row[0] for row in found)


def attempts(link: psycopg.Connection, table: str) -> list[str]:
    column = link.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND attidentity = '' LIMIT 1",
        [table],
    ).fetchone()
    assert column is not None
    return [change.format(table, column=column[0]) for change in CHANGES]


def test_the_owner_may_not_change_what_is_recorded(owner):
    tables = tables_with_partitions(owner, LEDGER + OTHERS)
    assert len(tables) >= len(LEDGER + OTHERS) + 5 * 4
    for table in tables:
        for attempt in attempts(owner, table):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                owner.execute(attempt)


def test_not_even_a_superuser_may_while_the_triggers_stand(superuser):
    for table in tables_with_partitions(superuser, LEDGER + OTHERS + BY_TRIGGER_ALONE):
        for attempt in attempts(superuser, table):
            with pytest.raises(psycopg.errors.RestrictViolation, match="is append-only"):
                superuser.execute(attempt)


def test_rows_are_guarded_too_where_statements_are_let_through(superuser, owner):
    """A partition made by hand has no statement trigger, but inherits the row trigger."""
    superuser.execute(
        "CREATE TABLE by_hand PARTITION OF ledger_payload"
        " FOR VALUES FROM ('2001-01-01') TO ('2001-02-01')"
    )
    owner.execute(
        "WITH r AS (INSERT INTO run (kind, account_id, config_hash, config, status, created_at)"
        " VALUES ('demo', 'a', repeat('a', 64), '{}', 'running', now()) RETURNING run_id)"
        " SELECT run_id FROM r"
    )
    superuser.execute(
        "INSERT INTO ledger_payload SELECT max(run_id), 1, '2001-01-02', 'x' FROM run"
    )
    for attempt in ("UPDATE by_hand SET body = 'y'", "DELETE FROM by_hand"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="is append-only"):
            superuser.execute(attempt)


def test_every_partition_of_the_ledger_is_guarded(owner):
    unguarded = owner.execute(
        """
        SELECT c.oid::regclass::text FROM pg_class c
        LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'refuse_statement'
        WHERE c.relkind IN ('r', 'p') AND t.oid IS NULL
            AND c.relname ~ '^(ledger_entry|ledger_payload|observation|model_call)'
        """
    ).fetchall()
    assert unguarded == []
    assert "bar" in PARTITIONED


async def test_the_head_only_moves_forward(store, run_id, owner):
    async with store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft(), sample_draft()])
        await uow.commit()
    for attempt in (
        "UPDATE ledger_head SET seq = seq - 1",
        "UPDATE ledger_head SET hash = repeat('f', 64)",
        "UPDATE ledger_head SET fence = fence - 1",
        "DELETE FROM ledger_head",
        "TRUNCATE ledger_head",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation, match="moves forward only"):
            owner.execute(attempt)


async def test_through_the_store_a_refused_change_is_denied(store, run_id):
    async with store.begin(run_id) as uow:
        with pytest.raises(Denied, match="DB_APPEND_ONLY"):
            await uow._session.run("DELETE FROM fill")


async def test_an_unbalanced_transaction_is_refused_however_it_is_written(store, run_id, owner):
    """One leg at a time in one transaction is fine; a leg added later is not."""
    txn = sample_id("txn")
    leg = "INSERT INTO journal_posting VALUES (%s, %s, %s, %s, 'CNY', %s)"
    with owner.transaction():
        owner.execute(
            "INSERT INTO journal_transaction (run_id, txn_id, kind, at, memo)"
            " VALUES (%s, %s, 'deposit', now(), '')",
            [run_id, txn],
        )
        owner.execute(leg, [run_id, txn, 0, "capital", -5])
        owner.execute(leg, [run_id, txn, 1, "cash.free", 5])
    with pytest.raises(psycopg.errors.CheckViolation, match="sums to 3"):
        owner.execute(leg, [run_id, txn, 2, "cash.free", 3])
    with pytest.raises(psycopg.errors.CheckViolation, match="whole_shares"):
        owner.execute(
            "INSERT INTO journal_posting VALUES (%s, %s, 2, 'outside', '600519.SH', 0.5)",
            [run_id, txn],
        )


async def test_an_observation_is_stored_once_and_compressed(store, run_id, owner):
    observation_id, digest, body = sample_observation(size=2_000)
    async with store.begin(run_id) as uow:
        await uow.observations.add(
            observation_id, sample_id("decision"), sample_time(), digest, body
        )
        draft = sample_draft(stage=Stage.OBSERVATION)
        await uow.ledger.append([type(draft)(Stage.OBSERVATION, draft.at, body)])
        await uow.commit()
    stored = owner.execute("SELECT octet_length(body) FROM observation").fetchone()
    assert stored is not None
    assert stored[0] < len(body) / 2
    assert owner.execute("SELECT count(*) FROM ledger_payload").fetchone() == (0,)
