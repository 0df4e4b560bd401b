"""The gate on files, and the file that holds a desk's risk policy.

Owns `gate_check` (reads the files, loads the rules of this installation), `read_policy_file` and
`policy_in_force`. Must never write or use a network. Tests:
tests/unit/bootstrap/test_policy_in_force.py, tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.rules.book import load_rules
from caopan.application.gate_file import GateFiles, GateRules, check_files
from caopan.bootstrap.json_files import read_json
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.errors import ConfigInvalid

POLICY_FILE: Final = "risk.json"
"""In CAOPAN_HOME: the policy of every desk of this installation."""
NOTHING_BUT_EXITS: Final = RiskPolicy(orders_per_day=0, posture_mode=Posture.FLAT_ONLY)
"""Stands in where the policy's file is wrong and the desk must be sat down at all the same, to
cancel or to flatten: no order but one that leaves a position passes it."""


def gate_check(
    observation: Path, decision: Path, account: Path, policy: Path, at: datetime | None
) -> dict[str, Any]:
    """Return the RiskResult of four files.

    Raises:
        ConfigInvalid: GATE_FILE_UNREADABLE, or as `check_files`.
    """
    book = load_rules()
    files = GateFiles(*(read_json(path) for path in (observation, decision, account, policy)))
    rules = GateRules(book.market, book.fees, load_calendar())
    return check_files(files, rules, at)


def read_policy_file(path: Path | None) -> RiskPolicy:
    """Return the policy of a file, the built-in one without a file. Raises as `gate_check`."""
    if path is None:
        return RiskPolicy()
    try:
        return RiskPolicy.from_json(read_json(path).value)
    except ConfigInvalid as error:
        if path.name in error.message:
            raise
        raise ConfigInvalid(
            error.code, f"{path.name}: {error.message}", remedy=error.remedy
        ) from error


def policy_in_force(home: Path) -> tuple[RiskPolicy, Path | None]:
    """Return the desks' policy and the file it is from; None where it is the built-in one.

    Raises:
        ConfigInvalid: as `read_policy_file`. Nothing is taken of a file with one wrong field.
    """
    path = home / POLICY_FILE
    # A link that leads nowhere is a file that cannot be read, not one that is not there.
    if not path.is_symlink() and not path.exists():
        return RiskPolicy(), None
    return read_policy_file(path), path


def policy_at_any_rate(home: Path) -> RiskPolicy:
    """Return the desks' policy, and for a wrong file one that lets nothing but exits through."""
    try:
        return policy_in_force(home)[0]
    except ConfigInvalid:
        return NOTHING_BUT_EXITS
