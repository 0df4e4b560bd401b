"""Files of rule cases: what is read, what is refused, and when an answer agrees."""

import pytest

from caopan.adapters.rules.case_file import (
    COLUMNS,
    Answer,
    Context,
    Expectation,
    UnreadableError,
    differences,
    read_cases,
)
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units


def write(tmp_path, *rows, columns=COLUMNS):
    path = tmp_path / "cases.csv"
    lines = [",".join(columns), *rows]
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_context_is_read_whatever_its_punctuation():
    context = Context(" base = 10.00 (best_ask (depth 5)) ；halt30_done; cash/share=0.50;x=3,000; ")
    assert context.money("base") == units("10.00")
    assert "halt30_done" in context
    assert context.flag("halt30_done")
    assert context.money("cash/share") == units("0.50")
    assert context.count("x") == 3_000
    assert context.count("absent", missing=7) == 7
    assert context.money("absent") is None


@pytest.mark.parametrize(("text", "value"), [("4%", 4), ("0.04", 4), ("-4.0 %", -4)])
def test_shares_are_read_as_percent_or_fraction(text, value):
    assert Context(f"move={text}").share("move") * 100 == value


@pytest.mark.parametrize(
    ("text", "key"), [("a=", "a"), ("b=1", "a"), ("a=much", "a"), ("a=1.5", "a")]
)
def test_what_cannot_be_counted_is_named(text, key):
    with pytest.raises(UnreadableError) as caught:
        Context(text).count(key)
    assert caught.value.field == f"context.{key}"
    assert f"context.{key}" in caught.value.message


@pytest.mark.parametrize(
    ("column", "cell", "read"),
    [
        ("board", "moon", "board"),
        ("exchange", "NYSE", "exchange"),
        ("date", "20261120", "day"),
        ("date", "2026-13-01", "day"),
        ("time", "25:00:00", "time"),
        ("side", "HOLD", "buying"),
        ("order_type", "STOP", "order_type"),
        ("qty", "many", "qty"),
    ],
)
def test_a_cell_that_cannot_be_read_names_its_column(tmp_path, column, cell, read):
    row = {"case_id": "X", column: cell}
    [(case, _)] = read_cases(write(tmp_path, ",".join(row.get(name, "") for name in COLUMNS)))
    if cell == "20261120":
        # The short form is a date too.
        assert case.day.isoformat() == "2026-11-20"
        return
    with pytest.raises(UnreadableError) as caught:
        getattr(case, read)
    assert caught.value.field == column
    assert repr(cell).lower() in caught.value.message.lower()


def test_what_is_no_case_file_is_refused(tmp_path):
    with pytest.raises(ConfigInvalid, match="no column exp_up"):
        read_cases(write(tmp_path, columns=[name for name in COLUMNS if name != "exp_up"]))
    with pytest.raises(ConfigInvalid, match="CASES_UNREADABLE"):
        read_cases(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("confidence", "binding"),
    [("V", True), ("V2", True), ("V2/U", False), ("M", False), ("设计建议", False)],
)
def test_only_what_is_verified_binds(confidence, binding):
    assert Expectation("", "", "", "", "", confidence).binding is binding


@pytest.mark.parametrize(
    ("wanted", "found", "agree"),
    [
        ("10.2", "10.20", True),
        ("10.20", "10.21", False),
        ("commission=5; stamp=0.62", "commission=5.00; stamp=0.62; transfer=0.01", True),
        ("commission=5.01", "commission=5.00; stamp=0.62", False),
        ("fee=5.00", "commission=5.00", False),
        ("09:55:00", "09:55:00", True),
        ("09:55:00", "09:45:00", False),
        ("10.00x500 + 10.01x200", "10.00x500+10.01x200", True),
        ("500 filled", "10.00x500; filled 500; cancelled 200", True),
        ("600 filled", "10.00x500; filled 500; cancelled 200", False),
        ("10.00", "", False),
        ("", "10.00", True),
    ],
)
def test_figures_agree_by_value(wanted, found, agree):
    expectation = Expectation("X", "", "", wanted, "", "V")
    assert (differences(expectation, Answer("X", value=found)) == []) is agree
