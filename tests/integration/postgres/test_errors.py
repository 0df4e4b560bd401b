"""Whatever the database does to us arrives as one of our errors, and means what it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.kernel.errors import (
    CaopanError,
    ConfigInvalid,
    Conflict,
    CorruptState,
    Denied,
    OutcomeUnknown,
    Unavailable,
)
from caopan.testing.store_samples import (
    sample_cycle,
    sample_deposit,
    sample_freeze,
    sample_id,
    sample_nav,
    sample_order,
)


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        ("53100", Unavailable, "DB_DISK_FULL"),
        ("53200", Unavailable, "DB_OUT_OF_MEMORY"),
        ("40001", Conflict, "DB_SERIALIZATION"),
        ("40P01", Conflict, "DB_SERIALIZATION"),
        ("55P03", Conflict, "DB_LOCKED"),
        ("57014", Unavailable, "DB_TIMEOUT"),
        ("23514", CorruptState, "CHECK_VIOLATION"),
        ("23505", Conflict, "DB_DUPLICATE"),
        ("23503", CorruptState, "FOREIGN_KEY_VIOLATION"),
        ("23502", CorruptState, "NULL_VIOLATION"),
        ("25006", Unavailable, "DB_READ_ONLY"),
        ("42501", Denied, "DB_FORBIDDEN"),
        ("22003", CorruptState, "DB_VALUE"),
        ("XX001", CorruptState, "DB_ERROR"),
    ],
)
async def test_each_state_has_its_code(store, run_id, state, kind, code):
    async with store.begin(run_id) as uow:
        with pytest.raises(kind, match=rf"^{code}: .*boom") as caught:
            await uow._session.run(f"DO $$ BEGIN RAISE 'boom' USING ERRCODE = '{state}'; END $$")
    assert caught.value.code == code


async def test_a_connection_lost_before_commit_is_safe_to_repeat(store, run_id, superuser):
    async with store.begin(run_id) as uow:
        await uow.cycles.last()
        _kill_all(superuser)
        with pytest.raises(Unavailable, match="DB_UNREACHABLE"):
            await uow.cycles.last()
    async with store.begin(run_id) as uow:
        assert await uow.cycles.last() == sample_cycle()


async def test_writes_lost_before_commit_are_safe_to_repeat_too(store, run_id, superuser):
    async with store.begin(run_id) as uow:
        await uow.cycles.last()
        await uow.nav.add(sample_nav())
        _kill_all(superuser)
        with pytest.raises(Unavailable, match="DB_UNREACHABLE"):
            await uow.commit()


async def test_a_connection_lost_during_commit_leaves_the_outcome_unknown(
    store, run_id, superuser, owner
):
    owner.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$"
    )
    owner.execute(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON nav_point"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
    )

    committing = "SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"

    async def kill_when_committing() -> None:
        for _ in range(3_000):
            if superuser.execute(committing).fetchall():
                break
            await asyncio.sleep(0.01)
        _kill_all(superuser)

    async with store.begin(run_id) as uow, asyncio.TaskGroup() as group:
        await uow.nav.add(sample_nav())
        group.create_task(kill_when_committing())
        with pytest.raises(OutcomeUnknown, match="DB_COMMIT_UNKNOWN"):
            await uow.commit()


async def test_a_refusal_at_commit_is_known_to_have_failed(store, run_id):
    async with store.begin(run_id) as uow:
        order = replace(sample_order(), order_id=sample_id("other"))
        await uow.orders.add([order])
        with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
            # The booking of an order that is never stored is found out by COMMIT itself.
            await _booked_without_order(uow)
    async with store.begin(run_id) as uow:
        assert await uow.orders.all() == []


async def _booked_without_order(uow) -> None:
    await uow.journal.post([sample_deposit(), sample_freeze(sample_order(0, 3))])
    await uow.commit()


async def test_a_task_cancelled_in_mid_statement_poisons_nobody(store, run_id):
    async with store.begin(run_id) as uow:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(uow._session.run("SELECT pg_sleep(30)"), 0.2)
    for _ in range(6):
        async with store.begin(run_id) as uow:
            assert await uow.cycles.last() == sample_cycle()


async def test_a_pool_without_a_free_connection_says_so(clean_database, monkeypatch):
    async with PostgresStore(clean_database, pool_size=1) as store:
        monkeypatch.setattr(store._pool, "_wait_s", 0.1)
        async with store.begin(1), store.begin(1):
            with pytest.raises(Unavailable, match="DB_POOL_EXHAUSTED"):
                async with store.begin(1):
                    pass


async def test_a_database_without_our_tables(empty_database):
    async with PostgresStore(empty_database) as store:
        with pytest.raises(ConfigInvalid, match=r"DB_NOT_MIGRATED.*caopan db upgrade"):
            await store.runs()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"port": "1"}, "DB_UNREACHABLE"),
        ({"host": "host.invalid"}, "DB_UNREACHABLE"),
        ({"password": "wr0ng-one"}, "DB_AUTH"),
        ({"user": "nobody_we_know"}, "DB_AUTH"),
        ({"path": "/no_such_database"}, "DB_NOT_FOUND"),
    ],
)
async def test_a_connection_that_never_comes_up_names_the_place_not_the_password(
    clean_database, change, code
):
    parts = urlsplit(clean_database)
    user, password = change.get("user", parts.username), change.get("password", parts.password)
    host, port = change.get("host", parts.hostname), change.get("port", parts.port)
    path = change.get("path", parts.path)
    url = f"postgresql+psycopg://{user}:{password}@{host}:{port}{path}"
    async with PostgresStore(url) as store:
        with pytest.raises(CaopanError) as caught:
            await store.runs()
    assert caught.value.code == code
    assert str(port) in str(caught.value)
    assert str(password) not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("url", ["mysql://localhost/x", "nonsense", "postgresql://[::1/x"])
def test_what_is_no_database_url_is_refused_at_once(url):
    with pytest.raises(ConfigInvalid, match="DB_URL"):
        PostgresStore(url)


def test_settings_in_the_url_are_kept():
    text = conninfo("postgres://u:p@h:1/d?sslmode=require&options=-c%20work_mem%3D8MB")
    assert "sslmode=require" in text
    assert "work_mem=8MB" in text
    assert "TimeZone=UTC" in text


def _kill_all(superuser) -> None:
    superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'caopan' AND usename <> current_user"
    )
