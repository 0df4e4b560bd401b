"""`python -m caopan.interfaces.broker_process`: the sandbox broker in a process of its own.

Owns the arguments, and the one line of JSON on standard output that tells where it listens. Must
never print the token. Tests: tests/integration/brokers/test_broker_process.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import FrameType

from caopan.adapters.embedded.services import services
from caopan.bootstrap.broker_process import BrokerProcessRequest, run_broker_process
from caopan.bootstrap.database import ready_database
from caopan.kernel.errors import CaopanError
from caopan.settings import load_settings

_LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 1 after an error told on standard error."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = load_settings()
        address = (_LOOPBACK, given.port) if given.socket is None else given.socket
        request = BrokerProcessRequest(
            run_id=given.run,
            address=address,
            token_file=given.token_file or settings.home / "broker.token",
            data=given.data,
            seed=given.seed,
            sessions=given.sessions,
            breadth=given.breadth,
            end=given.end,
            follow=given.follow,
        )
        with services(settings) as servers:
            for _step in ready_database(servers):
                pass
            asyncio.run(run_broker_process(servers.database_url, settings, request, _tell))
    except KeyboardInterrupt:
        return 0
    except CaopanError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="caopan-broker", description=__doc__)
    parser.add_argument("--run", type=int, required=True, help="the run whose venue it is")
    parser.add_argument("--socket", type=Path, help="Unix socket to listen on")
    parser.add_argument("--port", type=int, default=0, help="loopback port (0: any), if no socket")
    parser.add_argument("--token-file", type=Path, help="default: broker.token in the home folder")
    parser.add_argument("--data", type=Path, help="file or folder of bars; else synthetic")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sessions", type=int, default=330)
    parser.add_argument("--breadth", type=int, default=40)
    parser.add_argument("--end", type=date.fromisoformat, help="last day of the synthetic market")
    parser.add_argument("--follow", action="store_true", help="take the time from the requests")
    return parser


def _tell(address: Path | tuple[str, int]) -> None:
    where = {"socket": str(address)} if isinstance(address, Path) else {"port": address[1]}
    sys.stdout.write(json.dumps({"ready": where}) + "\n")
    sys.stdout.flush()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
