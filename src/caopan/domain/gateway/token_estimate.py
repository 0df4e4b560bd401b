"""How many tokens a text is likely to be, from its bytes alone.

Owns the estimate that budgets and tokens per minute are claimed by, and that stands in for a usage
a vendor did not tell (and says so: `Tokens.estimated`). Must never be taken for a count: it errs on
the dear side on purpose. Tests: tests/property/domain/gateway/test_token_estimate.py.

Vendors say of their tokenizers: a Chinese character is 0.55 to 0.7 tokens (DeepSeek 0.6, GLM 1/1.6,
Qwen 1/1.8 to 1/1.5), an English letter 0.25 to 0.3, and some (Qwen, Llama) make each digit a token
of its own. Counted here, each above those figures:

    each digit                           1
    each other ASCII sign                2/3
    each ASCII letter, space, line end   1/3
    each other character                 1/3 a byte of UTF-8, so a Chinese character is 1
    each character beyond the BMP        1 more: emoji fall apart into bytes

A picture sent as base64 is counted as the text it is: far too high, never too low.
"""

from __future__ import annotations

_THIRDS = 3
_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \n\r\t"
_SIGNS = bytes(set(range(128)) - set(_DIGITS + _LETTERS))
_FOUR_BYTE_LEADS = bytes(range(0xF0, 0xF8))


def estimate_tokens(text: bytes) -> int:
    """Return how many tokens the UTF-8 bytes are at the most to be expected."""
    if not text:
        return 0
    # Deleting bytes is the fastest way to count many kinds of them: a request may hold megabytes.
    size = len(text)
    digits = size - len(text.translate(None, _DIGITS))
    signs = size - len(text.translate(None, _SIGNS))
    beyond = 0 if text.isascii() else size - len(text.translate(None, _FOUR_BYTE_LEADS))
    thirds = size + (_THIRDS - 1) * digits + signs + _THIRDS * beyond
    return -(-thirds // _THIRDS)
