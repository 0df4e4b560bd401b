"""`caopan db` as a person runs it, against a database of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caopan.adapters.postgres import schema


@pytest.fixture
def caopan(tmp_path: Path, empty_database: str, redis_url: str):
    """Return a function that runs a `caopan` command and gives exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        environment = {
            **os.environ,
            "CAOPAN_HOME": str(tmp_path / "home"),
            "DATABASE_URL": empty_database,
            "REDIS_URL": redis_url,
        }
        command = [sys.executable, "-m", "caopan.interfaces.cli", *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_up_and_down_with_a_backup_before_anything_is_lost(caopan, empty_database):
    def answer(*words: str) -> dict:
        code, out, err = caopan("db", *words, "--json")
        assert code == 0, err
        return json.loads(out)

    assert answer("status") == {
        "current": None,
        "head": "0003",
        "pending": [
            "0001",
            "0002",
            "0003",
        ],
    }
    assert answer("upgrade") == {"from": None, "to": "0003", "backup": None}
    assert answer("check") == {"agrees": True, "differences": []}
    # Nobody is there to say yes, so nothing happens.
    code, _, err = caopan("db", "downgrade", "base")
    assert code == 1
    assert "--yes" in err
    assert schema.status(empty_database).current == "0003"
    down = answer("downgrade", "base", "--yes")
    assert (down["from"], down["to"]) == ("0003", None)
    assert Path(down["backup"]).stat().st_size > 0
    assert answer("status")["current"] is None


def test_what_differs_is_told_and_fails(caopan, empty_database):
    schema.upgrade(empty_database)
    code, out, _ = caopan("db", "check", "--lang", "zh")
    assert (code, "一致" in out) == (0, True)
    schema.downgrade(empty_database, "base")
    code, out, _ = caopan("db", "check", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "DB_NOT_MIGRATED")
