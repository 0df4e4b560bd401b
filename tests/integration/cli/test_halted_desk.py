"""A desk that is to be stopped, whatever else is wrong with it; and a replay while it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from caopan.adapters.calendar.xshg import load_calendar
from caopan.interfaces.cli.__main__ import main

AT = "2025-06-13T09:16"
LATER = "2025-06-16T10:00:00+08:00"
LAST = date(2025, 6, 13)
SYMBOLS = ("600001.SH", "600002.SH", "600003.SH", "600004.SH")


@pytest.fixture
def data(tmp_path: Path) -> Callable[[], Path]:
    """Return a function that writes a year of bars, rising a little every day."""
    sessions = load_calendar().between(date(2024, 6, 3), LAST)
    path = tmp_path / "bars" / "day.csv"
    path.parent.mkdir()

    def write() -> Path:
        rows = ["symbol,date,open,high,low,close,pre_close,volume,amount"]
        for step, symbol in enumerate(SYMBOLS):
            close = 1_000
            for number, day in enumerate(sessions):
                low, high = close, close + 3 + (number + step) % 3
                prices = (low, high, low, high, low)
                text = ",".join(f"{one / 100:.2f}" for one in prices)
                rows.append(f"{symbol},{day},{text},9000000,{9_000_000 * high / 100:.2f}")
                close = high
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path.parent

    return write


@pytest.fixture
def caopan(clean_database, services, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def run(*words: str):
        capsys.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_desk_without_fresh_data_is_halted_all_the_same(caopan, data, tmp_path):
    folder = data()
    code, told = caopan("cycle", "--data", str(folder), "--at", AT)
    assert code == 0, told
    assert caopan("orders", "--open")[1]["orders"]
    # The desk now lives on the day after its data ends.
    (note,) = (tmp_path / "home" / "desks").glob("*.json")
    note.write_text(json.dumps({"data": str(folder), "at": LATER}), "utf-8")
    code, told = caopan("cycle", "--data", str(folder), "--at", LATER)
    assert told["error"]["code"] == "DATA_STALE"
    code, told = caopan("halt", "--reason", "no data")
    assert code == 0
    (run,) = told["runs"]
    assert (run["cancelled_by"], run["open_orders"]) == ("here", [])
    assert caopan("orders", "--open")[1]["orders"] == []


def test_a_halt_of_the_desks_halts_no_replay(caopan, data):
    folder = data()
    assert caopan("halt", "--reason", "drill")[0] == 0
    words = ("--start", "2025-06-09", "--end", "2025-06-13")
    code, told = caopan("replay", "--data", str(folder), *words)
    assert (code, told["decisions"], told["rejected_by_code"]) == (0, 5, {}), told
    assert told["orders"] > 0
