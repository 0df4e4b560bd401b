"""Any OpenAI-compatible endpoint as a model.

Owns the wire call through the openai SDK (no retries of its own) and the translation of its errors
into MODEL_* codes. Must never log or store the key, nor repair an answer. The prompt is a versioned
file in prompts/. Tests: tests/contract/model, tests/unit/adapters/llm.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

from caopan.application.ports.model import ModelReply, ModelRequest
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import Unavailable

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

PROMPT_VERSION = "actor-1.0.0"


class OpenAICompatibleModel:
    """One model at one endpoint that speaks the chat-completions protocol."""

    is_language_model = True

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str | None,
        monotonic_ms: Callable[[], float],
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        """Keep the endpoint; nothing is contacted yet. `http_client` is an httpx2.AsyncClient."""
        self.alias = model
        self._base_url = base_url
        self._model = model
        self._api_key = api_key
        self._monotonic_ms = monotonic_ms
        self._http_client = http_client
        self._prompt = (
            resources.files("caopan.adapters.llm.prompts")
            .joinpath(f"{PROMPT_VERSION}.txt")
            .read_text(encoding="utf-8")
        )
        self.prompt_version = PROMPT_VERSION
        self.prompt_hash = sha256_hex(self._prompt.encode())
        self._client: AsyncOpenAI | None = None

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the endpoint's answer within the request's deadline."""
        import openai  # noqa: PLC0415 - heavy: only a desk with a cloud model pays for it

        if self._client is None:
            self._client = openai.AsyncOpenAI(
                base_url=self._base_url,
                # Local servers want none; the SDK wants some.
                api_key=self._api_key or "none",
                max_retries=0,
                http_client=self._http_client,
            )
        began = self._monotonic_ms()
        try:
            async with asyncio.timeout(request.deadline_ms / 1000):
                completion = await self._client.chat.completions.create(
                    model=self._model,
                    messages=[
                        {"role": "system", "content": self._prompt},
                        {"role": "user", "content": self._question(request)},
                    ],
                    temperature=0,
                    # Every vendor takes json_object; several refuse json_schema with a 400.
                    response_format={"type": "json_object"},
                )
        except (TimeoutError, openai.APITimeoutError) as error:
            raise Unavailable(
                "MODEL_TIMEOUT",
                f"{self._model} gave no answer within {request.deadline_ms} ms",
            ) from error
        except openai.AuthenticationError as error:
            raise Unavailable(
                "MODEL_AUTH",
                f"{self._base_url} refused the key",
                remedy="check what CAOPAN_MODEL_KEY points to",
            ) from error
        except openai.RateLimitError as error:
            raise Unavailable("MODEL_RATE_LIMIT", f"{self._base_url}: too many requests") from error
        except openai.OpenAIError as error:
            raise Unavailable(
                "MODEL_UNAVAILABLE", f"{self._base_url}: {type(error).__name__}: {error}"[:500]
            ) from error
        except ValueError as error:  # an answer that is no JSON of the protocol
            raise Unavailable(
                "MODEL_UNAVAILABLE", f"{self._base_url} does not answer as OpenAI's API does"
            ) from error
        return self._reply(completion, request, int(self._monotonic_ms() - began))

    def _reply(
        self, completion: ChatCompletion, request: ModelRequest, latency_ms: int
    ) -> ModelReply:
        # The SDK does not check what it parses: a web page with status 200 arrives without choices.
        if not getattr(completion, "choices", None):
            raise Unavailable(
                "MODEL_UNAVAILABLE",
                f"{self._base_url} does not answer as OpenAI's API does: no choices",
            )
        usage = completion.usage.model_dump() if completion.usage else None
        return ModelReply(
            text=completion.choices[0].message.content or "",
            endpoint=self._base_url,
            provider="openai_compatible",
            model_asked=self._model,
            model_served=completion.model or "",
            request={
                "messages": [
                    {"role": "system", "content": {"prompt_version": PROMPT_VERSION}},
                    {"role": "user", "content": {"observation_hash": request.observation_hash}},
                ],
                "model": self._model,
                "response_format": "json_object",
                "temperature": 0,
            },
            latency_ms=latency_ms,
            tokens_prompt=None if usage is None else usage.get("prompt_tokens"),
            tokens_completion=None if usage is None else usage.get("completion_tokens"),
            usage_raw=usage,
        )

    def _question(self, request: ModelRequest) -> str:
        schema = json.dumps(request.reply_schema, ensure_ascii=False, separators=(",", ":"))
        return (
            f"JSON Schema of your answer:\n{schema}\n"
            f"content_hash of this observation: {request.observation_hash}\n"
            f"observation:\n{request.observation_json}"
        )
