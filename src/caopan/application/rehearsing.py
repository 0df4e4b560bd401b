"""A decision asked for without acting on it: once or several times on one observation.

Owns `rehearse`: what the chain would do up to the checkers, nothing of it recorded, judged by the
gate or sent. Tests: tests/unit/application/test_rehearsing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caopan.application.contracts.decision_json import decision_json
from caopan.application.decision_cycle.checker import check
from caopan.application.decision_cycle.deciding import Actor, decide
from caopan.application.decision_cycle.model_checker import ModelChecker, joined, second_opinion
from caopan.application.decision_cycle.observe import Observation
from caopan.application.gate_file import VALID_FOR
from caopan.application.ports.store import ModelCall
from caopan.application.reply_file import checker_json
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import ActionType, Decision
from caopan.domain.decision.voting import vote
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.ids import derived_uuid

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of one asking."""

    told: dict[str, Any]
    decision: Decision | None


async def rehearse(
    actor: Actor,
    second: ModelChecker | None,
    observation: Observation,
    made: datetime,
    *,
    repeat: int,
    monotonic_ms: Callable[[], float],
) -> dict[str, Any]:
    """Return what `actor` decides on an observation made at `made`, asked `repeat` times in turn.

    Everything is judged as of that moment: only the model's deadline passes in real time.
    """
    found = [
        await _once(actor, second, observation, made, number, monotonic_ms)
        for number in range(1, repeat + 1)
    ]
    result: dict[str, Any] = {
        "model": actor.model.alias,
        "is_language_model": actor.model.is_language_model,
        "observation": {
            "observation_id": str(observation.observation_id),
            "content_hash": observation.content_hash,
            "generated_at": iso(made),
        },
        "decisions": [one.told for one in found],
        "sent": False,
        "recorded": False,
    }
    if repeat > 1:
        decisions = [one.decision for one in found if one.decision is not None]
        result["agreement"] = agreement(decisions, repeat)
    return result


def agreement(decisions: Sequence[Decision], asked: int) -> dict[str, Any]:
    """Return how far the decisions agree; `asked` counts those that could not be read, too.

    Shares are of 1: of the answers that ask for an action, by what it asks for; of the answers that
    could be read; of the actions that every answer asks for.
    """
    told: dict[str, Any] = {
        "asked": asked,
        "valid": len(decisions),
        "valid_share": round(len(decisions) / asked, _DIGITS),
    }
    if not decisions:
        return told
    found = vote(decisions, asked)
    everyone = sum(count == asked for count in found.agreement.values())
    return {
        **told,
        "by_action": {k: round(count / asked, _DIGITS) for k, count in found.agreement.items()},
        "unanimous": found.is_unanimous,
        "unanimous_share": round(everyone / len(found.agreement), _DIGITS),
        "majority": decision_json(found.decision)["actions"],
    }


async def _once(
    actor: Actor,
    second: ModelChecker | None,
    observation: Observation,
    made: datetime,
    number: int,
    monotonic_ms: Callable[[], float],
) -> Rehearsed:
    named = observation.content_hash
    cycle = Cycle(
        # Of its own, so that a budget of one decision is not that of all.
        decision_id=derived_uuid(made, named, "rehearsal", number),
        # The same each time: what is asked is the same to the letter.
        trace_id=derived_uuid(made, named, "rehearsal"),
        account_id="",
        trading_day=shanghai(made).date(),
        slot=f"rehearsal {number}",
        opened_at=made,
    )
    began = monotonic_ms()
    answer = await decide(
        actor,
        cycle,
        observation,
        now=made,
        valid_until=made + VALID_FOR,
        monotonic_ms=monotonic_ms,
    )
    evidence = answer.evidence
    told: dict[str, Any] = {
        "number": number,
        "pass": False,
        "outcome": answer.code or "parsed",
        "prompt_version": evidence["prompt_version"],
        "prompt_hash": evidence["prompt_hash"],
        "decision": None,
        "fixes": sorted({fix for one in _samples(evidence) for fix in one.get("fixes", ())}),
        "errors": [one["detail"] for one in _samples(evidence) if "detail" in one],
        "findings": [],
        "checker": None,
        "latency_ms": int(monotonic_ms() - began),
        "calls": [_call(call) for call in answer.calls],
    }
    told |= {name: evidence[name] for name in ("prompt_tokens", "left_out") if name in evidence}
    if answer.decision is None:
        return Rehearsed(told, None)
    result = check(answer.decision, observation, made, made)
    idle = all(action.type is ActionType.NO_OP for action in answer.decision.actions)
    if second is not None and result.passed and not idle:
        opinion = await second_opinion(
            second, cycle, observation, answer.decision, now=made, monotonic_ms=monotonic_ms
        )
        result = joined(result, opinion, second)
        told["model_checker"] = {
            "model": second.model.alias,
            "pass": not opinion.reasons,
            "outcome": opinion.evidence["outcome"],
            "reasons": [reason.as_json() for reason in opinion.reasons],
            "calls": [_call(call) for call in opinion.calls],
        }
    told["decision"] = decision_json(answer.decision)
    told["checker"], told["pass"] = checker_json(result), result.passed
    told["findings"] = [finding.as_json() for finding in result.findings]
    return Rehearsed(told, answer.decision)


def _samples(evidence: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON values
    return evidence.get("samples", (evidence,))


def _call(call: ModelCall) -> dict[str, Any]:
    """Return what one call took; what nobody counted is absent."""
    values: dict[str, Any] = {
        "attempt": call.attempt,
        "endpoint": call.endpoint,
        "model_served": call.model_served,
        "outcome": call.outcome,
        "error_code": call.error_code,
        "latency_ms": call.latency_ms,
        "tokens_prompt": call.tokens_prompt,
        "tokens_completion": call.tokens_completion,
        "tokens_reasoning": call.tokens_reasoning,
        "tokens_cached": call.tokens_cached,
    }
    return {name: value for name, value in values.items() if value is not None}
