"""The calendar snapshot: what the library knows, what we add, and what is refused."""

import csv
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from caopan.adapters.calendar.xshg import (
    from_snapshot,
    load_calendar,
    snapshot_name,
    to_snapshot,
)
from caopan.kernel.errors import ConfigInvalid, Denied

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("CAOPAN_REAL_DATA", ROOT.parent / "shared" / "data"))
OFFICIAL = DATA / "calendar_xshg.csv"


def write(folder, text):
    path = folder / "overrides.toml"
    path.write_text(text, "utf-8")
    return path


def year(number, closed, source="a test"):
    days = ", ".join(day.isoformat() for day in closed)
    return f'[[year]]\nnumber = {number}\nclosed = [{days}]\nsource = "{source}"\n'


def weekdays(first, count):
    days = (first + timedelta(days=n) for n in range(count))
    return [day for day in days if day.weekday() < 5]


CLOSED_2027 = [
    date(2027, 1, 1),
    *weekdays(date(2027, 2, 5), 9),
    date(2027, 4, 5),
    *weekdays(date(2027, 5, 1), 5),
    date(2027, 6, 9),
    date(2027, 9, 15),
    *weekdays(date(2027, 10, 1), 7),
]


def test_known_holidays_are_no_sessions_and_the_range_ends():
    calendar = load_calendar()
    assert calendar.name == snapshot_name()
    # The eve of the Spring Festival of 2024 was a working day but no session.
    assert not calendar.is_session(date(2024, 2, 9))
    assert calendar.next_session(date(2024, 2, 8)) == date(2024, 2, 19)
    assert len(calendar.between(date(2024, 1, 1), date(2024, 12, 31))) == 242
    with pytest.raises(Denied, match="DATA_CALENDAR"):
        calendar.is_session(date(2027, 1, 4))


@pytest.mark.skipif(not OFFICIAL.is_file(), reason=f"no calendar at {OFFICIAL}")
def test_sessions_equal_the_recorded_ones():
    with OFFICIAL.open(newline="") as file:
        days = [date.fromisoformat(row["date"]) for row in csv.DictReader(file)]
    assert list(load_calendar().between(days[0], days[-1])) == days


def test_a_stored_snapshot_comes_back_the_same():
    calendar = load_calendar()
    assert from_snapshot(*to_snapshot(calendar)) == calendar


@pytest.mark.parametrize(("version", "sessions"), [("1", [date(2026, 1, 5)]), ("2026/", [])])
def test_a_snapshot_that_does_not_fit_together_is_refused(version, sessions):
    with pytest.raises(ConfigInvalid, match="DATA_CALENDAR"):
        from_snapshot("stored", version, sessions)


def test_the_name_of_a_snapshot_costs_no_pandas():
    code = (
        "import sys; from caopan.adapters.calendar.xshg import snapshot_name, from_snapshot;"
        "snapshot_name(); print('pandas' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_declared_year_extends_the_range_and_shows_in_the_name(tmp_path):
    path = write(tmp_path, year(2027, CLOSED_2027))
    calendar = load_calendar(path)
    assert calendar.last == date(2027, 12, 31)
    assert calendar.next_session(date(2026, 12, 31)) == date(2027, 1, 4)
    assert not calendar.is_session(date(2027, 10, 1))
    assert calendar.name == snapshot_name(path) != snapshot_name()


def test_a_correction_overrules_the_library(tmp_path):
    text = '[[correction]]\nday = 2024-02-08\nsession = false\nsource = "a test"\n'
    calendar = load_calendar(write(tmp_path, text))
    assert not calendar.is_session(date(2024, 2, 8))
    assert calendar.is_session(date(2024, 2, 7))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (year(2028, []), "does not follow|sessions are left"),
        (year(2027, []), "sessions are left"),
        (year(2027, CLOSED_2027[1:]), "2027-01-01 is a national holiday"),
        (year(2027, [*CLOSED_2027, date(2027, 3, 6)]), "no weekday"),
        (year(2027, [*CLOSED_2027, date(2026, 3, 6)]), "no weekday"),
        (year(2027, [*CLOSED_2027, CLOSED_2027[0]]), "twice"),
        (year(2027, CLOSED_2027, source=""), "source"),
        (year(2026, weekdays(date(2026, 1, 1), 26)), "does not follow|national holiday"),
        ('[[correction]]\nday = 2024-02-10\nsession = true\nsource = "s"\n', "weekends"),
        ('[[correction]]\nday = 2031-02-10\nsession = true\nsource = "s"\n', "does not know"),
        ("[[correction]]\nday = 2024-02-08\n", "needed"),
        ("[[years]]\n", "not understood"),
        ("year = 3\n", "no table list"),
        ("not toml", "TOML|expected"),
    ],
)
def test_a_bad_override_is_refused(tmp_path, text, says):
    with pytest.raises(ConfigInvalid, match=says) as caught:
        load_calendar(write(tmp_path, text))
    assert caught.value.code == "DATA_CALENDAR"


def test_a_missing_override_file_is_refused(tmp_path):
    with pytest.raises(ConfigInvalid, match="DATA_CALENDAR"):
        load_calendar(tmp_path / "nowhere.toml")
