"""What one account's chain is made of: ports, rules, policy and clocks, chosen once at start-up.

Owns Desk, and Viewpoint: what of it can only be looked at. Must never hold state that changes
during a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from caopan.application.decision_cycle.actor import REPAIR_ATTEMPTS
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.deciding import Actor
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.application.line import Line
from caopan.application.ports.broker import Broker
from caopan.application.ports.kill_switch import KillSwitch, Released
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.model import Model
from caopan.application.ports.store import Run, Store
from caopan.domain.accounting.fees import FeeSchedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import PhaseTable
from caopan.domain.market.rules import MarketRules
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence
from caopan.kernel.clock import Clock


class Viewpoint(Protocol):
    """The parts of a desk that an observation is made from: nothing of it can send or record."""

    @property
    def run(self) -> Run:
        """Return whose account it is."""
        ...

    @property
    def market(self) -> MarketData:
        """Return what is known of the market."""
        ...

    @property
    def calendar(self) -> TradingCalendar:
        """Return which days are sessions."""
        ...

    @property
    def phases(self) -> PhaseTable:
        """Return the phases of a day."""
        ...

    @property
    def policy(self) -> RiskPolicy:
        """Return the limits in force."""
        ...

    @property
    def fees(self) -> FeeSchedule:
        """Return what orders cost."""
        ...

    @property
    def rules(self) -> MarketRules | None:
        """Return all dated rules, as far as they are known."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """The fixed parts of one account's chain."""

    run: Run
    store: Store
    market: MarketData
    model: Model
    broker: Broker
    clock: Clock
    calendar: TradingCalendar
    phases: PhaseTable
    policy: RiskPolicy
    fees: FeeSchedule
    model_deadline_ms: int
    licence: Licence
    """Which venue it is, and what the account may do there; never assumed."""
    monotonic_ms: Callable[[], float]
    """A stopwatch for stage times; its readings are never hashed."""
    rules: MarketRules | None = None
    """All dated rules; None: the gate knows neither cages nor order types, and refuses by them."""
    kill_switch: KillSwitch = field(default_factory=Released)
    line: Line = field(default_factory=Line)
    """What the broker's calls have shown; one that nobody watches counts as whole."""
    order_timeout: timedelta | None = None
    """How long an order may rest before it is cancelled; None: to the end of its day."""

    prompting: Prompting | None = None
    """What a language model is shown."""
    checker: ModelChecker | None = None
    """Who else looks at a proposal after the rule checker; it may only add reasons."""
    samples: int = 1
    """How many answers of a language model are put to a vote."""

    @property
    def actor(self) -> Actor:
        """Return who decides, and how it is asked."""
        return Actor(
            model=self.model,
            deadline_ms=self.model_deadline_ms,
            config_version=self.policy.version,
            prompting=self.prompting,
            repair_attempts=self.repair_attempts,
            samples=self.samples,
        )

    @property
    def repair_attempts(self) -> int:
        """Return how often a language model is shown what is wrong with its answer, as recorded."""
        return int(self.run.config.get("repair_attempts", REPAIR_ATTEMPTS))
