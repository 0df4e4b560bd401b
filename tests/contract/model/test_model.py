"""What every model owes the actor, whatever stands behind it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
import pytest

from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.adapters.llm.openai_compatible import OpenAICompatibleModel
from caopan.application.contracts.decision import REPLY_SCHEMA, parse_reply
from caopan.application.ports.model import Model, ModelRequest
from caopan.application.ports.prompts import Message, Prompt
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import Unavailable
from caopan.testing.models import ScriptedModel, decision_json
from caopan.testing.samples import NOW, sample_id

KEY = "sk-secret"
OBSERVATION = {
    "account": {"nav": "1000000.00", "cash": "1000000.00", "available_cash": "1000000.00"},
    "positions": [],
    "universe": ["600001.SH"],
    "features": {"600001.SH": {"last": "10.00", "ret_5d": -0.1, "ret_60d": 0.2, "vol_20d": 0.02}},
    "market_rules": {
        "600001.SH": {
            "tick_size": "0.01",
            "lot_size": 100,
            "min_buy_qty": 100,
            "qty_step": 100,
            "limit_up": "11.00",
            "limit_down": "9.00",
            "trading_status": "normal",
            "max_order_qty": 1_000_000,
        }
    },
    "news": [],
}
BODY = canonical(OBSERVATION)
REQUEST = ModelRequest(
    role="actor",
    decision_id=sample_id(1),
    trace_id=sample_id(9),
    observation=OBSERVATION,
    observation_hash=sha256_hex(BODY),
    observation_json=BODY.decode(),
    reply_schema=REPLY_SCHEMA,
    deadline_ms=5_000,
    prompt=Prompt((Message("user", "What now?"),), "actor-1.0.0.en", "c" * 64, 9),
)
Opened = Callable[[], AbstractAsyncContextManager[Model]]


def answering(status: int) -> Opened:
    """Return an OpenAI-compatible model whose server answers with `status`."""

    def handler(_request: httpx2.Request) -> httpx2.Response:
        message = {"role": "assistant", "content": decision_json(REQUEST, {"type": "no_op"})}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return httpx2.Response(status, json={"id": "c", "model": "m-1", "choices": choices})

    @asynccontextmanager
    async def opened() -> AsyncIterator[Model]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
            yield OpenAICompatibleModel(
                base_url="https://models.example/v1",
                model="m",
                api_key=KEY,
                monotonic_ms=lambda: 0.0,
                http_client=client,
                prompt_version="actor-1.0.0.en",
                prompt_hash="c" * 64,
            )

    return opened


def standing(model: Model) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Model]:
        yield model

    return opened


MODELS: dict[str, Opened] = {
    **{alias: standing(kind()) for alias, kind in BUILTIN.items()},
    "scripted": standing(ScriptedModel(lambda r: decision_json(r, {"type": "no_op"}))),
    "openai_compatible": answering(200),
}
every_model = pytest.mark.parametrize("opened", MODELS.values(), ids=MODELS.keys())


@every_model
async def test_it_is_named_labelled_and_names_its_prompt(opened):
    async with opened() as model:
        assert model.alias
        assert isinstance(model.is_language_model, bool)
        assert model.prompt_version
        assert re.fullmatch("[0-9a-f]{64}", model.prompt_hash)


@every_model
async def test_it_answers_with_a_decision_on_that_observation(opened):
    async with opened() as model:
        reply = await model.complete(REQUEST)
    decision, _ = parse_reply(
        reply.text, decision_id=REQUEST.decision_id, made_at=NOW, valid_until=NOW
    )
    assert decision.observation_ref == REQUEST.observation_hash


@every_model
async def test_its_call_can_be_recorded(opened):
    async with opened() as model:
        reply = await model.complete(REQUEST)
    assert all((reply.endpoint, reply.provider, reply.model_asked, reply.model_served))
    assert reply.latency_ms >= 0
    record = canonical(reply.request).decode()
    assert KEY not in record
    assert "market_rules" not in record
    json.dumps(reply.usage_raw)


@every_model
async def test_it_can_be_asked_again_and_leaves_the_request_alone(opened):
    async with opened() as model:
        first = await model.complete(REQUEST)
        second = await model.complete(REQUEST)
    assert first == second
    assert canonical(OBSERVATION) == BODY


@pytest.mark.parametrize(
    ("opened", "code"),
    [
        (
            standing(ScriptedModel(lambda _request: Unavailable("MODEL_TIMEOUT", "too late"))),
            "MODEL_TIMEOUT",
        ),
        (answering(401), "MODEL_AUTH"),
        (answering(429), "MODEL_RATE_LIMIT"),
        (answering(500), "MODEL_UNAVAILABLE"),
    ],
)
async def test_no_answer_is_unavailable_with_a_code_of_the_contract(opened, code):
    async with opened() as model:
        with pytest.raises(Unavailable) as caught:
            await model.complete(REQUEST)
    assert caught.value.code == code
