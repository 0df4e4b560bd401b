"""What an account trades by, when it changed: in the ledger before anything is done by it.

Owns `note_policy`. Must never choose a policy. Tests:
tests/unit/application/test_config_changes.py.
"""

from __future__ import annotations

import json
from typing import Any, Final

from caopan.application.ports.store import UnitOfWork
from caopan.application.seat import Seat
from caopan.domain.ledger.chain import Draft, Stage

KIND: Final = "risk"


async def note_policy(seat: Seat) -> bool:
    """Record the desk's policy, whole, unless it is the one the account last traded by.

    Returns whether it was recorded. A run that has no entry yet begins with its configuration,
    which holds the policy.
    """
    desk = seat.desk
    async with seat.begin() as uow:
        known, before = await _last_version(uow)
        if not known or before == desk.policy.version:
            return False
        payload = {
            "body": desk.policy.as_json(),
            "kind": KIND,
            "old_version": before,
            "version": desk.policy.version,
        }
        await uow.ledger.append([Draft(Stage.CONFIG_CHANGE, desk.clock.now(), payload)])
        await uow.commit()
    return True


async def _last_version(uow: UnitOfWork) -> tuple[bool, str | None]:
    """Return whether the chain has begun, and the policy in force at its end, where it tells."""
    has_begun, version = False, None
    async for _, payload in uow.ledger.entries(stage=Stage.CONFIG_CHANGE):
        has_begun = True
        told: dict[str, Any] = json.loads(payload) if payload else {}
        if told.get("kind") == KIND and "version" in told:
            version = told["version"]
        elif "config" in told:
            version = told["config"].get("policy_version")
    return has_begun, version
