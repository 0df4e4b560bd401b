"""What a command sees of the world: language, settings, and where its words go.

Owns the two channels (results on stdout, everything else on stderr), the shape of an error on the
screen and the exit codes. Must never mix the channels: with --json stdout holds exactly one JSON
object. Tests: tests/unit/interfaces/test_cli_frame.py.

    0 done   1 failed   2 wrong usage or settings   3 not permitted   4 risk refused
    5 a service or file is out of reach   130 interrupted
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from caopan.kernel.errors import CaopanError, ConfigInvalid, Denied, Unavailable
from caopan.messages import catalogue, tr
from caopan.settings import Language, Settings, load_settings

if TYPE_CHECKING:  # rich is imported when something is shown, not when the program starts
    from rich.console import Console
    from rich.progress import Progress


class ExitCode(IntEnum):
    """What the shell learns."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_PERMITTED = 3
    RISK_REFUSED = 4
    OUT_OF_REACH = 5
    INTERRUPTED = 130


def visible(text: str) -> str:
    """Return `text` with what a terminal would obey (escapes, direction marks) spelled out.

    Names, messages and a model's words come from outside; shown as they are, they could clear the
    screen, forge a line or reverse a number.
    """
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def exit_code(error: CaopanError) -> ExitCode:
    """Return the exit code of `error`; a refusal by the database or a permission is not risk's."""
    if isinstance(error, Denied):
        permission = error.code.startswith(("PERMISSION", "DB_"))
        return ExitCode.NOT_PERMITTED if permission else ExitCode.RISK_REFUSED
    if isinstance(error, Unavailable):
        return ExitCode.OUT_OF_REACH
    return ExitCode.USAGE if isinstance(error, ConfigInvalid) else ExitCode.FAILED


@dataclass
class Cli:
    """One run of the command line. Commands get it by `Cli.of(ctx)`."""

    lang: Language
    json: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings chosen on the command line, by field name; they win over the environment."""
    answered: bool = False
    """Whether stdout already holds the result."""

    @staticmethod
    def of(ctx: Any) -> Cli:
        """Return the run that `ctx` (a typer context) belongs to."""
        found = ctx.find_object(Cli)
        if found is None:
            msg = "the command line was built without build_app"
            raise TypeError(msg)
        return found

    @cached_property
    def settings(self) -> Settings:
        """The validated settings. Raises ConfigInvalid on the first thing wrong."""
        return load_settings({**self.overrides, "lang": self.lang})

    @cached_property
    def out(self) -> Console:
        """Console for results (stdout); only for `result`'s renderer."""
        from rich.console import Console

        return Console(highlight=False)

    @cached_property
    def err(self) -> Console:
        """Console for everything that is not the result (stderr)."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    def tr(self, key: str, **values: object) -> str:
        """Return the text of `key` in this run's language; `values` are made `visible`."""
        shown = {
            name: visible(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        return tr(key, self.lang, **shown)

    def note(self, key: str, **values: object) -> None:
        """Tell the person at the terminal something that is not the result."""
        self.err.print(self.tr(key, **values), markup=False, soft_wrap=True)

    def result(self, payload: Mapping[str, Any], show: Callable[[Console], None]) -> None:
        """Give the one result: `payload` as one JSON object, or `show(console)` for a person."""
        if self.json:
            self._write_json(payload)
        else:
            show(self.out)

    def progress(self) -> Progress:
        """Return a progress display on stderr; on a terminal only, silent elsewhere."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        named = TextColumn("{task.description}", markup=False)
        columns = (named, BarColumn(), MofNCompleteColumn(), Remaining())
        hidden = not self.err.is_terminal
        return Progress(*columns, console=self.err, transient=True, disable=hidden)

    def confirm(self, key: str, expected: str, **values: object) -> bool:
        """Ask the person to type `expected`; without a terminal the answer is no."""
        self.note(key, expected=expected, **values)
        told = ""
        if sys.stdin.isatty():
            self.err.print("> ", end="")
            told = sys.stdin.readline().strip()
        else:
            self.note("cli.confirm.no_terminal")
        if told != expected and self.json:
            message = f"{expected!r} was not typed: nothing was done"
            fields = {"code": "NOT_CONFIRMED", "message": message, "remedy": "pass --yes"}
            self._write_json({"error": fields})
        return told == expected

    def error(self, error: CaopanError) -> None:
        """Show `error` as one block on stderr and, with --json, as the one object on stdout."""
        texts = catalogue(self.lang)
        title = texts.get(f"error.{error.code}", texts["error.title"])
        remedy = texts.get(f"error.{error.code}.remedy") or error.remedy
        lines = [f"{title} [{error.code}]"]
        lines += [f"  {visible(line)}" for line in error.message.splitlines()]
        if remedy:
            lines.append(f"  {texts['error.remedy']}{visible(remedy)}")
        self.err.print("\n".join(lines), markup=False, soft_wrap=True)
        if self.json and not self.answered:
            fields = {"code": error.code, "message": error.message, "remedy": error.remedy}
            self._write_json({"error": fields})

    def _write_json(self, payload: Mapping[str, Any]) -> None:
        self.answered = True
        sys.stdout.write(json.dumps(payload, ensure_ascii=False, indent=2, default=str) + "\n")
        sys.stdout.flush()
