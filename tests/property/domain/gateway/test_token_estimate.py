"""An estimate of tokens that is never far below what vendors say of theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.gateway.token_estimate import estimate_tokens


def naive(text: str) -> int:
    thirds = 0
    for character in text:
        if character in "0123456789":
            thirds += 3
        elif character.isascii():
            thirds += 1 if character.isalpha() or character in " \n\r\t" else 2
        else:
            thirds += len(character.encode()) + (3 if ord(character) > 0xFFFF else 0)
    return -(-thirds // 3)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXTS)
def test_it_counts_as_one_character_after_the_other(text):
    assert estimate_tokens(text.encode()) == naive(text)


@given(TEXTS, TEXTS)
def test_more_text_is_never_fewer_tokens(one, other):
    together = estimate_tokens((one + other).encode())
    assert together >= max(estimate_tokens(one.encode()), estimate_tokens(other.encode()))
    assert together <= estimate_tokens(one.encode()) + estimate_tokens(other.encode())


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_have_an_estimate_too(data):
    assert 0 <= estimate_tokens(data) <= 2 * len(data)


@pytest.mark.parametrize(
    ("text", "at_least"),
    [
        # DeepSeek: 0.6 tokens a Chinese character, 0.3 an English one.
        ("沪深两市成交额突破一万亿元", 13 * 0.6),
        ("The index rose on heavy volume before noon.", 43 * 0.3),
        # Qwen: each digit is a token.
        ("600519 1688.88", 12),
        # {" last ": 1 6 8 8 . 8 8 ," bid 1 ": 1 6 8 8 . 8 7 }
        ('{"last":1688.88,"bid1":1688.87}', 22),
        ("", 0),
    ],
)
def test_it_is_above_what_vendors_say(text, at_least):
    assert at_least <= estimate_tokens(text.encode()) <= 2 * at_least + 1
