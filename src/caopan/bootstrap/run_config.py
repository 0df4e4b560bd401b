"""What a run is made of, as the ledger records it.

Owns RunConfig: everything the result depends on, and its hash. Two runs with equal hashes give
equal ledger heads. Must never hold a path, a time or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from caopan import __version__
from caopan.application.decision_cycle.actor import REPAIR_ATTEMPTS
from caopan.application.ports.market_data import DatasetInfo
from caopan.application.ports.store import RunKind
from caopan.domain.accounting.fees import FeeSchedule
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.canonical import content_hash
from caopan.kernel.money import units, yuan

DEFAULT_CASH = units(1_000_000)
DEFAULT_MODEL = "builtin/momentum"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The choices of one run. Cash in units."""

    kind: RunKind
    account_id: str
    model: str
    cash: int
    start: date
    end: date
    seed: int
    symbols: tuple[str, ...] | None
    """None means every symbol of the data set."""
    nonce: str = ""
    """Set for the desk, whose life must not be mistaken for another's."""
    repair_attempts: int = REPAIR_ATTEMPTS
    """How often a language model is asked again for an answer that could not be read."""

    def as_json(self, info: DatasetInfo, policy: RiskPolicy, fees: FeeSchedule) -> dict[str, Any]:
        """Return the configuration as JSON values, for the ledger's first entry."""
        return {
            "account_id": self.account_id,
            "calendar": info.calendar,
            "cash": yuan(self.cash),
            "code_version": __version__,
            "commission_min": yuan(fees.commission_min),
            "commission_rate": str(float(fees.commission_rate)),
            "dataset": {
                "checksum": info.checksum,
                "synthetic": info.synthetic,
            },
            "end": self.end.isoformat(),
            "fill_policy": "auction_then_touch",
            "kind": self.kind.value,
            "model": self.model,
            "nonce": self.nonce,
            "participation": "0.1",
            "policy": policy.as_json(),
            "policy_version": policy.version,
            "repair_attempts": self.repair_attempts,
            "rules_citation": info.rules_citation,
            "seed": self.seed,
            "start": self.start.isoformat(),
            "symbols": None if self.symbols is None else list(self.symbols),
        }


def config_hash(config: dict[str, Any]) -> str:
    """Return the hash that names a run's result."""
    return content_hash(config)
