"""What was recorded comes back byte for byte; what was not is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.llm.recordings import FileRecording
from caopan.adapters.llm.replay_endpoint import ReplayEndpoint
from caopan.application.gateway.calls import prompt_hash
from caopan.application.gateway.streaming import assembled
from caopan.application.ports.gateway import Path, UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.endpoint import Endpoint, EndpointKind
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import Unavailable

PROFILE = Profile("replay", "", "", "")
MESSAGES = [{"role": "user", "content": "买什么?"}]
DIGEST = prompt_hash({"messages": MESSAGES})
WHOLE = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "什么都不买", "reasoning_content": "…"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    },
    ensure_ascii=False,
).encode()
STREAM = (
    b": keep-alive\n\n"
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"no"}}]}\n\n'
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"thing"}}]}\n\n'
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)


class Shelf:
    """Recorded answers in memory."""

    def __init__(self, *recordings: FileRecording) -> None:
        self.recordings = recordings
        self.outage: Exception | None = None

    async def recorded(self, prompt_hash: str, model: str | None = None) -> FileRecording | None:
        if self.outage is not None:
            raise self.outage
        for one in self.recordings:
            if one.prompt_hash == prompt_hash and model in (None, one.model):
                return one
        return None


def request(model: str = "m", messages: object = None, *, stream: bool = False, **more):
    asked = MESSAGES if messages is None else messages
    body = {"model": "alias", "messages": asked, "stream": stream, **more}
    endpoint = Endpoint("e", "replay", model, kind=EndpointKind.REPLAY)
    return UpstreamRequest(
        endpoint, Path.CHAT, json.dumps(body).encode(), {}, 1_000, 5_000, 5_000, 5_000
    )


async def ask(shelf: Shelf, asked: UpstreamRequest) -> tuple[int, bytes]:
    async with ReplayEndpoint(shelf, PROFILE).send(asked) as answer:
        return answer.status, b"".join([chunk async for chunk in answer.chunks()])


@given(st.binary(min_size=1), st.booleans())
async def test_a_recorded_answer_comes_back_bit_for_bit(response, stream):
    shelf = Shelf(FileRecording(DIGEST, "m", stream, response))
    assert await ask(shelf, request(stream=stream)) == (200, response)


async def test_the_messages_alone_are_the_key():
    shelf = Shelf(FileRecording(DIGEST, "m", stream=False, response=WHOLE))
    spaced = json.dumps([{"content": "买什么?", "role": "user"}])
    assert (await ask(shelf, request(messages=json.loads(spaced), temperature=0.7)))[1] == WHOLE


async def test_an_unknown_prompt_is_refused_with_its_hash():
    status, body = await ask(Shelf(), request())
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (404, "prompt_not_recorded")
    assert DIGEST in error["message"]


async def test_another_models_answer_is_none():
    shelf = Shelf(FileRecording(DIGEST, "other", stream=False, response=WHOLE))
    assert (await ask(shelf, request("m")))[0] == 404
    assert await ask(shelf, request("*")) == (200, WHOLE)


async def test_a_whole_answer_asked_for_as_a_stream_keeps_its_words():
    shelf = Shelf(FileRecording(DIGEST, "m", stream=False, response=WHOLE))
    status, body = await ask(shelf, request(stream=True))
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")
    spelled = assembled(body, PROFILE).completion()
    whole = json.loads(WHOLE)
    message = spelled["choices"][0]["message"]
    assert message["content"] == whole["choices"][0]["message"]["content"]
    assert message["reasoning_content"] == "…"
    assert spelled["usage"] == whole["usage"]


async def test_a_stream_asked_for_whole_keeps_its_words():
    shelf = Shelf(FileRecording(DIGEST, "m", stream=True, response=STREAM))
    _, body = await ask(shelf, request())
    told = json.loads(body)
    assert told["choices"][0]["message"]["content"] == "nothing"
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}


async def test_recordings_out_of_reach_are_a_failed_exchange():
    shelf = Shelf()
    shelf.outage = Unavailable("DB_DOWN", "no database")
    with pytest.raises(UpstreamFailed) as caught:
        await ask(shelf, request())
    assert caught.value.failure is FailureClass.CONNECT


async def test_a_recording_that_is_no_json_is_not_made_a_stream_of():
    shelf = Shelf(FileRecording(DIGEST, "m", stream=False, response=b"<html>"))
    assert (await ask(shelf, request(stream=True)))[0] == 500
