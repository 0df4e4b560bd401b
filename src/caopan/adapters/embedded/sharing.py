"""A command's share in one running server.

Owns the order of the locks (start, then clients), launching the watchdog and clearing away what a
killed run left. Must never stop a server another command uses, and never trust a pid without
looking at the process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from caopan.adapters.embedded.confinement import environment
from caopan.adapters.embedded.locks import FileLock, open_private
from caopan.adapters.embedded.watchdog import ServerPlan, StartReport
from caopan.kernel.errors import Unavailable

_START_WAIT_S: Final = 600
_STOP_WAIT_S: Final = 90
_LEAVE_WAIT_S: Final = 5.0


class StartFailed(Exception):
    """The server did not start; `report` says how it ended and what it logged last."""

    def __init__(self, report: StartReport) -> None:
        super().__init__(report.failure)
        self.report = report


class Share:
    """Take part in a server: `open` (quick), then `port` (waits until it serves), then `close`.

    Two phases, so that two servers start side by side.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._start: FileLock | None = None
        self._clients: FileLock | None = None
        self._answer = -1
        self._port = 0

    def open(self, plan: Callable[[FileLock], ServerPlan]) -> None:
        """Join the running server or launch it.

        `plan` is called only when it must be launched, with the start lock held; it prepares the
        data directory, and processes it runs should inherit the lock (`FileLock.descriptor`).
        """
        try:
            self._start = start = FileLock(self.run / "start.lock")
            if not start.take(wait_s=_START_WAIT_S):
                raise _busy(self.run, "start")
            # A server that is stopping is waited for: its watchdog holds this one exclusively.
            self._clients = FileLock(self.run / "clients.lock")
            if not self._clients.take(shared=True, wait_s=_STOP_WAIT_S):
                raise _busy(self.run, "stop")
            state = self._running()
            if state:
                self._port = int(str(state["port"]))
                start.close()
            else:
                made = plan(start)
                clear_leftovers(self.run, Path(made.data))
                self._launch(made, start)
        except BaseException:
            self.close()
            raise

    def port(self) -> int:
        """Wait until the server serves and return its port. Raises StartFailed."""
        if self._answer >= 0:
            with os.fdopen(self._answer, "rb") as answer:
                self._answer = -1
                told = answer.read()
            report = StartReport(**json.loads(told)) if told else StartReport(failure="was killed")
            if self._start is not None:
                self._start.close()
            if report.failure:
                raise StartFailed(report)
            self._port = report.port
        return self._port

    def close(self) -> None:
        """Leave. When this was the last share, wait briefly until the server has stopped."""
        if self._answer >= 0:
            os.close(self._answer)
            self._answer = -1
        if self._start is not None:
            self._start.close()
        if self._clients is None or self._clients.descriptor < 0:
            return
        self._clients.release()
        if self._port:
            self._await_stop(self._clients)
        self._clients.close()
        self._port = 0

    def _running(self) -> dict[str, object] | None:
        """Return the state of the live server; None when there is none."""
        alive = FileLock(self.run / "watchdog.lock")
        try:
            if alive.take():
                return None
            state = read_state(self.run)
            # A watchdog without a state file is on its way out after its server's death.
            if state is None and not alive.take(wait_s=_STOP_WAIT_S):
                raise _busy(self.run, "stop")
            return state
        finally:
            alive.close()

    def _launch(self, plan: ServerPlan, start: FileLock) -> None:
        reader, writer = os.pipe()
        log = open_private(Path(plan.log).with_name("watchdog.log"), os.O_WRONLY | os.O_APPEND)
        module = "caopan.adapters.embedded.watchdog"
        try:
            done = subprocess.run(
                [sys.executable, "-S", "-m", module, str(start.descriptor), str(writer)],
                input=json.dumps(asdict(plan)).encode(),
                stdout=log,
                stderr=log,
                env=environment(),
                cwd="/",
                pass_fds=(start.descriptor, writer),
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(writer)
            os.close(log)
        self._answer = reader
        if done.returncode != 0:
            failure = f"its watchdog ended with status {done.returncode}"
            raise StartFailed(StartReport(failure=failure))

    def _await_stop(self, clients: FileLock) -> None:
        """Wait for the watchdog to stop the server, unless another command still uses it.

        While the watchdog stops it, nobody can share clients.lock: that tells the two apart.
        """
        if not self.run.exists():
            return
        alive = FileLock(self.run / "watchdog.lock")
        shared_for = 0
        deadline = time.monotonic() + _LEAVE_WAIT_S
        while time.monotonic() < deadline and shared_for < 5:  # noqa: PLR2004 - 5 looks, 0.1 s
            if alive.take():
                break
            if clients.take(shared=True):
                clients.release()
                shared_for += 1
            time.sleep(0.02)
        alive.close()


def read_state(run: Path) -> dict[str, object] | None:
    """Return what the watchdog noted about its server; None when there is no such note."""
    try:
        return json.loads((run / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def clear_leftovers(run: Path, data: Path) -> None:
    """Stop what a killed run left running on `data` and remove its pid file.

    Call with the start lock held and no watchdog alive. Raises Unavailable LEFTOVER_RUNNING when
    a process cannot be stopped.
    """
    guard = FileLock(run / "server.lock")
    pid_file = data / "postmaster.pid"

    def alive() -> set[int]:
        known = (_first_number(pid_file), (read_state(run) or {}).get("pid"))
        return {pid for pid in known if isinstance(pid, int) and _runs(pid, data)}

    try:
        # Signal 0 only looks: a server told of its parent's death may be stopping already.
        for number, wait_s in ((0, 1.0), (signal.SIGINT, 30), (signal.SIGQUIT, 5), (9, 15)):
            for pid in alive():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + wait_s
            while not (gone := guard.take() and not alive()) and time.monotonic() < deadline:
                time.sleep(0.02)
            if gone:
                # A pid file now is the trace of a crash, whoever has that pid today.
                pid_file.unlink(missing_ok=True)
                (run / "state.json").unlink(missing_ok=True)
                return
    finally:
        guard.close()
    raise Unavailable(
        "LEFTOVER_RUNNING",
        f"processes of an earlier run still hold {data}",
        remedy="End them (or restart the machine), then try again.",
    )


def _first_number(pid_file: Path) -> int | None:
    try:
        return abs(int(pid_file.read_text().split("\n", 1)[0]))
    except (OSError, ValueError):
        return None


def _runs(pid: int, data: Path) -> bool:
    """Return whether the process `pid` lives and has `data` on its command line."""
    if pid <= 1:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        if Path("/proc/self").exists():
            return False
        shown = subprocess.run(
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], check=False, capture_output=True
        ).stdout
        return os.fsencode(data) in shown
    return os.fsencode(data) in words


def _busy(run: Path, phase: str) -> Unavailable:
    return Unavailable(
        "SERVICES_BUSY",
        f"another command has been busy to {phase} the {run.name} of {run.parent.parent}",
        remedy="Wait for it or end it, then try again.",
    )
