"""Whole seeded days of the exchange: no look-ahead, no influence between symbols, the same log."""

from __future__ import annotations

import random
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType as OrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import POLICIES
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import SeededLatency, TickSlippage
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms
from caopan.domain.orders.order import Side

QUICK = settings(deadline=None, max_examples=40)
TICK, BAR_MS, OPEN_MS = 100, 900_000, 33_900_000
SYMBOLS = ("600001.SH", "600002.SH", "600003.SH")
SECURITIES = [
    SecurityTerms(symbol, Exchange.SH, Board.MAIN, TICK, 100, 100, 100, 10**6, 10**6)
    for symbol in SYMBOLS
]
FEES = dict.fromkeys(
    Exchange, FeeTerms(Fraction(1, 4000), 50_000, Fraction(1, 2000), Fraction(1, 100_000))
)
DAYS = (date(2024, 1, 2), date(2024, 1, 3))
policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
seeds = st.integers(0, 2**32)
Step = tuple[date, int, str, object]
"""Day, moment, symbol, and a bar or an order's side, quantity, price and type."""


def story(seed: int, symbols=SYMBOLS, per_bar: int = 2) -> list[Step]:
    """Return what happens in two days, in order; each symbol's part hangs on the seed alone."""
    steps: list[Step] = []
    for symbol in symbols:
        draw = random.Random(f"{seed} {symbol}")  # noqa: S311 - a story, no secret
        close = 1000
        for day in DAYS:
            for number in range(16):
                start = OPEN_MS + number * BAR_MS
                for _ in range(draw.randrange(per_bar + 1)):
                    kind = draw.choice([OrderType.LIMIT] * 3 + [OrderType.MARKET_BEST5_CANCEL])
                    price = (close + draw.randrange(-8, 9)) * TICK
                    asked = (
                        draw.choice(list(Side)),
                        draw.randrange(1, 9) * 100,
                        0 if kind is not OrderType.LIMIT else price,
                        kind,
                    )
                    steps.append((day, start - draw.randrange(300_000), symbol, asked))
                first, close = close, close + draw.randrange(-6, 7)
                high, low = max(first, close) + 1, min(first, close) - 1
                prices = [price * TICK for price in (first, high, low, close)]
                volume = draw.choice([0, 3_000, 20_000])
                bar = Bar._make((start, start + BAR_MS, *prices, volume))
                steps.append((day, start + BAR_MS, symbol, bar))
    return sorted(steps, key=lambda step: (step[0], step[1], isinstance(step[3], tuple)))


def play(policy, steps: list[Step], *, terms=None) -> SandboxExchange:
    terms = terms or ExchangeTerms(
        policy, Fraction(1, 4), latency=SeededLatency(1, 0, 5_000), slippage=TickSlippage(1)
    )
    account = TradingAccount(10**12, DAYS[0])
    exchange = SandboxExchange(terms, SECURITIES, account, FEES)
    for day in DAYS:
        exchange.open_day(day, [DayQuote(s, 100_000, 150_000, 50_000) for s in SYMBOLS])
        for when, at, symbol, what in steps:
            if when != day:
                continue
            if isinstance(what, Bar):
                exchange.on_bar(symbol, what)
            else:
                assert isinstance(what, tuple)
                side, qty, price, kind = what
                order = exchange.place(max(at, exchange.now_ms), symbol, side, qty, price, kind)
                if qty == 500:
                    exchange.cancel(exchange.now_ms, order.number)
        exchange.close_day()
    return exchange


def log(exchange: SandboxExchange) -> bytes:
    return "\n".join(event.line() for event in exchange.events).encode()


@policies
@QUICK
@given(seed=seeds)
def test_same_seed_same_log_byte_for_byte(policy, seed):
    assert log(play(policy, story(seed))) == log(play(policy, story(seed)))


@policies
@QUICK
@given(seed=seeds, cut=st.integers(0, 15))
def test_what_has_happened_does_not_hang_on_later_bars(policy, seed, cut):
    """Bars that end after a moment are changed; the log up to that moment stays as it was."""
    moment = OPEN_MS + cut * BAR_MS
    steps = story(seed)
    changed: list[Step] = []
    for day, at, symbol, what in steps:
        then = what
        if isinstance(what, Bar) and (day > DAYS[0] or what.end_ms > moment):
            up = what.high + 7 * TICK
            then = what._replace(high=up, close=up, volume=what.volume + 90_000)
        changed.append((day, at, symbol, then))

    def before(exchange: SandboxExchange) -> list[str]:
        # A cancel on its way is logged with the bar it outlived, so only its number may move.
        return [
            e._replace(seq=0).line()
            for e in exchange.events
            if e.day == DAYS[0] and e.at_ms <= moment
        ]

    assert before(play(policy, steps)) == before(play(policy, changed))


@policies
@QUICK
@given(seed=seeds, names=st.permutations(SYMBOLS))
def test_symbols_do_not_influence_each_other(policy, seed, names):
    """With cash enough, each symbol's story is the same in company, in any order, and alone."""
    terms = ExchangeTerms(policy, Fraction(1, 4), slippage=TickSlippage(1))
    together = play(policy, story(seed, tuple(names)), terms=terms)

    def of(exchange: SandboxExchange, symbol: str) -> list[tuple[object, ...]]:
        """Everything but the numbers, which count all symbols' orders."""
        return [
            (e.day, e.at_ms, e.kind, e.side, e.qty, e.price, e.fees)
            for e in exchange.events
            if e.symbol == symbol and e.kind in (EventKind.TRADED, EventKind.ACCEPTED)
        ]

    plain = play(policy, story(seed), terms=terms)
    assert plain.account.cash_free == together.account.cash_free
    held = {name: one.qty for name, one in plain.account.holdings.items()}
    assert {name: one.qty for name, one in together.account.holdings.items()} == held
    for symbol in SYMBOLS:
        alone = play(policy, story(seed, (symbol,)), terms=terms)
        assert of(plain, symbol) == of(together, symbol) == of(alone, symbol)


def test_the_stories_trade():
    """The properties above are about something: every policy fills many of their orders."""
    for policy in POLICIES:
        kinds = [event.kind for event in play(policy, story(1)).events]
        assert kinds.count(EventKind.TRADED) >= 20, policy.name
        assert kinds.count(EventKind.EXPIRED) > 0
