"""A real gateway process for tests: started on a database and a Valkey, found by its ready line.

Owns RunningGateway and `running_gateway`. Must never leave a process behind, nor hide what one said
on its way down. Tests: tests/integration/gateway/test_process.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from caopan.bootstrap.gateway_presence import running_gateways
from caopan.settings import child_environment

_STOP_WITHIN_S = 60


@dataclass
class RunningGateway:
    """One gateway process."""

    process: subprocess.Popen[str]
    url: str
    admin_key: str
    """The first administrator's; of this home's own commands where there was one before."""
    log: Path
    """What it said on standard error."""
    told: list[str] = field(default_factory=list[str])
    """Its lines on standard output."""

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Return status, JSON (or bytes) and headers of one request; `key` None: the admin's."""
        data = None if body is None else json.dumps(body).encode()
        told = {"authorization": f"Bearer {key if key is not None else self.admin_key}"}
        request = urllib.request.Request(  # noqa: S310 - our own process
            self.url + path, data=data, headers={**told, **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                return answer.status, _read(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read()), dict(error.headers)

    def chat(
        self,
        alias: str,
        fields: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Ask an alias for a completion."""
        messages = [{"role": "user", "content": "Say hello."}]
        body = {"model": alias, "messages": messages, **(fields or {})}
        return self.ask("/v1/chat/completions", body, key=key, headers=headers)

    def change(self, document: Mapping[str, Any]) -> tuple[int, Any]:
        """Put a document in force on top of the one that is."""
        _, _, headers = self.ask("/api/config/models")
        match = {"if-match": headers.get("etag", "")}
        status, told, _ = self.ask("/api/config/models", document, method="PUT", headers=match)
        return status, told

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=_STOP_WITHIN_S)


@contextmanager
def running_gateway(
    home: Path,
    *,
    database_url: str,
    redis_url: str,
    document: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
    key: str = "",
) -> Generator[RunningGateway]:
    """Give a gateway that listens on a port of its own.

    `document` is put in force; `environ` is what endpoints' references find; `key` is an
    administrator's of an earlier process on the same database.
    """
    home.mkdir(parents=True, exist_ok=True)
    asked = ["--json", "--port", "0", "--home", str(home), *words]
    if document is not None:
        file = home / "models.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        asked += ["--config", str(file)]
    environment = child_environment(
        DATABASE_URL=database_url, REDIS_URL=redis_url, PYTHONUNBUFFERED="1", **(environ or {})
    )
    log = home / f"gateway-{os.urandom(4).hex()}.log"
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "caopan.interfaces.gateway", *asked],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )
    try:
        found = RunningGateway(process, "", key, log)
        _await_ready(found, home, cast("IO[str]", process.stdout))
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_ready(found: RunningGateway, home: Path, lines: IO[str]) -> None:
    for line in lines:
        told = cast("dict[str, Any]", json.loads(line))
        found.told.append(line)
        if "admin_key" in told:
            found.admin_key = str(told["admin_key"])
        if "ready" in told:
            found.url = str(told["ready"]["url"])
            if not found.admin_key:
                # The database knew an administrator before: this home's own commands may as much.
                found.admin_key = running_gateways(home)[0].key.get_secret_value()
            return
    said = found.log.read_text(encoding="utf-8")
    message = f"the gateway ended with {found.process.wait()}: {said}"
    raise RuntimeError(message)


def _read(body: bytes) -> Any:  # noqa: ANN401 - JSON from outside
    try:
        return json.loads(body)
    except ValueError:
        return body
