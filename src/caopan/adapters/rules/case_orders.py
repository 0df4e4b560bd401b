"""Answers to cases about one order: price, cage, quantity, phase and type, position and cash.

Owns the translation of a case into the questions the product itself asks the rules. Must never hold
a rule or a figure. Tests: tests/unit/adapters/rules/test_cases.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from caopan.adapters.rules.book import RuleBook
from caopan.adapters.rules.case_file import Answer, Case, UnreadableError
from caopan.adapters.rules.case_words import fund_kind, is_halt, phase_named
from caopan.domain.accounting.fees import FeeSchedule, fee_schedule, upper_bound
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.halts import Direction, Tier, halt_after
from caopan.domain.market.order_types import check_after_hours_price
from caopan.domain.market.phases import OrderKind, Permit, Phase
from caopan.domain.market.price_cage import Beyond, BookTop, applies, base_price, cage_bound
from caopan.domain.market.price_limits import LimitCase, PriceLimits
from caopan.domain.market.quantity import QuantityFault, check_daily_buy, check_quantity
from caopan.domain.market.settlement import SellFault, check_sale
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.money import yuan

_AUCTIONS = frozenset({Phase.OPEN_AUCTION, Phase.OPEN_AUCTION_NO_CANCEL, Phase.CLOSING_AUCTION})
_CONTINUOUS = frozenset({Phase.CONTINUOUS_AM, Phase.CONTINUOUS_PM})
_NO_CANCEL = frozenset({Phase.OPEN_AUCTION_NO_CANCEL, Phase.CLOSING_AUCTION})
_QUANTITY = {
    QuantityFault.NOT_A_LOT: "REJECT:LOT",
    QuantityFault.ODD_LOT_SPLIT: "REJECT:ODD_LOT_SPLIT",
    QuantityFault.TOO_LARGE: "REJECT:MAX_QTY",
    QuantityFault.DAILY_CAP: "REJECT:ST_DAILY_BUY_CAP",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What cases are answered from."""

    book: RuleBook
    calendar: TradingCalendar


def limit_case(case: Case, rules: Rules) -> LimitCase:
    """Return the state of the case's security, as the limit table wants it.

    Raises:
        UnreadableError: if the state is not known, or contradicts the context.
    """
    state, day = case.state, case.day
    listing = delisting = None
    found = re.fullmatch(r"(new_listing|delisting|relist(?:ing)?)(?:_day(\d+))?", state)
    if found is None and state not in {"normal", "st", "ex_date"} and not is_halt(state):
        raise UnreadableError("state", case.cells["state"])
    index = int(found[2]) if found and found[2] else None
    if found and found[1] == "new_listing":
        told = "listing_day_index" in case.context
        listing = case.context.count("listing_day_index") if told else index
        if listing is None or (index is not None and index != listing):
            raise UnreadableError("state", case.cells["state"], "does not tell which day it is")
    elif found and found[1] == "delisting":
        delisting = index or 2
    return LimitCase(
        case.exchange,
        case.board,
        day,
        case.is_st,
        listing_day_index=listing,
        listed_on=None if listing is None else _listed_on(day, listing, rules.calendar),
        delisting_day_index=delisting,
        relisted=state.startswith("relist") and (index or 1) == 1,
    )


def limits(case: Case, rules: Rules) -> PriceLimits:
    """Return the price limits of the case's day."""
    asked = limit_case(case, rules)
    reference = case.money("pre_close")
    if asked.listing_day_index == 1:
        issued = case.context.money("issue_price")
        reference = reference if issued is None else issued
    return rules.book.market.limits.limits(asked, reference)


def price_limit(case: Case, rules: Rules) -> Answer:
    """Answer with the limits of the day, or with what becomes of an order's price."""
    found = limits(case, rules)
    up = "" if found.up is None else yuan(found.up)
    down = "" if found.down is None else yuan(found.down)
    if not case.has_order:
        outcome = "NO_LIMIT" if found.up is None else "LIMITS"
        return Answer(outcome, up, down, detail=found.source)
    if case.off_tick(_tick(case, rules)):
        return Answer("REJECT:TICK", up, down, detail=found.source)
    outcome = _beyond_limits(case.money("price"), found.up, found.down)
    if found.up is None:
        outcome = _auction_range(case, rules)
    return Answer(outcome or "ACCEPT", up, down, detail=found.source)


def price_cage(case: Case, rules: Rules) -> Answer:
    """Answer with the bound that holds for the order, and whether it lies inside."""
    row = rules.book.market.cages.row(case.exchange, case.board, case.day)
    halted, phase = moment(case, rules)
    if not applies(row, phase, case.order_type.kind, halted=halted):
        return Answer("ACCEPT", detail=row.source)
    if case.off_tick(_tick(case, rules)):
        return Answer("REJECT:TICK", detail=row.source)
    price, base = case.money("price"), case.context.money("base")
    if base is None:
        known = {key: case.context.money(key) for key in ("bid1", "ask1", "last")}
        top = BookTop(known["bid1"], known["ask1"], known["last"], case.money("pre_close"))
        base = base_price(top, buying=case.buying)
    bound = cage_bound(row, base, _tick(case, rules), buying=case.buying)
    day_limits = limits(case, rules)
    outcome = _beyond_limits(price, day_limits.up, day_limits.down)
    if price > bound if case.buying else price < bound:
        outcome = "HOLD" if row.beyond is Beyond.HELD else "REJECT:CAGE"
    if case.buying and day_limits.up is not None:
        bound = min(bound, day_limits.up)
    elif not case.buying and day_limits.down is not None:
        bound = max(bound, day_limits.down)
    return Answer(outcome or "ACCEPT", value=yuan(bound), detail=row.source)


def quantity(case: Case, rules: Rules) -> Answer:
    """Answer whether the board takes the quantity."""
    table = rules.book.market.quantities
    row = table.rule(case.exchange, case.board, case.day)
    available = None if case.buying else case.context.count("available", missing=-1)
    if available is not None and available < 0:
        if case.qty % row.qty_step or case.qty < row.min_buy_qty:
            raise UnreadableError("context.available", None, "is missing")
        available = None
    found = check_quantity(
        row,
        case.qty,
        selling=not case.buying,
        # Where nothing is told of the holding, it is taken to leave no odd lot.
        sellable=row.lot_size * row.max_limit_qty if available is None else available,
        market_order=case.order_type.kind is OrderKind.MARKET,
        most=row.largest(case.order_type.kind),
    )
    if found is None and available is not None and case.qty > available:
        return Answer("REJECT:INSUFFICIENT_POSITION", detail=f"{available} may be sold")
    priced = case.order_type.kind is not OrderKind.MARKET and case.cells["price"]
    if found is None and priced and case.off_tick(_tick(case, rules)):
        return Answer("REJECT:TICK", detail=row.source)
    if found is None and case.is_st and case.buying:
        cap = table.daily_buy_cap(case.exchange, case.day)
        found = check_daily_buy(cap, case.qty, case.context.count("st_bought_today", missing=0))
    if found is None:
        return Answer("ACCEPT", detail=row.source)
    return Answer(_QUANTITY[found.fault], detail=found.detail)


def phase_ordertype(case: Case, rules: Rules) -> Answer:
    """Answer what the exchange does with an order or a cancel at the moment, or with a trade."""
    if "open" in case.context and "last" in case.context:
        return _halt(case, rules)
    halted, phase = moment(case, rules)
    if phase is Phase.NON_TRADING_DAY:
        return Answer("REJECT:NON_TRADING_DAY", detail=rules.calendar.name)
    if case.state == "suspended":
        return Answer("REJECT:SUSPENDED", detail="a suspended security takes no orders")
    action = (case.context.get("action") or "NEW").upper()
    if action not in {"NEW", "CANCEL"}:
        raise UnreadableError("context.action", action)
    if action == "CANCEL":
        return _cancel(case, rules, phase, halted=halted)
    return _place(case, rules, phase, halted=halted)


def t1_cash(case: Case, rules: Rules) -> Answer:
    """Answer whether the shares may be sold, or the cash suffices to buy."""
    return _buy(case, rules) if case.buying else _sell(case, rules)


def moment(case: Case, rules: Rules) -> tuple[bool, Phase]:
    """Return whether the security is halted for a while, and the phase: as told, else by the time.

    Raises:
        UnreadableError: if neither a phase nor a time can be read.
    """
    word = case.context.get("phase") or ""
    halted = is_halt(case.state) or is_halt(word)
    by_time = None
    if case.cells["time"] or not word:
        by_time = rules.book.market.phases.phase_of(
            at_shanghai(case.day, case.time),
            session=rules.calendar.is_session(case.day),
            exchange=case.exchange,
            instrument=case.board.instrument,
        )
    if word and not is_halt(word):
        return halted, phase_named(word, by_time if by_time in _AUCTIONS else None)
    if by_time is None:
        # A halt interrupts nothing but continuous trading.
        return halted, Phase.CONTINUOUS_AM
    return halted and by_time in _CONTINUOUS, by_time


def schedule(case: Case, rules: Rules) -> FeeSchedule:
    """Return what the case's account pays: its own terms, else the usual ones.

    Raises:
        ConfigInvalid: FEES_INVALID if the rate is unlawful.
    """
    terms: dict[str, str] = {}
    both = case.context.get("commission")
    if both is not None:
        found = re.match(r"([\d.]+)(%?)(?:\s*,\s*min\s*=?\s*([\d.]+))?", both)
        if found is None:
            raise UnreadableError("context.commission", both, "begins with no rate")
        terms["commission_rate"] = _as_rate(found[1], percent=bool(found[2]))
        if found[3]:
            terms["commission_min"] = found[3]
    for key in ("rate", "commission_rate"):
        if key in case.context:
            percent = "%" in case.context.need(key)
            terms["commission_rate"] = _as_rate(str(case.context.number(key)), percent=percent)
    for key in ("min", "commission_min"):
        if key in case.context:
            terms["commission_min"] = str(case.context.number(key))
    return fee_schedule(rules.book.fees, **terms)


def _as_rate(text: str, *, percent: bool) -> str:
    return f"{text}e-2" if percent else text


def _listed_on(day: date, index: int, calendar: TradingCalendar) -> date:
    return calendar.offset(calendar.on_or_before(day), 1 - index)


def _tick(case: Case, rules: Rules) -> int:
    return rules.book.market.limits.tick_size(case.exchange, case.day, case.board.instrument)


def _beyond_limits(price: int, up: int | None, down: int | None) -> str:
    if up is not None and price > up:
        return "REJECT:ABOVE_LIMIT_UP"
    return "REJECT:BELOW_LIMIT_DOWN" if down is not None and price < down else ""


def _auction_range(case: Case, rules: Rules) -> str:
    if not case.cells["time"]:
        return ""
    halted, phase = moment(case, rules)
    row = rules.book.market.halts.auction_range(case.exchange, phase, case.day, halted=halted)
    base = case.context.money("issue_price")
    if row is not None and not row.opening:
        base = case.context.money("last")
    base = case.money("pre_close") if base is None else base
    if row is None:
        return ""
    price = case.money("price")
    low = row.lowest is not None and price < base * row.lowest
    if not (low or price > base * row.highest):
        return ""
    if row.held:
        return "HOLD"
    return "REJECT:BELOW_LIMIT_DOWN" if low else "REJECT:ABOVE_LIMIT_UP"


def _cancel(case: Case, rules: Rules, phase: Phase, *, halted: bool) -> Answer:
    if halted:
        return Answer("ACCEPT", detail="orders are cancelled during a temporary halt")
    permit = rules.book.market.phases.may_cancel(
        phase, case.order_type.kind, exchange=case.exchange, day=case.day
    )
    if permit is Permit.REFUSED:
        return Answer("REJECT:NO_CANCEL" if phase in _NO_CANCEL else "REJECT:PHASE", detail=phase)
    return Answer("QUEUE" if permit is Permit.QUEUED else "ACCEPT", detail=phase)


def _place(case: Case, rules: Rules, phase: Phase, *, halted: bool) -> Answer:
    kind = case.order_type.kind
    as_limit = _permit(case, rules, phase, OrderKind.LIMIT)
    if kind is OrderKind.LIMIT:
        words = {Permit.ACCEPTED: "ACCEPT", Permit.QUEUED: "QUEUE", Permit.REFUSED: "REJECT:PHASE"}
        return Answer(words[as_limit], detail=phase)
    if kind is OrderKind.AFTER_HOURS_FIXED:
        return _place_at_close(case, rules, phase, takes_orders=as_limit is not Permit.REFUSED)
    if as_limit is Permit.REFUSED:
        return Answer("REJECT:PHASE", detail=phase)
    market = rules.book.market
    refused = market.order_types.check(
        case.exchange,
        case.board,
        case.order_type,
        case.day,
        has_limits=market.limits.row(limit_case(case, rules)).up is not None,
        protection=_protection(case),
    )
    if refused is not None:
        return Answer("REJECT:ORDER_TYPE", detail=refused.detail)
    if halted or _permit(case, rules, phase, kind) is not Permit.ACCEPTED:
        return Answer("REJECT:ORDER_TYPE", detail=f"no market orders in {phase}")
    day_limits = limits(case, rules)
    protection = _protection(case)
    beyond = ""
    if protection is not None:
        beyond = _beyond_limits(protection, day_limits.up, day_limits.down)
    return Answer(beyond or "ACCEPT", detail=phase)


def _place_at_close(case: Case, rules: Rules, phase: Phase, *, takes_orders: bool) -> Answer:
    if not rules.book.market.phases.after_hours(case.exchange, case.board, case.day):
        # The market is open to other orders, or to none at all.
        outcome = "REJECT:ORDER_TYPE" if takes_orders else "REJECT:PHASE"
        return Answer(outcome, detail=f"{case.board} does not trade at the close on {case.day}")
    if _permit(case, rules, phase, OrderKind.AFTER_HOURS_FIXED) is Permit.REFUSED:
        return Answer("REJECT:PHASE", detail=phase)
    close = case.context.money("close")
    if close is not None:
        why = check_after_hours_price(case.money("price"), close, buying=case.buying)
        if why is not None:
            return Answer("REJECT:AFTER_HOURS_PRICE", detail=why)
    return Answer("ACCEPT", detail=phase)


def _permit(case: Case, rules: Rules, phase: Phase, kind: OrderKind) -> Permit:
    return rules.book.market.phases.may_place(
        phase, kind, exchange=case.exchange, board=case.board, day=case.day
    )


def _protection(case: Case) -> int | None:
    """Return the protective price: told as such, else the order's price stands for it."""
    if case.context.denies("protect_price"):
        return None
    if "protect_price" in case.context:
        told = case.context.get("protect_price")
        return case.context.money("protect_price") if told else None
    return case.money("price") if case.cells["price"] else None


def _halt(case: Case, rules: Rules) -> Answer:
    table = rules.book.market.halts
    _, phase = moment(case, rules)
    unlimited = rules.book.market.limits.row(limit_case(case, rules)).up is None
    if not unlimited or phase not in _CONTINUOUS:
        return Answer("NO_HALT", detail="it has a price limit, or trading is not continuous")
    row = table.row(case.exchange, case.board, case.day)
    opening, last = case.context.money("open"), case.context.money("last")
    if not opening or not last:
        raise UnreadableError("context.open", case.context.text, "is no price")
    done: set[Tier] = set()
    going = Direction.UP if last > opening else Direction.DOWN
    for share in row.tiers:
        percent = int(share * 100)
        for direction in Direction:
            named = case.context.flag(f"halt{percent}_{direction}_done")
            if named or (direction is going and case.context.flag(f"halt{percent}_done")):
                done.add(Tier(direction, share))
    found = halt_after(row, opening, last, at_shanghai(case.day, case.time), frozenset(done))
    if found is None:
        return Answer("NO_HALT", detail=row.source)
    resumes = f"{shanghai(found.until):%H:%M:%S}"
    outcome = "HALT_UNTIL_1457" if found.cut_short else f"HALT_{row.minutes}MIN"
    return Answer(outcome, value=resumes, detail=row.source)


def _sell(case: Case, rules: Rules) -> Answer:
    word = case.context.get("etf_kind") or case.context.get("fund_kind")
    kind = fund_kind(word) if word else None
    row = rules.book.market.settlement.row(case.exchange, case.board, kind, case.day)
    count = case.context.count
    if not {"yesterday", "bought_today", "available"} & set(case.context.keys()):
        raise UnreadableError("context", case.context.text, "tells of no holding")
    settled = count("yesterday", missing=count("available", missing=0))
    gone = count("frozen", missing=0) + count("sold_today", missing=0)
    fault = check_sale(case.qty, settled, count("bought_today", missing=0), gone, row.holding_days)
    words = {
        None: "ACCEPT",
        SellFault.NOT_SETTLED: "REJECT:T1",
        SellFault.NOT_HELD: "REJECT:INSUFFICIENT_POSITION",
    }
    return Answer(words[fault], detail=f"{row.source}: {row.holding_days} sessions held")


def _buy(case: Case, rules: Rules) -> Answer:
    amounts = {key: case.context.money(key) for key in ("cash_available", "cash_start", "cash")}
    if all(amount is None for amount in amounts.values()):
        raise UnreadableError("context.cash_available", case.context.text, "is missing")
    cash = sum(amount for amount in amounts.values() if amount is not None)
    cash += (case.context.money("sold_today_net") or 0) - (case.context.money("frozen") or 0)
    word = re.match(r"\w+", case.context.get("order_type") or case.cells["order_type"])
    # Which market type does not matter: each freezes the most it can cost.
    is_market = word is not None and word[0].upper().startswith("MARKET")
    if is_market:
        most = case.context.money("protect_price") or limits(case, rules).up
        if most is None:
            raise UnreadableError("order_type", word, "freezes at limit-up, and there is none")
    else:
        most = case.money("price")
    need = upper_bound(
        schedule(case, rules), case.qty, most, case.day, case.exchange, case.board.instrument
    )
    enough = need <= cash
    return Answer(
        "ACCEPT" if enough else "REJECT:INSUFFICIENT_CASH",
        detail=f"needs {yuan(need)}, has {yuan(cash)}",
    )
