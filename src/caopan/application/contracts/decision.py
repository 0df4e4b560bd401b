"""The decision as a model writes it: its fields, and how one is read from a reply.

Owns DecisionReply (contracts.md, "Decision") and `read_reply`. Must never repair anything that
could change meaning, nor take ids, times, limits or modes from a reply. Tests:
tests/unit/application/contracts, tests/property/application.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from caopan.application.contracts.reply import schema
from caopan.application.contracts.reply.faults import faults_of
from caopan.application.contracts.reply.fields import (
    STATISTIC,
    WHOLE,
    WORD,
    Distance,
    FreeText,
    Instant,
    Money,
    Name,
    Part,
    Price,
    SymbolText,
    Threshold,
    Weight,
    null_as,
)
from caopan.application.contracts.reply.reading import read_text
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    Comparison,
    Decision,
    Entry,
    ExitPlan,
    Intent,
    Invalidation,
    SecurityEvent,
    StopBasis,
)
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

MOST_ACTIONS: Final = 40
MODEL_PARSE_FAIL: Final = "MODEL_PARSE_FAIL"
_REMEDY: Final = "answer with one JSON object of the given schema"


class _Contract(BaseModel):
    # Scalars are strict one by one: a strict model would take no JSON object for another model.
    model_config = ConfigDict(extra="forbid", frozen=True)


class TakeProfit(_Contract):
    """One step of taking profit."""

    price: Price
    fraction: Part


class InvalidationReply(_Contract):
    """The reason is gone once `feature` of the symbol compares so with `value`."""

    feature: Annotated[Name, Field(max_length=80)]
    op: Annotated[Literal["lt", "le", "gt", "ge", "eq", "ne"], WORD]
    value: Threshold

    @model_validator(mode="after")
    def _comparable(self) -> InvalidationReply:
        if self.value[0].isalpha() and self.op not in {"eq", "ne"}:
            message = f"a state such as {self.value} is compared with eq or ne, not {self.op}"
            raise ValueError(message)
        return self


_Event = Literal[
    "earnings",
    "unlock",
    "ex_date",
    "holder_reduction",
    "investigation",
    "delisting_risk",
    "halt",
    "resumption",
]


class ExitPlanReply(_Contract):
    """How the position is to be left; run by code, it only reduces."""

    stop_price: Price
    stop_basis: Annotated[Literal["last", "close"], WORD] | None = None
    take_profit: Annotated[list[TakeProfit], Field(max_length=5), null_as(list)] = Field(
        default_factory=list[TakeProfit]
    )
    trail_pct: Distance | None = Field(
        default=None, description="the stop follows the highest price at this distance"
    )
    time_stop_days: Annotated[int, Field(strict=True, ge=1, le=250), WHOLE] | None = None
    invalidation: Annotated[list[InvalidationReply], Field(max_length=5), null_as(list)] = Field(
        default_factory=list[InvalidationReply]
    )
    on_event: Annotated[list[Annotated[_Event, WORD]], Field(max_length=8), null_as(list)] = Field(
        default_factory=list[_Event], description="events that freeze buys until a person looks"
    )
    min_price: Price | None = Field(default=None, description="no exit order is priced below it")


class EntryReply(_Contract):
    """Within which bounds a target may be reached."""

    max_price: Price | None = None
    max_chase_bps: Annotated[int, Field(strict=True, ge=0, le=1_000), WHOLE] | None = None
    tranches: Annotated[list[Part], Field(max_length=5), null_as(list)] = Field(
        default_factory=list[Part], description="not supported yet: leave it out"
    )
    cancel_at: Instant | None = Field(default=None, description="not supported yet: leave it out")

    @model_validator(mode="after")
    def _whole_way(self) -> EntryReply:
        if self.tranches and sum(map(Decimal, self.tranches)) != 1:
            message = f"the tranches sum to {sum(map(Decimal, self.tranches))}, not to 1"
            raise ValueError(message)
        return self


class IntentReply(_Contract):
    """Why, how sure, and on what evidence."""

    rationale: Annotated[FreeText, Field(max_length=240)]
    confidence: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False), STATISTIC]
    evidence: Annotated[
        list[Annotated[Name, Field(max_length=80)]], Field(max_length=20), null_as(list)
    ] = Field(
        default_factory=list[str],
        description='feature paths such as "600519.SH.ret_20d", or event and news ids; '
        '"600519.SH.last=1688.88" also states the value',
    )


class ActionReply(_Contract):
    """One action of a decision.

    set_target needs symbol and target_weight. place_order needs symbol, side, order_type, qty, and
    price for a limit order only. modify_order and cancel_order need target_order_id, an order_id
    of open_orders; modify_order needs the new price or qty. Leave out what a type does not need.
    """

    type: Annotated[
        Literal["set_target", "place_order", "modify_order", "cancel_order", "no_op"], WORD
    ]
    symbol: SymbolText | None = None
    target_weight: Weight | None = Field(default=None, description="share of NAV")
    entry: EntryReply | None = None
    side: Annotated[Literal["buy", "sell"], WORD] | None = None
    order_type: Annotated[Literal["limit", "market"], WORD] | None = None
    price: Price | None = None
    qty: Annotated[int, Field(strict=True, ge=1, le=10_000_000), WHOLE] | None = None
    tif: Annotated[Literal["day", "ioc", "fok"], WORD] | None = Field(
        default=None, description="ioc and fok for market orders only"
    )
    target_order_id: Annotated[Name, Field(max_length=64)] | None = None
    depends_on: Annotated[int, Field(strict=True, ge=0, le=MOST_ACTIONS - 1), WHOLE] | None = Field(
        default=None, description="index of an earlier action that must fill first"
    )
    exit_plan: ExitPlanReply | None = Field(
        default=None, description="needed by whatever opens or enlarges a position"
    )
    intent: IntentReply | None = None

    @model_validator(mode="after")
    def _of_its_type(self) -> ActionReply:
        needed, allowed = _FIELDS[self.type]
        given = {name for name in _OPTIONAL if getattr(self, name) is not None}
        missing = [name for name in needed if name not in given]
        is_order = self.type == "place_order"
        if is_order and self.order_type == "limit" and self.price is None:
            missing.append("price")
        if missing:
            message = f"{self.type} needs {', '.join(missing)}"
            raise ValueError(message)
        surplus = sorted(given - needed.keys() - allowed.keys())
        if surplus:
            message = f"{self.type} takes no {', '.join(surplus)}; leave it out"
            raise ValueError(message)
        if self.type == "modify_order" and self.price is None and self.qty is None:
            message = "modify_order needs a new price or qty"
            raise ValueError(message)
        if is_order and self.order_type == "market" and self.price is not None:
            message = "a market order has no price"
            raise ValueError(message)
        if is_order and self.order_type == "limit" and self.tif not in {None, "day"}:
            message = f"a limit order is good for the day, not {self.tif}"
            raise ValueError(message)
        return self


_ALWAYS: Final = ("depends_on", "intent")
_OF_AN_ORDER: Final = ("symbol", "side", "order_type")
_FIELDS: Final[dict[str, tuple[dict[str, None], dict[str, None]]]] = {
    kind: (dict.fromkeys(needed), dict.fromkeys((*allowed, *_ALWAYS)))
    for kind, (needed, allowed) in {
        "set_target": (("symbol", "target_weight"), ("entry", "exit_plan")),
        "place_order": (("symbol", "side", "order_type", "qty"), ("price", "tif", "exit_plan")),
        # What a change says of its order beside what is new is a claim: the checker compares it.
        "modify_order": (("target_order_id",), (*_OF_AN_ORDER, "price", "qty", "exit_plan")),
        "cancel_order": (("target_order_id",), (*_OF_AN_ORDER, "price", "qty")),
        "no_op": ((), ("symbol",)),
    }.items()
}
"""By type: the fields an action must have, and those it may have."""
_OPTIONAL: Final = tuple(name for name in ActionReply.model_fields if name != "type")


class AccountViewReply(_Contract):
    """The account as the model read it; compared with the observation."""

    nav: Money
    cash: Money


class GlobalIntentReply(_Contract):
    """What the model wants for the whole account; it may only tighten."""

    risk_posture: Annotated[Literal["normal", "cautious", "flat_only"], WORD] | None = None
    max_new_cash: Money | None = None


class DecisionReply(_Contract):
    """The whole answer."""

    observation_ref: Annotated[Name, Field(max_length=64, description="the content_hash you read")]
    account_view: AccountViewReply
    global_intent: GlobalIntentReply | None = None
    notes: Annotated[FreeText, Field(max_length=500), null_as(str)] = ""
    actions: Annotated[list[ActionReply], Field(min_length=1, max_length=MOST_ACTIONS)]


_SCHEMA: Final = DecisionReply.model_json_schema()
REPLY_SCHEMA: Final[dict[str, Any]] = schema.plain(_SCHEMA)
"""The JSON Schema every model is given."""
STRICT_REPLY_SCHEMA: Final[dict[str, Any]] = schema.strict(_SCHEMA)
"""The same for endpoints whose strict mode wants every field required."""

_ORDER_TYPES: Final = {
    ("limit", "day"): OrderType.LIMIT,
    # Every exchange has it, and what does not trade at once is not left behind.
    ("market", "day"): OrderType.MARKET_BEST5_CANCEL,
    ("market", "ioc"): OrderType.MARKET_IOC,
    ("market", "fok"): OrderType.MARKET_FOK,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a reply."""

    decision: Decision | None
    fixes: tuple[str, ...] = ()
    """What had to be forgiven, by name, in alphabetical order; none where there is no decision."""
    errors: tuple[str, ...] = ()
    """Why there is no decision, fit to be shown to the model that wrote the reply."""
    start: int = 0
    end: int = 0
    """Where in the text the object stands that was taken for the answer."""


def read_reply(
    text: str, *, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> Reading:
    """Return the decision that a reply states, or why there is none; it never raises."""
    found = read_text(text)
    if found.value is None:
        return Reading(None, errors=(f"reply: {found.problem}; {_REMEDY}",))
    fixes = set(found.fixes)
    try:
        reply = DecisionReply.model_validate(found.value, context=fixes)
    except ValidationError as error:
        return Reading(None, errors=faults_of(error), start=found.start, end=found.end)
    decision = _to_domain(reply, decision_id, made_at, valid_until)
    return Reading(decision, tuple(sorted(fixes)), (), found.start, found.end)


def parse_reply(
    text: str, *, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> tuple[Decision, tuple[str, ...]]:
    """Return the decision a reply states, and the fixes that were needed to read it.

    Raises:
        ConfigInvalid: MODEL_PARSE_FAIL naming every field that is wrong.
    """
    found = read_reply(text, decision_id=decision_id, made_at=made_at, valid_until=valid_until)
    if found.decision is None:
        raise ConfigInvalid(MODEL_PARSE_FAIL, "; ".join(found.errors), remedy=_REMEDY)
    return found.decision, found.fixes


def _to_domain(
    reply: DecisionReply, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> Decision:
    asked = reply.global_intent
    most = None if asked is None else asked.max_new_cash
    return Decision(
        decision_id=decision_id,
        observation_ref=reply.observation_ref,
        nav=units(reply.account_view.nav),
        cash=units(reply.account_view.cash),
        actions=tuple(_action(index, item) for index, item in enumerate(reply.actions)),
        made_at=made_at,
        valid_until=valid_until,
        notes=reply.notes,
        asked_posture=(asked and asked.risk_posture) or "normal",
        max_new_cash=None if most is None else max(units(most), 0),
    )


def _action(index: int, item: ActionReply) -> Action:
    return Action(
        index=index,
        type=ActionType(item.type),
        symbol=item.symbol,
        side=None if item.side is None else Side(item.side),
        order_type=None
        if item.order_type is None
        else _ORDER_TYPES[item.order_type, item.tif or "day"],
        price=_units(item.price),
        qty=item.qty,
        depends_on=item.depends_on,
        target_order_id=item.target_order_id,
        exit_plan=None if item.exit_plan is None else _exit_plan(item.exit_plan),
        intent=None
        if item.intent is None
        else Intent(item.intent.rationale, item.intent.confidence, tuple(item.intent.evidence)),
        target_weight=_decimal(item.target_weight),
        entry=None if item.entry is None else _entry(item.entry),
    )


def _exit_plan(plan: ExitPlanReply) -> ExitPlan:
    return ExitPlan(
        stop_price=units(plan.stop_price),
        take_profit=tuple(
            (units(step.price), _shortest(step.fraction)) for step in plan.take_profit
        ),
        time_stop_days=plan.time_stop_days,
        stop_basis=StopBasis(plan.stop_basis or StopBasis.LAST),
        trail_pct=_decimal(plan.trail_pct),
        invalidation=tuple(
            Invalidation(one.feature, Comparison(one.op), _shortest(one.value))
            for one in plan.invalidation
        ),
        on_event=tuple(SecurityEvent(one) for one in plan.on_event),
        min_price=_units(plan.min_price),
    )


def _entry(entry: EntryReply) -> Entry:
    return Entry(
        max_price=_units(entry.max_price),
        max_chase_bps=entry.max_chase_bps,
        tranches=tuple(_shortest(one) for one in entry.tranches),
        cancel_at=None
        if entry.cancel_at is None
        else datetime.fromisoformat(entry.cancel_at).astimezone(UTC),
    )


def _units(text: str | None) -> int | None:
    return None if text is None else units(text)


def _decimal(text: str | None) -> str | None:
    return None if text is None else _shortest(text)


def _shortest(text: str) -> str:
    """Return a decimal without zeros that say nothing, so that equal ones are equal texts."""
    # Added to nothing, a negative zero is none.
    return text if text[0].isalpha() else f"{Decimal(text).normalize() + 0:f}"
