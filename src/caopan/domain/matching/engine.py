"""The sandbox exchange: orders in, finished bars in, events out.

Owns SandboxExchange: what is taken and refused when, the order of events, reserves, cancels on
their way, the end of the day. Deterministic: the same calls give the same log, byte for byte. A
fill policy (policies.py) says at which price a bar serves an order; it never sees a bar before
`on_bar` brings it finished, and an order is served only by bars that began after it had arrived.
Must never read a clock, draw a number or do I/O. Tests: tests/property/domain/matching/,
tests/simulation/domain/.

    open_day(day, quotes) → place / cancel / on_bar / on_print … → close_day()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction

from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.phases import Permit
from caopan.domain.market.reference import Exchange
from caopan.domain.matching.admission import SESSION, refusal
from caopan.domain.matching.after_hours import AfterHours
from caopan.domain.matching.bars import check_bar, check_bar_at_close, check_quote
from caopan.domain.matching.exchange_terms import ExchangeTerms
from caopan.domain.matching.halt_watch import HaltWatch
from caopan.domain.matching.held_orders import HELD_MS, release, release_for_auction
from caopan.domain.matching.models import NoSlippage
from caopan.domain.matching.policies import NO_VOLUME
from caopan.domain.matching.reserves import affordable, hold_back
from caopan.domain.matching.terms import (
    AFTER_HOURS_MS,
    CONTINUOUS_MS,
    NO_LIMIT_UP,
    Bar,
    DayQuote,
    Event,
    EventKind,
    Listing,
    LiveOrder,
    SecurityTerms,
    Status,
)
from caopan.domain.matching.visible_book import Level, seen_book
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid

_NO_FEES = (0, 0, 0)


class SandboxExchange:
    """One exchange floor with one account on it."""

    def __init__(
        self,
        terms: ExchangeTerms,
        securities: Iterable[SecurityTerms],
        account: TradingAccount,
        fees: Mapping[Exchange, FeeTerms],
    ) -> None:
        """Stand before the first day; `open_day` may bring other fees."""
        self.terms = terms
        self.policy = terms.policy
        self.slippage = None if isinstance(terms.slippage, NoSlippage) else terms.slippage
        self.account = account
        self.listings = {one.symbol: Listing(one) for one in securities}
        self.after_hours = AfterHours(
            terms.after_hours_share, terms.participation, has_hours=terms.rules is not None
        )
        self.day = account.today
        self.now_ms = 0
        self.is_open = False
        self.live: dict[int, LiveOrder] = {}
        self.events: list[Event] = []
        """The log since the start or `take_events`."""
        self.next_order = 1
        self.next_event = 1
        self._share = terms.participation.numerator
        self._of = terms.participation.denominator
        self._charge(fees)

    # --- the day ------------------------------------------------------------------------------

    def open_day(
        self,
        day: date,
        quotes: Iterable[DayQuote],
        fees: Mapping[Exchange, FeeTerms] | None = None,
    ) -> None:
        """Begin `day`: purchases of days before become sellable, `quotes` give limits.

        A security without a quote does not trade that day.

        Raises:
            ConfigInvalid: DAY_ORDER if the day before is still open or `day` is not later;
                SYMBOL_UNKNOWN or BARS_INVALID naming the quote and field that is wrong.
        """
        if self.is_open:
            raise ConfigInvalid("DAY_ORDER", f"{self.day} is still open", remedy="close it first")
        self.account.open_day(day)
        self.day, self.now_ms, self.is_open = day, 0, True
        if fees is not None:
            self._charge(fees)
        for listing in self.listings.values():
            listing.begin_day()
        for quote in quotes:
            listing = self.listing(quote.symbol)
            check_quote(quote, day)
            listing.pre_close = quote.pre_close
            listing.limit_up = NO_LIMIT_UP if quote.limit_up is None else quote.limit_up
            listing.limit_down = quote.limit_down or 0
            listing.suspended = quote.suspended
            limits = (quote.limit_up, quote.limit_down)
            listing.unlimited = limits == (None, None) and not quote.suspended
        if self.terms.rules is not None:
            self.terms.rules.open_day(day)

    def close_day(self) -> None:
        """End the day: cancels on their way arrive, and what still rests expires."""
        self.after_hours.end_day(self)
        for order in list(self.live.values()):
            if order.cancel_ms >= 0:
                self.finish(order, Status.CANCELED, order.cancel_ms)
            else:
                self.finish(order, Status.EXPIRED, self.now_ms)
        for listing in self.listings.values():
            listing.resting.clear()
            if listing.after_hours:
                listing.after_hours.clear()
        self.is_open = False

    def entitle(
        self,
        symbol: str,
        cash_per_share: int,
        share_factor: Fraction,
        bonus: Fraction | int = 0,
        recorded_on: date | None = None,
        pay_date: date | None = None,
        listed_on: date | None = None,
    ) -> None:
        """Pay what an ex-date gives the holder, as `TradingAccount.entitle` tells.

        Called after `open_day`, before any order.
        """
        self.listing(symbol)
        self.account.entitle(
            symbol, cash_per_share, share_factor, bonus, recorded_on, pay_date, listed_on
        )

    # --- orders -------------------------------------------------------------------------------

    def place(
        self,
        at_ms: int,
        symbol: str,
        side: Side,
        qty: int,
        price: int = 0,
        kind: ExchangeOrderType = ExchangeOrderType.LIMIT,
        tag: str = "",
    ) -> LiveOrder:
        """Take an order, or refuse it as the exchange would (status REJECTED, `code` says why).

        Raises:
            ConfigInvalid: SYMBOL_UNKNOWN, or TIME_ORDER if `at_ms` lies before what has happened.
            Denied: RISK_RULES_UNKNOWN where a dated table does not know the case.
        """
        self._advance(at_ms)
        listing = self.listing(symbol)
        watch = self._watch(listing) if listing.unlimited else None
        is_buy = side is Side.BUY
        order = LiveOrder(
            self.next_order, symbol, side, is_buy, kind, price, qty, qty, at_ms, at_ms, tag
        )
        self.next_order += 1
        refused = (
            refusal(listing, order, self.terms.rules, self.account)
            or self.policy.refuse(listing, order)
            or hold_back(listing, order, self.account, at_last=self.terms.freeze_market_at_close)
        )
        if refused:
            order.status = Status.REJECTED
            order.code = f"{refused[0]}: {refused[1]}"
            self.log(EventKind.REJECTED, order, qty, price, code=order.code, at_ms=at_ms)
            return order
        held = order.active_ms == HELD_MS
        if held:
            listing.holds = True
        else:
            order.active_ms += self.terms.latency.order_ms(order.number)
        self.live[order.number] = order
        code = "held" if held else kind.value
        self.log(EventKind.ACCEPTED, order, qty, price, code=code, at_ms=at_ms)
        if kind is ExchangeOrderType.AFTER_HOURS_FIXED:
            self.after_hours.enter(self, listing, order)
            return order
        if listing.book is not None and not self._is_continuous(at_ms):
            listing.book = None
        if self.policy.serves_arrivals and (watch is None or not watch.holds(at_ms)):
            self.policy.arrive(self, listing, order)
        if order.status is Status.LIVE:
            listing.resting.append(order)
        return order

    def cancel(self, at_ms: int, number: int) -> EventKind:
        """Ask for a cancel; CANCELED at once, CANCEL_TAKEN while on its way, or CANCEL_REFUSED.

        Raises:
            ConfigInvalid: ORDER_UNKNOWN for a number never given, TIME_ORDER as `place`.
        """
        self._advance(at_ms)
        if not 0 < number < self.next_order:
            raise ConfigInvalid("ORDER_UNKNOWN", f"there is no order {number}")
        order = self.live.get(number)
        if order is None:
            return EventKind.CANCEL_REFUSED
        arrives = at_ms + self.terms.latency.cancel_ms(number)
        rules, listing = self.terms.rules, self.listings[order.symbol]
        if rules is not None:
            permit = rules.may_cancel(at_ms, listing.terms, order.kind.kind)
            if permit is Permit.REFUSED:
                self.log(EventKind.CANCEL_REFUSED, order, 0, 0, code=SESSION, at_ms=at_ms)
                return EventKind.CANCEL_REFUSED
            if permit is Permit.QUEUED:
                arrives = max(arrives, CONTINUOUS_MS)
        if arrives <= at_ms:
            listing.queue(order).remove(order)
            self.finish(order, Status.CANCELED, at_ms)
            return EventKind.CANCELED
        if order.cancel_ms < 0:
            order.cancel_ms, listing.leaving = arrives, True
            if order.kind is ExchangeOrderType.AFTER_HOURS_FIXED:
                self.after_hours.expect_cancel(listing, order)
        self.log(EventKind.CANCEL_TAKEN, order, 0, 0, at_ms=at_ms)
        return EventKind.CANCEL_TAKEN

    # --- the market ---------------------------------------------------------------------------

    def on_bar(self, symbol: str, bar: Bar) -> None:
        """Bring the next finished bar of `symbol`; resting orders are served by it.

        Raises:
            ConfigInvalid: SYMBOL_UNKNOWN, or BARS_INVALID naming symbol, day, moment and field.
            Denied: RISK_RULES_UNKNOWN for a security without a limit whose halts are not known.
        """
        listing = self.listings.get(symbol)
        if listing is None or not self.is_open:
            listing = self.listing(symbol)
            raise ConfigInvalid("DAY_ORDER", f"{symbol}: a bar came while no day is open")
        check_bar(symbol, self.day, bar, listing)
        start, end, _, _, _, last, volume = bar
        if (start >= AFTER_HOURS_MS or listing.close_fixed) and self._at_close(listing, bar):
            return
        watch = self._watch(listing) if listing.unlimited else None
        self.now_ms = max(self.now_ms, end)
        if volume:
            listing.traded += volume
            listing.close = last
            if watch is not None and watch.covers(bar):
                volume = 0
        listing.left = volume * self._share // self._of
        listing.bar = bar
        if listing.resting:
            self._serve(listing, bar, may_trade=volume > 0)
        listing.bars_today += 1
        if watch is not None:
            watch.observe(self.day, bar)

    def on_print(self, symbol: str, at_ms: int, price: int, volume: int) -> None:
        """Bring one print of a tick file: a bar of a single price and moment."""
        self.on_bar(symbol, Bar(at_ms, at_ms, price, price, price, price, volume))

    def on_book(
        self, symbol: str, at_ms: int, bids: Iterable[Level], asks: Iterable[Level]
    ) -> None:
        """Bring what a quote snapshot shows: (price, shares) of each side, best first.

        The price cage takes its base from it, and under the policy `book` orders trade against it
        until the next: those that arrive at once, those that rest where it crosses them. Outside
        continuous trading a snapshot shows no book to trade against, and is dropped.

        Raises:
            ConfigInvalid: SYMBOL_UNKNOWN, TIME_ORDER as `place`, or BARS_INVALID naming the level.
        """
        self._advance(at_ms)
        listing = self.listing(symbol)
        limits = (listing.limit_down, listing.limit_up)
        book = seen_book(symbol, at_ms, bids, asks, tick=listing.tick, limits=limits)
        listing.book = book if self._is_continuous(at_ms) else None
        watch = self._watch(listing) if listing.unlimited else None
        halted = watch is not None and watch.holds(at_ms)
        if listing.book is None or listing.suspended or halted or not listing.resting:
            return
        self._cancel_arrived(listing, at_ms)
        if listing.holds and self.terms.rules is not None:
            release(listing, self.terms.rules, at_ms, self.terms.latency)
        self.policy.see_book(self, listing)
        listing.resting = [order for order in listing.resting if order.status is Status.LIVE]

    # --- for policies -------------------------------------------------------------------------

    def take(self, listing: Listing, order: LiveOrder, price: int, most: int | None = None) -> int:
        """Let `order` trade at `price` what capacity, lots and funds allow; return the shares."""
        capacity = listing.left if most is None else min(most, listing.left)
        qty = order.open
        if capacity < qty:
            qty = capacity - capacity % listing.lot
        if qty <= 0:
            return 0
        if not affordable(listing, order, self.account, qty, price):
            return 0
        listing.left -= qty
        self._trade(listing, order, qty, price)
        return qty

    def deal(self, listing: Listing, order: LiveOrder, price: int, qty: int) -> int:
        """Let `order` trade exactly `qty` shares at `price` if funds allow; return the shares."""
        if not affordable(listing, order, self.account, qty, price):
            return 0
        self._trade(listing, order, qty, price)
        return qty

    def worse(self, listing: Listing, order: LiveOrder, price: int, qty: int, bar: Bar) -> int:
        """Return `price` after slippage, inside the bar, the limits and the order's own limit."""
        if self.slippage is None:
            return price
        by = self.slippage.worse_by(price, qty, bar, listing.tick)
        if order.is_buy:
            most = min(bar.high, listing.limit_up)
            return max(price, min(price + by, most, order.price or most))
        least = max(bar.low, listing.limit_down)
        return min(price, max(price - by, least, order.price or least))

    def finish(self, order: LiveOrder, status: Status, at_ms: int, code: str = "") -> None:
        """End `order`; what it held back is free again."""
        order.status = status
        order.code = code
        self.live.pop(order.number, None)
        self.account.release(order.number, order.reserve, order.symbol)
        if status is Status.CANCELED:
            self.log(EventKind.CANCELED, order, order.open, 0, code=code, at_ms=at_ms)
        elif status is Status.EXPIRED:
            self.log(EventKind.EXPIRED, order, order.open, 0, code=code, at_ms=at_ms)

    def log(
        self,
        kind: EventKind,
        order: LiveOrder,
        qty: int,
        price: int,
        *,
        fees: tuple[int, int, int] = _NO_FEES,
        code: str = "",
        at_ms: int = -1,
    ) -> None:
        """Append an event."""
        self.events.append(
            Event(
                self.next_event,
                self.day,
                self.now_ms if at_ms < 0 else at_ms,
                kind,
                order.number,
                order.symbol,
                order.side,
                qty,
                price,
                fees,
                code,
            )
        )
        self.next_event += 1

    def take_events(self) -> list[Event]:
        """Return the events since the last call, and forget them."""
        taken, self.events = self.events, []
        return taken

    def listing(self, symbol: str) -> Listing:
        """Return a security, or raise ConfigInvalid SYMBOL_UNKNOWN."""
        found = self.listings.get(symbol)
        if found is None:
            raise ConfigInvalid(
                "SYMBOL_UNKNOWN",
                f"{symbol!r} is not among the {len(self.listings)} securities of this exchange",
            )
        return found

    # --- inside -------------------------------------------------------------------------------

    def _charge(self, fees: Mapping[Exchange, FeeTerms]) -> None:
        for listing in self.listings.values():
            terms = listing.terms.fees or fees.get(listing.exchange)
            if terms is None:
                raise ConfigInvalid("FEES_INVALID", f"no fees are given for {listing.exchange}")
            listing.fees = terms

    def _advance(self, at_ms: int) -> None:
        if not self.is_open:
            raise ConfigInvalid("DAY_ORDER", "no day is open")
        if at_ms < self.now_ms:
            raise ConfigInvalid(
                "TIME_ORDER",
                f"a request at {at_ms} ms comes after what happened at {self.now_ms} ms",
                remedy="bring bars and requests in the order of time",
            )
        if self.after_hours.due:
            self.after_hours.advance(self, at_ms)
        self.now_ms = at_ms

    def _at_close(self, listing: Listing, bar: Bar) -> bool:
        """Take a bar of the trading at the close; return False if it is one of the day."""
        rules = self.terms.rules
        if rules is None or not rules.after_hours(listing.terms):
            return False
        check_bar_at_close(listing.symbol, self.day, bar, listing.close)
        self.after_hours.on_bar(self, listing, bar)
        return True

    def _watch(self, listing: Listing) -> HaltWatch | None:
        if listing.halts is None and self.terms.rules is not None:
            listing.halts = HaltWatch(self.terms.rules.halts(listing.terms))
        return listing.halts

    def _serve(self, listing: Listing, bar: Bar, *, may_trade: bool) -> None:
        """Serve resting orders by one bar; cancels that had arrived before it come first."""
        start, end = bar[0], bar[1]
        rules, latency = self.terms.rules, self.terms.latency
        if listing.leaving:
            self._cancel_arrived(listing, start)
        if listing.holds:
            release_for_auction(listing, end, latency)
        if may_trade and not listing.suspended:
            self.policy.match(self, listing, bar)
        else:
            self._end_market_orders(listing, end)
        if listing.leaving:
            self._cancel_arrived(listing, end)
        listing.resting = [order for order in listing.resting if order.status is Status.LIVE]
        if listing.holds and rules is not None:
            release(listing, rules, end, latency)

    def _cancel_arrived(self, listing: Listing, at_ms: int) -> None:
        for order in listing.resting:
            if 0 <= order.cancel_ms <= at_ms and order.status is Status.LIVE:
                self.finish(order, Status.CANCELED, order.cancel_ms)

    def _is_continuous(self, at_ms: int) -> bool:
        return self.terms.rules is None or self.terms.rules.is_continuous(at_ms)

    def _end_market_orders(self, listing: Listing, at_ms: int) -> None:
        """Cancel market orders: they do not wait for somebody to trade with."""
        for order in listing.resting:
            if order.status is Status.LIVE and order.kind is not ExchangeOrderType.LIMIT:
                self.finish(order, Status.CANCELED, at_ms, NO_VOLUME)

    def _trade(self, listing: Listing, order: LiveOrder, qty: int, price: int) -> None:
        amount = qty * price
        terms = listing.fees
        order.open -= qty
        order.amount += amount
        total = order.amount
        commission, transfer = terms.commission(total), terms.transfer(total)
        duty = 0 if order.is_buy else terms.stamp_duty(total)
        fees = (
            commission - order.commission,
            duty - order.stamp_duty,
            transfer - order.transfer_fee,
        )
        order.commission, order.stamp_duty, order.transfer_fee = commission, duty, transfer
        account = self.account
        if order.is_buy:
            keep = 0
            if order.open:
                unpaid = order.fee_bound - commission - transfer
                keep = order.open * order.reserve_price + max(unpaid, 0)
                keep = min(keep, order.reserve.cash)
            account.buy(
                order.number,
                order.reserve,
                order.symbol,
                qty,
                amount,
                fees,
                settled=not listing.t_plus_one,
                keep=keep,
            )
        else:
            account.sell(order.number, order.reserve, order.symbol, qty, amount, fees)
        self.log(EventKind.TRADED, order, qty, price, fees=fees)
        if not order.open:
            order.status = Status.FILLED
            del self.live[order.number]
            if order.is_buy and order.reserve.cash:
                account.release(order.number, order.reserve, order.symbol)
