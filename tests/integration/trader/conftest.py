"""A desk with open orders on a morning of history, its broker's process and its trader's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.interfaces.cli.__main__ import main

DAY, AT = "2025-06-03", "2025-06-03T09:16"
_WAIT_S = 60


class Process:
    """A command as a person starts it; what it says is read at the end."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def line(self) -> dict[str, Any]:
        """Return the first line of what it prints, as JSON."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def said(self) -> tuple[int, dict[str, Any]]:
        """Return exit code and answer of one that ends by itself, or was told to."""
        out, _ = self._process.communicate(timeout=_WAIT_S)
        return self._process.returncode, json.loads(out)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(how)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Desk:
    """One desk of the synthetic market and the processes around it."""

    def __init__(self, home: Path, url: str, redis_url: str) -> None:
        self.home, self.url = home, url
        self.socket = home / "b.sock"
        self.run_id = 0
        self._environment = {
            **os.environ,
            "CAOPAN_HOME": str(home),
            "CAOPAN_LANG": "en",
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
        }
        self._started: list[Process] = []

    def broker(self, source: Path | None = None) -> Process:
        """Start it, from the product in the folder `source` if given."""
        words = ["caopan.interfaces.broker_process", "--follow", "--run", str(self.run_id)]
        words += ["--socket", str(self.socket), "--end", DAY]
        process = self._start(words, {} if source is None else {"PYTHONPATH": str(source)})
        assert process.line() == {"ready": {"socket": str(self.socket)}}
        return process

    def trader(self, *words: str, broker: Path | None = None) -> Process:
        named = ["--broker", str(broker or self.socket), "--run", str(self.run_id)]
        return self._start(["caopan.interfaces.cli", "trader", *named, *words, "--json"])

    def _start(self, words: list[str], extra: Mapping[str, str] | None = None) -> Process:
        log = self.home / f"{len(self._started)}.log"
        self._started.append(Process(words, {**self._environment, **(extra or {})}, log))
        return self._started[-1]

    def close(self) -> None:
        for process in self._started:
            process.close()

    def compared(self) -> list[tuple[str, bool]]:
        """Return trigger and outcome of every comparison."""

        async def read() -> list[tuple[str, bool]]:
            async with PostgresStore(self.url) as store, store.begin(self.run_id) as uow:
                return [(one.trigger, one.passed) for one in await uow.reconciliations.all()]

        return asyncio.run(read())

    def until(self, is_so: Callable[[], bool], process: Process) -> None:
        for _ in range(_WAIT_S * 10):
            if is_so():
                return
            time.sleep(0.1)
        pytest.fail(f"it never came to it: {process.log}")

    def until_compared(self, trigger: str, times: int, process: Process) -> None:
        self.until(lambda: [one for one, _ in self.compared()].count(trigger) >= times, process)


@pytest.fixture
def caopan(clean_database, services, home, monkeypatch, capsys):
    """Return a function that runs a command with --json and gives exit code and answer."""
    monkeypatch.setenv("CAOPAN_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def run(*words: str):
        capsys.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def home() -> Iterator[Path]:
    # A socket's path may not be long, which pytest's own folders are.
    with tempfile.TemporaryDirectory(prefix="caopan-") as folder:
        yield Path(folder)


@pytest.fixture
def desk(caopan, clean_database, services, home) -> Iterator[Desk]:
    desk = Desk(home, clean_database, services.redis_url)
    code, told = caopan("cycle", "--seed", "7", "--at", AT)
    assert code == 0, told
    desk.run_id = told["run_id"]
    assert caopan("orders", "--open")[1]["orders"]
    yield desk
    desk.close()
