"""A key taken out of bytes that come in pieces.

Owns StruckOut. Must never hold back more than what may be the beginning of the key. Tests:
tests/unit/adapters/llm/test_struck_out.py.
"""

from __future__ import annotations

from typing import Final

STARS: Final = b"***"


class StruckOut:
    """Replaces a key by stars, also where it is cut in two between pieces."""

    __slots__ = ("_held", "_key")

    def __init__(self, key: bytes) -> None:
        """Strike out `key`; nothing where it is empty."""
        self._key = key
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Return what may go on of what was held back and `piece`."""
        key = self._key
        if not key:
            return piece
        if self._held:
            piece = self._held + piece
        if key in piece:
            piece = piece.replace(key, STARS)
        held = self._beginning_at_end(piece)
        self._held = piece[len(piece) - held :]
        return piece[: len(piece) - held] if held else piece

    def rest(self) -> bytes:
        """Return what was held back once nothing more comes."""
        held, self._held = self._held, b""
        return held

    def _beginning_at_end(self, piece: bytes) -> int:
        """Return how many bytes at the end of `piece` are the beginning of the key."""
        key = self._key
        # Events and JSON end in what no key holds, so this is nearly always the end of it.
        if piece[-1:] not in key:
            return 0
        most = min(len(key) - 1, len(piece))
        return next((n for n in range(most, 0, -1) if piece.endswith(key[:n])), 0)
