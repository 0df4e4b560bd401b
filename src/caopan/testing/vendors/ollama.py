"""A local server that behaves as Ollama documents for its OpenAI-compatible paths.

Owns its quirks: no key; an unknown model is 404 with the advice to pull it; the first request waits
until the model is loaded; schemas are taken; thinking is called `reasoning`.
Source: docs.ollama.com/api/openai-compatibility and ollama's middleware, read 2026-11. Never used
by production code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caopan.testing.vendors import completions
from caopan.testing.vendors.completions import Body, error
from caopan.testing.vendors.wire import Call, Vendor, Wire

MODEL = "qwen3:8b"
EMBEDDING = "nomic-embed-text:latest"
THOUGHT = "Thinking it over. "


def say(body: Body) -> str:
    """Return what the model says: JSON if it was asked for, else a word."""
    return "Hello there." if "response_format" not in body else '{"answer": "fine"}'


@dataclass
class Ollama(Vendor):
    """Ollama's /v1."""

    say: Callable[[Body], str] = say
    models: tuple[str, ...] = (MODEL, EMBEDDING)
    """What has been pulled."""
    loads_s: float = 0.0
    """How long the first request waits."""
    thinks: bool = True

    async def answer(self, call: Call, wire: Wire) -> None:
        """Answer as Ollama would."""
        body = call.json
        if call.path.endswith("/models"):
            await wire.whole(200, completions.models(self.models, "library"))
        elif body.get("model") not in self.models:
            said = f"model '{body.get('model')}' not found"
            await wire.whole(404, error(said, "not_found_error", None))
        elif call.path.endswith("/embeddings"):
            await wire.whole(200, completions.embeddings(body))
        else:
            await self._load(wire)
            await self._complete(body, wire)

    async def _load(self, wire: Wire) -> None:
        waits, self.loads_s = self.loads_s, 0.0
        if waits:
            await wire.wait(waits)

    async def _complete(self, body: Body, wire: Wire) -> None:
        text = self.say(body)
        thought = THOUGHT if self.thinks and body.get("reasoning_effort") != "none" else ""
        usage = _usage(body, text + thought)
        more = {"system_fingerprint": "fp_ollama"}
        if not body.get("stream"):
            message: dict[str, Any] = {"content": text}
            if thought:
                message["reasoning"] = thought
            await wire.whole(200, completions.whole(body, message, usage, **more))
            return
        await wire.stream()
        for name, told in (("reasoning", thought), ("content", text)):
            blank = {} if name == "content" else {"content": ""}
            for event in completions.deltas(body, told, name, role="assistant", **blank):
                await wire.event({**event, **more})
        await wire.event(
            completions.delta(body, {"role": "assistant", "content": ""}, "stop", **more)
        )
        if completions.wants_usage(body):
            await wire.event({**completions.usage_event(body, usage), **more})
        await wire.event("[DONE]")
        await wire.end()


def _usage(body: Body, text: str) -> dict[str, Any]:
    prompt, told = completions.count(completions.prompt_of(body)), completions.count(text)
    return {"prompt_tokens": prompt, "completion_tokens": told, "total_tokens": prompt + told}
