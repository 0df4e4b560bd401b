"""A vendor that behaves as DeepSeek documents.

Owns its quirks: thinking unless it is told not to; JSON mode without schemas, refused unless the
prompt says "json", which may answer with nothing but blanks; blank lines and comments while a
request waits; its own names for cached tokens; 402 for an empty purse.
Source: api-docs.deepseek.com (chat completion, thinking_mode, json_mode, rate_limit, error_codes),
read 2026-11. Never used by production code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caopan.testing.vendors import completions
from caopan.testing.vendors.completions import Body, error
from caopan.testing.vendors.wire import Call, Vendor, Wire

MODELS = ("deepseek-v4-flash", "deepseek-v4-pro")
THOUGHT = "Let me think about it. "


def say(body: Body) -> str:
    """Return what the model says: JSON if it was asked for, else a word."""
    return '{"answer": "fine"}' if _format(body) == "json_object" else "All is well."


@dataclass
class DeepSeek(Vendor):
    """DeepSeek's chat endpoint."""

    key: str = "sk-deepseek-test"
    say: Callable[[Body], str] = say
    balance: bool = True
    concurrent: int = 500
    """Requests at a time; one more is refused with 429."""
    blanks: int = 0
    """How many of the next answers in JSON mode hold nothing but blanks."""
    waits_s: float = 0.0
    """How long a request waits for a place, during which the line is kept alive."""
    beat_s: float = 0.05
    cached: int = 0
    """Prompt tokens it had seen before."""

    @property
    def base(self) -> str:
        """Path of the base URL."""
        return "/v1"

    async def answer(self, call: Call, wire: Wire) -> None:
        """Answer as DeepSeek would."""
        body = call.json
        refused = self._refusal(call, body)
        if refused is not None:
            await wire.whole(refused[0], refused[1])
        elif call.path.endswith("/models"):
            await wire.whole(200, completions.models(MODELS, "deepseek"))
        elif body.get("stream"):
            await self._stream(body, wire)
        else:
            await self._whole(body, wire)

    def _refusal(self, call: Call, body: Body) -> tuple[int, Body] | None:
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        bad = "invalid_request_error"
        if given != self.key:
            shown = f"Authentication Fails, Your api key: ****{given[-4:]} is invalid"
            return 401, error(shown, "authentication_error", bad)
        if call.path.endswith("/models"):
            return None
        if not call.path.endswith("/chat/completions"):
            return 404, error("Not Found", bad, bad)
        if not self.balance:
            return 402, error("Insufficient Balance", "unknown_error", bad)
        if self.under_way > self.concurrent:
            return 429, error("Rate limit reached", "rate_limit_error", "rate_limit_exceeded")
        why = _objection(body)
        return None if why is None else (400, error(why, bad, bad))

    async def _whole(self, body: Body, wire: Wire) -> None:
        # The line is kept alive by blank lines before the JSON, so its length is not known.
        wire.chunked = True
        told = {"content-type": "application/json", "transfer-encoding": "chunked"}
        await wire.head(200, told)
        await self._beat(wire, b"\n")
        message = {"content": self._text(body)}
        if _thinks(body):
            message["reasoning_content"] = THOUGHT
        answer = completions.whole(
            body, message, self._usage(body, message), system_fingerprint="fp_fake"
        )
        await wire.chunk(completions.encoded(answer))
        await wire.end()

    async def _stream(self, body: Body, wire: Wire) -> None:
        await wire.stream()
        await self._beat(wire, b": keep-alive\n\n")
        message = {"content": self._text(body)}
        first = {"role": "assistant", "content": ""}
        if _thinks(body):
            message["reasoning_content"] = THOUGHT
            first["reasoning_content"] = ""
        await wire.event(completions.delta(body, first))
        for event in completions.deltas(
            body, message.get("reasoning_content", ""), "reasoning_content", content=None
        ):
            await wire.event(event)
        for event in completions.deltas(body, message["content"], reasoning_content=None):
            await wire.event(event)
        await wire.event(completions.delta(body, {"content": ""}, "stop"))
        if completions.wants_usage(body):
            await wire.event(completions.usage_event(body, self._usage(body, message)))
        await wire.event("[DONE]")
        await wire.end()

    async def _beat(self, wire: Wire, sign: bytes) -> None:
        left = self.waits_s
        while left > 0:
            await wire.chunk(sign)
            await wire.wait(min(left, self.beat_s))
            left -= self.beat_s

    def _text(self, body: Body) -> str:
        if _format(body) == "json_object" and self.blanks > 0:
            self.blanks -= 1
            return " \n" * 24
        return self.say(body)

    def _usage(self, body: Body, message: Body) -> dict[str, Any]:
        prompt = completions.count(completions.prompt_of(body))
        thought = completions.count(message.get("reasoning_content", ""))
        told = completions.count(message["content"]) + thought
        cached = min(self.cached, prompt)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": told,
            "total_tokens": prompt + told,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
            "prompt_cache_hit_tokens": cached,
            "prompt_cache_miss_tokens": prompt - cached,
        }


def _thinks(body: Body) -> bool:
    return body.get("thinking", {}).get("type", "enabled") == "enabled"


def _format(body: Body) -> str:
    return body.get("response_format", {}).get("type", "text")


def _objection(body: Body) -> str | None:
    """Return why a request is refused with 400."""
    if body.get("model") not in MODELS:
        return "Model Not Exist"
    wanted = _format(body)
    if wanted not in {"text", "json_object"}:
        return "This response_format type is unavailable now"
    if wanted == "json_object" and "json" not in completions.prompt_of(body).lower():
        return (
            "Prompt must contain the word 'json' in some form to use 'response_format' of type "
            "'json_object'."
        )
    if _thinks(body):
        if body.get("tool_choice", "auto") not in {"auto", "none"}:
            return "Thinking mode does not support this tool_choice"
        for message in body.get("messages", []):
            if message.get("tool_calls") and "reasoning_content" not in message:
                return (
                    "The `reasoning_content` in the thinking mode must be passed back to the API."
                )
    return None
