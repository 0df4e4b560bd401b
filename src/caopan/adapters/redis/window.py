"""A sliding minute of requests and tokens.

Owns Window, the twin of `window` in limits.lua. Whole seconds are counted in buckets, and a bucket
counts until its last moment is a minute old: so no span of 60 seconds ever holds more than a limit,
and a request weighs between 60 and 61 seconds. Must never read a clock. Tests:
tests/unit/adapters/redis/test_window.py.
"""

from __future__ import annotations

from typing import Final

SECONDS: Final = 60


class Window:
    """What was used in the last minute, by second."""

    __slots__ = ("buckets", "requests", "tokens")

    def __init__(self) -> None:
        """Begin empty."""
        self.buckets: dict[int, list[int]] = {}
        """Second -> [requests, tokens], oldest first."""
        self.requests = 0
        self.tokens = 0

    def roll(self, second: int) -> None:
        """Forget what is over a minute old at `second`."""
        edge = second - SECONDS
        while self.buckets:
            oldest = next(iter(self.buckets))
            if oldest >= edge:
                return
            requests, tokens = self.buckets.pop(oldest)
            self.requests -= requests
            self.tokens -= tokens

    def add(self, second: int, tokens: int) -> None:
        """Count one request."""
        bucket = self.buckets.get(second)
        if bucket is None:
            bucket = self.buckets[second] = [0, 0]
        bucket[0] += 1
        bucket[1] += tokens
        self.requests += 1
        self.tokens += tokens

    def correct(self, second: int, change: int) -> None:
        """Put right how many tokens a request of `second` used, if it still counts."""
        bucket = self.buckets.get(second)
        if bucket is not None:
            bucket[1] += change
            self.tokens += change

    def wait_ms(self, now_ms: int, *, requests: int = 0, tokens: int = 0) -> int | None:
        """Return when so many have left the window; None: they never do."""
        if requests > self.requests or tokens > self.tokens:
            return None
        for second, (some_requests, some_tokens) in self.buckets.items():
            requests -= some_requests
            tokens -= some_tokens
            if requests <= 0 and tokens <= 0:
                return max(1, (second + SECONDS + 1) * 1000 - now_ms)
        return None
