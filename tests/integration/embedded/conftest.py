"""Commands as separate processes, so that they can be killed without mercy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from caopan.settings import Settings, load_settings

COMMAND = """
import json, sys
from caopan.adapters.embedded.services import services
from caopan.settings import load_settings
with services(load_settings({"home": sys.argv[1]}, environ={}), durable=False) as running:
    print(json.dumps([running.database_url, running.redis_url]), flush=True)
    sys.stdin.read()
"""


class Command:
    """A process that uses the services until it is told to leave, or killed."""

    def __init__(self, home: Path, *prefix: str, python: str = sys.executable) -> None:
        self.told: list[str] = []
        self.process = subprocess.Popen(
            [*prefix, python, "-c", COMMAND, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def urls(self) -> list[str]:
        """Wait until it has both servers; return their addresses."""
        if self.told:
            return self.told
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read().decode()
        self.told = json.loads(line)
        return self.told

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(timeout=60)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose path has a space and Chinese characters, as people's do."""
    return tmp_path / "my 操盘 home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings({"home": home}, environ={})


@pytest.fixture
def command(home: Path) -> Generator[Callable[..., Command]]:
    """Start commands of this home; whatever still runs at the end is killed."""
    started: list[Command] = []

    def start(*prefix: str, home: Path = home, python: str = sys.executable) -> Command:
        started.append(Command(home, *prefix, python=python))
        return started[-1]

    yield start
    for one in started:
        if one.process.returncode is None:
            one.kill()
    wait_until(lambda: not processes_of(home))


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Wait until a condition holds."""
    return wait_until


@pytest.fixture
def listens() -> Callable[[str], bool]:
    """Tell whether anything listens on the port of a URL."""

    def ask(url: str) -> bool:
        port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


@pytest.fixture
def kill() -> Callable[[int], None]:
    """Kill one process, which may have gone already."""

    def strike(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return strike


@pytest.fixture
def processes(home: Path) -> Callable[[], list[int]]:
    """Name the processes whose command line names this home: commands and servers."""
    return lambda: processes_of(home)


@pytest.fixture
def watchdogs(home: Path) -> Callable[[], list[int]]:
    """Name the parents of this home's servers."""

    def find() -> list[int]:
        states = [home / "run" / name / "state.json" for name in ("postgres", "valkey")]
        pids = [str(json.loads(state.read_text())["pid"]) for state in states]
        words = ["ps", "-o", "ppid=", "-p", ",".join(pids)]
        told = subprocess.run(words, capture_output=True, text=True, check=True)
        return [int(line) for line in told.stdout.split()]

    return find


def wait_until(condition: Callable[[], object]) -> None:
    """Be patient: only that it comes true matters, not when."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def processes_of(home: Path) -> list[int]:
    """Return the processes whose command line names `home`."""
    words = ["ps", "-axww", "-o", "pid=,command="]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=1) for line in listed.splitlines()]
    return [int(pid) for pid, *rest in found if str(home) in " ".join(rest)]
