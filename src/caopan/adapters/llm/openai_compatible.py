"""Any OpenAI-compatible endpoint as a model.

Owns the wire call through the openai SDK (no retries of its own) and the translation of its errors
into MODEL_* codes. Must never log or store the key, nor repair an answer. The prompt is a versioned
file in prompts/. Tests: tests/contract/model, tests/unit/adapters/llm.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from caopan.application.ports.model import ModelReply, ModelRequest, Unread
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import Unavailable

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

PROMPT_VERSION = "actor-1.0.0"
_MEND = (
    "Your answer could not be read:\n{errors}\n"
    "Answer the same question again: one JSON object of the given schema, and nothing else."
)
_MOST_TOKENS = 2**31


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
                        *_to_mend(request.previous),
                    ],
                    temperature=0,
                    # Every vendor takes json_object; several refuse json_schema with a 400.
                    response_format={"type": "json_object"},
                )
            return self._reply(completion, request, int(self._monotonic_ms() - began))
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
            told = self._without_key(f"{type(error).__name__}: {error}")[:500]
            raise Unavailable("MODEL_UNAVAILABLE", f"{self._base_url}: {told}") from error
        except (ValueError, RecursionError) as error:  # no JSON, or none that ends
            raise self._foreign("no JSON") from error

    def _reply(self, completion: object, request: ModelRequest, latency_ms: int) -> ModelReply:
        usage = _counts(getattr(completion, "usage", None))
        served = getattr(completion, "model", None)
        return ModelReply(
            text=self._text(completion),
            endpoint=self._base_url,
            provider="openai_compatible",
            model_asked=self._model,
            model_served=served.replace("\0", "") if isinstance(served, str) else "",
            request={
                "messages": [
                    {"role": "system", "content": {"prompt_version": PROMPT_VERSION}},
                    {"role": "user", "content": {"observation_hash": request.observation_hash}},
                    *_mended(request.previous),
                ],
                "model": self._model,
                "response_format": "json_object",
                "temperature": 0,
            },
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

    def _question(self, request: ModelRequest) -> str:
        schema = json.dumps(request.reply_schema, ensure_ascii=False, separators=(",", ":"))
        return (
            f"JSON Schema of your answer:\n{schema}\n"
            f"content_hash of this observation: {request.observation_hash}\n"
            f"observation:\n{request.observation_json}"
        )


def _to_mend(previous: Sequence[Unread]) -> Iterator[ChatCompletionMessageParam]:
    """Yield earlier answers as the model gave them, each with what is wrong with it."""
    for unread in previous:
        yield {"role": "assistant", "content": unread.text}
        yield {"role": "user", "content": _MEND.format(errors="\n".join(unread.errors))}


def _mended(previous: Sequence[Unread]) -> Iterator[dict[str, Any]]:
    """Yield what the record keeps of them: the answers are in the records of their own calls."""
    for unread in previous:
        yield {"role": "assistant", "content": {"sha256": sha256_hex(unread.text.encode())}}
        yield {"role": "user", "content": {"errors": list(unread.errors)}}


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
