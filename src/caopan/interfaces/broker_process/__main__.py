"""`python -m caopan.interfaces.broker_process`: the sandbox broker in a process of its own.

Owns the arguments, and the one line of JSON on standard output that tells where it listens. Must
never print the token. Tests: tests/integration/brokers/test_broker_process.py,
tests/unit/interfaces/test_broker_process_help.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from caopan.adapters.embedded.services import services
from caopan.bootstrap.broker_process import BrokerProcessRequest, run_broker_process
from caopan.bootstrap.database import ready_database
from caopan.kernel.errors import CaopanError, ConfigInvalid
from caopan.messages import LANGUAGES, catalogue, tr
from caopan.settings import Language, environment_language, load_settings

_LOOPBACK: Final = "127.0.0.1"
_CALLED: Final = "python -m caopan.interfaces.broker_process"
_FAILED, _USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 1 or 2 after an error told on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    lang = _language(words)
    try:
        given = _parser(lang).parse_args(words)
        signal.signal(signal.SIGTERM, _stop)
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
        title = catalogue(lang).get(f"error.{error.code}", catalogue(lang)["error.title"])
        sys.stderr.write(f"{title}\n{error}\n")
        return _USAGE if error.code == "USAGE" else _FAILED
    return 0


class _Parser(argparse.ArgumentParser):
    """Speaks the catalogue's languages, and refuses by an error of ours."""

    lang: Language = "en"

    def error(self, message: str) -> NoReturn:
        raise ConfigInvalid("USAGE", message, remedy=f"{_CALLED} --help")

    def format_help(self) -> str:
        # The library's own word, which it offers no other way to change.
        return super().format_help().replace("usage: ", tr("broker_process.usage", self.lang), 1)


def _language(words: Sequence[str]) -> Language:
    """Return the language to speak: texts depend on it before anything is parsed."""
    asked = [word.removeprefix("--lang=") for word in words if word.startswith("--lang=")]
    asked += [word for name, word in pairwise(words) if name == "--lang"]
    return "zh" if "zh" in asked else "en" if "en" in asked else environment_language()


def _parser(lang: Language) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_CALLED,
        description=tr("broker_process.help", lang),
        epilog=tr("broker_process.examples", lang),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.lang = lang
    options = parser.add_argument_group(tr("cli.panel.options", lang))

    def text(name: str) -> str:
        return tr(f"broker_process.{name}", lang)

    options.add_argument("-h", "--help", action="help", help=tr("cli.option.help", lang))
    options.add_argument("--lang", choices=LANGUAGES, help=tr("cli.option.lang", lang))
    options.add_argument("--run", type=int, required=True, metavar="N", help=text("run"))
    options.add_argument("--socket", type=Path, metavar="PATH", help=text("socket"))
    options.add_argument("--port", type=int, default=0, metavar="N", help=text("port"))
    options.add_argument("--token-file", type=Path, metavar="PATH", help=text("token_file"))
    options.add_argument("--data", type=Path, metavar="PATH", help=text("data"))
    options.add_argument("--seed", type=int, default=7, metavar="N", help=text("seed"))
    options.add_argument("--sessions", type=int, default=330, metavar="N", help=text("sessions"))
    options.add_argument("--breadth", type=int, default=40, metavar="N", help=text("breadth"))
    options.add_argument("--end", type=date.fromisoformat, metavar="YYYY-MM-DD", help=text("end"))
    options.add_argument("--follow", action="store_true", help=text("follow"))
    return parser


def _tell(address: Path | tuple[str, int]) -> None:
    where = {"socket": str(address)} if isinstance(address, Path) else {"port": address[1]}
    sys.stdout.write(json.dumps({"ready": where}) + "\n")
    sys.stdout.flush()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
