"""A model checker's opinion of a proposal: its JSON Schema and its parser.

Owns OpinionReply and `read_opinion`. What cannot be read is no opinion, and no opinion is a
refusal: nothing is repaired beyond taking one JSON object out of what surrounds it. Tests:
tests/unit/application/contracts/test_opinion.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caopan.domain.decision.shapes import Reason

MOST_CHARACTERS: Final = 40_000
_LONGEST_DETAIL: Final = 300


class OpinionReason(BaseModel):
    """One thing that is wrong with the proposal."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    code: Literal[
        "CHECKER_CONFLICT", "CHECKER_RANGE", "CHECKER_UNKNOWN_REF", "CHECKER_HALLUCINATION"
    ]
    action_index: Annotated[int, Field(ge=0, le=50)] | None = None
    detail: Annotated[str, Field(min_length=1, max_length=_LONGEST_DETAIL)]


class OpinionReply(BaseModel):
    """The whole answer: nothing wrong is `pass` with no reasons."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    verdict: Literal["pass", "refuse"]
    reasons: Annotated[list[OpinionReason], Field(max_length=20)]


OPINION_SCHEMA: dict[str, Any] = OpinionReply.model_json_schema()


def read_opinion(text: str) -> tuple[Reason, ...]:
    """Return the reasons a model checker gives against a proposal; none is a pass.

    An answer that cannot be read, refuses without a reason or passes with one is a reason itself.
    """
    if len(text) > MOST_CHARACTERS:
        return (_unreadable(f"it has {len(text)} characters, more than {MOST_CHARACTERS}"),)
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1], object_pairs_hook=_once)
        reply = OpinionReply.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        return (_unreadable(f"{where}: {first['msg']}"),)
    except (ValueError, RecursionError):
        return (_unreadable("it is not one JSON object"),)
    if reply.verdict == "refuse" and not reply.reasons:
        detail = "the model checker refused without saying why"
        return (Reason("CHECKER_CONFLICT", None, detail),)
    return tuple(Reason(one.code, one.action_index, one.detail) for one in reply.reasons)


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _unreadable(what: str) -> Reason:
    return Reason("CHECKER_SCHEMA_FAIL", None, f"the model checker's answer is unreadable: {what}")
