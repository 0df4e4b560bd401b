"""The broker as a real process on a real database: killed, started again, halted by a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.kill_switch.flag_file import Flag, flag_path, write_flag
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.bootstrap.broker_process import token_of
from caopan.bootstrap.build import stamp
from caopan.bootstrap.markets import open_calendar, open_synthetic
from caopan.domain.market.reference import TradingStatus
from caopan.domain.orders.order import Order, OrderStatus
from caopan.domain.risk.clearance import mint
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid, Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.samples import sample_order

END, SESSIONS, BREADTH, SEED = date(2025, 12, 31), 90, 6, 7
CASH = units(1_000_000)


class Process:
    """The command, as a person starts it."""

    def __init__(self, home: Path, url: str, redis_url: str, run_id: int) -> None:
        self.home = home
        command = [sys.executable, "-m", "caopan.interfaces.broker_process", "--follow"]
        command += ["--run", str(run_id), "--socket", str(home / "b.sock")]
        command += ["--sessions", str(SESSIONS), "--breadth", str(BREADTH), "--end", str(END)]
        environment = {
            **os.environ,
            "CAOPAN_HOME": str(home),
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
        }
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.said = json.loads(self._process.stdout.readline() or "{}")

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        self._process.send_signal(how)
        code = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def processes(tmp_path, clean_database, redis_url) -> Iterator:
    started: list[Process] = []

    def start(run_id: int) -> Process:
        started.append(Process(tmp_path, clean_database, redis_url, run_id))
        return started[-1]

    yield start
    for process in started:
        if process._process.poll() is None:
            process.end()


async def opened(url: str) -> tuple[int, Order]:
    """Return a new run and an order for a share that trades on the last day."""
    async with PostgresStore(url) as store:
        at = datetime(2025, 12, 31, tzinfo=UTC)
        config = {"broker": "process"}
        run = await store.create_run(RunKind.REPLAY, "sandbox", config, "c" * 64, at)
        calendar = await open_calendar(store)
    market, _ = open_synthetic(SEED, calendar, end=END, days=SESSIONS, breadth=BREADTH)
    morning = at_shanghai(END, time(9, 16))
    shares = market.references(END, morning).values()
    share = next(one for one in shares if one.trading_status is TradingStatus.NORMAL)
    assert share.limit_up is not None
    order = sample_order(
        symbol=share.symbol,
        price=share.limit_up,
        qty=share.min_buy_qty,
        trading_day=END,
        not_after=morning + timedelta(minutes=4),
    )
    return run.run_id, order


async def test_it_survives_its_death_and_stops_when_it_is_halted(processes, clean_database):
    run_id, order = await opened(clean_database)
    process = processes(run_id)
    assert process.said == {"ready": {"socket": str(process.home / "b.sock")}}
    clock = ReplayClock(at_shanghai(END, time(9, 16)))
    token = token_of(process.home / "broker.token")
    client = RemoteBroker(process.home / "b.sock", token, clock, build=stamp(clean_database))
    await client.deposit("opening", CASH)
    sent = await client.submit(order, mint(order, "policy"))
    frozen = await client.account()
    assert frozen.cash_free + frozen.cash_frozen == CASH
    assert frozen.cash_frozen > 0

    process.end()
    with pytest.raises((Unavailable, OutcomeUnknown)):
        await client.find(order.client_order_id)
    process = processes(run_id)
    await client.deposit("opening", CASH)
    assert await client.find(order.client_order_id) == sent
    assert await client.account() == frozen
    again = replace(order, clearance_id=order.order_id)
    with pytest.raises(Denied, match="BROKER_BLOCKED"):
        await client.submit(again, mint(again, "policy"))

    flag = Flag(KillLevel.NO_ORDERS, "drill", "test", clock.now())
    write_flag(flag_path(process.home), flag)
    process.end()
    process = processes(run_id)
    other = replace(again, client_order_id="COTHER")
    with pytest.raises(Denied, match="kill switch"):
        await client.submit(other, mint(other, "policy"))
    assert (await client.cancel(order)).status is OrderStatus.CANCELED
    assert (await client.account()).cash_free == CASH
    await client.close()
    assert process.end(signal.SIGTERM) == 0


def test_a_token_is_made_once_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "folder" / "token"
    token = token_of(path)
    assert token == token_of(path)
    assert len(token.get_secret_value()) > 30
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (" ", 0o600, "0 characters"),
        ("123456789012345\n", 0o600, "15 characters"),
        ("1234567890123456", 0o604, "mode 604"),
        ("1234567890123456", 0o640, "mode 640"),
    ],
)
def test_a_token_that_others_may_know_is_refused(tmp_path, text, mode, why):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigInvalid, match=why) as caught:
        token_of(path)
    assert caught.value.code == "TOKEN_FILE"


def test_the_shortest_token_that_is_one(tmp_path):
    path = tmp_path / "token"
    path.write_text("1234567890123456\n")
    path.chmod(0o600)
    assert token_of(path).get_secret_value() == "1234567890123456"
