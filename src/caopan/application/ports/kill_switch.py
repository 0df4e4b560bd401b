"""The kill switch port: the level in force, asked right before the wire.

Owns the KillSwitch protocol. Must never wait: the answer comes from memory, kept fresh by whoever
implements it. Flags that could not be read for too long count as KillLevel.NO_ORDERS.
"""

from __future__ import annotations

from typing import Protocol

from caopan.domain.risk.kill_switch import KillLevel


class KillSwitch(Protocol):
    """The level in force for one account."""

    def level(self) -> KillLevel:
        """Return the highest level any flag asks for, at once."""
        ...


class Released:
    """A kill switch that nobody can pull: simulated runs of a market that is over."""

    def level(self) -> KillLevel:
        """Return OFF."""
        return KillLevel.OFF
