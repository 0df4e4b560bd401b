"""Entry point of the `caopan` command: language, errors, exit codes.

Owns the last handler of every error. Must never show a traceback unasked (CAOPAN_DEBUG=1 asks).
Tests: tests/unit/interfaces/test_cli_frame.py.
"""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.main import get_command

from caopan import __version__
from caopan.interfaces.cli.app import build_app
from caopan.interfaces.cli.output import Cli, ExitCode, exit_code
from caopan.kernel.errors import CaopanError, ConfigInvalid
from caopan.messages import LANGUAGES
from caopan.settings import environment_debug, environment_language


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing escapes but a request to stop."""
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets a substitute, never a crash.
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    cli = Cli(environment_language(), json="--json" in words)
    try:
        words, cli = _read_ahead(words)
        command = get_command(build_app(cli.lang, cli=cli))
        return int(command.main(args=words, prog_name="caopan", standalone_mode=False) or 0)
    except CaopanError as error:
        if environment_debug():
            traceback.print_exc()
        cli.error(error)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; there is nobody left to tell.
        sys.stdout = io.StringIO()
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the last handler: a person gets a sentence, not a trace
        return _unexpected(cli, error)


def _read_ahead(words: list[str]) -> tuple[list[str], Cli]:
    """Take `--lang` out of `words` and see `--json`, wherever they stand.

    Texts depend on the one, the shape of errors on the other, both before anything is parsed.
    """
    own = words[: words.index("--")] if "--" in words else words
    cli = Cli(environment_language(), json="--json" in own)
    kept: list[str] = []
    chosen: str | None = None
    rest = iter(own)
    for word in rest:
        if word == "--lang":
            chosen = next(rest, "")
        elif word.startswith("--lang="):
            chosen = word.partition("=")[2]
        else:
            kept.append(word)
    if chosen is not None:
        if chosen not in LANGUAGES:
            message = f"--lang {chosen!r} is not a language of Caopan"
            raise ConfigInvalid("SETTING_INVALID", message, remedy="Use --lang zh or --lang en.")
        cli.lang = chosen
    return (kept or ["--help"]) + words[len(own) :], cli


def _unexpected(cli: Cli, error: Exception) -> int:
    usage = _usage_error(error)
    if usage is not None:
        if not usage[0]:
            # A group without a command: its help is already on the screen.
            return ExitCode.USAGE
        cli.error(ConfigInvalid("USAGE", usage[0], remedy=usage[1]))
        return ExitCode.USAGE
    if environment_debug():
        traceback.print_exc()
    place = _crash_report(cli, error)
    message = f"{type(error).__name__}: {error}"
    where = cli.tr("error.INTERNAL.report", place=place) if place else cli.tr("error.debug")
    cli.error(CaopanError("INTERNAL", message, remedy=where))
    return ExitCode.FAILED


def _usage_error(error: Exception) -> tuple[str, str] | None:
    """Return what is wrong with the command line and where help is; None for other errors.

    Typer keeps the class of these errors private, so they are known by what they offer.
    """
    told: Any = error
    if not (hasattr(told, "format_message") and hasattr(told, "exit_code")):
        return None
    context = getattr(told, "ctx", None)
    path = context.command_path if context is not None else "caopan"
    return told.format_message(), f"{path} --help"


def _crash_report(cli: Cli, error: Exception) -> Path | None:
    try:
        folder = cli.settings.logs
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(tz=UTC)  # noqa: TID251 - names a crash report; no decision reads it
        place = folder / f"crash-{now:%Y%m%dT%H%M%S%f}.txt"
        report = "".join(traceback.format_exception(error))
        version = f"caopan {__version__}, Python {sys.version}, {sys.platform}\n"
        place.write_text(version + report, encoding="utf-8")
        for old in sorted(folder.glob("crash-*.txt"))[:-20]:
            old.unlink(missing_ok=True)
    except (CaopanError, OSError):
        return None
    return place


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
