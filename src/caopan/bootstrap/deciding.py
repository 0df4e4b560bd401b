"""One decision on a file's observation, without acting.

Owns `decide_on_file` and `rehearsed`, which a desk's glimpse shares. Must never need a database or
a data library. Tests: tests/integration/cli/test_decide.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from caopan.adapters.clock.system import monotonic_ms
from caopan.application.decision_cycle.actor import REPAIR_ATTEMPTS
from caopan.application.decision_cycle.deciding import Actor
from caopan.application.decision_cycle.observe import Observation
from caopan.application.observation_file import read_shown
from caopan.application.rehearsing import rehearse
from caopan.bootstrap.json_files import read_json
from caopan.bootstrap.models import MODEL_DEADLINE_MS, Deciders, choose_deciders
from caopan.settings import Settings

NO_POLICY = "none"
"""The policy's version where nothing is judged by one."""


async def decide_on_file(
    settings: Settings, model: str | None, observation: Path, repeat: int
) -> dict[str, Any]:
    """Return what `model` decides on the observation of a file, asked `repeat` times.

    Raises:
        ConfigInvalid: GATE_FILE_UNREADABLE or GATE_FILE_INVALID, and as `choose_deciders`.
        Unavailable: as `choose_deciders`.
    """
    seen, made = read_shown(read_json(observation))
    deciders = choose_deciders(model, settings, NO_POLICY)
    return await rehearsed(deciders, seen, made, repeat=repeat)


async def rehearsed(
    deciders: Deciders,
    observation: Observation,
    made: datetime,
    *,
    repeat: int,
    policy_version: str = NO_POLICY,
    repair_attempts: int = REPAIR_ATTEMPTS,
) -> dict[str, Any]:
    """Return what the deciders make of an observation, with nothing recorded or sent."""
    actor = Actor(
        model=deciders.model,
        deadline_ms=MODEL_DEADLINE_MS,
        config_version=policy_version,
        prompting=deciders.prompting,
        repair_attempts=repair_attempts,
        samples=deciders.samples,
    )
    return await rehearse(
        actor, deciders.checker, observation, made, repeat=repeat, monotonic_ms=monotonic_ms
    )
