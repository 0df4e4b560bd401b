"""Reading back one exported record: every value of its type, or refused by record and field."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from caopan.domain.accounting.plain_record import PlainRecord
from caopan.kernel.errors import CorruptState

RECORD = PlainRecord(
    {"n": 7, "flag": True, "day": "2026-06-08", "rows": [[1, "a"]], "none": None, "in": {"x": 1}},
    "record 3 (order)",
)


def test_values_come_back_by_type():
    assert (RECORD.whole("n", 7), RECORD.flag("flag")) == (7, True)
    assert RECORD.whole_or_none("none") is None
    assert RECORD.day("day") == date(2026, 6, 8)
    assert RECORD.rows("rows", 1, 2) == [[1, "a"]]
    assert RECORD.inner("in").whole("x") == 1
    assert RECORD.as_share("n", "3/10") == Fraction(3, 10)
    assert (RECORD.has("n"), RECORD.has("m")) == (True, False)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: RECORD.whole("m"), "record 3 (order), field m is missing"),
        (lambda: RECORD.whole("n", 8), "record 3 (order), field n: 7 is below 8"),
        (lambda: RECORD.whole("flag"), "field flag: True is no whole number"),
        (lambda: RECORD.flag("n"), "field n: 7 is neither true nor false"),
        (lambda: RECORD.text("n"), "field n: 7 is no text"),
        (lambda: RECORD.day("n"), "field n: 7 is no date"),
        (lambda: RECORD.rows("rows", 3), "field rows[0]: [1, 'a'] is no list of 3 values"),
        (lambda: RECORD.numbers("rows", 1), "field rows[0]: [1, 'a'] is no whole number"),
        (lambda: RECORD.numbers("rows", 2), "is no list of 2 numbers"),
        (lambda: RECORD.listed("n"), "field n: 7 is no list"),
        (lambda: RECORD.inner("n"), "record 3 (order), n, field record: 7 is no object"),
        (lambda: RECORD.as_share("s", "1/0"), "field s: '1/0' is no fraction"),
        (lambda: RECORD.as_share("s", 0.5), "field s: 0.5 is no fraction"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(read, said):
    with pytest.raises(CorruptState) as refused:
        read()
    assert refused.value.code == "SNAPSHOT_INVALID"
    assert said in refused.value.message
    assert "replay the exchange" in refused.value.remedy
