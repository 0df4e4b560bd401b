"""Random scenarios through the exchange, and beside it a naive reading of what the answers assume.

The reading below knows nothing of the engine: it walks the days as one would on paper. Both must
give the same answers, whatever orders, holes in the bars and corporate actions come together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.exchange.scenario import read_scenario, run_scenario

BOARDS = {
    "main": "600{:03}.SH",
    "chinext": "300{:03}.SZ",
    "star": "688{:03}.SH",
    "bse": "920{:03}.BJ",
}
VOLUMES = (0, 0, 90, 800, 1234, 5000, 50_000, 1_000_000)
LOTS = (100, 200, 300, 500, 1000, 3000)
ODD = (1, 30, 150, 169, 201, 250)
FACTORS = ("1", "2", "3", "1.3", "1.5", "0.5")


def scenario(draw: Random) -> dict[str, object]:
    """A scenario of up to twelve sessions, with everything that may go wrong for an order."""
    days = [date(2024, 1, 2) + timedelta(days=n + n // 5 * 2) for n in range(draw.randint(1, 12))]
    boards = {
        BOARDS[board].format(n): board
        for n in range(draw.randint(1, 4))
        for board in [draw.choice(list(BOARDS))]
    }
    bars = {symbol: _bars(draw, days) for symbol in boards}
    actions = [
        {
            "symbol": draw.choice(list(boards)),
            "ex_date": str(draw.choice([*days, days[0] + timedelta(days=5)])),
            "cash_per_share": draw.choice(["0.00", "0.10", "0.355"]),
            "share_factor": draw.choice(FACTORS),
        }
        for _ in range(draw.randint(0, 3))
    ]
    return {
        "account": {"cash": draw.choice(["1000.00", "50000.00", "1000000.00", "5000000.00"])},
        "fees": {
            "commission_rate": draw.choice(["0.00025", "0.003", "0"]),
            "commission_min": draw.choice(["5.00", "0"]),
            "stamp_duty_sell": draw.choice(["0.0005", "0.001"]),
            "transfer_fee": draw.choice(["0", "0", "0.00001"]),
        },
        "matching": {
            "fill": "bar_close",
            "volume_share": draw.choice(["0.25", "1", "0.1", "0.33"]),
            "market_order_freeze": draw.choice(["close", "close", "limit_up"]),
            "price_cage": False,
            "dividend_tax": False,
        },
        "securities": [
            {"symbol": symbol, "board": board, "list_date": "2000-01-04"}
            for symbol, board in boards.items()
        ],
        "bars": bars,
        "corporate_actions": actions,
        "orders": _orders(draw, days, bars),
    }


def _bars(draw: Random, days: list[date]) -> list[list[object]]:
    rows: list[list[object]] = []
    pre = draw.randint(200, 9000)
    for day in days:
        up, down = (pre * 110 + 50) // 100, (pre * 90 + 50) // 100
        close = draw.choice([up, down, *[draw.randint(down, up)] * 4])
        if draw.random() < 0.9:
            limits = [_yuan(up), _yuan(down)] if draw.random() < 0.95 else [None, None]
            price = _yuan(close)
            rows.append([str(day), price, price, price, price, draw.choice(VOLUMES), *limits])
        pre = close
    return rows


def _orders(
    draw: Random, days: list[date], bars: dict[str, list[list[object]]]
) -> list[dict[str, object]]:
    orders: list[dict[str, object]] = []
    for n in range(draw.randint(1, 40)):
        symbol, day = draw.choice(list(bars)), str(draw.choice(days))
        close = next((row[4] for row in bars[symbol] if row[0] == day), "10.00")
        is_limit = draw.random() < 0.6
        off = draw.choice([-1500, -300, -1, 0, 0, 1, 300, 1500])
        price = max(int(Decimal(str(close)) * 100) * (10_000 + off) // 10_000, 1)
        orders.append(
            {
                "n": n,
                "at": day,
                "symbol": symbol,
                "side": draw.choice(["buy", "sell"]),
                "qty": draw.choice(LOTS) if draw.random() < 0.8 else draw.choice(ODD),
                "type": "limit" if is_limit else "market",
                "price": _yuan(price) if is_limit else None,
            }
        )
    draw.shuffle(orders)
    return orders


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"


@dataclass
class Paper:
    """The account as kept on paper; money exact, in yuan."""

    cash: Fraction
    old: dict[str, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)
    resting_cash: Fraction = Fraction(0)
    resting_shares: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> Fraction:
        return self.cash - self.resting_cash

    def held(self, symbol: str) -> int:
        return self.old.get(symbol, 0) + self.new.get(symbol, 0)

    def sellable(self, symbol: str) -> int:
        return self.old.get(symbol, 0) - self.resting_shares.get(symbol, 0)

    def night(self) -> None:
        for symbol, qty in self.new.items():
            self.old[symbol] = self.old.get(symbol, 0) + qty
        self.new, self.resting_cash, self.resting_shares = {}, Fraction(0), {}


def lawful(board: str, side: str, qty: int, sellable: int) -> bool:
    """Whole lots on the main board and ChiNext; from 200 on STAR and 100 in Beijing any number."""
    if board in ("main", "chinext"):
        return qty % 100 == 0 or (side == "sell" and qty % 100 == sellable % 100)
    least = 200 if board == "star" else 100
    return qty >= least or (side == "sell" and qty == sellable < least)


class Naive:
    """What the answers assume, sentence by sentence."""

    def __init__(self, told) -> None:
        self.told = told
        self.fees = {name: Fraction(value) for name, value in told["fees"].items()}
        self.boards = {row["symbol"]: row["board"] for row in told["securities"]}
        self.paper = Paper(Fraction(told["account"]["cash"]))
        self.filled = {order["n"]: 0 for order in told["orders"]}
        self.amounts = dict.fromkeys(self.filled, Fraction(0))
        self.fills = []

    def commission(self, amount: Fraction) -> Fraction:
        return max(amount * self.fees["commission_rate"], self.fees["commission_min"])

    def cost(self, amount: Fraction) -> Fraction:
        return amount + self.commission(amount) + amount * self.fees["transfer_fee"]

    def run(self):
        bars = {(symbol, row[0]): row for symbol, rows in self.told["bars"].items() for row in rows}
        days = sorted({day for _, day in bars})
        due = list(self.told["corporate_actions"])
        answers = []
        for day in days:
            self.paper.night()
            for action in [one for one in due if one["ex_date"] <= day]:
                due.remove(action)
                symbol, held = action["symbol"], self.paper.held(action["symbol"])
                self.paper.cash += held * Fraction(action["cash_per_share"])
                self.paper.old[symbol] = int(held * Fraction(action["share_factor"]))
            share = Fraction(self.told["matching"]["volume_share"])
            left = {symbol: int(row[5] * share) for (symbol, on), row in bars.items() if on == day}
            today = [order for order in self.told["orders"] if order["at"] == day]
            for order in sorted(today, key=lambda one: one["n"]):
                row = bars.get((order["symbol"], day))
                if row is not None:
                    self.place(order, row, left)
            answers.append(self.evening(day))
        return {"orders": self.outcomes(), "fills": self.fills, "days": answers}

    def evening(self, day):
        paper = self.paper
        held = {
            symbol: {"qty": paper.held(symbol), "sellable": paper.old.get(symbol, 0)}
            for symbol in self.boards
            if paper.held(symbol)
        }
        return {"date": day, "cash": paper.cash, "positions": held}

    def outcomes(self):
        for order in sorted(self.told["orders"], key=lambda one: one["n"]):
            n, done = order["n"], self.filled[order["n"]]
            outcome = "filled" if done == order["qty"] else "partially_filled"
            yield {
                "n": n,
                "outcome": outcome if done else "not_filled",
                "filled": done,
                "avg_price": float(self.amounts[n] / done) if done else 0,
            }

    def place(self, order, row, left) -> None:
        symbol, side, qty = order["symbol"], order["side"], order["qty"]
        close, volume = Fraction(row[4]), row[5]
        up, down = (None if one is None else Fraction(one) for one in row[6:])
        limit = None if order["price"] is None else Fraction(order["price"])
        paper = self.paper
        if limit is not None and not (down or 0) <= limit <= (up or limit):
            return
        if not lawful(self.boards[symbol], side, qty, paper.sellable(symbol)):
            return
        if side == "sell" and qty > paper.sellable(symbol):
            return
        frozen_at = limit or close
        if limit is None and self.told["matching"]["market_order_freeze"] == "limit_up":
            frozen_at = up or close
        if side == "buy" and self.cost(frozen_at * qty) > paper.free:
            return
        sealed = close == (up if side == "buy" else down)
        reaches = limit is None or (limit >= close if side == "buy" else limit <= close)
        done = 0
        if volume and reaches and not sealed:
            done = min(qty, left[symbol] // 100 * 100)
        if done:
            left[symbol] -= done
            self.fill(order, done, row)
        if limit is None or done == qty:
            return
        if side == "sell":
            paper.resting_shares[symbol] = paper.resting_shares.get(symbol, 0) + qty - done
            return
        fees = self.cost(limit * qty) - limit * qty
        paid = self.cost(close * done) - close * done if done else Fraction(0)
        paper.resting_cash += limit * (qty - done) + fees - paid

    def fill(self, order, qty: int, row) -> None:
        symbol, side, paper = order["symbol"], order["side"], self.paper
        price = Fraction(row[4])
        amount = price * qty
        commission = self.commission(amount)
        duty = amount * self.fees["stamp_duty_sell"] if side == "sell" else Fraction(0)
        charges = commission + duty + amount * self.fees["transfer_fee"]
        if side == "buy":
            paper.cash -= amount + charges
            paper.new[symbol] = paper.new.get(symbol, 0) + qty
        else:
            paper.cash += amount - charges
            paper.old[symbol] -= qty
        self.filled[order["n"]] += qty
        self.amounts[order["n"]] += amount
        self.fills.append(
            {
                "n": order["n"],
                "date": row[0],
                "symbol": symbol,
                "side": side,
                "qty": qty,
                "price": float(price),
                "commission": float(commission),
                "stamp_duty": float(duty),
            }
        )


def check(told) -> int:
    """Compare both on one scenario; return the number of fills."""
    naive = Naive(told).run()
    text = json.dumps(told)
    ours = run_scenario(read_scenario(json.loads(text, parse_float=Decimal))).answers
    assert ours["orders"] == list(naive["orders"])
    exact = ("n", "date", "symbol", "side", "qty", "price")
    for mine, theirs in zip(ours["fills"], naive["fills"], strict=True):
        assert [mine[name] for name in exact] == [theirs[name] for name in exact]
        assert mine["commission"] == pytest.approx(theirs["commission"], abs=0.005)
        assert mine["stamp_duty"] == pytest.approx(theirs["stamp_duty"], abs=0.005)
    for mine, theirs in zip(ours["days"], naive["days"], strict=True):
        so_far = sum(fill["date"] <= mine["date"] for fill in naive["fills"])
        assert (mine["date"], mine["positions"]) == (theirs["date"], theirs["positions"])
        assert mine["cash"] == pytest.approx(float(theirs["cash"]), abs=0.01 * so_far + 1e-6)
    return len(naive["fills"])


@settings(deadline=None, max_examples=300)
@given(draw=st.randoms(use_true_random=False))
def test_the_exchange_answers_as_the_naive_reading_does(draw):
    check(scenario(draw))


def test_the_scenarios_are_worth_reading():
    """Of 200 fixed scenarios most trade, and all kinds of outcome come about."""
    seen = set()
    traded = 0
    for seed in range(200):
        told = scenario(Random(seed))  # noqa: S311 - a scenario, no secret
        traded += check(told) > 0
        seen.update(row["outcome"] for row in Naive(told).run()["orders"])
    assert traded > 120
    assert seen == {"filled", "partially_filled", "not_filled"}
