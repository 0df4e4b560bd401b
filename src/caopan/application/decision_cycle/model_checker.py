"""A second model's opinion of a proposal: it may add reasons, and never takes one away.

Owns ModelChecker, `second_opinion` and what it is shown. A checker that is late, down, too
expensive or unreadable has not passed the proposal. Must never see the proposal's maker as anything
but a text, nor be asked where rules have already refused. Tests:
tests/unit/application/decision_cycle/test_model_checker.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from caopan.application.contracts.decision_json import decision_json
from caopan.application.contracts.opinion import MOST_CHARACTERS, OPINION_SCHEMA, read_opinion
from caopan.application.decision_cycle.asking import (
    MODEL_TIMEOUT,
    Heard,
    Question,
    answered,
    put,
    unanswered,
)
from caopan.application.decision_cycle.briefing import Prompting, brief
from caopan.application.decision_cycle.observe import TTL_MS, Observation
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
        # Once the observation has expired no opinion helps the proposal.
        deadline_ms=min(checker.deadline_ms, _lives_ms(observation, cycle, now)),
        config_version=checker.config_version,
        now=now,
    )
    try:
        briefed = brief(
            concerned(observation.values, decision),
            checker.prompting,
            content_hash=observation.content_hash,
            # Not the actor's mark: the proposal was written by one who had seen that.
            fence=fence(cycle.trace_id, "checker"),
            proposal=proposal_text(decision),
        )
    except ConfigInvalid as fault:
        reason = Reason("CHECKER_SCHEMA_FAIL", None, f"the proposal cannot be shown: {fault}")
        return Opinion((reason,), {**question.known(1), "outcome": fault.code, "pass": False}, ())
    question = replace(question, prompt=briefed.prompt)
    heard = await put(question, question.deadline_ms, monotonic_ms)
    if heard.reply is None or heard.is_late:
        return _unheard(question, heard)
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
        "pass": not reasons,
        "prompt_tokens": briefed.prompt.tokens,
        "reply": kept,
    }
    if briefed.left_out:
        evidence["left_out"] = briefed.left_out
    return Opinion(reasons, evidence, (call,))


def _unheard(question: Question, heard: Heard) -> Opinion:
    """Return what is made of no answer, or of one that came too late: it is kept, and not read."""
    code, detail = MODEL_TIMEOUT, f"not within {question.deadline_ms} ms"
    if heard.outage is not None:
        code, detail = heard.outage.code, heard.outage.message
    reason = Reason(TIMEOUT, None, f"the model checker gave no answer: {code}: {detail}")
    evidence: dict[str, Any] = {**question.known(1), "outcome": code, "pass": False}
    if heard.reply is None:
        call = unanswered(question, 1, code, heard.waited_ms)
    else:
        kept = heard.reply.text[:MOST_CHARACTERS]
        evidence["reply"] = kept
        call = answered(question, 1, heard.reply, response=kept, outcome="failed", code=code)
    return Opinion((reason,), evidence, (call,))


def _lives_ms(observation: Observation, cycle: Cycle, now: datetime) -> int:
    """Return how many more milliseconds the observation may be acted on; one at least."""
    age = (now - cycle.opened_at) // timedelta(milliseconds=1)
    return max(1, int(observation.values.get("valid_ttl_ms", TTL_MS)) - age)


def joined(result: CheckerResult, opinion: Opinion, checker: ModelChecker) -> CheckerResult:
    """Return the rule checker's result with the model's reasons behind its own."""
    reasons = (*result.reasons, *opinion.reasons)
    return replace(result, reasons=reasons, checker=f"rule+{checker.model.alias}")


def concerned(observation: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """Return the observation with the securities of the proposal and the holdings alone.

    Of the news what is about them or about none, and what the proposal cites.
    """
    named = {action.symbol for action in decision.actions if action.symbol is not None}
    named |= {position["symbol"] for position in observation["positions"]}
    changed = {action.target_order_id for action in decision.actions}
    named |= {one["symbol"] for one in observation["open_orders"] if one["order_id"] in changed}
    cited = {ref for one in decision.actions if one.intent for ref in one.intent.evidence}
    universe = [symbol for symbol in observation["universe"] if symbol in named]
    news = [
        item
        for item in observation["news"]
        if item.get("symbol") is None or item["symbol"] in named or item.get("id") in cited
    ]
    return {**observation, "universe": universe, "news": news}


def proposal_text(decision: Decision) -> str:
    """Return the proposal as lines of JSON; what a person does not see is taken out."""
    values = decision_json(decision)
    parts = [{"notes": values.get("notes", "")}, *values["actions"]]
    lines = (json.dumps(part, ensure_ascii=False, sort_keys=True, default=str) for part in parts)
    return "\n".join(cleaned(line, MOST_CHARACTERS) for line in lines)
