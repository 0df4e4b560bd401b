"""Endpoints of kind `replay`: the very bytes a model answered once, found by the prompt's hash.

Owns which recording answers a request. Must never invent: a prompt nobody recorded is refused with
its hash. A recording in the other form (whole or stream) is put into the one asked for, its words
unchanged. Tests: tests/unit/adapters/llm/test_replay_endpoint.py,
tests/contract/gateway/test_upstream.py.
"""

from __future__ import annotations

from typing import Final

import orjson

from caopan.adapters.llm.in_process import (
    InProcessUpstream,
    Prepared,
    answer,
    body_of,
    not_asked,
    recorded_answer,
)
from caopan.application.gateway.calls import prompt_hash
from caopan.application.gateway.streaming import assembled
from caopan.application.ports.gateway import UpstreamFailed, UpstreamRequest
from caopan.application.ports.recorded_answers import RecordedAnswers, Recording
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import Unavailable

ANY_MODEL: Final = "*"
"""As an endpoint's model: whichever model answered first."""


class ReplayEndpoint(InProcessUpstream):
    """Answers from recorded calls."""

    def __init__(self, answers: RecordedAnswers, profile: Profile) -> None:
        """Look into `answers`; `profile` names the fields that hold thinking."""
        self._answers = answers
        self._profile = profile

    async def prepare(self, request: UpstreamRequest) -> Prepared:
        """Return the recorded answer to a request.

        Raises UpstreamFailed CONNECT where the recordings are out of reach; ConfigInvalid
        RECORDING_UNREADABLE.
        """
        body = body_of(request)
        digest = prompt_hash(body)
        model = request.endpoint.model
        try:
            found = await self._answers.recorded(digest, None if model == ANY_MODEL else model)
        except Unavailable as outage:
            why = f"the recordings are out of reach: {outage.code}"
            raise UpstreamFailed(FailureClass.CONNECT, why) from outage
        if found is None:
            return not_asked(
                f"no answer of {model} is recorded to the prompt {digest}",
                "prompt_not_recorded",
                404,
            )
        wants_stream = body.get("stream") is True
        if found.stream is wants_stream:
            return recorded_answer(found.response, stream=wants_stream)
        return self._reformed(body, found)

    def _reformed(self, body: dict[str, object], found: Recording) -> Prepared:
        if found.stream:
            return answer(body, assembled(found.response, self._profile).completion())
        try:
            return answer(body, orjson.loads(found.response))
        except (orjson.JSONDecodeError, AttributeError):
            return not_asked("the recorded answer is no JSON object", "recording_unreadable", 500)
