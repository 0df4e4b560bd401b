"""Files of rule cases (rules-cases.csv): rows read as typed cases, and answers held against them.

Owns the columns, the words of the context column and the comparison. Must never compute an answer
nor let one see what is expected: `Case` carries no expectation. Tests:
tests/unit/adapters/rules/test_case_file.py.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN, units

ASKED = (
    *("case_id", "category", "board", "exchange", "state", "date", "time", "instrument"),
    *("pre_close", "side", "order_type", "price", "qty", "context"),
)
WANTED = ("expected", "exp_up", "exp_down", "exp_value", "reason", "confidence", "source")
COLUMNS = (*ASKED, *WANTED)
_EXCHANGES = {
    "SSE": Exchange.SH,
    "SH": Exchange.SH,
    "XSHG": Exchange.SH,
    "SZSE": Exchange.SZ,
    "SZ": Exchange.SZ,
    "XSHE": Exchange.SZ,
    "BSE": Exchange.BJ,
    "BJ": Exchange.BJ,
    "BJSE": Exchange.BJ,
}
_BOARD_ALIASES = {"lof": Board.ETF, "reits": Board.REIT, "cb": Board.CONVERTIBLE}
_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")
_PAIR = re.compile(r"\s*([A-Za-z_][\w/]*)\s*=\s*(.*?)\s*", re.DOTALL)
_SOFT = ("U", "M", "设计建议")


class UnreadableError(ConfigInvalid):
    """A case that cannot be read; `field` names the column or context key."""

    def __init__(self, field: str, value: object, why: str = "is not understood") -> None:
        """Name the field, its value and what is wrong with it."""
        super().__init__("CASE_UNREADABLE", f"{field} {value!r} {why}")
        self.field = field


class Context:
    """The context column: `key=value` parts and phrases, separated by semicolons."""

    __slots__ = ("_pairs", "phrases", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pairs: dict[str, str] = {}
        self.phrases: list[str] = []
        for part in re.split(r"[;；]", text):
            pair = _PAIR.fullmatch(part)
            if pair is not None:
                self._pairs[pair[1].lower()] = pair[2]
            elif part.strip():
                self.phrases.append(part.strip())

    def __contains__(self, key: str) -> bool:
        """Return whether the key, or a phrase that is only the key, is there."""
        return key in self._pairs or key in self.phrases

    def denies(self, key: str) -> bool:
        """Return whether a phrase such as "no KEY" or "without KEY" says that it is not there."""
        return any(re.fullmatch(rf"(no|without|无)\s*{key}", one.lower()) for one in self.phrases)

    def keys(self) -> list[str]:
        """Return every key that has a value, in the order written."""
        return list(self._pairs)

    def get(self, key: str) -> str | None:
        """Return the value of `key`, or None."""
        return self._pairs.get(key)

    def need(self, key: str) -> str:
        """Return the value of `key`. Raises UnreadableError if it is missing."""
        value = self._pairs.get(key)
        if not value:
            raise UnreadableError(f"context.{key}", value, "is missing")
        return value

    def flag(self, key: str) -> bool:
        """Return whether `key` stands there, not denied by its value."""
        denied = {"0", "false", "no", "否"}
        return key in self and (self._pairs.get(key) or "").lower() not in denied

    def number(self, key: str) -> Decimal:
        """Return the number `key` begins with. Raises UnreadableError."""
        text = self.need(key)
        found = _NUMBER.match(text)
        if found is None:
            raise UnreadableError(f"context.{key}", text, "begins with no number")
        return Decimal(found[0].replace(",", ""))

    def money(self, key: str) -> int | None:
        """Return the amount of `key` in units, or None if it is not there or said to be none."""
        if self._pairs.get(key, "none").lower() in {"none", "null", "无"}:
            return None
        return units(self.number(key))

    def count(self, key: str, missing: int | None = None) -> int:
        """Return the whole number of `key`; `missing` where it is not there."""
        if key not in self._pairs and missing is not None:
            return missing
        number = self.number(key)
        if number != int(number):
            raise UnreadableError(f"context.{key}", number, "is no whole number")
        return int(number)

    def share(self, key: str) -> Fraction:
        """Return "4%" or "0.04" as a fraction. Raises UnreadableError."""
        return Fraction(self.number(key)) / (100 if "%" in self.need(key) else 1)


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked; never what is expected."""

    case_id: str
    category: str
    cells: dict[str, str]
    context: Context

    @property
    def board(self) -> Board:
        """Return the board. Raises UnreadableError."""
        text = self.cells["board"].lower()
        if text in _BOARD_ALIASES:
            return _BOARD_ALIASES[text]
        return self._word("board", Board, text)

    @property
    def exchange(self) -> Exchange:
        """Return the exchange. Raises UnreadableError."""
        text = self.cells["exchange"].upper()
        if text not in _EXCHANGES:
            raise UnreadableError("exchange", text)
        return _EXCHANGES[text]

    @property
    def day(self) -> date:
        """Return the date. Raises UnreadableError."""
        try:
            return date.fromisoformat(self.cells["date"])
        except ValueError as error:
            raise UnreadableError("date", self.cells["date"], "is no date") from error

    @property
    def time(self) -> time:
        """Return the time of day. Raises UnreadableError."""
        text = self.cells["time"]
        try:
            return time.fromisoformat(text.zfill(8 if text.count(":") > 1 else 5))
        except ValueError as error:
            raise UnreadableError("time", text, "is no time of day") from error

    @property
    def state(self) -> str:
        """Return the state, lower-case and without its star."""
        return self.cells["state"].lower().lstrip("*") or "normal"

    @property
    def is_st(self) -> bool:
        """Return whether the share carries a risk warning."""
        return self.state == "st" or self.state.startswith("st_")

    @property
    def has_order(self) -> bool:
        """Return whether the row holds an order."""
        return bool(self.cells["side"] and self.cells["price"])

    @property
    def buying(self) -> bool:
        """Return whether the order buys. Raises UnreadableError."""
        side = self.cells["side"].upper()
        if side not in {"BUY", "SELL"}:
            raise UnreadableError("side", side)
        return side == "BUY"

    @property
    def order_type(self) -> ExchangeOrderType:
        """Return the order's type. Raises UnreadableError."""
        return order_type(self.cells["order_type"])

    @property
    def qty(self) -> int:
        """Return the quantity. Raises UnreadableError."""
        try:
            return int(self.cells["qty"].replace(",", ""))
        except ValueError as error:
            raise UnreadableError("qty", self.cells["qty"], "is no whole number") from error

    def money(self, column: str) -> int:
        """Return a price column in units. Raises UnreadableError."""
        try:
            return units(self.cells[column])
        except ConfigInvalid as error:
            raise UnreadableError(column, self.cells[column], "is no amount") from error

    def off_tick(self, tick: int) -> bool:
        """Return whether the order's price is no multiple of `tick` (units)."""
        text = self.cells["price"]
        try:
            price = Decimal(text)
            if price > 0:
                return bool(price * UNITS_PER_YUAN % tick)
        except InvalidOperation as error:
            raise UnreadableError("price", text, "is no amount") from error
        raise UnreadableError("price", text, "is not positive")

    def _word(self, column: str, words: type[Board], text: str) -> Board:
        if text not in set(words):
            raise UnreadableError(column, text)
        return words(text)


def order_type(text: str) -> ExchangeOrderType:
    """Return the order type of a word such as MARKET_FOK. Raises UnreadableError."""
    lower = text.strip().lower() or "limit"
    if lower not in set(ExchangeOrderType):
        raise UnreadableError("order_type", text)
    return ExchangeOrderType(lower)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a row says the answer is, and how sure of it its writers are."""

    outcome: str
    up: str
    down: str
    value: str
    reason: str
    confidence: str

    @property
    def binding(self) -> bool:
        """Return whether a difference is a failure: all but U, M and suggestions of design."""
        return not any(word in self.confidence for word in _SOFT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the rules say. Figures as decimal text; "" where there is none."""

    outcome: str
    up: str = ""
    down: str = ""
    value: str = ""
    detail: str = ""
    """Words for a person: which rule, or why it was refused."""


def read_cases(path: Path) -> list[tuple[Case, Expectation]]:
    """Return the rows of a case file in order.

    Raises:
        ConfigInvalid: CASES_UNREADABLE if there is no such file or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigInvalid("CASES_UNREADABLE", f"{path}: {error}") from error
    if missing:
        raise ConfigInvalid(
            "CASES_UNREADABLE",
            f"{path}: no column {', '.join(missing)}",
            remedy=f"the first line names the columns: {','.join(COLUMNS)}",
        )
    return [_row({name: (row.get(name) or "").strip() for name in COLUMNS}) for row in rows]


def _row(cells: dict[str, str]) -> tuple[Case, Expectation]:
    wanted = Expectation(
        cells["expected"],
        cells["exp_up"],
        cells["exp_down"],
        cells["exp_value"],
        cells["reason"],
        cells["confidence"],
    )
    asked = {name: cells[name] for name in ASKED}
    return Case(cells["case_id"], cells["category"], asked, Context(cells["context"])), wanted


def differences(wanted: Expectation, answer: Answer) -> list[tuple[str, str, str]]:
    """Return (column, expected, found) wherever the answer differs; empty cells expect nothing."""
    pairs = (
        ("expected", wanted.outcome, answer.outcome),
        ("exp_up", wanted.up, answer.up),
        ("exp_down", wanted.down, answer.down),
        ("exp_value", wanted.value, answer.value),
    )
    return [
        (column, want, found) for column, want, found in pairs if want and not _agree(want, found)
    ]


def _agree(want: str, found: str) -> bool:
    if _plain(want) == _plain(found):
        return True
    if _NUMBER.fullmatch(want) and _NUMBER.fullmatch(found):
        return Decimal(want.replace(",", "")) == Decimal(found)
    if "=" in want and "=" in found:
        parts, given = _parts(found), _parts(want)
        return all(name in parts and _agree(text, parts[name]) for name, text in given.items())
    # Trades and auctions are worded freely; every figure named has to be one of the answer's.
    free = bool(re.search(r"[x=+:;]", found)) and not re.search(r"\d:\d", found)
    numbers = {Decimal(text.replace(",", "")) for text in _NUMBER.findall(want)}
    told = {Decimal(text) for text in _NUMBER.findall(found)}
    return free and bool(numbers) and numbers <= told


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text).upper()


def _parts(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in re.split(r"[;；]", text) if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
