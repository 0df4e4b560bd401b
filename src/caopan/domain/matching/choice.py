"""The fill policies by name.

Owns the list of policies. Must never hold one that looks ahead. Tests:
tests/unit/domain/matching/test_policies.py.
"""

from __future__ import annotations

from typing import Final

from caopan.domain.matching.book_policy import Book
from caopan.domain.matching.policies import AuctionThenTouch, BarClose, FillPolicy, NextBarOpen
from caopan.kernel.errors import ConfigInvalid

POLICIES: Final[tuple[FillPolicy, ...]] = (BarClose(), NextBarOpen(), AuctionThenTouch(), Book())


def policy_named(name: str) -> FillPolicy:
    """Return a policy by its name.

    Raises:
        ConfigInvalid: POLICY_UNKNOWN naming those there are.
    """
    for policy in POLICIES:
        if policy.name == name:
            return policy
    names = ", ".join(policy.name for policy in POLICIES)
    raise ConfigInvalid(
        "POLICY_UNKNOWN", f"there is no fill policy {name!r}", remedy=f"choose one of {names}"
    )
