"""Text from outside the desk (news, announcements, names, notes) made fit to be shown to a model.

Owns what is stripped from such text and the fence around it. Such text is data: it never reaches
limits, mode, account or addresses, and must never be shown to a model outside its fence. Tests:
tests/unit/application/decision_cycle/test_outside_text.py.
"""

from __future__ import annotations

import unicodedata
from typing import Final
from uuid import UUID

from caopan.kernel.canonical import sha256_hex

MOST_TITLE: Final = 200
MOST_SUMMARY: Final = 600
"""Characters of one news item that are shown; what is longer ends in an ellipsis."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Controls, zero-width and bidirectional marks, private and unassigned characters: what a person
does not see, a model must not read."""
_VARIATION: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_FENCE_DIGITS: Final = 24


def cleaned(text: str, most: int) -> str:
    """Return `text` as one line of visible characters, at most `most` of them."""
    shown = "".join(" " if one in "\n\r\t" else one for one in text if _is_visible(one))
    line = " ".join(shown.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def fence(trace_id: UUID, reader: str = "actor") -> str:
    """Return the mark that encloses text from outside in what `reader` of one decision is shown.

    The text was written before the trace was, so it cannot hold the mark; a replay has the same.
    Another reader has another: what an actor writes may hold the mark it has seen.
    """
    digest = sha256_hex(b"caopan/fence/" + reader.encode() + b"/" + trace_id.bytes)
    return f"OUTSIDE-{digest[:_FENCE_DIGITS]}"


def _is_visible(one: str) -> bool:
    if one in "\n\r\t":
        return True
    if unicodedata.category(one) in _INVISIBLE:
        return False
    return not any(ord(one) in span for span in _VARIATION)
