"""The gate on files: an observation, a decision, an account and a policy give a RiskResult.

Owns `check_files`. Pure: what is not in the files is not looked up anywhere else but in the dated
rules. Must never run the checker, send or store anything. Tests:
tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from caopan.application.contracts.decision import parse_reply
from caopan.application.file_fields import Node
from caopan.application.gate_account import GateAccount, read_account
from caopan.application.intents import Gatehouse, Surroundings, ask_gate, proposed_of
from caopan.application.targeting import plan_json, planned
from caopan.domain.accounting.fees import FeeTable
from caopan.domain.decision.shapes import Action, ActionType, ActionVerdict, Decision, Reason
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Reference, TradingStatus
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import Listing, parse_symbol
from caopan.domain.orders.order import Side
from caopan.domain.planning.targets import NO_PRICE, Position, Unplanned
from caopan.domain.risk.correction import suggest
from caopan.domain.risk.gate import Asked, judge_in_turn
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import Quote, Stats
from caopan.domain.risk.venue import Venue
from caopan.kernel.clock import at_shanghai, iso, shanghai
from caopan.kernel.errors import CaopanError, ConfigInvalid, Denied

VALID_FOR = timedelta(minutes=10)
NIL = UUID(int=0)
NOT_TOLD = "DATA_MISSING_RISK_FLAGS"
"""Forbids trading at a broker; a sandbox goes without."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """The rules of this installation that a check rests on."""

    market: MarketRules
    fees: FeeTable
    calendar: TradingCalendar


@dataclass(frozen=True, slots=True)
class GateFiles:
    """The four files as JSON values; numbers are int or Decimal."""

    observation: Node
    decision: Node
    account: Node
    policy: Node


def check_files(files: GateFiles, rules: GateRules, at: datetime | None = None) -> dict[str, Any]:
    """Return the RiskResult (contracts.md) of the files, judged at `at` or at the observation.

    Targets are planned first, as a desk does; `planned` then says what each of them leads to.

    Raises:
        ConfigInvalid: GATE_FILE_INVALID, POLICY_INVALID or MODEL_PARSE_FAIL naming file, field,
            value and remedy.
    """
    made = files.observation.at("generated_at").instant()
    now = at or made
    try:
        policy = RiskPolicy.from_json(files.policy.value)
    except ConfigInvalid as error:
        raise ConfigInvalid(
            error.code, f"{files.policy.file}: {error.message}", remedy=error.remedy
        ) from error
    quotes, stats = _quotes(files.observation, made)
    prices = {symbol: quote.price for symbol, quote in quotes.items()}
    account = read_account(files.account, prices, rules.fees)
    references = _references(files.observation, made, rules, account, prices)
    decision, posture, most_cash = _decision(files.decision, made)
    if most_cash is not None:
        account.standing.cash_free = min(account.standing.cash_free, most_cash)
    decision, plan = planned(
        decision,
        standing=account.standing,
        positions=_positions(account),
        references=references,
        prices=prices,
        fees=account.fees,
    )
    house = Gatehouse(
        rules.calendar, rules.market.phases, account.fees, policy, account.venue_types
    )
    around = Surroundings(rules.market, quotes, stats, asked_posture=posture)
    asked = [
        _asked(action, account, house, references, decision, now, around)
        for action in decision.actions
    ]
    if at is None:
        _same_phase(files.observation, house, made)
    if plan is not None:
        asked += [_left(one, account, references) for one in plan.left]
    verdicts = judge_in_turn(asked, all_or_none=policy.all_or_none, suggest=suggest)
    result = risk_result(verdicts, policy.version, rules.market.citation, now)
    return result if plan is None else {**result, "planned": plan_json(plan)}


def risk_result(
    verdicts: list[ActionVerdict], policy_version: str, citation: str, at: datetime
) -> dict[str, Any]:
    """Return verdicts as contracts.md's RiskResult."""
    return {
        "pass": all(verdict.passed for verdict in verdicts),
        "verdicts": [
            {
                "action_index": verdict.action_index,
                "pass": verdict.passed,
                "reasons": [reason.as_json() for reason in verdict.reasons],
            }
            for verdict in verdicts
        ],
        "corrections": [
            {"action_index": verdict.action_index, **verdict.suggestion}
            for verdict in verdicts
            if verdict.suggestion
        ],
        "policy_version": policy_version,
        "rules_citation": citation,
        "evaluated_at": iso(at),
    }


def _asked(
    action: Action,
    account: GateAccount,
    house: Gatehouse,
    references: Mapping[str, Reference],
    decision: Decision,
    now: datetime,
    around: Surroundings,
) -> Asked:
    one = Asked(
        action.index,
        action.type,
        account.account_id,
        target=account.resting.get(action.target_order_id or ""),
        depends_on=action.depends_on,
    )
    if action.type in (ActionType.NO_OP, ActionType.CANCEL_ORDER):
        return one
    if action.type is ActionType.MODIFY_ORDER:
        if one.target is None:
            return one  # refused for that
        target = one.target
        action = replace(
            action,
            symbol=action.symbol or target.symbol,
            side=action.side or target.side,
            order_type=account.types[target.order_id],
            price=target.price if action.price is None else action.price,
            qty=action.qty or target.open_qty,
        )
    try:
        order = proposed_of(action)
        question = ask_gate(
            order,
            house,
            references.get(order.symbol),
            around.quotes.get(order.symbol),
            account.standing,
            decision.valid_until,
            now,
            around,
        )
    except Denied as error:
        return replace(one, fault=Reason(error.code, action.index, error.message))
    return replace(one, question=question)


def _left(target: Unplanned, account: GateAccount, references: Mapping[str, Reference]) -> Asked:
    """Return a target that leads to no order: nothing to judge, but where nobody knows enough."""
    fault = None
    if target.why == NO_PRICE:
        what, code = "price", "RISK_STALE_PRICE"
        if target.symbol not in references:
            what, code = "rules", "RISK_RULES_UNKNOWN"
        fault = Reason(code, target.index, f"no {what} of {target.symbol}")
    return Asked(target.index, ActionType.NO_OP, account.account_id, fault=fault)


def _positions(account: GateAccount) -> dict[str, Position]:
    """Return what the account holds and has on order, by symbol."""
    found = {
        symbol: Position(held=qty, sellable=account.standing.sellable.get(symbol, 0))
        for symbol, qty in account.standing.held.items()
    }
    for order in account.resting.values():
        one = found.get(order.symbol, Position())
        is_buy = order.side is Side.BUY
        found[order.symbol] = replace(
            one,
            buying=one.buying + order.open_qty * is_buy,
            selling=one.selling + order.open_qty * (not is_buy),
        )
    return found


def _decision(root: Node, made: datetime) -> tuple[Decision, Posture, int | None]:
    """Return the decision, the posture it asks for and the most cash it wants to spend (units)."""
    body = dict(root.members())
    body.pop("decision_id", None)
    since = root.at("timestamp").instant() if root.has("timestamp") else made
    until = root.at("valid_until").instant() if root.has("valid_until") else since + VALID_FOR
    for name in ("timestamp", "valid_until"):
        body.pop(name, None)
    try:
        text = json.dumps(body, default=str)
        decision, _ = parse_reply(text, decision_id=NIL, made_at=since, valid_until=until)
    except ConfigInvalid as error:
        raise ConfigInvalid(
            error.code, f"{root.file}: {error.message}", remedy=error.remedy
        ) from error
    asked = root.at("global_intent")
    posture, cash = Posture.NORMAL, None
    if asked.value is not None:
        if asked.has("risk_posture"):
            posture = asked.at("risk_posture").word(Posture)
        if asked.has("max_new_cash"):
            cash = asked.at("max_new_cash").money()
    return decision, posture, cash


def _quotes(observation: Node, made: datetime) -> tuple[dict[str, Quote], dict[str, Stats]]:
    """Return what the features say of prices and of how a symbol trades."""
    quotes: dict[str, Quote] = {}
    stats: dict[str, Stats] = {}
    features = observation.at("features")
    for symbol in features.members():
        one = features.at(symbol)
        volume = one.at("avg_volume_20d").whole() if one.has("avg_volume_20d") else None
        wild = one.at("vol_20d").share() if one.has("vol_20d") else None
        stats[symbol] = Stats(volume, wild)
        if not one.has("last"):
            continue
        best = [one.at(name).money() if one.has(name) else None for name in ("bid1", "ask1")]
        # A day without a time is that of a reference price: good until the first trade.
        as_of = at_shanghai(shanghai(made).date(), time(0))
        if one.has("as_of") and "T" in one.at("as_of").text():
            as_of = one.at("as_of").instant()
        quotes[symbol] = Quote(one.at("last").money(), as_of, *best)
    return quotes, stats


def _references(
    observation: Node,
    made: datetime,
    rules: GateRules,
    account: GateAccount,
    prices: Mapping[str, int],
) -> dict[str, Reference]:
    told = observation.at("market_rules")
    found: dict[str, Reference] = {}
    for symbol in told.members():
        try:
            listing = parse_symbol(symbol)
        except CaopanError:
            continue  # no share, or no symbol: without a reference nothing of it is traded
        one = _reference(told.at(symbol), listing, observation, made, prices.get(symbol, 0))
        found[symbol] = _held_to_rules(one, listing, account, rules.market)
    return found


def _reference(
    one: Node, listing: Listing, observation: Node, made: datetime, last: int
) -> Reference:
    known = all(name in one.members() for name in ("limit_up", "limit_down"))
    up, down = (one.at(n).money() if one.has(n) else None for n in ("limit_up", "limit_down"))
    tick, index = one.at("tick_size").money(), one.at("listing_day_index")
    if tick <= 0:
        raise one.at("tick_size").wrong("a tick is positive")
    return Reference(
        symbol=listing.symbol,
        day=shanghai(made).date(),
        board=listing.board,
        pre_close=last,
        limit_up=up,
        limit_down=down,
        limits_known=known,
        tick_size=tick,
        lot_size=one.at("lot_size").whole(),
        min_buy_qty=one.at("min_buy_qty").whole(),
        qty_step=one.at("qty_step").whole(),
        max_limit_qty=one.at("max_order_qty").whole(),
        t_plus_one=one.at("t_plus_one").truth(),
        trading_status=one.at("trading_status").word(TradingStatus),
        is_st=_warned(one, observation.at("features").at(listing.symbol)) is True,
        listing_day_index=None if index.value is None else index.whole(),
        action=None,
        problems=()
        if _warned(one, observation.at("features").at(listing.symbol)) is not None
        else (NOT_TOLD,),
    )


def _warned(one: Node, features: Node) -> bool | None:
    """Return whether the stock carries a risk warning; None where the observation does not tell."""
    if one.has("is_st"):
        return one.at("is_st").truth()
    if features.value is None or not features.has("risk_flags"):
        return None
    return "st" in {flag.text().lower() for flag in features.at("risk_flags").items()}


def _held_to_rules(
    found: Reference, listing: Listing, account: GateAccount, rules: MarketRules
) -> Reference:
    """Return the reference with what the dated rules say against it: no file changes a rule."""
    problems = set(found.problems) if account.standing.venue is Venue.BROKER else set[str]()
    most_market = None
    try:
        row = rules.quantities.rule(listing.exchange, listing.board, found.day)
        tick = rules.limits.tick_size(listing.exchange, found.day, listing.board.instrument)
    except Denied as error:
        problems.add(error.code)
    else:
        most_market = row.max_market_qty
        told = (found.min_buy_qty, found.qty_step, found.tick_size)
        agrees = told == (row.min_buy_qty, row.qty_step, tick)
        if not agrees or found.max_limit_qty > row.max_limit_qty:
            problems.add("DATA_RULES_MISMATCH")
    return replace(found, problems=tuple(sorted(problems)), max_market_qty=most_market)


def _same_phase(observation: Node, house: Gatehouse, made: datetime) -> None:
    """Refuse an observation whose clock says another phase than its time."""
    told = observation.at("clock").at("phase")
    if told.value is None:
        return
    session = house.calendar.is_session(shanghai(made).date())
    phase = house.phases.phase_of(made, session=session)
    if told.word(Phase) is not phase:
        raise told.wrong(f"generated_at lies in {phase}")
