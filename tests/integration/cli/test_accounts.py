"""An account as a person looks after it: opened, paid into and out of, shown, compared, cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.application import account_movements as movements
from caopan.interfaces.cli.__main__ import main

AT = "2025-06-03T15:30"
FILE = "symbol,qty,cost_price,bought_on\n309006.SZ,1037,11.2345,2025-05-06\n609003.SH,400,121.5,\n"


class CutOff(BaseException):
    """The process died."""


@pytest.fixture
def caopan(clean_database, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DATABASE_URL", clean_database)

    def run(*words: str):
        capsys.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(autouse=True)
def _redis(services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "holdings.csv"
    path.write_text(FILE, "utf-8")
    return path


def opened(caopan, file, cash="50000"):
    return caopan("account", "import", str(file), "--cash", cash, "--seed", "8", "--at", AT)


def test_an_imported_account_agrees_from_the_first_day_and_goes_on(caopan, file):
    assert caopan("account", "show")[0] == 2
    code, told = opened(caopan, file)
    assert (code, told["new"], told["reconciled"]) == (0, True, True)
    assert told["cash"] == {"ours": "50000.00", "venue": "50000.00"}
    assert opened(caopan, file)[1]["new"] is False
    assert opened(caopan, file, "50001")[1]["error"]["code"] == "ACCOUNT_NOT_EMPTY"
    _, held = caopan("positions")
    assert [(one["symbol"], one["qty"], one["sellable"]) for one in held["positions"]] == [
        ("309006.SZ", 1037, 1037),
        ("609003.SH", 400, 400),
    ]
    assert held["positions"][1]["lots"][0]["bought_on"] == "2025-05-30"
    assert caopan("cycle", "--seed", "8", "--at", "2025-06-04T09:16")[0] == 0
    code, told = caopan("reconcile", "--at", "2025-06-04T16:00")
    assert (code, told["passed"], told["after"]["posture"]) == (0, True, "normal")
    assert caopan("reconcile", "--at", AT)[1]["error"]["code"] == "CLOCK_BACKWARDS"
    named = ("reconcile", "--account")
    assert caopan(*named, told["account_id"])[0] == 0
    assert caopan(*named, "nobody")[1]["error"]["code"] == "DESK_UNKNOWN"
    assert caopan(*named, told["account_id"], "--run", "1")[1]["error"]["code"] == "USAGE"


def test_a_wrong_row_leaves_nothing_behind(caopan, file):
    file.write_text(FILE + "600000.SH,100,1,\n", "utf-8")
    code, told = opened(caopan, file)
    assert (code, told["error"]["code"]) == (2, "HOLDINGS_INVALID")
    assert "line 4, symbol" in told["error"]["message"]
    assert caopan("account", "show")[1]["error"]["code"] == "DESK_UNKNOWN"


def test_money_moves_on_both_sides_once_per_key(caopan, file):
    opened(caopan, file)
    nav = float(caopan("account", "show")[1]["nav"])
    for new in (True, False):
        code, told = caopan("account", "deposit", "1000.50", "--key", "a")
        assert (code, told["new"]) == (0, new)
        assert told["cash"] == {"ours": "51000.50", "venue": "51000.50"}
    assert caopan("account", "deposit", "1", "--key", "a")[1]["error"]["code"] == "KEY_REUSED"
    assert caopan("account", "withdraw", "1000.50", "--key", "a")[1]["new"]
    assert caopan("account", "withdraw", "50000.01")[0] == 4
    code, told = caopan("account", "show")
    assert (float(told["nav"]), told["realised"]) == (nav, "0.00")
    assert caopan("reconcile")[0] == 0


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (SandboxVenue, "withdraw"),
        (movements, "pay_out"),
        (SandboxVenue, "bring_in"),
        (movements, "open_with"),
    ],
)
def test_an_import_cut_off_anywhere_is_made_whole_by_running_it_again(
    owner, name, caopan, file, monkeypatch
):
    whole = getattr(owner, name)

    async def dies(*args, **named):
        await whole(*args, **named)
        raise CutOff

    with monkeypatch.context() as cut:
        cut.setattr(owner, name, dies)
        with pytest.raises(CutOff):
            opened(caopan, file, "0")
    code, told = opened(caopan, file, "0")
    assert (code, told["reconciled"]) == (0, True)
    assert told["cash"] == {"ours": "0.00", "venue": "0.00"}
    code, told = caopan("account", "show")
    assert (told["control"]["posture"], told["positions"]) == ("normal", 2)


def test_an_order_is_listed_and_cancelled_by_the_beginning_of_its_tag(caopan):
    assert caopan("cycle", "--seed", "7", "--at", "2025-06-03T09:16")[0] == 0
    _, told = caopan("orders", "--open")
    tag = told["orders"][0]["client_order_id"]
    code, done = caopan("cancel", tag[:10], "--reason", "wrong price")
    assert (code, done["canceled"], done["status"]) == (0, True, "canceled")
    assert done["cancelable_until"]
    assert caopan("cancel", tag)[1]["was_open"] is False
    assert caopan("cancel", "zzz")[1]["error"]["code"] == "ORDER_UNKNOWN"
    assert caopan("reconcile")[0] == 0
    assert caopan("ledger", "verify")[1]["verified"]


def test_last_is_what_was_decided_last_though_the_desks_time_stands_still(caopan, file):
    opened(caopan, file, "500000")
    at = "2025-06-04T09:16"
    assert caopan("cycle", "--seed", "8", "--at", at)[0] == 0
    first = caopan("risk", "explain", "last")[1]["decision_id"]
    code, told = caopan("halt", "--level", "3", "--reason", "drill")
    (run,) = told["runs"]
    assert (code, run["cancelled_by"], run["problem"]) == (0, "here", None)
    code, told = caopan("risk", "explain", "last")
    assert (code, told["decision_id"] != first) == (0, True)
    assert [one["pass"] for one in told["judgements"][0]["verdicts"]]
    assert caopan("ledger", "show", "last")[1]["decision_id"] == told["decision_id"]


def test_who_could_not_carry_a_halt_out_says_why(caopan, file, tmp_path):
    opened(caopan, file, "500000")
    assert caopan("cycle", "--seed", "8", "--at", "2025-06-04T09:16")[0] == 0
    (note,) = (tmp_path / "home" / "desks").glob("*.json")
    note.unlink()
    code, told = caopan("halt", "--reason", "drill")
    (run,) = told["runs"]
    assert (code, run["cancelled_by"], run["problem"]["code"]) == (0, "nobody", "DESK_UNNOTED")
