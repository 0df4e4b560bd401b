"""How long to wait before something that failed is tried again.

Owns BackOff: doubling waits up to a limit, counted. Must never wait itself: whoever asks has a
clock. Tests: tests/unit/application/test_back_off.py.
"""

from __future__ import annotations

from datetime import timedelta

FIRST = timedelta(milliseconds=500)
MOST = timedelta(seconds=30)


class BackOff:
    """Waits that double until something has succeeded."""

    def __init__(self, first: timedelta = FIRST, most: timedelta = MOST) -> None:
        """Begin with `first`; no wait is longer than `most`."""
        self._first = first
        self._most = most
        self._next = first
        self.failures = 0
        """In a row."""

    def failed(self) -> timedelta:
        """Count a failure, and return how long to wait before the next try."""
        self.failures += 1
        wait, self._next = self._next, min(self._next * 2, self._most)
        return wait

    def succeeded(self) -> None:
        """Begin anew."""
        self._next, self.failures = self._first, 0
