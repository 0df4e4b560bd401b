"""Any OpenAI-compatible endpoint as a model, the gateway of this installation among them.

Owns the wire call through the openai SDK (no retries of its own) and the translation of its errors
into MODEL_* codes. Must never log or store the key, write a prompt, nor repair an answer. Tests:
tests/contract/model, tests/unit/adapters/llm.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from caopan.application.ports.model import ModelReply, ModelRequest, Unread
from caopan.application.ports.prompts import Prompt
from caopan.kernel.errors import CorruptState, Unavailable

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

_MEND = (
    "Your answer could not be read:\n{errors}\n"
    "Answer the same question again: one JSON object of the given schema, and nothing else."
)
_SCHEMA = "{prompt}\n\nJSON Schema of your answer:\n{schema}"
_MOST_TOKENS = 2**31
_GATEWAY_CODES = frozenset(
    {
        "AUDIT_UNAVAILABLE",
        "BUDGET_EXCEEDED",
        "CIRCUIT_BREAKER_OPEN",
        "MODEL_AUTH",
        "MODEL_BALANCE",
        "MODEL_BAD_REQUEST",
        "MODEL_CONTENT_FILTER",
        "MODEL_CONTEXT_LENGTH",
        "MODEL_RATE_LIMIT",
        "MODEL_TIMEOUT",
    }
)
"""What our gateway says of why nobody answered; of a stranger these would be mere words."""


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
        prompt_version: str,
        prompt_hash: str,
        is_gateway: bool = False,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        """Keep the endpoint; nothing is contacted yet.

        `prompt_version` and `prompt_hash` are of the template its questions are rendered from. A
        gateway is told the decision and is given the schema apart: it knows what its endpoints
        take.
        """
        self.alias = model
        self.prompt_version = prompt_version
        self.prompt_hash = prompt_hash
        self._base_url = base_url
        self._model = model
        self._api_key = api_key
        self._monotonic_ms = monotonic_ms
        self._is_gateway = is_gateway
        self._http_client = http_client
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
        if request.prompt is None:
            raise CorruptState("PROMPT_MISSING", f"{self.alias} was asked without a prompt")
        began = self._monotonic_ms()
        asked: dict[str, Any] = {
            "messages": [*self._messages(request, request.prompt), *_to_mend(request.previous)],
            "model": self._model,
            "response_format": self._format(request),
            "temperature": 0,
        }
        try:
            async with asyncio.timeout(request.deadline_ms / 1000):
                raw: Any = self._client.chat.completions.with_raw_response
                answer = await raw.create(
                    **asked, extra_headers=self._headers(request, request.prompt)
                )
            took_ms = int(self._monotonic_ms() - began)
            endpoint = answer.headers.get("x-caopan-endpoint") if self._is_gateway else None
            return self._reply(answer.parse(), asked, endpoint or self._base_url, took_ms)
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
        except openai.OpenAIError as error:
            told = self._without_key(f"{type(error).__name__}: {error}")[:500]
            code = getattr(error, "code", None)
            if not self._is_gateway or code not in _GATEWAY_CODES:
                limited = isinstance(error, openai.RateLimitError)
                code = "MODEL_RATE_LIMIT" if limited else "MODEL_UNAVAILABLE"
            raise Unavailable(code, f"{self._base_url}: {told}") from error
        except (ValueError, RecursionError) as error:  # no JSON, or none that ends
            raise self._foreign("no JSON") from error

    def _reply(
        self, completion: object, asked: Mapping[str, Any], endpoint: str, latency_ms: int
    ) -> ModelReply:
        usage = _counts(getattr(completion, "usage", None))
        served = getattr(completion, "model", None)
        return ModelReply(
            text=self._text(completion),
            endpoint=endpoint,
            provider="gateway" if self._is_gateway else "openai_compatible",
            model_asked=self._model,
            model_served=served.replace("\0", "") if isinstance(served, str) else "",
            request={**asked, "response_format": asked["response_format"]["type"]},
            latency_ms=latency_ms,
            tokens_prompt=_top(usage, "prompt_tokens"),
            tokens_completion=_top(usage, "completion_tokens"),
            tokens_reasoning=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
            tokens_cached=_detail(usage, "prompt_tokens_details", "cached_tokens"),
            usage_raw=usage or None,
        )

    def _text(self, completion: object) -> str:
        """Return what the model said; a refusal says nothing.

        The SDK does not check what it parses: a web page with status 200 arrives without choices.
        """
        choices: Any = getattr(completion, "choices", None)
        if not isinstance(choices, list) or not choices:
            raise self._foreign("no choices")
        message: Any = getattr(cast("list[Any]", choices)[0], "message", None)
        if not hasattr(message, "content"):
            raise self._foreign("a choice without a message")
        content = message.content
        if content is not None and not isinstance(content, str):
            raise self._foreign("a message that is no text")
        return content or ""

    def _foreign(self, what: str) -> Unavailable:
        return Unavailable(
            "MODEL_UNAVAILABLE",
            f"{self._base_url} does not answer as OpenAI's API does: {what}",
            remedy="check the base URL; it usually ends in /v1",
        )

    def _without_key(self, text: str) -> str:
        """Return `text` without the key, which some servers repeat in their errors."""
        return text.replace(self._api_key, "***") if self._api_key else text

    def _messages(self, request: ModelRequest, prompt: Prompt) -> Iterator[dict[str, str]]:
        """Yield the prompt; where nobody else adds the schema, the system's message holds it."""
        schema = json.dumps(request.reply_schema, ensure_ascii=False, separators=(",", ":"))
        for message in prompt.messages:
            content = message.content
            if message.role == "system" and not self._is_gateway:
                content = _SCHEMA.format(prompt=content, schema=schema)
            yield {"role": message.role, "content": content}

    def _format(self, request: ModelRequest) -> dict[str, Any]:
        if not self._is_gateway:
            # Every vendor takes json_object; several refuse json_schema with a 400.
            return {"type": "json_object"}
        schema = {"name": request.role, "schema": request.reply_schema}
        return {"type": "json_schema", "json_schema": schema}

    def _headers(self, request: ModelRequest, prompt: Prompt) -> dict[str, str]:
        if not self._is_gateway:
            return {}
        return {
            "x-caopan-decision": str(request.decision_id),
            "x-caopan-prompt-version": prompt.version,
            "x-caopan-role": request.role,
            "x-caopan-trace": str(request.trace_id),
            "x-deadline-ms": str(request.deadline_ms),
        }


def _to_mend(previous: Sequence[Unread]) -> Iterator[ChatCompletionMessageParam]:
    """Yield earlier answers as the model gave them, each with what is wrong with it."""
    for unread in previous:
        yield {"role": "assistant", "content": unread.text}
        yield {"role": "user", "content": _MEND.format(errors="\n".join(unread.errors))}


def _counts(usage: object) -> dict[str, Any]:
    """Return the token counts of a usage block, one level deep; what is no count is left out."""
    dump: Callable[..., object] | None = getattr(usage, "model_dump", None)
    # Whatever came instead of a count must not become a warning either.
    block = dump(warnings=False) if dump is not None else usage
    found: dict[str, Any] = {}
    if not isinstance(block, dict):
        return found
    for name, value in cast("dict[str, object]", block).items():
        if isinstance(value, dict):
            details = cast("dict[str, object]", value).items()
            found[name] = {part: count for part, count in details if _is_count(count)}
        elif _is_count(value):
            found[name] = value
    return found


def _top(usage: Mapping[str, Any], name: str) -> int | None:
    count = usage.get(name)
    return count if isinstance(count, int) else None


def _detail(usage: Mapping[str, Any], block: str, part: str) -> int | None:
    details = usage.get(block)
    return cast("dict[str, int]", details).get(part) if isinstance(details, dict) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
