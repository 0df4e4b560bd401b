"""The file of an existing account: cash, and what it holds by lots.

Owns its two forms, CSV as brokers' clients write it and JSON, and their strict reading. Every bad
row is named by line and field, all of them at once. Must never guess a quantity or a day: a missing
day of purchase is the caller's to fill in. Tests: tests/unit/application/test_holdings_file.py.

CSV: a header, then one row per lot, UTF-8 or GB18030, columns separated by comma, tab or semicolon
    symbol, qty, cost (of the whole lot) or cost_price (of one share), bought_on
    or 证券代码, 股票余额 / 持仓数量, 成本价, 买入日期; further columns are left out
JSON: {"cash": "12.50", "holdings": [{"symbol", "qty", "cost" or "cost_price", "bought_on"}]}
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, cast

from caopan.domain.market.symbols import canonical_symbol
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import CaopanError, ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN, half_up, rate, units

INVALID: Final = "HOLDINGS_INVALID"
MOST_QTY: Final = 10**11
MOST_MONEY: Final = units(10**12)
FIRST_DAY: Final = date(1990, 12, 19)
"""The exchanges' first session: nothing was bought before."""
_MOST_ROWS: Final = 10_000
_NAMED: Final = 20
_SHOWN: Final = 60
_COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("symbol", "证券代码", "股票代码"), "symbol"),
    **dict.fromkeys(("qty", "股票余额", "持仓数量", "证券数量", "持股数量"), "qty"),
    **dict.fromkeys(("cost", "成本金额", "持仓成本金额"), "cost"),
    **dict.fromkeys(("cost_price", "成本价", "成本价格", "参考成本价"), "cost_price"),
    **dict.fromkeys(("bought_on", "买入日期", "建仓日期"), "bought_on"),
}
_FIELDS: Final = frozenset(_COLUMNS.values())
_WHOLE: Final = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII)
_PLAIN_DAY: Final = re.compile(r"(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})", re.ASCII)
_QUOTED: Final = re.compile(r'="?([^"]*)"?')


@dataclass(frozen=True, slots=True)
class HeldLot:
    """One row as it was read. Cost in units for the whole lot, fees excluded."""

    where: str
    """Line or index, for whoever finds more wrong with it."""
    symbol: str
    qty: int
    cost: int
    bought_on: date | None


@dataclass(frozen=True, slots=True)
class HoldingsFile:
    """An account as a file tells it."""

    key: str
    """Names the content: the same file again is the same import."""
    cash: int
    lots: tuple[HeldLot, ...]
    left_out: tuple[str, ...]
    """Columns that were not read."""


class Findings:
    """What is wrong with a file, collected before anything is done with it."""

    def __init__(self, name: str) -> None:
        """Begin without any."""
        self._name = name
        self._told: list[str] = []

    def add(self, where: str, field: str, problem: str) -> None:
        """Note one."""
        self._told.append(f"{where}, {field}: {problem}")

    def raise_any(self) -> None:
        """Raise ConfigInvalid HOLDINGS_INVALID if there is one."""
        if not self._told:
            return
        more = len(self._told) - _NAMED
        lines = [f"{self._name}: {len(self._told)} mistake(s)", *self._told[:_NAMED]]
        if more > 0:
            lines.append(f"and {more} more")
        raise ConfigInvalid(INVALID, "\n".join(lines), remedy="correct them; nothing was taken")


def read_holdings(name: str, body: bytes, cash: int | None) -> HoldingsFile:
    """Return what the file `name` says; `cash` (units) is given beside a CSV file, which has none.

    Raises:
        ConfigInvalid: HOLDINGS_INVALID, naming every wrong row and field.
    """
    findings = Findings(name)
    text = _text(name, body)
    left_out: tuple[str, ...] = ()
    if text.lstrip()[:1] in ("{", "["):
        told, rows = _json_rows(name, text)
        if cash is None:
            cash = _cash(told, findings)
        elif told is not None:
            findings.add("cash", "cash", "stands in the file; leave out --cash")
    else:
        rows, left_out = _csv_rows(name, text)
    if cash is None:
        raise ConfigInvalid(
            INVALID, f"{name}: cash is missing", remedy="give it with --cash, 0 where there is none"
        )
    lots = [lot for where, row in rows if (lot := _lot(where, row, findings)) is not None]
    findings.raise_any()
    key = sha256_hex(body + f"\x1f{cash}".encode())
    return HoldingsFile(key, cash, tuple(lots), left_out)


def _text(name: str, body: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise ConfigInvalid(
        INVALID, f"{name} is no text in UTF-8 or GBK", remedy="export it as CSV, or write JSON"
    )


def _json_rows(name: str, text: str) -> tuple[object, list[tuple[str, Mapping[str, Any]]]]:
    try:
        found: object = json.loads(text, parse_float=Decimal, object_pairs_hook=_no_twice)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(INVALID, f"{name} is not JSON: {error}") from error
    account = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    unknown = sorted(account.keys() - {"cash", "holdings"})
    held: object = account.get("holdings")
    if unknown or not isinstance(held, list) or len(cast("list[Any]", held)) > _MOST_ROWS:
        raise ConfigInvalid(
            INVALID,
            f'{name}: not of the form {{"cash", "holdings": […]}}'
            + (f"; not known: {', '.join(unknown)[:_SHOWN]}" if unknown else ""),
            remedy='write {"cash": "1000.00", "holdings": [{"symbol": "600519.SH", "qty": 100,'
            ' "cost_price": "1500.00", "bought_on": "2025-06-03"}]}',
        )
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for index, row in enumerate(cast("list[Any]", held)):
        if not isinstance(row, dict) or cast("dict[str, Any]", row).keys() - _FIELDS:
            raise ConfigInvalid(
                INVALID,
                f"{name}: holdings[{index}] is no object of {', '.join(sorted(_FIELDS))}",
            )
        rows.append((f"holdings[{index}]", cast("dict[str, Any]", row)))
    return account.get("cash"), rows


def _no_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "an object names the same member twice"
        raise ValueError(msg)
    return found


def _csv_rows(name: str, text: str) -> tuple[list[tuple[str, Mapping[str, Any]]], tuple[str, ...]]:
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    header: list[str] | None = None
    read: dict[int, str] = {}
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [_cell(cell) for cell in cells]
                read = _columns(name, header)
                continue
            where = f"line {reader.line_num}"
            if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                told = f"{name}: {where} has {len(cells)} cells, the header {len(header)}"
                raise ConfigInvalid(INVALID, told, remedy="quote cells that hold the separator")
            given = {field: _cell(cells[at]) for at, field in read.items() if at < len(cells)}
            rows.append((where, {field: text or None for field, text in given.items()}))
            if len(rows) > _MOST_ROWS:
                raise ConfigInvalid(INVALID, f"{name} has more than {_MOST_ROWS} rows")
    except csv.Error as error:
        told = f"{name}: line {reader.line_num}: {error}"
        raise ConfigInvalid(INVALID, told, remedy="export it as CSV again") from error
    if header is None:
        raise ConfigInvalid(INVALID, f"{name} is empty", remedy="write a header and one row a lot")
    left_out = tuple(one for at, one in enumerate(header) if at not in read and one)
    return rows, left_out


def _columns(name: str, header: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for at, title in enumerate(header):
        field = _COLUMNS.get(title.lower())
        if field is None:
            continue
        if field in found.values():
            raise ConfigInvalid(
                INVALID, f"{name}: two columns say {field}", remedy="leave one of them out"
            )
        found[at] = field
    missing = {"symbol", "qty"} - set(found.values())
    if missing:
        raise ConfigInvalid(
            INVALID,
            f"{name}: no column says {' and '.join(sorted(missing))}",
            remedy="begin with symbol,qty,cost_price,bought_on"
            " or 证券代码,股票余额,成本价,买入日期",
        )
    return found


def _cell(cell: str) -> str:
    """Return a cell without what spreadsheets put around text so that it stays text."""
    bare = cell.strip().strip("\t\u3000\ufeff'")
    quoted = _QUOTED.fullmatch(bare)
    return quoted.group(1).strip() if quoted else bare


def _cash(told: object, findings: Findings) -> int:
    found = _money(told, "cash", "cash", findings)
    return 0 if found is None else found


def _lot(where: str, row: Mapping[str, Any], findings: Findings) -> HeldLot | None:
    symbol = _symbol(row.get("symbol"), where, findings)
    qty = _qty(row.get("qty"), where, findings)
    cost = _cost(row, qty or 1, where, findings)
    told = row.get("bought_on")
    bought_on = None if told is None else _day(told, where, findings)
    if symbol is None or qty is None or cost is None:
        return None
    return HeldLot(where, symbol, qty, cost, bought_on)


def _symbol(told: object, where: str, findings: Findings) -> str | None:
    if not isinstance(told, str):
        findings.add(where, "symbol", "is missing" if told is None else f"{_shown(told)}: no text")
        return None
    try:
        return canonical_symbol(told)
    except CaopanError as error:
        findings.add(where, "symbol", error.message[: 3 * _SHOWN])
        return None


def _qty(told: object, where: str, findings: Findings) -> int | None:
    text = _number(told)
    if text is None or not _WHOLE.fullmatch(text):
        findings.add(where, "qty", "is missing" if told is None else f"{_shown(told)}: no number")
        return None
    whole, _, rest = text.replace(",", "").partition(".")
    problem = (
        (rest.strip("0") and "is not a whole number of shares")
        or (len(whole) > len(str(MOST_QTY)) and "is too large")
        or (int(whole) <= 0 and "is not above 0")
        or (int(whole) > MOST_QTY and "is too large")
    )
    if problem:
        findings.add(where, "qty", f"{_shown(told)} {problem}")
        return None
    return int(whole)


def _cost(row: Mapping[str, Any], qty: int, where: str, findings: Findings) -> int | None:
    whole, each = row.get("cost"), row.get("cost_price")
    if (whole is None) == (each is None):
        findings.add(where, "cost", "give either cost (whole lot) or cost_price (one share)")
        return None
    if whole is not None:
        return _money(whole, where, "cost", findings)
    text = _number(each)
    try:
        price = rate("" if text is None else text.replace(",", ""))
    except ConfigInvalid:
        findings.add(where, "cost_price", f"{_shown(each)}: no price")
        return None
    cost = half_up(price * qty * UNITS_PER_YUAN, 1)
    return _within(cost, each, where, "cost_price", findings)


def _money(told: object, where: str, field: str, findings: Findings) -> int | None:
    text = _number(told)
    try:
        found = units("" if text is None else text.replace(",", ""))
    except ConfigInvalid:
        problem = "is missing" if told is None else f"{_shown(told)}: no amount of 0.0001 yuan"
        findings.add(where, field, problem)
        return None
    return _within(found, told, where, field, findings)


def _within(found: int, told: object, where: str, field: str, findings: Findings) -> int | None:
    if not 0 <= found <= MOST_MONEY:
        low = "; a diluted cost may be, give the holding cost (持仓成本)" if field != "cash" else ""
        problem = f"is below 0{low}" if found < 0 else "is too large"
        findings.add(where, field, f"{_shown(told)} {problem}")
        return None
    return found


def _day(told: object, where: str, findings: Findings) -> date | None:
    parts = _PLAIN_DAY.fullmatch(str(told))
    try:
        if parts is None or (str(told).isdigit() and len(str(told)) != len("20250603")):
            raise ValueError(told)
        return date(*(int(part) for part in parts.groups()))
    except ValueError:
        findings.add(where, "bought_on", f"{_shown(told)}: no date like 2025-06-03")
        return None


def _number(told: object) -> str | None:
    """Return a number's text; a boolean, and what is neither text nor number, has none."""
    if isinstance(told, bool) or not isinstance(told, str | int | Decimal):
        return None
    return str(told).strip()


def _shown(told: object) -> str:
    text = repr(str(told) if isinstance(told, Decimal) else told)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def merged(lots: Iterable[tuple[str, date, int, int]]) -> list[tuple[str, date, int, int]]:
    """Return (symbol, day, qty, cost) with the rows of one symbol and day added up, in order."""
    found: dict[tuple[str, date], tuple[int, int]] = {}
    for symbol, day, qty, cost in lots:
        before = found.get((symbol, day), (0, 0))
        found[symbol, day] = (before[0] + qty, before[1] + cost)
    return [(symbol, day, qty, cost) for (symbol, day), (qty, cost) in sorted(found.items())]
