"""The decision as a model writes it: its JSON Schema and its parser.

Owns DecisionReply (contracts.md, "Decision") and `parse_reply`. Must never repair anything that
could change meaning, nor take ids, times, limits or modes from a reply. Tests:
tests/unit/application/contracts.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from caopan.domain.decision.shapes import Action, ActionType, Decision, ExitPlan, Intent
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

Price = Annotated[
    str,
    Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,4})?$", description="CNY per share, a decimal string"),
]
Money = Annotated[
    str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$", description="CNY, a decimal string")
]
Fraction01 = Annotated[str, Field(pattern=r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$")]
SymbolText = Annotated[str, Field(pattern=r"^[0-9]{6}\.(SH|SZ|BJ)$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TakeProfit(_Strict):
    """One step of taking profit."""

    price: Price
    fraction: Fraction01


class ExitPlanReply(_Strict):
    """How the position is to be left."""

    stop_price: Price
    take_profit: list[TakeProfit] = Field(default_factory=list[TakeProfit], max_length=5)
    time_stop_days: Annotated[int, Field(ge=1, le=250)] | None = None


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        message = "Input should be a number, not true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports this one with its field
    return value


class IntentReply(_Strict):
    """Why, how sure, and on what evidence."""

    rationale: Annotated[str, Field(max_length=240)]
    confidence: Annotated[float, Field(ge=0, le=1, strict=False), BeforeValidator(_no_boolean)]
    evidence: list[Annotated[str, Field(max_length=80)]] = Field(
        default_factory=list[str],
        max_length=20,
        description='feature paths such as "600519.SH.ret_20d", or event and news ids',
    )


class ActionReply(_Strict):
    """One action of a decision.

    place_order needs symbol, side, order_type, price (limit only) and qty; modify_order and
    cancel_order need target_order_id, an order_id of open_orders.
    """

    type: Literal["set_target", "place_order", "modify_order", "cancel_order", "no_op"]
    symbol: SymbolText | None = None
    side: Literal["buy", "sell"] | None = None
    order_type: Literal["limit", "market"] | None = None
    price: Price | None = None
    qty: Annotated[int, Field(gt=0, le=10_000_000)] | None = None
    tif: Literal["day"] | None = None
    target_weight: Fraction01 | None = None
    target_order_id: Annotated[str, Field(max_length=64)] | None = None
    depends_on: Annotated[int, Field(ge=0, le=50)] | None = None
    exit_plan: ExitPlanReply | None = None
    intent: IntentReply | None = None

    @model_validator(mode="after")
    def _complete(self) -> ActionReply:
        if self.type == "place_order":
            needed = ("symbol", "side", "order_type", "qty")
            missing = [name for name in needed if getattr(self, name) is None]
            if self.order_type == "limit" and self.price is None:
                missing.append("price")
            if self.order_type == "market" and self.price is not None:
                message = "a market order has no price"
                raise ValueError(message)
            if missing:
                message = f"place_order needs {', '.join(missing)}"
                raise ValueError(message)
        if self.type in ("modify_order", "cancel_order") and self.target_order_id is None:
            message = f"{self.type} needs target_order_id"
            raise ValueError(message)
        if self.type == "modify_order" and self.price is None and self.qty is None:
            message = "modify_order needs a new price or qty"
            raise ValueError(message)
        return self


class AccountViewReply(_Strict):
    """The account as the model read it; compared with the observation."""

    nav: Money
    cash: Money


class GlobalIntentReply(_Strict):
    """What the model wants for the whole account; it may only tighten."""

    risk_posture: Literal["normal", "cautious", "flat_only"] | None = None
    max_new_cash: Money | None = None


class DecisionReply(_Strict):
    """The whole answer."""

    observation_ref: Annotated[str, Field(max_length=64, description="the content_hash you read")]
    account_view: AccountViewReply
    global_intent: GlobalIntentReply | None = None
    notes: Annotated[str, Field(max_length=500)] = ""
    actions: Annotated[list[ActionReply], Field(min_length=1, max_length=40)]


REPLY_SCHEMA: dict[str, Any] = DecisionReply.model_json_schema()
"""The JSON Schema every model is given."""

_TYPES = {
    "limit": OrderType.LIMIT,
    # Every exchange has it, and what does not trade at once is not left behind.
    "market": OrderType.MARKET_BEST5_CANCEL,
}
# No `\s*\n`: on a megabyte of line ends that would try every one of them in turn.
_FENCE = re.compile(r"\A```(?:json)?[ \t\r]*\n(?P<body>.*)\n```\Z", re.DOTALL)
_MOST_FAULTS = 10
_LONGEST_FAULT = 300
"""Characters: a reply may name its fields as it likes, and at any length."""


def parse_reply(
    text: str, *, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> tuple[Decision, tuple[str, ...]]:
    """Return the decision a reply states, and the fixes that were needed to read it.

    The only fix is taking the reply out of a code fence, which cannot change its meaning.

    Raises:
        ConfigInvalid: MODEL_PARSE_FAIL naming every field that is wrong.
    """
    body = text.strip()
    fixes: tuple[str, ...] = ()
    fenced = _FENCE.match(body)
    if fenced:
        body, fixes = fenced["body"], ("code_fence",)
    try:
        reply = DecisionReply.model_validate_json(body)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'reply'}: {fault['msg']}"[
                :_LONGEST_FAULT
            ]
            for fault in error.errors(include_url=False, include_input=False)[:_MOST_FAULTS]
        )
        raise ConfigInvalid(
            "MODEL_PARSE_FAIL", faults, remedy="answer with one JSON object of the given schema"
        ) from error
    return _to_domain(reply, decision_id, made_at, valid_until), fixes


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
    plan = item.exit_plan
    return Action(
        index=index,
        type=ActionType(item.type),
        symbol=item.symbol,
        side=None if item.side is None else Side(item.side),
        order_type=None if item.order_type is None else _TYPES[item.order_type],
        price=None if item.price is None else units(item.price),
        qty=item.qty,
        depends_on=item.depends_on,
        target_order_id=item.target_order_id,
        exit_plan=None
        if plan is None
        else ExitPlan(
            stop_price=units(plan.stop_price),
            take_profit=tuple(
                (units(step.price), str(Decimal(step.fraction))) for step in plan.take_profit
            ),
            time_stop_days=plan.time_stop_days,
        ),
        intent=None
        if item.intent is None
        else Intent(item.intent.rationale, item.intent.confidence, tuple(item.intent.evidence)),
    )
