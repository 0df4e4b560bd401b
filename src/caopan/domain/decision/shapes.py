"""What the actor proposes and what checker and gate say of it, as plain values.

Owns Decision, Action, ExitPlan, Entry, Reason, CheckerResult and RiskResult (contracts.md). Must
never parse a reply (application/contracts does) or judge one (checker and gate do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from caopan.domain.orders.order import OrderType, Side


class ActionType(StrEnum):
    """What an actor may ask for."""

    SET_TARGET = "set_target"
    PLACE_ORDER = "place_order"
    MODIFY_ORDER = "modify_order"
    CANCEL_ORDER = "cancel_order"
    NO_OP = "no_op"


class StopBasis(StrEnum):
    """Which price a stop looks at."""

    LAST = "last"
    CLOSE = "close"


class Comparison(StrEnum):
    """How a feature is compared with a value."""

    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EQ = "eq"
    NE = "ne"


class SecurityEvent(StrEnum):
    """What may befall a security (contracts.md, events)."""

    EARNINGS = "earnings"
    UNLOCK = "unlock"
    EX_DATE = "ex_date"
    HOLDER_REDUCTION = "holder_reduction"
    INVESTIGATION = "investigation"
    DELISTING_RISK = "delisting_risk"
    HALT = "halt"
    RESUMPTION = "resumption"


@dataclass(frozen=True, slots=True)
class Invalidation:
    """The reason for a position is gone once this holds of a feature of its symbol."""

    feature: str
    op: Comparison
    value: str
    """A decimal string, or a state such as sealed_up."""


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """How an opened position is to be left. Recorded with the order; prices in units."""

    stop_price: int
    take_profit: tuple[tuple[int, str], ...] = ()
    """(price, fraction as a decimal string) pairs."""
    time_stop_days: int | None = None
    stop_basis: StopBasis = StopBasis.LAST
    trail_pct: str | None = None
    """How far below the highest price since the opening the stop follows: a fraction of 1, as a
    decimal string."""
    invalidation: tuple[Invalidation, ...] = ()
    on_event: tuple[SecurityEvent, ...] = ()
    min_price: int | None = None
    """Below it no exit order is priced."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Within which bounds a target may be reached. Prices in units."""

    max_price: int | None = None
    max_chase_bps: int | None = None
    """How far above the price that the decision saw a buy may follow it."""
    tranches: tuple[str, ...] = ()
    """Parts of the way to the target, in order, as decimal strings that sum to 1."""
    cancel_at: datetime | None = None
    """What has not traded by then is cancelled."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The actor's stated reason; recorded, checked for evidence, never acted on."""

    rationale: str
    confidence: float
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the actor asks for. Price in units, quantity in shares."""

    index: int
    type: ActionType
    symbol: str | None = None
    side: Side | None = None
    order_type: OrderType | None = None
    price: int | None = None
    qty: int | None = None
    exit_plan: ExitPlan | None = None
    intent: Intent | None = None
    depends_on: int | None = None
    target_order_id: str | None = None
    seen_filled: int = 0
    """What of the target had filled when a person asked for its change, shares."""
    target_weight: str | None = None
    """For set_target: the wanted share of NAV, a decimal string from 0 to 1."""
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A parsed proposal. Ids and times are ours, never the model's."""

    decision_id: UUID
    observation_ref: str
    nav: int
    """The account's NAV as the actor states it, units; compared with the observation."""
    cash: int
    actions: tuple[Action, ...]
    made_at: datetime
    valid_until: datetime
    notes: str = ""
    asked_posture: str = "normal"
    """What the actor asked for the whole account (contracts.md, risk_posture); only tightens."""
    max_new_cash: int | None = None
    """Most cash the actor wants to see used by this decision, units."""
    is_exit: bool = False
    """True where a person or code leaves positions: its sales are not held back by churn limits."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a rule said no: a stable code, the limit, the actual value, and plain words."""

    code: str
    action_index: int | None
    detail: str
    limit: str | None = None
    actual: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the reason as JSON values; absent parts stay absent."""
        values: dict[str, Any] = {"code": self.code, "detail": self.detail}
        for name in ("action_index", "limit", "actual"):
            value = getattr(self, name)
            if value is not None:
                values[name] = value
        return values


@dataclass(frozen=True, slots=True)
class CheckerResult:
    """The checker's verdict on a whole decision."""

    reasons: tuple[Reason, ...]
    checked_at: datetime
    observation_expired: bool = False
    checker: str = "rule"
    findings: tuple[Reason, ...] = ()
    """What is worth recording of the proposal, but refuses nothing."""

    @property
    def passed(self) -> bool:
        """Return whether nothing was found."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class ActionVerdict:
    """The gate's verdict on one action, with every reason, not only the first."""

    action_index: int
    reasons: tuple[Reason, ...]
    suggestion: Mapping[str, Any] | None = None
    """A correction that would pass; recorded, never applied by itself."""

    @property
    def passed(self) -> bool:
        """Return whether the action may become an order."""
        return not self.reasons


class Origin(StrEnum):
    """Who made a decision."""

    MODEL = "model"
    OPERATOR = "operator"
    """A person, or the code that carries out a halt; it rests on no observation."""
    FOREIGN = "foreign"
    """Nobody here: orders found at the venue that were placed by hand in the broker's app."""


class CycleStage(StrEnum):
    """How far a decision's cycle has been recorded."""

    OPENED = "opened"
    OBSERVED = "observed"
    ACTED = "acted"
    CHECKED = "checked"
    JUDGED = "judged"
    ORDERED = "ordered"
    CLOSED = "closed"


class DecisionStatus(StrEnum):
    """What became of a decision; all but `in_progress` are final."""

    IN_PROGRESS = "in_progress"
    EXECUTED = "executed"
    PARTIALLY_EXECUTED = "partially_executed"
    NO_OP = "no_op"
    REJECTED_CHECKER = "rejected_checker"
    REJECTED_RISK = "rejected_risk"
    AWAITING_APPROVAL = "awaiting_approval"
    EXPIRED = "expired"
    DECLINED = "declined"
    CANCELED = "canceled"
    SHADOWED = "shadowed"
    FAILED = "failed"
