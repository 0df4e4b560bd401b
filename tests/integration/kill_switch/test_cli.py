"""`caopan halt` and `caopan resume` as a person runs them: Redis down, database down, both."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from caopan.adapters.kill_switch.flag_file import flag_path, read_flag
from caopan.adapters.kill_switch.flag_rows import FlagRows
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.bootstrap import control
from caopan.bootstrap.halt_file import Operation, write_halt_file
from caopan.domain.ledger.chain import Stage
from caopan.domain.risk.kill_switch import KillLevel
from caopan.testing.store_samples import sample_order, sample_reconciliation

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


async def ledger_of(desk) -> list[dict]:
    async with PostgresStore(desk.url) as store, store.begin(desk.run_id) as uow:
        return [
            json.loads(payload or b"{}")
            async for entry, payload in uow.ledger.entries()
            if entry.stage is Stage.OPERATOR_ACTION
        ]


async def compare(desk, *, passed: bool) -> None:
    at = datetime.now(UTC)
    found = replace(sample_reconciliation(at.microsecond), at=at, passed=passed)
    async with PostgresStore(desk.url) as store, store.begin(desk.run_id) as uow:
        await uow.reconciliations.add(found)
        await uow.commit()


def in_database(desk) -> KillLevel:
    rows = FlagRows(conninfo(desk.url), desk.run_id)
    try:
        return rows.read().level
    finally:
        rows.close()


def test_halting_writes_file_row_and_ledger_and_lists_what_is_open(caopan, desk):
    code, told = caopan("halt", "--reason", "drill")
    assert code == 0
    assert told["file"] == {
        "path": str(desk.home / "halt"),
        "written": True,
        "problem": None,
    }
    assert told["database"]["written"]
    assert read_flag(flag_path(desk.home)).reason == "drill"
    assert in_database(desk) is KillLevel.NO_ORDERS
    [entry] = asyncio.run(ledger_of(desk))
    assert (entry["action"], entry["level"], entry["scope"]) == ("halt", 2, "all")
    [run] = told["runs"]
    assert run["run_id"] == desk.run_id
    [order] = run["open_orders"]
    assert order["client_order_id"] == sample_order().client_order_id
    assert "cancelable_until" in order


def test_the_level_is_never_lowered_by_halting(caopan, desk):
    assert caopan("halt", "--level", "3")[0] == 0
    code, told = caopan("halt", "--level", "1")
    assert (code, told["level"]) == (0, 3)
    assert in_database(desk) is KillLevel.FLATTEN


def test_one_account_is_halted_alone(caopan, desk):
    code, told = caopan("halt", "--run", str(desk.run_id))
    assert (code, told["scope"]) == (0, f"run {desk.run_id}")
    assert read_flag(flag_path(desk.home)).level is KillLevel.OFF
    assert read_flag(flag_path(desk.home, desk.run_id)).level is KillLevel.NO_ORDERS
    assert in_database(desk) is KillLevel.NO_ORDERS


def test_without_a_database_the_file_stands_and_that_is_said(caopan, desk):
    code, told = caopan("halt", database=NOWHERE)
    assert (code, told["file"]["written"], told["database"]["written"]) == (0, True, False)
    assert told["database"]["problem"]["code"] == "DB_UNREACHABLE"
    assert read_flag(flag_path(desk.home)).level is KillLevel.NO_ORDERS


def test_a_database_that_refuses_writes_is_said_and_the_file_stands(caopan, desk):
    name = conninfo(desk.url).partition("dbname=")[2].split()[0]
    with psycopg.connect(conninfo(desk.url), autocommit=True) as link:
        setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        link.execute(setting.format(sql.Identifier(name)))
    code, told = caopan("halt")
    assert (code, told["file"]["written"]) == (0, True)
    assert told["database"]["problem"]["code"] == "DB_READ_ONLY"
    assert in_database(desk) is KillLevel.OFF


def test_where_nothing_can_be_written_the_command_fails_loudly(caopan, desk, tmp_path):
    (tmp_path / "file").write_text("")
    code, told = caopan("halt", database=NOWHERE, home=tmp_path / "file")
    assert code == 5
    assert told["file"]["problem"]["code"] == "HALT_FILE"
    # The database alone stands, where it answers.
    code, told = caopan("halt", home=tmp_path / "file")
    assert (code, told["database"]["written"]) == (0, True)
    assert in_database(desk) is KillLevel.NO_ORDERS


def test_trading_goes_on_only_after_the_books_agreed_since_the_halt(caopan, desk):
    asyncio.run(compare(desk, passed=True))
    caopan("halt")
    for prepare in (None, False):
        if prepare is not None:
            asyncio.run(compare(desk, passed=prepare))
        code, told = caopan("resume", "--reason", "over")
        assert (code, told["error"]["code"]) == (4, "RESUME_NOT_RECONCILED")
        assert f"run {desk.run_id}" in told["error"]["message"]
        assert in_database(desk) is KillLevel.NO_ORDERS
        assert read_flag(flag_path(desk.home)).level is KillLevel.NO_ORDERS
    asyncio.run(compare(desk, passed=True))
    code, told = caopan("resume", "--reason", "over")
    assert (code, told["level"]) == (0, 0)
    assert not flag_path(desk.home).exists()
    assert in_database(desk) is KillLevel.OFF
    assert [entry["action"] for entry in asyncio.run(ledger_of(desk))] == ["halt", "resume"]


def test_one_account_does_not_lift_the_halt_of_all(caopan, desk):
    caopan("halt")
    asyncio.run(compare(desk, passed=True))
    code, told = caopan("resume", "--reason", "over", "--run", str(desk.run_id))
    assert (code, told["level"]) == (0, 2)
    assert in_database(desk) is KillLevel.NO_ORDERS


def file_and_rows(settings, asked):
    file = write_halt_file(settings, asked)
    assert file.problem is None
    assert control.halt(settings, asked, file.at).problem is None


def rows_alone(settings, asked):
    assert control.halt(settings, asked, datetime.now(UTC)).problem is None


def file_alone(settings, asked):
    assert write_halt_file(settings, asked).problem is None


@pytest.mark.parametrize("press", [file_and_rows, rows_alone, file_alone])
@pytest.mark.parametrize("one", [True, False])
def test_a_halt_given_while_a_resume_compares_the_books_stands(
    caopan, desk, monkeypatch, press, one
):
    run = desk.run_id if one else None
    scope = ["--run", str(run)] if one else []
    caopan("halt", *scope)

    async def slow(_url, settings, _run):
        stop = Operation("stop now", "someone else", run, KillLevel.FLATTEN)
        await asyncio.to_thread(press, settings, stop)
        return replace(sample_reconciliation(3), at=datetime.now(UTC), passed=True)

    monkeypatch.setattr(control, "reconcile", slow)
    code, told = caopan("resume", *scope, "--reason", "over")
    assert (code, told["error"]["code"]) == (1, "HALTED_MEANWHILE")
    in_file = read_flag(flag_path(desk.home, run)).level
    assert max(in_file, in_database(desk)) is KillLevel.FLATTEN


def test_a_resume_without_a_reason_or_a_database_changes_nothing(caopan, desk):
    caopan("halt")
    assert caopan("resume")[0] == 2
    assert caopan("resume", "--reason", " ")[0] == 2
    assert caopan("resume", "--reason", "over", database=NOWHERE)[0] == 5
    assert read_flag(flag_path(desk.home)).level is KillLevel.NO_ORDERS
