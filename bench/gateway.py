"""The model gateway beside its floor: a fast upstream direct, a bare pass-through, and ours.

All in one run on one machine: every target answers the same requests of the same driver, from the
same upstream, which is a raw asyncio protocol on uvloop in a process of its own (a C program stood
behind the targets; this one is about as fast). Ours has everything on: client keys with a budget
and a rate, limits in Valkey, budgets of endpoint and alias, the record of every call in PostgreSQL.
Databases are up before anything is timed. Milliseconds; rounds take turns, medians and spread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.embedded.services import Services, services
from caopan.adapters.postgres import schema
from caopan.adapters.postgres.connection import conninfo
from caopan.bootstrap.gateway_stores import administration
from caopan.bootstrap.models_admin import KeyRequest
from caopan.settings import Settings, child_environment

PARTS: Final = Path(__file__).parent / "gateway_parts"
ROUNDS, SECONDS, MEMORY_CALLS = 3, 4.0, 0
SHAPES: Final = {"at_1": (1, False), "at_64": (64, False), "streams_at_16": (16, True)}
_STARTS: Final = 3
_WITHIN_MS: Final = 30_000
_MEGABYTE: Final = 1024 * 1024
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """Something the driver can be pointed at."""

    port: int
    token: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How a process came up."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def run(settings: Settings) -> dict[str, Any]:
    """Return start, memory, latency and throughput of each target."""
    with services(settings) as servers:
        schema.upgrade(servers.database_url)
        with _part("upstream.py") as (process, line):
            upstream = int(line)
            bare = ["-u", str(PARTS / "passthrough.py"), "0", str(upstream)]
            document = settings.home / "models.json"
            document.write_text(json.dumps(_document(upstream)), encoding="utf-8")
            token = asyncio.run(_token(servers, settings))
            ours = ["-m", "caopan.interfaces.gateway", "--json", "--port", "0"]
            ours += ["--home", str(settings.home), "--config", str(document)]
            starts = {"bare": _starts(bare, settings), "ours": _starts(ours, settings)}
            with _started(bare, settings) as one, _started(ours, settings) as two:
                targets = {
                    "direct": Target(upstream, pid=process.pid),
                    "bare": Target(_port(one[1]), pid=one[0].pid),
                    "ours": Target(_port(two[1]), token, two[0].pid),
                }
                measured = _measured(targets)
            recorded = _rows(servers)
    return _result(starts, measured, recorded)


def _result(
    starts: Mapping[str, Sequence[Start]],
    measured: Mapping[str, Mapping[str, Any]],
    recorded: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {"upstream": "raw asyncio protocol on uvloop"}
    for name, figures in measured.items():
        told: dict[str, Any] = {}
        if name in starts:
            told["start_s"] = _middle([one.wall_s for one in starts[name]], 2)
            told["start_cpu_s"] = _middle([one.cpu_s for one in starts[name]], 2)
            told["memory_mb_at_start"] = _middle([one.memory_mb for one in starts[name]], 1)
        found[name] = {**told, **figures}
    found["ours"]["rows_in_postgresql"] = recorded
    floor, own = found["bare"], found["ours"]
    names = ("p50_ms_at_1", "rps_at_1", "rps_at_64", "p99_ms_at_64", "streams_s_at_16")
    found["ours_to_bare"] = {name: round(own[name] / floor[name], 2) for name in names}
    return found


def _measured(targets: Mapping[str, Target]) -> dict[str, dict[str, Any]]:
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            round_: dict[str, float] = {}
            for shape, (connections, stream) in SHAPES.items():
                told = _drive(target, connections, stream=stream)
                if told["failures"]:
                    message = f"{name} {shape}: {told['failures']}: {told['first_failure']}"
                    raise RuntimeError(message)
                round_ |= {
                    f"{what}_{shape}": told[what] for what in ("rps", "p50_ms", "p99_ms", "cpu_ms")
                }
            round_["memory_mb"] = _memory_mb(target.pid)
            samples[name].append(round_)
    return {name: _figures(rounds) for name, rounds in samples.items()}


def _figures(rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    wanted = {
        "memory_mb": "memory_mb",
        "p50_ms_at_1": "p50_ms_at_1",
        "rps_at_1": "rps_at_1",
        "rps_at_64": "rps_at_64",
        "p99_ms_at_64": "p99_ms_at_64",
        "cpu_ms_a_call_at_64": "cpu_ms_at_64",
        "streams_s_at_16": "rps_streams_at_16",
        "cpu_ms_a_stream_at_16": "cpu_ms_streams_at_16",
    }
    found: dict[str, Any] = {}
    for name, of in wanted.items():
        values = [one[of] for one in rounds]
        found[name] = _middle(values, 3 if "ms" in name else 0)
        found[f"{name}_spread"] = [round(min(values), 3), round(max(values), 3)]
    return found


def _drive(target: Target, connections: int, *, stream: bool) -> dict[str, Any]:
    """Drive one target; `cpu_ms` is the CPU time of its process for one answer."""
    words = [str(target.port), str(connections), str(SECONDS), "1" if stream else "0"]
    before = _cpu_s(target.pid)
    done = subprocess.run(  # noqa: S603 - this benchmark's own program
        [sys.executable, str(PARTS / "driver.py"), *words],
        input=f"{target.token}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    answered = max(1.0, told["answered"])
    return {**told, "cpu_ms": 1_000 * (_cpu_s(target.pid) - before) / answered}


def _starts(words: Sequence[str], settings: Settings) -> list[Start]:
    found: list[Start] = []
    for _ in range(_STARTS):
        began = monotonic_ms()
        with _started(words, settings) as (process, line):
            port = _port(line)
            while not _listens(port):
                if monotonic_ms() - began > _WITHIN_MS:
                    message = f"{words}: does not listen"
                    raise RuntimeError(message)
            wall = (monotonic_ms() - began) / 1_000
            found.append(Start(wall, _cpu_s(process.pid), _memory_mb(process.pid)))
    return found


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _port(line: str) -> int:
    told = json.loads(line)
    return int(told["ready"]["port"] if isinstance(told, dict) else told)


@contextlib.contextmanager
def _started(
    words: Sequence[str], settings: Settings
) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Run Python with `words` and give the process with its last line before it is ready."""
    environment = child_environment(CAOPAN_HOME=str(settings.home))
    process = subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        while "admin_key" in line:
            line = process.stdout.readline()
        yield process, line
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def _part(name: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(  # noqa: S603 - this benchmark's own program
        [sys.executable, str(PARTS / name)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _token(servers: Services, settings: Settings) -> str:
    """Make a client key with every bound a key can have."""
    async with administration(servers.database_url, settings) as admin:
        wanted = KeyRequest("bench", ("bench",), daily_cny="100000000", rpm=100_000_000)
        return (await admin.mint(wanted)).text.get_secret_value()


def _document(upstream: int) -> dict[str, Any]:
    budget = {"daily_cny": "100000000", "per_decision_cny": "1000000"}
    endpoint = {
        "alias": "bench",
        "provider": "openai_compatible",
        "model": "bench-model",
        "endpoint_url": f"http://127.0.0.1:{upstream}/v1",
        "auth_type": "none",
        "private_address": True,
        "prices": [{"input_mtok": "2", "output_mtok": "8", "cached_mtok": "0.5"}],
        "rate_limit": {"rpm": 10_000_000, "tpm": 1_000_000_000_000, "concurrency": 10_000},
        "budget": budget,
    }
    return {"endpoints": [endpoint], "aliases": {"bench": {"budget": budget}}, "budget": budget}


def _rows(servers: Services) -> int:
    with psycopg.connect(conninfo(servers.database_url)) as link:
        row = link.execute("SELECT count(*) FROM llm_call WHERE outcome = 'ok'").fetchone()
        return 0 if row is None else int(row[0])


def _memory_mb(pid: int | None) -> float:
    if pid is None:
        return 0.0
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE / _MEGABYTE


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _middle(values: Sequence[float], digits: int) -> float:
    return round(statistics.median(values), digits)
