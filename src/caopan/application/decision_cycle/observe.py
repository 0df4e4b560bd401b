"""The observation: the one snapshot a decision rests on.

Owns the building of OBS-01 (contracts.md, "Observation") from market, account and policy. Must
never include anything not known at its own time; fields without a source are absent, never zero.
Tests: tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from caopan.application.ports.market_data import MarketData
from caopan.domain.accounting.fees import FeeKind, FeeSchedule, upper_bound
from caopan.domain.accounting.journal import Book, Lot
from caopan.domain.market.phases import Phase, PhaseWindow
from caopan.domain.market.price_cage import CAGE_PHASES, BookTop, base_price, cage_bound
from caopan.domain.market.reference import Exchange, Reference, TradingStatus
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import Order
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import iso
from caopan.kernel.errors import Denied
from caopan.kernel.money import yuan

TTL_MS = 180_000


@dataclass(frozen=True, slots=True)
class Observation:
    """A built observation: its values, their canonical bytes, and the hash of those bytes."""

    observation_id: UUID
    values: Mapping[str, Any]
    body: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class AccountState:
    """What the builder must be told about the account. Money in units."""

    account_id: str
    book: Book
    open_orders: Sequence[Order]
    orders_today: int
    exit_plans: Mapping[str, Mapping[str, Any]]
    """By symbol, with the thesis the position was opened on."""
    own_record: Sequence[Mapping[str, Any]] = ()
    """What became of the account's recent decisions."""
    prices: Mapping[str, int] = field(default_factory=dict[str, int])
    """What holdings count for that the market has no reference of today."""
    posture: str = Posture.NORMAL.value
    """How the account may trade, or `kill_switch` while one stands against it."""


def build_observation(  # noqa: PLR0913 - each is one source of the snapshot
    *,
    observation_id: UUID,
    now: datetime,
    trading_day: date,
    window: PhaseWindow,
    cancelable_until: datetime | None,
    market: MarketData,
    account: AccountState,
    policy: RiskPolicy,
    fees: FeeSchedule,
    rules: MarketRules | None = None,
) -> Observation:
    """Return the observation of `now`; without the dated `rules` it has no price cages."""
    references = market.references(trading_day, now)
    features = market.features(trading_day, now)
    prices = {symbol: reference.pre_close for symbol, reference in references.items()}
    positions = _positions(account, references, {**account.prices, **prices}, trading_day)
    market_value = sum(_units_of(position) for position in positions)
    book = account.book
    nav = book.cash_free + book.cash_frozen + market_value
    held = {position["symbol"] for position in positions}
    universe = sorted(
        symbol
        for symbol, reference in references.items()
        if symbol in held or _fits(reference, nav, policy)
    )
    values: dict[str, Any] = {
        "observation_id": str(observation_id),
        "generated_at": iso(now),
        "valid_ttl_ms": TTL_MS,
        "clock": _clock(trading_day, window, cancelable_until, now),
        "account": _account(account, nav, policy),
        "positions": [_without_units(position, nav) for position in positions],
        "open_orders": [_open_order(order) for order in account.open_orders],
        "market": dict(market.market(trading_day, now)),
        "universe": universe,
        "features": {symbol: features.get(symbol, {}) for symbol in universe},
        "market_rules": {
            symbol: {
                **_rules(references[symbol], account, trading_day, policy, fees),
                **_cage(references[symbol], window.phase, rules),
            }
            for symbol in universe
            if symbol in references
        },
        "news": [],
        "data_quality": {
            "daily_bars": {
                "as_of": trading_day.isoformat(),
                "dataset": market.info.checksum,
                "synthetic": market.info.synthetic,
                "missing_symbols": sorted(held - references.keys()),
                "stale": False,
            }
        },
    }
    if account.own_record:
        values["own_record"] = list(account.own_record)
    if costs := _costs(fees, trading_day):
        values["costs"] = costs
    body = canonical(values)
    return Observation(observation_id, values, body, sha256_hex(body))


def _account(account: AccountState, nav: int, policy: RiskPolicy) -> dict[str, Any]:
    book = account.book
    return {
        "account_id": account.account_id,
        "nav": yuan(nav),
        "cash": yuan(book.cash_free + book.cash_frozen),
        "available_cash": yuan(book.cash_free),
        "frozen_cash": yuan(book.cash_frozen),
        "risk_posture": account.posture,
        "orders_today": account.orders_today,
        "orders_per_day": policy.orders_per_day,
    }


def _costs(fees: FeeSchedule, day: date) -> dict[str, str]:
    """Return the rates an order of shares pays; empty where the rules of the day are unknown."""
    try:
        duty = fees.table.rate(Exchange.SH, FeeKind.STAMP_DUTY_SELL, day)
        transfer = fees.table.rate(Exchange.SH, FeeKind.TRANSFER_FEE, day)
    except Denied:
        return {}
    return {
        "commission_min": yuan(fees.commission_min),
        "commission_rate": _decimal(fees.commission_rate),
        "stamp_duty_sell": _decimal(duty),
        "transfer_fee": _decimal(transfer),
    }


def _decimal(share: Fraction) -> str:
    return f"{Decimal(share.numerator) / Decimal(share.denominator):f}"


def _fits(reference: Reference, nav: int, policy: RiskPolicy) -> bool:
    smallest = reference.pre_close * max(reference.min_buy_qty, reference.lot_size)
    return reference.limits_known and smallest <= nav * policy.symbol_nav_cap


def _clock(
    trading_day: date, window: PhaseWindow, cancelable_until: datetime | None, now: datetime
) -> dict[str, Any]:
    clock: dict[str, Any] = {
        "trading_day": trading_day.isoformat(),
        "phase": window.phase.value,
        "seconds_to_phase_end": int((window.end - now).total_seconds()),
    }
    if cancelable_until is not None:
        clock["cancelable_until"] = iso(cancelable_until)
    return clock


def _positions(
    account: AccountState,
    references: Mapping[str, Reference],
    prices: Mapping[str, int],
    today: date,
) -> list[dict[str, Any]]:
    by_symbol: dict[str, list[Lot]] = {}
    for lot in account.book.lots():
        by_symbol.setdefault(lot.symbol, []).append(lot)
    positions: list[dict[str, Any]] = []
    for symbol, lots in sorted(by_symbol.items()):
        qty = sum(lot.qty for lot in lots)
        cost = sum(lot.cost for lot in lots)
        reference = references.get(symbol)
        position: dict[str, Any] = {
            "symbol": symbol,
            "qty": qty,
            "sellable_qty": account.book.sellable(
                symbol, today, t_plus_one=reference is None or reference.t_plus_one
            ),
            "lots": [{"qty": lot.qty, "bought_on": lot.bought_on.isoformat()} for lot in lots],
            "avg_price": yuan(cost // qty),
            "days_held": (today - lots[0].bought_on).days,
        }
        if symbol in account.exit_plans:
            plan = dict(account.exit_plans[symbol])
            thesis = plan.pop("thesis", None)
            position["exit_plan"] = plan
            if thesis:
                position["thesis"] = thesis
        if symbol in prices:
            value = prices[symbol] * qty
            position["_value"] = value
            position["market_value"] = yuan(value)
            position["unrealized_pnl"] = yuan(value - cost)
        positions.append(position)
    return positions


def _units_of(position: Mapping[str, Any]) -> int:
    return int(position.get("_value", 0))


def _without_units(position: Mapping[str, Any], nav: int) -> dict[str, Any]:
    shown = {name: value for name, value in position.items() if name != "_value"}
    if "_value" in position and nav > 0:
        shown["weight_nav"] = round(_units_of(position) / nav, 4)
    return shown


def _open_order(order: Order) -> dict[str, Any]:
    return {
        "order_id": str(order.order_id),
        "symbol": order.symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "price": yuan(order.price),
        "qty": order.qty,
        "filled_qty": order.filled_qty,
        "status": order.status.value,
        "placed_at": iso(order.created_at),
    }


def _rules(
    reference: Reference,
    account: AccountState,
    today: date,
    policy: RiskPolicy,
    fees: FeeSchedule,
) -> dict[str, Any]:
    book = account.book
    tradable = (
        reference.trading_status in (TradingStatus.NORMAL, TradingStatus.DELISTING_PERIOD)
        and not reference.problems
    )
    max_buy = max_sell = 0
    if tradable:
        max_buy = _affordable(reference, book.cash_free, policy, fees)
        max_sell = book.sellable(reference.symbol, today, t_plus_one=reference.t_plus_one)
    up, down = reference.limit_up, reference.limit_down
    return {
        "tick_size": yuan(reference.tick_size),
        "lot_size": reference.lot_size,
        "min_buy_qty": reference.min_buy_qty,
        "qty_step": reference.qty_step,
        "limit_up": None if up is None else yuan(up),
        "limit_down": None if down is None else yuan(down),
        "t_plus_one": reference.t_plus_one,
        "trading_status": reference.trading_status.value,
        "max_order_qty": reference.max_limit_qty,
        "max_buy_qty": max_buy,
        "max_sell_qty": max_sell,
    }


def _cage(reference: Reference, phase: Phase, rules: MarketRules | None) -> dict[str, str]:
    """Return how far a limit order may be priced now; empty where no cage applies or is known."""
    if rules is None or phase not in CAGE_PHASES or reference.pre_close <= 0:
        return {}
    try:
        row = rules.cages.row(Exchange(reference.symbol[-2:]), reference.board, reference.day)
    except Denied:
        return {}
    if row.share is None:
        return {}
    tick = reference.tick_size
    # The price of the features, which is what the gate has to go by as well.
    top = BookTop(None, None, None, reference.pre_close)
    up, down = (
        cage_bound(row, base_price(top, buying=buying), tick, buying=buying)
        for buying in (True, False)
    )
    return {"cage_up": yuan(up), "cage_down": yuan(down)}


def _affordable(reference: Reference, cash: int, policy: RiskPolicy, fees: FeeSchedule) -> int:
    """Return the largest quantity free cash pays for at the reference price, fees included."""
    price = reference.pre_close
    place = Exchange(reference.symbol[-2:]), instrument_of(reference.symbol)
    least, step = reference.min_buy_qty, reference.qty_step

    def costs(qty: int) -> int:
        return upper_bound(fees, qty, price, reference.day, *place)

    most = min(min(cash, policy.single_order_cap) // price, reference.max_limit_qty)
    if most < least:
        return 0
    most -= (most - least) % step
    qty = most
    while qty >= least and (over := costs(qty) - cash) > 0:
        # Fewer shares by what is missing are enough: fees shrink with the amount.
        qty -= -(-over // (price * step)) * step
    # That may have been a step too many, for the same reason.
    qty = max(qty, least - step)
    while qty < most and costs(qty + step) <= cash:
        qty += step
    return qty if qty >= least else 0


def filled_when_seen(observation: Observation, order: Order) -> int:
    """Return how much of `order` had filled when the observation was made; 0 if it shows none."""
    shown = {str(one["order_id"]): one for one in observation.values["open_orders"]}
    found = shown.get(str(order.order_id))
    return 0 if found is None else int(found["filled_qty"])
