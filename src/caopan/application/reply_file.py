"""A model's reply on a file's observation: what is read of it, and what the checker says.

Owns `judge_reply`. Pure: no model, network or database. Must never run the gate. Tests:
tests/integration/cli/test_actor_parse.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from caopan.application.contracts.decision import MODEL_PARSE_FAIL, read_reply
from caopan.application.contracts.decision_json import decision_json
from caopan.application.decision_cycle.checker import check
from caopan.application.file_fields import Node
from caopan.application.observation_file import read_observation
from caopan.domain.decision.shapes import CheckerResult
from caopan.kernel.clock import iso

_VALID_FOR: Final = timedelta(minutes=10)
_NIL: Final = UUID(int=0)
_CONFLICT: Final = "CHECKER_CONFLICT"


def judge_reply(root: Node, text: str, at: datetime | None = None) -> dict[str, Any]:
    """Return decision, fixes, findings and checker verdict of `text`, read at `at`.

    Raises:
        ConfigInvalid: GATE_FILE_INVALID if the observation is wrong. A reply is never an error.
    """
    observation, made = read_observation(root)
    now = at or made
    reading = read_reply(text, decision_id=_NIL, made_at=now, valid_until=now + _VALID_FOR)
    if reading.decision is None:
        return {
            "pass": False,
            "outcome": MODEL_PARSE_FAIL,
            "decision": None,
            "fixes": [],
            "errors": list(reading.errors),
            "findings": [],
            "checker": None,
        }
    result = check(reading.decision, observation, made, now)
    return {
        "pass": result.passed,
        "outcome": "parsed",
        "decision": decision_json(reading.decision),
        "fixes": list(reading.fixes),
        "errors": [],
        "findings": [finding.as_json() for finding in result.findings],
        "checker": checker_json(result),
    }


def checker_json(result: CheckerResult) -> dict[str, Any]:
    """Return a verdict as contracts.md's CheckerResult."""
    reasons = [reason.as_json() for reason in result.reasons]
    return {
        "pass": result.passed,
        "reasons": reasons,
        "conflicts": [reason for reason in reasons if reason["code"] == _CONFLICT],
        "observation_expired": result.observation_expired,
        "checked_at": iso(result.checked_at),
        "checker": result.checker,
    }
