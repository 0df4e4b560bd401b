"""The first act of a halt: the file, written before anything heavy is imported.

Owns Operation (what an operator asks for) and the file's writing. Must never import a database or
data library: the time until the file lies there is the time until trading stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.kill_switch.flag_file import Flag, flag_path, write_flag
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.errors import CaopanError
from caopan.settings import Settings


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator asks for."""

    reason: str
    by: str
    run_id: int | None = None
    """The account's run; None means all accounts."""
    level: KillLevel = KillLevel.OFF

    @property
    def scope(self) -> str:
        """Return whom it concerns, as the ledger says it."""
        return "all" if self.run_id is None else f"run {self.run_id}"


@dataclass(frozen=True, slots=True)
class HaltFile:
    """How the writing of the file came out."""

    path: Path
    at: datetime
    level: KillLevel
    """In force in the file; may be higher than asked for."""
    problem: CaopanError | None


def write_halt_file(settings: Settings, asked: Operation) -> HaltFile:
    """Write the flag of `asked`, or say why it could not be."""
    at = SystemClock().now()
    path = flag_path(settings.home, asked.run_id)
    try:
        flag = write_flag(path, Flag(asked.level, asked.reason, asked.by, at))
    except CaopanError as error:
        return HaltFile(path, at, asked.level, error)
    return HaltFile(path, at, flag.level, None)
