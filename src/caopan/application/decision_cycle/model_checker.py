"""A second model's opinion of a proposal: it may add reasons, and never takes one away.

Owns ModelChecker and `second_opinion`. A checker that is late, down, too expensive or unreadable
has not passed the proposal. Must never see the proposal's maker as anything but a text, nor be
asked where rules have already refused. Tests:
tests/unit/application/decision_cycle/test_model_checker.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from caopan.application.contracts.decision_json import decision_json
from caopan.application.contracts.opinion import MOST_CHARACTERS, OPINION_SCHEMA, read_opinion
from caopan.application.decision_cycle.asking import Question, answered, put, unanswered
from caopan.application.decision_cycle.briefing import Prompting, brief
from caopan.application.decision_cycle.observe import Observation
from caopan.application.decision_cycle.outside_text import cleaned, fence
from caopan.application.ports.model import Model
from caopan.application.ports.store import ModelCall
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CheckerResult, Decision, Reason
from caopan.kernel.errors import ConfigInvalid

TIMEOUT: Final = "CHECKER_TIMEOUT"


@dataclass(frozen=True, slots=True)
class ModelChecker:
    """Who is asked, and how."""

    model: Model
    """By preference of another family than the actor's: it then errs differently."""
    prompting: Prompting
    deadline_ms: int
    config_version: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the model checker said, and the record of having asked it."""

    reasons: tuple[Reason, ...]
    evidence: Mapping[str, Any]
    """For the checker's entry in the ledger."""
    calls: tuple[ModelCall, ...]


async def second_opinion(
    checker: ModelChecker,
    cycle: Cycle,
    observation: Observation,
    decision: Decision,
    *,
    now: datetime,
    monotonic_ms: Callable[[], float],
) -> Opinion:
    """Return the model checker's reasons against `decision`; none is a pass."""
    question = Question(
        role="checker",
        model=checker.model,
        cycle=cycle,
        observation=observation,
        prompt=None,
        reply_schema=OPINION_SCHEMA,
        deadline_ms=checker.deadline_ms,
        config_version=checker.config_version,
        now=now,
    )
    try:
        briefed = brief(
            _concerned(observation.values, decision),
            checker.prompting,
            content_hash=observation.content_hash,
            # Not the actor's mark: the proposal was written by one who had seen that.
            fence=fence(cycle.trace_id, "checker"),
            proposal=_as_text(decision),
        )
    except ConfigInvalid as fault:
        reason = Reason("CHECKER_SCHEMA_FAIL", None, f"the proposal cannot be shown: {fault}")
        return Opinion((reason,), {**question.known(1), "outcome": fault.code}, ())
    question = replace(question, prompt=briefed.prompt)
    heard = await put(question, checker.deadline_ms, monotonic_ms)
    if heard.reply is None or heard.is_late:
        code = "MODEL_TIMEOUT" if heard.outage is None else heard.outage.code
        detail = "too late" if heard.outage is None else heard.outage.message
        reason = Reason(TIMEOUT, None, f"the model checker gave no answer: {code}: {detail}")
        call = unanswered(question, 1, code, heard.waited_ms)
        return Opinion((reason,), {**question.known(1), "outcome": code}, (call,))
    text = heard.reply.text
    reasons = read_opinion(text)
    unreadable = any(reason.code == "CHECKER_SCHEMA_FAIL" for reason in reasons)
    outcome = "invalid" if unreadable else "ok"
    kept = text[:MOST_CHARACTERS]
    call = answered(question, 1, heard.reply, response=kept, outcome=outcome, code=None)
    evidence = {
        **question.known(1),
        "model_served": heard.reply.model_served,
        "outcome": outcome,
        "reply": kept,
    }
    return Opinion(reasons, evidence, (call,))


def joined(result: CheckerResult, opinion: Opinion, checker: ModelChecker) -> CheckerResult:
    """Return the rule checker's result with the model's reasons behind its own."""
    reasons = (*result.reasons, *opinion.reasons)
    return replace(result, reasons=reasons, checker=f"rule+{checker.model.alias}")


def _concerned(observation: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """Return the observation with the securities of the proposal and the holdings alone."""
    named = {action.symbol for action in decision.actions}
    named |= {position["symbol"] for position in observation["positions"]}
    universe = [symbol for symbol in observation["universe"] if symbol in named]
    news = [item for item in observation["news"] if item.get("symbol") in named]
    return {**observation, "universe": universe, "news": news}


def _as_text(decision: Decision) -> str:
    """Return the proposal as lines of JSON; what a person does not see is taken out."""
    values = decision_json(decision)
    parts = [{"notes": values.get("notes", "")}, *values["actions"]]
    lines = (json.dumps(part, ensure_ascii=False, sort_keys=True, default=str) for part in parts)
    return "\n".join(cleaned(line, MOST_CHARACTERS) for line in lines)
