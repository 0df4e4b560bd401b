"""`caopan trader` as a person runs it, against a broker in a process of its own."""

from __future__ import annotations

import asyncio
import signal

import psycopg
from psycopg import sql

from caopan.adapters.postgres.connection import conninfo
from caopan.testing.faulty_line import FaultyLine


def whole(caopan, desk) -> None:
    assert caopan("ledger", "verify")[1]["verified"]
    assert all(passed for _, passed in desk.compared())


def test_it_compares_at_the_start_and_after_its_broker_was_killed_and_came_back(caopan, desk):
    broker = desk.broker()
    trader = desk.trader()
    before = len(desk.compared())
    desk.until(lambda: len(desk.compared()) > before, trader)
    assert desk.compared()[-1] == ("start", True)
    broker.close()
    desk.until(lambda: "does not answer" in trader.log, trader)
    assert desk.compared()[-1] == ("start", True)
    desk.broker()
    desk.until_compared("reconnect", 1, trader)
    trader.end(signal.SIGTERM)
    code, told = trader.said()
    assert (code, told["outages"], told["differed"]) == (0, 1, 0), trader.log
    assert told["comparisons"] == {"start": 1, "reconnect": 1}
    assert told["failures"] >= 1
    whole(caopan, desk)


def test_a_second_trader_sends_nothing_and_the_first_carries_out_a_halt(caopan, desk):
    desk.broker()
    first = desk.trader()
    desk.until(lambda: "Compared" in first.log, first)

    async def second() -> tuple[int, dict, list]:
        async with FaultyLine(desk.home / "second.sock", desk.socket) as line:
            code, told = await asyncio.to_thread(desk.trader(broker=line.here).said)
            return code, told, line.requests

    code, told, requests = asyncio.run(second())
    assert (code, told["error"]["code"], requests) == (1, "RUN_BUSY", [])
    assert f"caopan trader, process {first.pid}" in told["error"]["remedy"]
    for words in (("cycle", "--seed", "7", "--at", "2025-06-03T09:30"), ("reconcile",)):
        code, told = caopan(*words)
        assert (code, told["error"]["code"]) == (1, "RUN_BUSY")
        assert f"process {first.pid}" in told["error"]["message"]

    code, told = caopan("halt", "--reason", "drill")
    (run,) = told["runs"]
    assert (code, run["cancelled_by"]) == (0, "by_trader")
    desk.until(lambda: not caopan("orders", "--open")[1]["orders"], first)
    desk.until_compared("request", 1, first)
    first.end(signal.SIGINT)
    code, told = first.said()
    assert (code, told["halts"]) == (0, 1)
    whole(caopan, desk)


def test_lease_and_database_that_it_lost_it_takes_again_by_itself(caopan, desk, services):
    desk.broker()
    trader = desk.trader()
    desk.until(lambda: "Compared" in trader.log, trader)
    name = sql.Identifier(conninfo(desk.url).partition("dbname=")[2].split()[0])
    admin = services.admin_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(admin, autocommit=True) as link:
        link.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'caopan trader%'"
        )
        desk.until_compared("reconnect", 1, trader)
        tries = trader.log.count("Next try")
        link.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        try:
            link.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [name.as_string().strip('"')],
            )
            desk.until(lambda: trader.log.count("Next try") >= tries + 2, trader)
        finally:
            link.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    desk.until_compared("reconnect", 2, trader)
    trader.end(signal.SIGTERM)
    code, told = trader.said()
    assert (code, told["differed"]) == (0, 0), trader.log
    assert told["failures"] >= 3
    whole(caopan, desk)


def test_one_turn_without_a_broker_process_or_without_an_answer(caopan, desk):
    code, told = caopan("trader", "--once")
    assert (code, told["turns"], told["last"]["passed"]) == (0, 1, True)
    assert told["comparisons"] == {"start": 1}
    code, told = caopan("trader", "--once", "--broker", str(desk.home / "nobody.sock"))
    assert (code, told["error"]["code"]) == (5, "BROKER_DISCONNECTED")
    for words in (("--run", "1", "--seed", "7"), ("--token-file", "x"), ("--broker", "0")):
        code, told = caopan("trader", "--once", *words)
        assert (code, told["error"]["code"]) == (2, "USAGE")
