"""Our own guess of tokens."""

from __future__ import annotations

from caopan.application.gateway.estimating import (
    ANSWER_TOKENS,
    PICTURE_TOKENS,
    answer_bound,
    prompt_tokens,
    used_tokens,
)
from caopan.application.ports.gateway import Path
from caopan.testing.gateway_rig import a_call, an_endpoint


def test_a_picture_is_not_taken_for_text():
    url = "data:image/png;base64," + "A" * 400_000
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "买" * 50},
    ]
    messages = [{"role": "system", "content": "卖" * 50}, {"role": "user", "content": content}]
    tokens = prompt_tokens(a_call(messages=messages))
    assert PICTURE_TOKENS + 100 < tokens < PICTURE_TOKENS + 200


def test_the_bound_of_an_answer():
    plain, endpoint = an_endpoint("a"), an_endpoint("a", default_params={"max_tokens": 70})
    assert answer_bound(a_call(), plain) == ANSWER_TOKENS
    assert answer_bound(a_call(), endpoint) == 70
    assert answer_bound(a_call(max_tokens=50, n=3), endpoint) == 150
    assert answer_bound(a_call(max_completion_tokens=40, max_tokens=50), endpoint) == 50
    assert answer_bound(a_call(path=Path.EMBEDDINGS), plain) == 0


def test_what_was_said_is_counted_with_its_thoughts():
    message = {"role": "assistant", "content": "abcd", "reasoning_content": "abcd" * 9}
    used = used_tokens(a_call(), [{"message": message}])
    assert used.completion == 14
    assert used.prompt == prompt_tokens(a_call())
    assert used.estimated
