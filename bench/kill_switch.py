"""The kill switch: from the command until the last order passes a wire that is never idle.

A thread sends as fast as it can, asking `level()` before every order, as the hand and the second
gate do; another process gives the command. Times in milliseconds, from right before the flag is
written. Sending in a busy loop leaves the watching threads the least time they can get.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

import caopan
from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.embedded.services import Services, services
from caopan.adapters.kill_switch.flag_file import flag_path, remove_flag, trace_flag
from caopan.adapters.kill_switch.switch import FlagSwitch, flag_sources
from caopan.adapters.postgres import schema
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.settings import Settings, child_environment

LATCHES, FILES, FILES_WITHOUT_DATABASE, ROWS, COMMANDS = 200, 30, 10, 15, 3
BLOCKED_S: Final = 5.0
_SETTLE_S: Final = 0.05
_PAUSE = threading.Event()

# perf_counter reads the machine's one monotonic clock, so that two processes can be compared.
_COMMANDER: Final = """
import sys, time
from pathlib import Path
from caopan.adapters.kill_switch.flag_file import Flag, flag_path, write_flag
from caopan.domain.risk.kill_switch import KillLevel
print("ready", flush=True)
for line in sys.stdin:
    time.sleep(float(line))
    began = time.perf_counter() * 1000
    write_flag(flag_path(Path(sys.argv[1])), Flag(KillLevel.NO_ORDERS, "bench", "bench"))
    print(began, flush=True)
"""


class Wire:
    """A broker's wire under load: what may leave leaves at once."""

    def __init__(self, switch: FlagSwitch) -> None:
        """Send through `switch` until closed."""
        self._switch = switch
        self._closed = False
        self.last_ms = 0.0
        self.sent = 0
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sending."""
        self._closed = True
        self._thread.join()

    def _send(self) -> None:
        while not self._closed:
            if self._switch.level() < KillLevel.NO_ORDERS:
                self.last_ms = monotonic_ms()
                self.sent += 1


def run(settings: Settings) -> dict[str, Any]:
    """Return the time to silence, by way of command and by what else is out of order."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with services(settings) as servers, _commander(settings.home) as command:
        schema.upgrade(servers.database_url)
        run_id = asyncio.run(_new_run(servers.database_url))
        return {
            "latch": _latch(settings.home, run_id),
            "file": _by_file(settings, servers, run_id, command, FILES),
            "file_database_read_only": _read_only(settings, servers, run_id, command),
            "file_database_down": _down(settings, servers, run_id, command),
            "database_row": _by_row(settings, servers, run_id),
            "event_loop_blocked": _blocked(settings.home, run_id, command),
            "whole_command": _by_command(settings, run_id),
        }


def _latch(home: Path, run_id: int) -> dict[str, Any]:
    elapsed: list[float] = []
    with _sending(home, run_id, None) as (switch, wire):
        for _ in range(LATCHES):
            switch.unlatch()
            _PAUSE.wait(0.005)
            began = monotonic_ms()
            switch.latch(KillLevel.NO_ORDERS)
            _PAUSE.wait(0.01)
            elapsed.append(max(0.0, wire.last_ms - began))
        return _figures(elapsed, wire)


def _by_file(
    settings: Settings,
    servers: Services,
    run_id: int,
    command: Callable[[float], float],
    rounds: int,
) -> dict[str, Any]:
    with _sending(settings.home, run_id, conninfo(servers.database_url)) as (switch, wire):
        return _rounds_by_file(settings.home, switch, wire, command, rounds)


def _rounds_by_file(
    home: Path, switch: FlagSwitch, wire: Wire, command: Callable[[float], float], rounds: int
) -> dict[str, Any]:
    elapsed: list[float] = []
    for number in range(rounds):
        _lift(home)
        _until(switch, at_most=KillLevel.OFF)
        # The command falls on every part of the time between two looks.
        began = command(number % 10 / 100)
        _until(switch, at_least=KillLevel.NO_ORDERS)
        _PAUSE.wait(_SETTLE_S)
        elapsed.append(max(0.0, wire.last_ms - began))
    _lift(home)
    return _figures(elapsed, wire)


def _read_only(
    settings: Settings, servers: Services, run_id: int, command: Callable[[float], float]
) -> dict[str, Any]:
    _alter(servers, "SET default_transaction_read_only = on")
    try:
        return _by_file(settings, servers, run_id, command, FILES)
    finally:
        _alter(servers, "RESET default_transaction_read_only")


def _down(
    settings: Settings, servers: Services, run_id: int, command: Callable[[float], float]
) -> dict[str, Any]:
    with ExitStack() as stack:
        switch, wire = stack.enter_context(
            _sending(settings.home, run_id, conninfo(servers.database_url))
        )
        stack.callback(_alter, servers, "ALLOW_CONNECTIONS true")
        _alter(servers, "ALLOW_CONNECTIONS false")
        with psycopg.connect(_admin(servers), autocommit=True) as link:
            link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [_name(servers)],
            )
        lost = monotonic_ms()
        figures = _rounds_by_file(settings.home, switch, wire, command, FILES_WITHOUT_DATABASE)
        # Without any command: a flag nobody can read stops trading by itself.
        _until(switch, at_most=KillLevel.OFF)
        _until(switch, at_least=KillLevel.NO_ORDERS)
        _PAUSE.wait(_SETTLE_S)
        return {**figures, "stops_by_itself_after_s": round((wire.last_ms - lost) / 1000, 2)}


def _by_row(settings: Settings, servers: Services, run_id: int) -> dict[str, Any]:
    elapsed: list[float] = []
    url = servers.database_url
    with _sending(settings.home, run_id, conninfo(url)) as (switch, wire):
        for _ in range(ROWS):
            began = asyncio.run(_put(url, KillLevel.NO_ORDERS))
            _until(switch, at_least=KillLevel.NO_ORDERS)
            _PAUSE.wait(_SETTLE_S)
            elapsed.append(max(0.0, wire.last_ms - began))
            asyncio.run(_put(url, KillLevel.OFF))
            _until(switch, at_most=KillLevel.OFF)
        return _figures(elapsed, wire)


def _blocked(home: Path, run_id: int, command: Callable[[float], float]) -> dict[str, Any]:
    """Queue orders behind a loop that computes for BLOCKED_S and never yields."""
    sent_at: list[float] = []

    async def trade(switch: FlagSwitch) -> tuple[float, int]:
        async with asyncio.TaskGroup() as group:
            for _ in range(1_000):
                group.create_task(_send_one(switch, sent_at))
            began = monotonic_ms()
            while monotonic_ms() < began + BLOCKED_S * 1000:
                pass
        return began + BLOCKED_S * 1000, 1_000

    with FlagSwitch(flag_sources(home, run_id, None), _seconds) as switch:
        order = threading.Thread(target=command, args=(1.0,))
        order.start()
        freed, queued = asyncio.run(trade(switch))
        order.join()
    _lift(home)
    after = sum(moment >= freed for moment in sent_at)
    return {"blocked_s": BLOCKED_S, "orders_queued": queued, "orders_after_the_block": after}


async def _send_one(switch: FlagSwitch, sent_at: list[float]) -> None:
    if switch.level() < KillLevel.NO_ORDERS:
        sent_at.append(monotonic_ms())


def _lift(home: Path) -> None:
    remove_flag(flag_path(home), trace_flag(flag_path(home)))


def _by_command(settings: Settings, run_id: int) -> dict[str, Any]:
    """Time `caopan halt` from the start of its process, imports included."""
    source = Path(caopan.__file__).parents[1]
    environment = child_environment(CAOPAN_HOME=str(settings.home), PYTHONPATH=str(source))
    words = [sys.executable, "-m", "caopan.interfaces.cli", "halt", "--json"]
    elapsed: list[float] = []
    with _sending(settings.home, run_id, None) as (switch, wire):
        for _ in range(COMMANDS):
            began = monotonic_ms()
            subprocess.run(  # noqa: S603 - our own command
                words, env=environment, stdout=subprocess.DEVNULL, check=True
            )
            elapsed.append(max(0.0, wire.last_ms - began))
            _lift(settings.home)
            _until(switch, at_most=KillLevel.OFF)
        return _figures(elapsed, wire)


@contextmanager
def _sending(home: Path, run_id: int, target: str | None) -> Generator[tuple[FlagSwitch, Wire]]:
    with FlagSwitch(flag_sources(home, run_id, target), _seconds) as switch:
        wire = Wire(switch)
        try:
            yield switch, wire
        finally:
            wire.close()


@contextmanager
def _commander(home: Path) -> Generator[Callable[[float], float]]:
    """Give a function that lets another process write the flag after so many seconds."""
    source = Path(caopan.__file__).parents[1]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", _COMMANDER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(PYTHONPATH=str(source)),
    )
    told, said = process.stdin, process.stdout
    if told is None or said is None or said.readline() != "ready\n":
        msg = "the commanding process did not start"
        raise RuntimeError(msg)

    def command(delay_s: float) -> float:
        told.write(f"{delay_s}\n")
        told.flush()
        return float(said.readline())

    try:
        yield command
    finally:
        told.close()
        process.wait()


def _until(
    switch: FlagSwitch,
    *,
    at_least: KillLevel = KillLevel.OFF,
    at_most: KillLevel = KillLevel.FLATTEN,
) -> None:
    while not at_least <= switch.level() <= at_most:
        _PAUSE.wait(0.002)


async def _new_run(url: str) -> int:
    async with PostgresStore(url) as store:
        at = datetime(2026, 11, 20, tzinfo=UTC)
        return (await store.create_run(RunKind.REPLAY, "bench", {}, "0" * 64, at)).run_id


async def _put(url: str, level: KillLevel) -> float:
    async with PostgresStore(url, pool_size=1) as store:
        version = (await store.system_control()).version + 1
        at = datetime(2026, 11, 20, tzinfo=UTC)
        began = monotonic_ms()
        await store.put_system_control(
            Control(level, Posture.NORMAL, "bench", "bench", at, version)
        )
        return began


def _alter(servers: Services, change: LiteralString) -> None:
    with psycopg.connect(_admin(servers), autocommit=True) as link:
        words = sql.SQL("ALTER DATABASE {} " + change)
        link.execute(words.format(sql.Identifier(_name(servers))))


def _admin(servers: Services) -> str:
    return conninfo(servers.admin_url or servers.database_url)


def _name(servers: Services) -> str:
    return servers.database_url.rsplit("/", 1)[1].partition("?")[0]


def _seconds() -> float:
    return monotonic_ms() / 1000


def _figures(elapsed: Sequence[float], wire: Wire) -> dict[str, Any]:
    ordered = sorted(elapsed)
    at = min(len(ordered) - 1, int(len(ordered) * 0.99))
    return {
        "rounds": len(ordered),
        "p50_ms": round(ordered[len(ordered) // 2], 2),
        "p99_ms": round(ordered[at], 2),
        "max_ms": round(ordered[-1], 2),
        "orders_sent": wire.sent,
    }
