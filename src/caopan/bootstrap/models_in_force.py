"""The configuration a gateway process works with: the newest version that is valid.

Owns ModelsInForce: when a version takes the place of the one before, and what is told where it does
not. Must never put a version in force that does not parse whole, nor let go of the one in force
because the database is away. Tests: tests/unit/bootstrap/test_models_in_force.py.

Taking a version over is one assignment: calls under way keep the snapshot they began with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from caopan.application.gateway.tallies import Tallies
from caopan.application.ports.gateway import ModelsConfig, StoredConfig
from caopan.bootstrap.models_admin import DocumentJudge
from caopan.domain.gateway.endpoint import Snapshot
from caopan.kernel.errors import CaopanError, ConfigInvalid

_LOG = logging.getLogger(__name__)


class ModelsInForce:
    """The snapshot in force, and how it follows what is stored."""

    def __init__(
        self,
        judge: DocumentJudge,
        tallies: Tallies,
        stored: Sequence[StoredConfig],
        on_change: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        """Begin with the newest version that is valid; `stored` is newest first, and not empty.

        An older one is taken where this build cannot read what a newer build stored: a gateway
        that was restarted serves as one that kept running.

        Raises ConfigInvalid MODELS_INVALID if none is valid.
        """
        self._judge = judge
        self._tallies = tallies
        self._on_change = on_change
        self._refused: int | None = None
        self.error = ""
        """Why the newest version is not in force; "" where it is."""
        refused: ConfigInvalid | None = None
        for one in stored:
            try:
                self._snapshot = judge.parsed(one.body, one.version)
            except ConfigInvalid as error:
                refused = refused or error
                continue
            self._stored_at = one.created_at
            break
        else:
            raise refused or ValueError("no version")
        if refused is not None:
            self._refuse(stored[0].version, refused)

    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""
        return self._snapshot

    @property
    def stored_at(self) -> datetime:
        """Return when the version in force was stored."""
        return self._stored_at

    def take(self, stored: StoredConfig) -> None:
        """Put a newer version in force, or keep what is and remember why."""
        if stored.version <= self._snapshot.version or stored.version == self._refused:
            return
        try:
            snapshot = self._judge.parsed(stored.body, stored.version)
        except ConfigInvalid as error:
            self._refuse(stored.version, error)
            return
        self._snapshot, self._stored_at = snapshot, stored.created_at
        self._refused, self.error = None, ""
        self._on_change(snapshot)
        _LOG.info("models: version %d is in force", snapshot.version)

    def _refuse(self, version: int, error: ConfigInvalid) -> None:
        self._refused = version
        self.error = f"version {version} is not in force: {error.message}"
        self._tallies.reloads_failed += 1
        _LOG.error("models: %s", self.error)

    async def follow(self, config: ModelsConfig) -> None:
        """Follow what is stored until cancelled; a database that is away is waited for."""
        async for version in config.changed():
            if version <= self._snapshot.version or version == self._refused:
                continue
            try:
                newest = await config.newest()
            except CaopanError as error:
                # `changed` goes on, and tells again once the database answers.
                _LOG.warning("models: version %d cannot be read: %s", version, error)
                continue
            if newest is not None:
                self.take(newest)
