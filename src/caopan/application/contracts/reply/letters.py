"""Letters that mean the same: full-width forms, typographic quotes, letters that cannot be seen.

Owns the tables of what may stand for what in the structure of a reply, and `shown`. Must never be
applied to free text: a rationale stays as the model wrote it. Tests:
tests/unit/application/contracts/test_reply_letters.py.
"""

from __future__ import annotations

from typing import Final

_FULL_WIDTH: Final = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}

_NAME_LETTERS: Final = {
    code: letter
    for code, letter in _FULL_WIDTH.items()
    if letter.isalnum() or letter in {"-", ".", "_"}
}

STRUCTURE: Final = {
    "｛": "{",
    "｝": "}",
    "［": "[",
    "］": "]",
    "【": "[",
    "】": "]",
    "：": ":",
    "，": ",",
    "、": ",",
}
"""What stands for a sign of JSON between its texts."""

_DOUBLE: Final = frozenset('"“”„‟〝〞＂')
CLOSERS: Final = {
    '"': frozenset('"'),
    **dict.fromkeys("“”„‟〝〞＂", _DOUBLE),
    "「": frozenset("」"),
    "『": frozenset("』"),
}
"""By what each opening quote is closed. Of the double ones the first that comes closes a text, so
that where it ends is never a matter of taste."""

INVISIBLE: Final = frozenset("\ufeff\u200b\u200c\u200d\u2060")
"""Byte order mark and letters without width; signs of direction are not among them."""

_WITHOUT_INVISIBLE: Final = {ord(letter): None for letter in INVISIBLE}
_LONGEST: Final = 60


def folded(text: str) -> str:
    """Return `text` with full-width ASCII forms as ASCII."""
    return text if text.isascii() else text.translate(_FULL_WIDTH)


def folded_name(text: str) -> str:
    """Return an id with full-width letters and digits as ASCII; its other signs are its own."""
    return text if text.isascii() else text.translate(_NAME_LETTERS)


def seen(text: str) -> str:
    """Return `text` without its invisible letters."""
    return text if text.isascii() else text.translate(_WITHOUT_INVISIBLE)


def printable(text: str) -> str:
    """Return `text` with what cannot be printed spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown(value: object, longest: int = _LONGEST) -> str:
    """Return a value fit for a message: bounded, and what cannot be printed spelled out."""
    if isinstance(value, str):
        cut = "…" if len(value) > longest else ""
        return f'"{printable(value[:longest])}{cut}"'
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    words = {None: "null", True: "true", False: "false"}
    told = words[value] if value is None or isinstance(value, bool) else str(value)
    return told if len(told) <= longest else f"{told[:longest]}…"
