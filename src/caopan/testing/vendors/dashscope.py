"""A vendor that behaves as Alibaba's Model Studio (DashScope) documents for its compatible mode.

Owns its quirks: schemas on some models only; JSON mode not while thinking, and refused unless the
prompt says "json"; no forced tool; usage in a stream only on request; two shapes of errors; 429 in
several words, of which `insufficient_quota` means tokens a minute and not money.
Source: help.aliyun.com/model-studio (error-code, json-mode, deep-thinking, rate-limit), read
2026-11. Never used by production code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from caopan.testing.vendors import completions
from caopan.testing.vendors.completions import Body, error
from caopan.testing.vendors.wire import Call, Vendor, Wire

MODELS = ("qwen3-max", "qwen-plus", "qwen-flash", "qwen3-coder-plus", "qwq-plus")
SCHEMAS = ("qwen3-max", "qwen-plus", "qwen-flash")
"""Models that take a JSON Schema."""
EMBEDDING = "text-embedding-v4"
MOST_INPUT = 30_000
"""Tokens of a prompt."""
THOUGHT = "I weigh both sides. "
_REQUEST = "5bf78562-0341-9de2-8d10-000000000000"
_BAD = "invalid_request_error"


class Throttle(Enum):
    """The words in which it says 429."""

    REQUESTS = "limit_requests"
    TOKENS = "insufficient_quota"
    BURST = "limit_burst_rate"
    NATIVE = "Throttling.RateQuota"


_SAID = {
    Throttle.REQUESTS: "You exceeded your current requests list.",
    Throttle.TOKENS: (
        "You exceeded your current quota, please check your plan and billing details."
    ),
    Throttle.BURST: "Request rate increased too quickly.",
    Throttle.NATIVE: "Requests rate limit exceeded, please try again later.",
}


def say(body: Body) -> str:
    """Return what the model says: JSON if it was asked for, else a word."""
    return "Fine so far." if _format(body) == "text" else '{"answer": "fine"}'


@dataclass
class DashScope(Vendor):
    """The compatible mode of Model Studio."""

    key: str = "sk-dashscope-test"
    say: Callable[[Body], str] = say
    throttle: Throttle | None = None
    """Refuse every request with this 429."""
    good_standing: bool = True
    harmless: bool = True
    """Whether the inspection of contents passes."""
    cached: int = 0

    @property
    def base(self) -> str:
        """Path of the base URL."""
        return "/compatible-mode/v1"

    async def answer(self, call: Call, wire: Wire) -> None:
        """Answer as Model Studio would."""
        body = call.json
        refused = self._refusal(call, body)
        if refused is not None:
            await wire.whole(refused[0], refused[1])
        elif call.path.endswith("/embeddings"):
            await wire.whole(200, completions.embeddings(body))
        elif call.path.endswith("/models"):
            await wire.whole(200, completions.models((*MODELS, EMBEDDING), "system"))
        elif body.get("stream"):
            await self._stream(body, wire)
        else:
            text = self.say(body)
            message: dict[str, Any] = {"content": text}
            if _thinks(body):
                message["reasoning_content"] = THOUGHT
            await wire.whole(200, completions.whole(body, message, self._usage(body, text)))

    def _refusal(self, call: Call, body: Body) -> tuple[int, Body] | None:
        if call.headers.get("authorization") != f"Bearer {self.key}":
            said = "Incorrect API key provided. "
            return 401, error(said, _BAD, "invalid_api_key", request_id=_REQUEST)
        if call.path.endswith("/models"):
            return None
        if not self.good_standing:
            said = "Access denied, please make sure your account is in good standing."
            return 400, error(said, "Arrearage", "Arrearage", request_id=_REQUEST)
        if self.throttle is not None:
            return 429, _throttled(self.throttle)
        if not self.harmless:
            word = "data_inspection_failed"
            said = "Input data may contain inappropriate content."
            return 400, error(said, word, word, request_id=_REQUEST)
        return _unknown(call, body) or _invalid(call, body)

    async def _stream(self, body: Body, wire: Wire) -> None:
        await wire.stream()
        text = self.say(body)
        await wire.event(
            completions.delta(
                body, {"role": "assistant", "content": "", "reasoning_content": None}, usage=None
            )
        )
        if _thinks(body):
            for event in completions.deltas(body, THOUGHT, "reasoning_content", content=None):
                await wire.event({**event, "usage": None})
        for event in completions.deltas(body, text, reasoning_content=None):
            await wire.event({**event, "usage": None})
        await wire.event(completions.delta(body, {"content": ""}, "stop", usage=None))
        if completions.wants_usage(body):
            await wire.event(completions.usage_event(body, self._usage(body, text)))
        await wire.event("[DONE]")
        await wire.end()

    def _usage(self, body: Body, text: str) -> dict[str, Any]:
        prompt = completions.count(completions.prompt_of(body))
        thought = completions.count(THOUGHT) if _thinks(body) else 0
        told = completions.count(text) + thought
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": told,
            "total_tokens": prompt + told,
            "prompt_tokens_details": {"cached_tokens": min(self.cached, prompt)},
        }
        if thought:
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        return usage


def _thinks(body: Body) -> bool:
    return body.get("enable_thinking") is True


def _format(body: Body) -> str:
    return body.get("response_format", {}).get("type", "text")


def _throttled(throttle: Throttle) -> Body:
    word, said = throttle.value, _SAID[throttle]
    if throttle is Throttle.NATIVE:
        # What the edge refuses has the shape of the native API.
        return {"code": word, "message": said, "request_id": _REQUEST}
    return error(said, word, word, request_id=_REQUEST)


def _unknown(call: Call, body: Body) -> tuple[int, Body] | None:
    known = (EMBEDDING,) if call.path.endswith("/embeddings") else MODELS
    if body.get("model") in known:
        return None
    said = f"The model `{body.get('model')}` does not exist or you do not have access to it."
    return 404, error(said, _BAD, "model_not_found", request_id=_REQUEST)


def _invalid(call: Call, body: Body) -> tuple[int, Body] | None:
    why = None if call.path.endswith("/embeddings") else _objection(body)
    if why is None:
        return None
    said = f"<400> InternalError.Algo.InvalidParameter: {why}"
    return 400, error(said, _BAD, "invalid_parameter_error", request_id=_REQUEST)


def _objection(body: Body) -> str | None:
    """Return why a request is refused with 400."""
    prompt = completions.prompt_of(body)
    wanted = _format(body)
    objections = {
        f"Range of input length should be [1, {MOST_INPUT}]": completions.count(prompt)
        > MOST_INPUT,
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
        "'json_object'.": wanted == "json_object" and "json" not in prompt.lower(),
        "Json mode response is not supported when enable_thinking is true": _thinks(body)
        and wanted != "text",
        "This model does not support response_format of type json_schema": wanted == "json_schema"
        and body["model"] not in SCHEMAS,
        "The tool_choice parameter does not support being set to required or object in thinking "
        "mode": body.get("tool_choice", "auto") not in {"auto", "none"},
    }
    return next((why for why, applies in objections.items() if applies), None)
