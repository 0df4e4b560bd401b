"""`python -m caopan.interfaces.gateway`: the model gateway as a process of its own.

Owns the arguments, the listening socket, the order of starting and stopping, and the one line that
tells where it listens. Must never listen beyond this machine unasked, load what a call does not
need, or write an access log: addresses of clients and paths are theirs. Tests:
tests/integration/gateway/test_process.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from caopan.adapters.embedded.services import Services, services
from caopan.bootstrap.gateway import GatewayPlan, open_gateway, ready_schema
from caopan.bootstrap.gateway_presence import Presence, present
from caopan.bootstrap.gateway_service import GatewayService
from caopan.interfaces.gateway.bounded_http import BoundedHttp
from caopan.interfaces.gateway.pages import Pages
from caopan.interfaces.gateway.surface import Surface
from caopan.interfaces.gateway.wire import MOST_BODY, Hosts, checked_address, is_loopback
from caopan.kernel.clock import iso
from caopan.kernel.errors import CaopanError, ConfigInvalid, Unavailable
from caopan.messages import tr
from caopan.settings import Language, Settings, load_settings

DEFAULT_PORT: Final = 8700
_STOP_WITHIN_S: Final = 30
_KEEP_ALIVE_S: Final = 75
_BACKLOG: Final = 2048
_SWITCH_S: Final = 0.0005
_COLLECTED_AT: Final = (20_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the process listens."""

    host: str
    port: int
    names: tuple[str, ...]
    most_body: int
    stop_within_s: int
    as_json: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, or an exit code after telling an error."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = load_settings({"home": given.home, "lang": given.lang})
        checked_address(given.host, public=given.allow_remote)
        plan = GatewayPlan(document=_document(given.config))
        listening = Listening(
            given.host,
            given.port,
            tuple(given.name),
            given.max_body,
            given.stop_within,
            given.json,
        )
        with _listener(listening) as bound:
            _run(settings, plan, listening, bound)
    except KeyboardInterrupt:
        return 130
    except CaopanError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, ConfigInvalid) else 5 if isinstance(error, Unavailable) else 1
    return 0


def _run(settings: Settings, plan: GatewayPlan, listening: Listening, bound: socket.socket) -> None:
    import uvloop  # noqa: PLC0415 - not for every platform that can import this module

    async def serve(servers: Services) -> None:
        async with open_gateway(servers, settings, plan) as opened:
            port = int(bound.getsockname()[1])
            found = Presence(
                listening.host, port, os.getpid(), iso(opened.service.started_at), opened.home.text
            )
            with present(settings.home, found):
                if opened.first_key is not None:
                    _tell_key(settings.lang, opened.first_key.get_secret_value(), listening)
                await _serve(
                    opened.service, listening, bound, lambda: _tell(settings, found, listening)
                )

    with services(settings) as servers:
        ready_schema(servers, settings)
        uvloop.run(serve(servers))


async def _serve(
    service: GatewayService, listening: Listening, bound: socket.socket, tell: Callable[[], None]
) -> None:
    """Serve until told to stop; calls under way have a bounded time to end."""
    pages = Pages(service, open_metrics=is_loopback(listening.host))
    surface = Surface(
        service,
        pages.app(),
        Hosts(listening.host, listening.names),
        most_body=listening.most_body,
    )
    config = uvicorn.Config(
        surface,
        http=BoundedHttp,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=listening.stop_within_s,
        backlog=_BACKLOG,
    )
    # The record is brought to the database by a thread: calls do not wait 5 ms for it to let go.
    sys.setswitchinterval(_SWITCH_S)
    # What was loaded stays: looking through it again and again costs a tenth of a call.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AT)
    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(service.run())
        await _Server(config, tell).serve(sockets=[bound])
        beside.cancel()


class _Server(uvicorn.Server):
    """Tells when it listens, and stops by the event loop's own signals."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on the first signal, at once on the second.

        The library would raise the signal again after serving, past everything that has to close.
        """
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for one in signals:
            loop.add_signal_handler(one, self._stop)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


@contextlib.contextmanager
def _listener(listening: Listening) -> Generator[socket.socket]:
    """Give the bound socket. Raises Unavailable GATEWAY_PORT, before anything is started."""
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((listening.host, listening.port))
        except OSError as error:
            raise Unavailable(
                "GATEWAY_PORT",
                f"{listening.host}:{listening.port} cannot be listened on: {error.strerror}",
                remedy="give another --port, or stop what listens there",
            ) from error
        yield bound


def _tell(settings: Settings, found: Presence, listening: Listening) -> None:
    if listening.as_json:
        told = json.dumps({"ready": {"url": found.url, "port": found.port, "pid": found.pid}})
    else:
        told = tr("gateway.ready", settings.lang, url=found.url)
    sys.stdout.write(told + "\n")
    sys.stdout.flush()


def _tell_key(lang: Language, token: str, listening: Listening) -> None:
    """Show the first key, this once."""
    as_json = json.dumps({"admin_key": token})
    told = as_json if listening.as_json else tr("gateway.first_key", lang, token=token)
    sys.stdout.write(told + "\n")


def _document(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid("MODELS_INVALID", f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid("MODELS_INVALID", f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigInvalid("MODELS_INVALID", f"{file} holds no JSON object")
    return cast("dict[str, Any]", found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="caopan-gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0: any that is free")
    parser.add_argument("--home", type=Path, help="default: CAOPAN_HOME")
    parser.add_argument("--config", type=Path, help="models document to put in force at the start")
    parser.add_argument("--name", action="append", default=[], help="further Host it answers to")
    parser.add_argument("--allow-remote", action="store_true", help="listen beyond this machine")
    parser.add_argument("--max-body", type=int, default=MOST_BODY, help="bytes of a request")
    parser.add_argument("--stop-within", type=int, default=_STOP_WITHIN_S, help="seconds")
    parser.add_argument("--lang", choices=("zh", "en"))
    parser.add_argument("--json", action="store_true", help="tell in JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
