"""The parent of one server: starts it, waits for its last user to go, stops it.

Owns the server process from fork to reap. Must never outlive its purpose (no clients, no server)
and never import what it does not need: it runs as `python -S -m …` beside every command.

It is told what to run by one JSON object on stdin (`ServerPlan`), answers on an inherited pipe
with one JSON line (`StartReport`) and needs nothing else from whoever started it: when that
command is killed, the kernel frees its lock on clients.lock and the watchdog stops the server.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

from caopan.adapters.embedded.confinement import Confinement
from caopan.adapters.embedded.locks import FileLock, open_private

LOG_BYTES: Final = 5_000_000
LOG_COPIES: Final = 3
_ROTATE_EVERY_S: Final = 30
_PORT_ATTEMPTS: Final = 5
_START_LIMIT_S: Final = 600
_TAIL_BYTES: Final = 4000


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Everything the watchdog has to know about the server it is to run."""

    name: Literal["postgres", "valkey"]
    run: str
    """Folder of the lock files and of state.json."""
    data: str
    """The server's own directory; named on its command line."""
    log: str
    arguments: list[str]
    """Command line; `{port}` stands for the port chosen."""
    stdin: str
    confinement: dict[str, Any]
    stop: list[list[int]]
    """Signals and how long to wait after each, for example [[2, 60], [3, 10], [9, 10]]."""
    secret: str = ""
    """What `valkey` wants to hear before it answers; empty for `postgres`."""

    def state_file(self) -> Path:
        """Return the file that names the running server's port and process."""
        return Path(self.run) / "state.json"


@dataclass(frozen=True, slots=True)
class StartReport:
    """What became of a start: a port, or the reason and the end of the log."""

    port: int = 0
    failure: str = ""
    tail: str = ""


@dataclass(slots=True)
class _Server:
    plan: ServerPlan
    guard: FileLock
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    log_start: int = field(default=0)

    def start(self) -> StartReport:
        """Start on a free port and wait until it serves; another port if that one was taken."""
        report = StartReport(failure="never started")
        for _ in range(_PORT_ATTEMPTS):
            self.port = _free_port()
            self._spawn()
            report = self._await_ready()
            taken = "already in use" in report.tail or "could not bind" in report.tail
            if not report.failure or not taken:
                break
        return report

    def stop(self) -> None:
        """Stop gently, then firmly; return when the process has been reaped."""
        if self.process is None:
            return
        for number, wait_s in self.plan.stop:
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
        self.plan.state_file().unlink(missing_ok=True)

    def _spawn(self) -> None:
        plan = self.plan
        rotate(Path(plan.log))
        log = open_private(Path(plan.log), os.O_WRONLY | os.O_APPEND)
        self.log_start = os.lseek(log, 0, os.SEEK_END)
        confinement = Confinement(**plan.confinement)
        words = [word.replace("{port}", str(self.port)) for word in plan.arguments]
        try:
            self.process = subprocess.Popen(
                confinement.command(words, death_signal=plan.stop[0][0]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                # The server and all it forks hold server.lock until the last of them is gone.
                pass_fds=(self.guard.descriptor,),
            )
        finally:
            os.close(log)
        if self.process.stdin is not None:
            self.process.stdin.write(plan.stdin.encode())
            self.process.stdin.close()
        state = {"pid": self.process.pid, "port": self.port, "data": plan.data}
        _write_private(plan.state_file(), json.dumps(state))

    def _await_ready(self) -> StartReport:
        deadline = time.monotonic() + _START_LIMIT_S
        serves = _postgres_serves if self.plan.name == "postgres" else _valkey_serves
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                code = self.process.returncode if self.process else None
                return StartReport(failure=f"ended with status {code}", tail=self._tail())
            if serves(self):
                return StartReport(port=self.port)
            time.sleep(0.02)
        self.stop()
        return StartReport(failure=f"not ready within {_START_LIMIT_S} s", tail=self._tail())

    def _tail(self) -> str:
        with Path(self.plan.log).open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, end - _TAIL_BYTES))
            return log.read().decode(errors="replace")


class _ServerEnded(Exception):
    """The server died while it was wanted."""


class _Told(Exception):
    """Somebody asked the watchdog itself to stop."""


def rotate(log: Path) -> None:
    """Copy a log that has grown too long aside and empty it; keep a bounded number of copies.

    The file stays the same one: the server goes on appending to it.
    """
    if not log.exists() or log.stat().st_size < LOG_BYTES:
        return
    try:
        for number in range(LOG_COPIES - 1, 0, -1):
            older = log.with_name(f"{log.name}.{number}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number + 1}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    except OSError:
        # On a full disk the copy is given up: emptying the log is what helps.
        log.with_name(f"{log.name}.1").unlink(missing_ok=True)
    os.truncate(log, 0)


def _stay(_signal: int, _frame: FrameType | None) -> None:
    """Ignore the terminal: only the clients' going ends the watchdog."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgres_serves(server: _Server) -> bool:
    """Read the status PostgreSQL keeps in its pid file, as pg_ctl does."""
    try:
        lines = (Path(server.plan.data) / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - its eighth line


def _valkey_serves(server: _Server) -> bool:
    words = f"AUTH {server.plan.secret}\r\nPING\r\n"
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1) as link:
            link.sendall(words.encode())
            answer = b""
            while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line per word sent
                part = link.recv(256)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    descriptor = open_private(fresh, os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(path)


def _supervise(server: _Server, clients: FileLock) -> None:
    """Sleep until the last client has gone, the server has died or a signal says stop."""

    def on_child(_signal: int, _frame: FrameType | None) -> None:
        if server.process is not None and server.process.poll() is not None:
            raise _ServerEnded

    def on_request(_signal: int, _frame: FrameType | None) -> None:
        raise _Told

    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        rotate(Path(server.plan.log))

    try:
        signal.signal(signal.SIGTERM, on_request)
        signal.signal(signal.SIGCHLD, on_child)
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, _ROTATE_EVERY_S, _ROTATE_EVERY_S)
        on_child(0, None)
        clients.take_exclusively()
    except (_ServerEnded, _Told):
        pass
    finally:
        for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGTERM else signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Run one server for as long as somebody uses it."""
    start_lock, answer = (int(word) for word in sys.argv[1:3])
    plan = ServerPlan(**json.load(sys.stdin))
    if os.fork():
        # The command that asked reaps this half at once; the other half belongs to nobody.
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: the server must not inherit deaf ears.
        signal.signal(number, _stay)
    run = Path(plan.run)
    alive, guard = FileLock(run / "watchdog.lock"), FileLock(run / "server.lock")
    server = _Server(plan, guard)
    report = StartReport(failure="another watchdog or server is still there")
    try:
        if alive.take() and guard.take():
            report = server.start()
        os.write(answer, json.dumps(asdict(report)).encode())
        os.close(answer)
        os.close(start_lock)
        if not report.failure:
            _supervise(server, FileLock(run / "clients.lock"))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
