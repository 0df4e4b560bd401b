"""Answers to cases about figures: fees, corporate actions, programme trading, matching.

Owns the translation of a case into the questions the product itself asks the rules. Must never hold
a rule or a figure. Tests: tests/unit/adapters/rules/test_cases.py.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from fractions import Fraction

from caopan.adapters.rules.case_file import Answer, Case, UnreadableError, order_type
from caopan.adapters.rules.case_orders import Rules, limit_case, limits, moment, schedule
from caopan.domain.accounting.corporate_actions import Entitlement, ex_reference
from caopan.domain.accounting.dividend_tax import Income, TaxLot, tax_of_sale
from caopan.domain.accounting.fees import (
    FeeSchedule,
    check_commission_floor,
    contained_fees,
    order_fees,
)
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.phases import Phase
from caopan.domain.market.surveillance import LocalLimits, Warned, trades_with_itself
from caopan.domain.matching.auction import AuctionOrder, auction_price
from caopan.domain.matching.sweep import Rest, Resting, Swept, sweep
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import UNITS_PER_YUAN, units, yuan

_ORDER = re.compile(
    r"\b(BUY|SELL)\s+(?:[A-Z][A-Z0-9_]+\s+)?(?:([\d.]*)\s*[xX×]\s*)?(\d+)\b(?!\.)"
    r"(?:\s*@\s*([\d.]+))?"
)
_TYPE = re.compile(r"\b(?:MARKET_)?((?:BEST5|PEER|OWN)_\w+|IOC|FOK)\b")
_LEVEL = re.compile(r"(?:([A-Za-z]\w*)\s+)?([\d.]+)\s*[xX×]\s*(\d+)(?:\s*@\s*([\d:.]+))?")
_LEVELS = re.compile(
    r"(asks|bids)\s+(\d+)\s+levels\s+([\d.]+)\s*\.\.\s*([\d.]+)\s+each\s+(\d+)", re.IGNORECASE
)
_TOTAL = re.compile(r"(asks|bids)\s+total\s+(\d+)", re.IGNORECASE)
_SIDE = re.compile(r"(buy|sell)s?\b((?:(?!buy|sell).)*)", re.IGNORECASE | re.DOTALL)
_IN_AUCTION = re.compile(r"(\d+)\s*@\s*(limit_up|limit_down|[\d.]+)")
_AUCTIONS = frozenset(
    {
        Phase.OPEN_AUCTION,
        Phase.OPEN_AUCTION_NO_CANCEL,
        Phase.AUCTION_GAP,
        Phase.CLOSING_AUCTION,
        Phase.POST_CLOSE_GAP,
    }
)
_LATER = frozenset({Phase.CLOSING_AUCTION, Phase.POST_CLOSE_GAP})


def fee(case: Case, rules: Rules) -> Answer:
    """Answer with the components of an order's fees, of a round trip, or with what is contained."""
    kind = case.board.instrument
    if "statutory" in case.context.text:
        amount = case.money("price") * case.qty
        handling, regulatory = contained_fees(
            rules.book.fees, amount, case.day, case.exchange, kind
        )
        text = f"handling={yuan(handling)}; regulatory={yuan(regulatory)}"
        return Answer(text, value=yuan(handling + regulatory))
    try:
        terms = schedule(case, rules)
        _check_floor(case, terms)
    except ConfigInvalid as error:
        if isinstance(error, UnreadableError):
            raise
        return Answer("REJECT:CONFIG", detail=error.message)
    if not case.has_order:
        return Answer("ACCEPT", detail="the account's terms are lawful")
    side = case.cells["side"].upper()
    prices = [units(text) for text in re.findall(r"\d+(?:\.\d+)?", case.cells["price"])]
    if side == "ROUNDTRIP" and len(prices) == 2:  # noqa: PLR2004 - bought at one, sold at the other
        bought, sold = (price * case.qty for price in prices)
        paid = order_fees(terms, Side.BUY, bought, case.day, case.exchange, kind).total
        got = order_fees(terms, Side.SELL, sold, case.day, case.exchange, kind).total
        net = sold - bought - paid - got
        return Answer(f"buy_fee={yuan(paid)}; sell_fee={yuan(got)}", value=yuan(net))
    if len(prices) != 1:
        raise UnreadableError("price", case.cells["price"], "is no price")
    fees = order_fees(
        terms,
        Side.BUY if case.buying else Side.SELL,
        prices[0] * case.qty,
        case.day,
        case.exchange,
        kind,
    )
    parts = {"commission": fees.commission, "stamp": fees.stamp_duty, "transfer": fees.transfer_fee}
    text = "; ".join(f"{name}={yuan(amount)}" for name, amount in parts.items())
    return Answer(text, value=yuan(fees.total))


def corporate_action(case: Case, rules: Rules) -> Answer:
    """Answer with the ex-right reference price and its limits, or with a dividend's tax."""
    if "gross_dividend" in case.context:
        return _dividend_tax(case, rules)
    context = case.context
    rights = re.fullmatch(r"([\d.]+)\s*@\s*([\d.]+)", context.get("rights") or "0@0")
    if rights is None:
        raise UnreadableError("context.rights", context.get("rights"), "is not ratio@price")
    known = {"cash/share", "bonus_ratio", "rights"} & set(context.keys())
    if not known:
        raise UnreadableError("context", context.text, "tells of no corporate action")
    terms = Entitlement(
        # A dividend a share may have more decimals than an amount of money.
        cash=(
            Fraction(context.number("cash/share")) * UNITS_PER_YUAN
            if "cash/share" in context
            else Fraction(0)
        ),
        bonus=Fraction(context.number("bonus_ratio")) if "bonus_ratio" in context else Fraction(0),
        rights=Fraction(rights[1]),
        rights_price=units(rights[2]),
    )
    table = rules.book.market.limits
    tick = table.tick_size(case.exchange, case.day, case.board.instrument)
    reference = ex_reference(case.money("pre_close"), terms, tick)
    band = table.limits(limit_case(case, rules), reference)
    return Answer(
        "EX_REF",
        "" if band.up is None else yuan(band.up),
        "" if band.down is None else yuan(band.down),
        yuan(reference),
    )


def program_trading(case: Case, rules: Rules) -> Answer:
    """Answer whether a count makes an account high-frequency, or a pattern is warned of."""
    table, context, day = rules.book.market.surveillance, case.context, case.day
    keys = set(context.keys())
    if keys & {"orders_1s", "cancels_1s", "orders_day", "cancels_day"}:
        high = table.high_frequency(
            day,
            in_a_second=context.count("orders_1s", missing=0)
            + context.count("cancels_1s", missing=0),
            in_the_day=context.count("orders_day", missing=0)
            + context.count("cancels_day", missing=0),
        )
        return Answer("HFT" if high else "NOT_HFT")
    if "broker_report_confirmed" in context:
        confirmed = context.flag("broker_report_confirmed")
        allowed = confirmed or not table.must_be_reported(day)
        return Answer("ACCEPT" if allowed else "REJECT:NOT_REPORTED")
    if keys & {"own_open_sell", "own_open_buy"}:
        buying = "own_open_sell" in context
        price = context.money("buy_price" if buying else "sell_price")
        own = context.money("own_open_sell" if buying else "own_open_buy")
        if price is None:
            raise UnreadableError("context.buy_price", context.text, "is missing")
        meets = trades_with_itself(price, own, buying=buying)
        return Answer("REJECT:SELF_TRADE" if meets else "ACCEPT")
    return _local_limits(case) or _pattern(case, rules)


def matching(case: Case, rules: Rules) -> Answer:
    """Answer with the price of an auction, or with the trades of one order against a book."""
    halted, phase = moment(case, rules)
    if halted:
        # What ends a halt is an auction, and it looks to the last trade as the closing one does.
        phase = Phase.CLOSING_AUCTION
    return _auction(case, rules, phase) if phase in _AUCTIONS else _continuous(case)


def _check_floor(case: Case, terms: FeeSchedule) -> None:
    try:
        check_commission_floor(terms, case.day, case.exchange, case.board.instrument)
    except Denied:
        # What the commission contains is not known, so nothing can be said against it.
        return


def _dividend_tax(case: Case, rules: Rules) -> Answer:
    account = (case.context.get("account") or "").lower()
    if account not in {"individual", "个人"}:
        raise UnreadableError("context.account", account, "is not taxed by holding period")
    gross = case.context.money("gross_dividend") or 0
    bought = _bought_on(case.day, case.context.need("holding"))
    lot = TaxLot(bought, 1, (Income(case.day, Fraction(gross)),))
    tax = tax_of_sale(rules.book.dividend_tax, [lot], 1, case.day).tax
    return Answer("DIV_TAX", value=yuan(tax))


def _bought_on(sold: date, holding: str) -> date:
    found = re.match(r"(\d+)\s*(天|日|d|个?月|m|年|y)", holding.lower())
    if found is None:
        raise UnreadableError("context.holding", holding, "is no length of time")
    number, unit = int(found[1]), found[2]
    if unit in {"天", "日", "d"} and number < sold.toordinal():
        return sold - timedelta(days=number)
    if unit in {"天", "日", "d"} or len(found[1]) > len("9999"):
        raise UnreadableError("context.holding", holding, "is too long a time")
    months = number * (12 if unit in {"年", "y"} else 1)
    year, month = divmod(sold.year * 12 + sold.month - 1 - months, 12)
    for day in (sold.day, 30, 29, 28):
        try:
            return date(year, month + 1, day)
        except ValueError:
            continue
    raise UnreadableError("context.holding", holding)


def _local_limits(case: Case) -> Answer | None:
    text = case.context.text
    if "local_limits" not in text:
        return None
    second = re.search(r"(\d+)\w*\s+order\w*\s+in\s+(?:1\s*s|a second|one second)", text)
    whole = re.search(r"(\d+)\w*\s+order\w*\s+(?:in|of)\s+(?:1\s*d\w*|the day|a day|day)", text)
    ratio = re.search(r"cancel\w*[ _]?(?:ratio|share|rate)?\s*[=:]?\s*([\d.]+)(%?)", text)
    if not (second or whole or ratio):
        raise UnreadableError("context.local_limits", text)
    cancelled = Fraction(0)
    if ratio:
        cancelled = Fraction(ratio[1]) / (100 if ratio[2] else 1)
    broken = LocalLimits().broken_by(
        in_a_second=int(second[1]) if second else 0,
        in_the_day=int(whole[1]) if whole else 0,
        cancelled=cancelled,
    )
    return Answer("REJECT:KILL_SWITCH" if broken else "ACCEPT")


def _pattern(case: Case, rules: Rules) -> Answer:
    table, context, day = rules.book.market.surveillance, case.context, case.day
    found: Warned | None
    if "self_trade" in context:
        found = table.self_trade(day, context.count("self_trade"), context.count("day_volume"))
    elif "price_3min_change" in context:
        # "High" without a figure took part.
        told = re.search(r"\d", context.get("own_share") or "")
        own = context.share("own_share") if told else None
        found = table.pull_up(day, context.share("price_3min_change"), own)
    elif "dev" in context:
        cancelled = context.share("cancelled")
        found = table.spoof_open(day, context.share("dev"), cancelled, is_st=case.is_st)
    else:
        raise UnreadableError("context", context.text)
    return Answer("ACCEPT" if found is None else f"WARN:{found.upper()}")


def _auction(case: Case, rules: Rules, phase: Phase) -> Answer:
    sides = {"buy": list[AuctionOrder](), "sell": list[AuctionOrder]()}
    written = [*case.context.phrases]
    for names in (("buys", "bids"), ("sells", "asks")):
        listed = (case.context.get(name) for name in names)
        written += [f"{names[0]}: {text}" for text in listed if text]
    for phrase in written:
        for side, orders in _SIDE.findall(phrase):
            into = sides[side.lower()]
            for price, qty in _auction_orders(orders):
                into.append(AuctionOrder(len(into), _auction_price(case, rules, price), int(qty)))
    buys, sells = sides["buy"], sides["sell"]
    if not buys and not sells:
        raise UnreadableError("context", case.context.text, "holds no orders")
    reference = case.context.money("last") if phase in _LATER else None
    for key in ("prev_close", "pre_close"):
        reference = case.context.money(key) if reference is None else reference
    result = auction_price(
        buys,
        sells,
        exchange=case.exchange,
        reference=case.money("pre_close") if reference is None else reference,
        tick=rules.book.market.limits.tick_size(case.exchange, case.day, case.board.instrument),
    )
    if result is None:
        return Answer("NO_TRADE")
    return Answer("AUCTION", value=f"price={yuan(result.price)}; volume={result.volume}")


def _auction_orders(text: str) -> list[tuple[str, str]]:
    """Return (price, quantity) of each order written price x quantity or quantity @ price."""
    found = [(price, qty) for _, price, qty, _ in _LEVEL.findall(text)]
    return found or [(price, qty) for qty, price in _IN_AUCTION.findall(text)]


def _auction_price(case: Case, rules: Rules, word: str) -> int:
    if word not in {"limit_up", "limit_down"}:
        return units(word)
    found = limits(case, rules)
    price = found.up if word == "limit_up" else found.down
    if price is None:
        raise UnreadableError("context", word, "names a limit, and there is none")
    return price


def _continuous(case: Case) -> Answer:
    text = case.context.text
    books = {"asks": list[Resting](), "bids": list[Resting]()}
    for name, resting in books.items():
        listed = case.context.get(name) or ""
        named = [
            (found[4] or "", Resting(found[1] or "", units(found[2]), int(found[3])))
            for found in _LEVEL.finditer(listed)
        ]
        # Python sorts stably: those without a time stay as they are written.
        resting.extend(one for _, one in sorted(named, key=lambda pair: pair[0]))
    for side, count, first, last, each in _LEVELS.findall(text):
        low, high = units(first), units(last)
        step = (high - low) // max(int(count) - 1, 1)
        if low + step * (int(count) - 1) != high:
            raise UnreadableError("context", text, "has levels that are not evenly spaced")
        books[side.lower()].extend(
            Resting("", low + step * number, int(each)) for number in range(int(count))
        )
    for side, total in _TOTAL.findall(text):
        # Only how much there is counts: the prices are not told.
        books[side.lower()].append(Resting("", case.money("pre_close"), int(total)))
    wanted, price, qty, buying = _taker(case)
    best = {key: case.context.money(key) for key in ("bid1", "ask1")}
    for key, name in (("bid1", "bids"), ("ask1", "asks")):
        level = _LEVEL.fullmatch(case.context.get(key) or "")
        if level is not None and not books[name]:
            books[name].append(Resting("", units(level[2]), int(level[3])))
    opposite = books["asks" if buying else "bids"]
    own = best["bid1" if buying else "ask1"]
    same = [one.price for one in books["bids" if buying else "asks"]]
    if own is None and same:
        own = max(same) if buying else min(same)
    best_opposite = best["ask1" if buying else "bid1"]
    if not opposite and best_opposite is not None:
        opposite = [Resting("", best_opposite, 0)]
    swept = sweep(wanted, price, qty, opposite, own, buying=buying)
    return _told(swept, wanted, buying=buying)


def _taker(case: Case) -> tuple[ExchangeOrderType, int | None, int, bool]:
    phrase = next((one for one in case.context.phrases if _ORDER.search(one)), "")
    found = _ORDER.search(phrase)
    if found is not None:
        told = found[2] or found[4]
        price = units(told) if told else None
        market = _TYPE.search(phrase)
        wanted = order_type(f"MARKET_{market[1]}" if market else case.cells["order_type"])
        if price is None and wanted is ExchangeOrderType.LIMIT:
            raise UnreadableError("context", case.context.text, "holds a limit order, no price")
        return wanted, price, int(found[3]), found[1] == "BUY"
    if not case.cells["side"]:
        raise UnreadableError("context", case.context.text, "holds no order")
    wanted = case.order_type
    price = case.money("price") if wanted is ExchangeOrderType.LIMIT else None
    return wanted, price, case.qty, case.buying


def _told(swept: Swept, wanted: ExchangeOrderType, *, buying: bool) -> Answer:
    trades = [trade for trade in swept.trades if trade.qty]
    if any(trade.key for trade in trades):
        text = ",".join(f"{trade.key}:{trade.qty}" for trade in trades)
    else:
        text = "+".join(f"{yuan(trade.price)}x{trade.qty}" for trade in trades)
    if swept.rest is Rest.NONE:
        fifo = any(trade.key for trade in trades)
        if len(trades) > 1 and not fifo:
            text += f"; filled {sum(trade.qty for trade in trades)}"
        return Answer("FIFO" if fifo else ("TRADE" if len(trades) == 1 else "TRADES"), value=text)
    filled = f"{text}; filled {sum(trade.qty for trade in trades)}"
    if swept.rest is Rest.CANCELLED:
        if not trades:
            return Answer("CANCELLED")
        return Answer("CANCEL_REST", value=f"{filled}; cancelled {swept.left}")
    side = "BUY" if buying else "SELL"
    rest = f"rest {side} {yuan(swept.price or 0)}x{swept.left}"
    if wanted is ExchangeOrderType.LIMIT:
        return (
            Answer("PARTIAL_REST", value=f"{text}; {rest}")
            if trades
            else Answer("REST", value=rest)
        )
    return Answer("REST_AS_LIMIT", value=f"{filled}; {rest}" if trades else rest)
