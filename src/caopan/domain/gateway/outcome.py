"""How an attempt at an endpoint ended, and what follows from it.

Owns Outcome and FailureClass with their consequences: who may be asked again, what the breaker
counts, what the caller is told. Must never look at a vendor's words: profiles do. Tests:
tests/unit/domain/gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How an attempt is recorded."""

    OK = "ok"
    FAILED = "failed"
    TRUNCATED = "truncated"
    """A stream that broke after the caller had seen part of it."""
    CANCELED = "canceled"
    """The caller went away."""
    REFUSED = "refused"
    """Never sent: budget, limit, open breaker."""
    LOST = "lost"
    """The gateway died during the attempt; what the vendor did is not known."""


class FailureClass(StrEnum):
    """Why an attempt brought no answer."""

    CALLER = "caller"
    """400, 404, 413, 422: the request is at fault wherever it goes."""
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    AUTH = "auth"
    """401, 403: the key is refused."""
    BALANCE = "balance"
    """402, insufficient balance, quota used up."""
    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    """5xx, overloaded, 200 with an error in the body."""
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    """The answer stopped before its end."""
    GARBAGE = "garbage"
    """Not JSON, the wrong content type, no choices."""
    BLANK = "blank"
    """A well-formed answer with nothing in it."""


class After(StrEnum):
    """What may follow a failure."""

    ELSEWHERE = "elsewhere"
    """Another endpoint may be asked."""
    AGAIN = "again"
    """The same endpoint may be asked again after a rest, if no other is left."""
    COUNTS = "counts"
    """The breaker counts it as a failure."""
    OPENS = "opens"
    """The breaker opens at once, for its longest time: it will not pass by itself."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What one class of failure leads to."""

    status: int
    """HTTP status for the caller when nothing else answered."""
    code: str
    """Neutral code for the caller and the record."""
    after: frozenset[After] = frozenset()


_PASSES = frozenset({After.ELSEWHERE, After.AGAIN, After.COUNTS})
_STAYS = frozenset({After.ELSEWHERE, After.OPENS})

CONSEQUENCES: dict[FailureClass, Consequence] = {
    FailureClass.CALLER: Consequence(400, "MODEL_BAD_REQUEST"),
    FailureClass.CONTEXT_LENGTH: Consequence(400, "MODEL_CONTEXT_LENGTH"),
    FailureClass.CONTENT_FILTER: Consequence(400, "MODEL_CONTENT_FILTER"),
    FailureClass.AUTH: Consequence(502, "MODEL_AUTH", _STAYS),
    FailureClass.BALANCE: Consequence(502, "MODEL_BALANCE", _STAYS),
    FailureClass.RATE_LIMIT: Consequence(
        429, "MODEL_RATE_LIMIT", frozenset({After.ELSEWHERE, After.AGAIN})
    ),
    FailureClass.SERVER: Consequence(502, "MODEL_UNAVAILABLE", _PASSES),
    FailureClass.CONNECT: Consequence(502, "MODEL_UNAVAILABLE", _PASSES),
    FailureClass.TLS: Consequence(
        502, "MODEL_UNAVAILABLE", frozenset({After.ELSEWHERE, After.COUNTS})
    ),
    FailureClass.TIMEOUT: Consequence(504, "MODEL_TIMEOUT", _PASSES),
    FailureClass.BROKEN: Consequence(502, "MODEL_UNAVAILABLE", _PASSES),
    FailureClass.GARBAGE: Consequence(502, "MODEL_UNAVAILABLE", _PASSES),
    FailureClass.BLANK: Consequence(502, "MODEL_UNAVAILABLE", _PASSES),
}
