"""Which column of a vendor's table means what, and in which unit.

Owns the column names known without being told, the mapping a user gives in mapping.toml, and the
refusal where a needed column is missing. Must never look at a value. Tests:
tests/unit/adapters/market_data/test_mapping.py, with the form of mapping.toml documented here:

    [columns]                 # ours = the file's
    symbol = "代码"
    pre_close = "昨收"
    [units]
    volume = "lot"            # share, lot, thousand_shares, ten_thousand_shares
    amount = "thousand_yuan"  # yuan, thousand_yuan, ten_thousand_yuan
    turnover_rate = "percent" # percent, fraction
    [assume]
    pre_close = "previous_close"  # the file has no ex-dates in it, or they do not matter
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from caopan.kernel.errors import ConfigInvalid

COLUMNS = "DATA_COLUMNS"

NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ts_code", "code", "代码", "股票代码", "证券代码", "ticker"),
    "day": ("day", "date", "trade_date", "日期", "交易日期", "trading_day"),
    "open": ("open", "开盘", "开盘价", "今开"),
    "high": ("high", "最高", "最高价"),
    "low": ("low", "最低", "最低价"),
    "close": ("close", "收盘", "收盘价"),
    "pre_close": ("pre_close", "preclose", "昨收", "昨收价", "前收盘", "前收盘价"),
    "volume": ("volume", "vol", "成交量"),
    "amount": ("amount", "成交额", "money", "total_turnover"),
    "limit_up": ("limit_up", "up_limit", "high_limit", "涨停", "涨停价"),
    "limit_down": ("limit_down", "down_limit", "low_limit", "跌停", "跌停价"),
    "is_suspended": ("is_suspended", "suspended", "paused", "停牌"),
    "tradestatus": ("tradestatus",),
    "is_st": ("is_st", "isST", "is_st_name", "是否ST"),
    "name": ("name", "名称", "股票名称", "证券名称"),
    "list_date": ("list_date", "上市日期"),
    "cash_per_share": ("cash_per_share",),
    "share_factor": ("share_factor",),
    "turnover_rate": ("turnover_rate", "turnover_pct", "turn", "换手率"),
    "adjusted": ("adjusted", "adjustflag"),
}
"""Names known without being told. prev_close is not among them: vendors mean two things by it."""

_NEEDED = ("day", "open", "high", "low", "close", "volume")
_VOLUME_UNITS = {"share": 1, "lot": 100, "thousand_shares": 1000, "ten_thousand_shares": 10_000}
_AMOUNT_UNITS = {"yuan": 1, "thousand_yuan": 1000, "ten_thousand_yuan": 10_000}
_TURNOVER_UNITS = {"percent": 100, "fraction": 1}
_UNITS = {"volume": _VOLUME_UNITS, "amount": _AMOUNT_UNITS, "turnover_rate": _TURNOVER_UNITS}
_PREVIOUS_CLOSE = "previous_close"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What a user says of a file; everything has a default that is proved against the rows."""

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """Our column name to the file's."""
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    """Words of the module docstring for volume, amount and turnover_rate."""
    previous_close_as_pre_close: bool = False
    """Take the close before for the reference price; each symbol's first row then has none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A file's columns, found: our name to its own, and the factors to our units."""

    columns: Mapping[str, str]
    volume_factor: int
    amount_factor: int
    turnover_divisor: int
    units_declared: bool
    previous_close_as_pre_close: bool


def read_mapping(path: Path) -> ColumnMapping:
    """Return the mapping in the TOML file `path`.

    Raises:
        ConfigInvalid: DATA_COLUMNS naming what in it is not understood.
    """
    try:
        body = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(COLUMNS, f"{path}: {error}", remedy="write it as TOML") from error
    tables = {name: _table(body.get(name, {}), path, name) for name in body}
    assume = tables.get("assume", {})
    if unknown := sorted(set(tables) - {"columns", "units", "assume"}):
        raise _not_understood(path, f"tables {unknown}", "use [columns], [units] and [assume]")
    if assume not in ({}, {"pre_close": _PREVIOUS_CLOSE}):
        raise _not_understood(
            path, f"[assume] {assume}", f'pre_close = "{_PREVIOUS_CLOSE}" or none'
        )
    mapping = ColumnMapping(
        columns=tables.get("columns", {}),
        units=tables.get("units", {}),
        previous_close_as_pre_close=bool(assume),
    )
    _check(mapping, path.name)
    return mapping


def find_layout(header: Sequence[str], mapping: ColumnMapping, label: str) -> Layout:
    """Return what the columns named in `header` are.

    Raises:
        ConfigInvalid: DATA_COLUMNS naming every needed column that was not found.
    """
    _check(mapping, label)
    found: dict[str, str] = {}
    for ours, names in NAMES.items():
        given = mapping.columns.get(ours)
        if given is not None:
            if given not in header:
                raise ConfigInvalid(
                    COLUMNS,
                    f"{label}: the mapping names {given!r} for {ours}, the file has"
                    f" {', '.join(header)}",
                    remedy="correct [columns] in mapping.toml",
                )
            found[ours] = given
        elif (name := next((name for name in names if name in header), None)) is not None:
            found[ours] = name
    missing = [ours for ours in _NEEDED if ours not in found]
    if not mapping.previous_close_as_pre_close and "pre_close" not in found:
        missing.append("pre_close")
    if missing:
        raise _missing(missing, header, label)
    return Layout(
        columns=found,
        volume_factor=_VOLUME_UNITS[mapping.units.get("volume", _usual_volume_unit(found))],
        amount_factor=_AMOUNT_UNITS[mapping.units.get("amount", _usual_amount_unit(found))],
        turnover_divisor=_TURNOVER_UNITS[mapping.units.get("turnover_rate", "percent")],
        units_declared="volume" in mapping.units,
        previous_close_as_pre_close=mapping.previous_close_as_pre_close,
    )


def _usual_volume_unit(found: Mapping[str, str]) -> str:
    """Tushare's daily table and AKShare's Chinese ones count lots; the proof has the last word."""
    return "lot" if found["volume"] in {"vol", "成交量"} else "share"


def _usual_amount_unit(found: Mapping[str, str]) -> str:
    return "thousand_yuan" if found.get("symbol") == "ts_code" else "yuan"


def _table(value: object, path: Path, name: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _not_understood(path, f"{name} = {value!r}", "use [columns], [units] and [assume]")
    table = cast("dict[str, object]", value)
    for key, item in table.items():
        if not isinstance(item, str):
            raise _not_understood(path, f"[{name}] {key} = {item!r}", "write it as a string")
    return cast("dict[str, str]", table)


def _check(mapping: ColumnMapping, label: str) -> None:
    for ours in mapping.columns:
        if ours not in NAMES:
            raise ConfigInvalid(
                COLUMNS,
                f"{label}: the mapping names a column {ours!r} that is none of ours",
                remedy=f"ours are {', '.join(NAMES)}",
            )
    for ours, unit in mapping.units.items():
        if ours not in _UNITS or unit not in _UNITS[ours]:
            raise ConfigInvalid(
                COLUMNS,
                f"{label}: unit {ours} = {unit!r} is not known",
                remedy="; ".join(f"{name}: {', '.join(words)}" for name, words in _UNITS.items()),
            )


def _missing(missing: Sequence[str], header: Sequence[str], label: str) -> ConfigInvalid:
    remedy = "name it in mapping.toml under [columns]"
    if missing == ["pre_close"]:
        remedy = (
            "pre_close is the exchange's reference price (昨收, ex-right adjusted); map its column,"
            ' or say under [assume] pre_close = "previous_close" if no ex-date matters'
        )
    return ConfigInvalid(
        COLUMNS,
        f"{label}: no column for {', '.join(missing)} among {', '.join(header)}",
        remedy=remedy,
    )


def _not_understood(path: Path, what: str, remedy: str) -> ConfigInvalid:
    return ConfigInvalid(COLUMNS, f"{path}: {what} is not understood", remedy=remedy)
