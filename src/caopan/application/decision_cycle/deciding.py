"""From an observation to a decision that was read: the briefing, the model, the vote.

Owns Actor (who decides, and how it is asked) and `decide`. What goes wrong on the way is a recorded
no_op with its code. Must never judge a decision. Tests:
tests/unit/application/decision_cycle/test_deciding.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from caopan.application.contracts.decision import REPLY_SCHEMA
from caopan.application.decision_cycle.actor import PARSED, Answer, ask, read
from caopan.application.decision_cycle.asking import Question
from caopan.application.decision_cycle.briefing import Prompting, brief
from caopan.application.decision_cycle.observe import Observation
from caopan.application.decision_cycle.outside_text import fence
from caopan.application.ports.model import Model
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Decision
from caopan.domain.decision.voting import vote
from caopan.kernel.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides, and how it is asked."""

    model: Model
    deadline_ms: int
    config_version: str
    prompting: Prompting | None = None
    """What a language model is shown; a built-in trader reads the observation itself."""
    repair_attempts: int = 0
    samples: int = 1
    """More than one: a vote among so many answers of a language model."""


async def decide(
    actor: Actor,
    cycle: Cycle,
    observation: Observation,
    *,
    now: datetime,
    valid_until: datetime,
    monotonic_ms: Callable[[], float],
) -> Answer:
    """Return what the actor decides on `observation`, or why it decides nothing."""
    plain = Question(
        role="actor",
        model=actor.model,
        cycle=cycle,
        observation=observation,
        prompt=None,
        reply_schema=REPLY_SCHEMA,
        deadline_ms=actor.deadline_ms,
        config_version=actor.config_version,
        now=now,
    )
    if not actor.model.is_language_model or actor.prompting is None:
        return await ask(
            plain,
            valid_until=valid_until,
            monotonic_ms=monotonic_ms,
            repair_attempts=actor.repair_attempts,
        )
    try:
        briefed = brief(
            observation.values,
            actor.prompting,
            content_hash=observation.content_hash,
            fence=fence(cycle.trace_id),
        )
    except ConfigInvalid as fault:
        evidence = {**plain.known(1), "detail": fault.message, "outcome": fault.code}
        return Answer(None, evidence, (), fault.code)
    question = replace(plain, prompt=briefed.prompt)
    answers = await _asked(actor, question, valid_until, monotonic_ms)
    answer = answers[0] if actor.samples == 1 else _voted(question, answers)
    shown: dict[str, Any] = {"prompt_tokens": briefed.prompt.tokens}
    if briefed.left_out:
        shown["left_out"] = briefed.left_out
    return Answer(answer.decision, {**answer.evidence, **shown}, answer.calls, answer.code)


async def _asked(
    actor: Actor, question: Question, valid_until: datetime, monotonic_ms: Callable[[], float]
) -> list[Answer]:
    """Return an answer a sample; the samples are asked at the same time."""
    most = 1 + actor.repair_attempts
    try:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(
                    ask(
                        question,
                        valid_until=valid_until,
                        monotonic_ms=monotonic_ms,
                        repair_attempts=actor.repair_attempts,
                        first=1 + number * most,
                    )
                )
                for number in range(actor.samples)
            ]
    except ExceptionGroup as faults:
        # Whoever asks knows the fault of one question, not that there were several.
        raise faults.exceptions[0] from faults
    return [task.result() for task in asked]


def read_again(
    evidence: Mapping[str, Any], cycle: Cycle, made_at: datetime, valid_until: datetime
) -> Decision | None:
    """Return the decision that an actor's evidence holds; it reads the same every time."""
    samples: Sequence[Mapping[str, Any]] = evidence.get("samples", (evidence,))
    found: list[Decision] = []
    for sample in samples:
        if sample.get("outcome") == PARSED:
            decision, _, _, _ = read(sample["reply"], cycle.decision_id, made_at, valid_until)
            if decision is not None:
                found.append(decision)
    if not found:
        return None
    return found[0] if "samples" not in evidence else vote(found, len(samples)).decision


def _voted(question: Question, answers: Sequence[Answer]) -> Answer:
    """Return what most samples agree on; those without a readable answer count against."""
    decisions = [one.decision for one in answers if one.decision is not None]
    calls = tuple(call for one in answers for call in one.calls)
    evidence: dict[str, Any] = {
        **question.known(1),
        "samples": [one.evidence for one in answers],
    }
    if not decisions:
        code = answers[0].code
        return Answer(None, {**evidence, "outcome": code}, calls, code)
    found = vote(decisions, len(answers))
    evidence["outcome"] = PARSED
    evidence["vote"] = {"agreement": dict(found.agreement), "samples": found.samples}
    return Answer(found.decision, evidence, calls, None)
