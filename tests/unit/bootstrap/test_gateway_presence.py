"""A gateway that lives is found, one that died is not, and its key is its owner's alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from caopan.bootstrap.gateway_presence import Presence, home_key, present, running_gateways
from caopan.kernel.errors import Conflict
from caopan.settings import Secret

DIES = """
import os, sys
from pathlib import Path
from caopan.bootstrap.gateway_presence import Presence, present
from caopan.settings import Secret
with present(Path(sys.argv[1]), Presence("127.0.0.1", 8700, os.getpid(), "now", Secret("k"))):
    os._exit(9)
"""


def presence(port: int = 8700) -> Presence:
    return Presence("127.0.0.1", port, os.getpid(), "2026-11-20T00:00:00Z", Secret("cpg-local"))


def test_a_gateway_is_found_while_it_lives(tmp_path):
    assert running_gateways(tmp_path) == []
    with present(tmp_path, presence(8701)), present(tmp_path, presence(8700)):
        assert running_gateways(tmp_path) == [presence(8700), presence(8701)]
    assert running_gateways(tmp_path) == []
    assert not list((tmp_path / "run" / "gateway").glob("*.json"))


def test_two_of_one_home_do_not_share_a_port_and_the_first_stays_found(tmp_path, monkeypatch):
    monkeypatch.setattr("caopan.bootstrap.gateway_presence._LOOKED_AT_S", 0.0)
    with present(tmp_path, presence()):
        with (
            pytest.raises(Conflict, match="GATEWAY_RUNNING"),
            present(tmp_path, presence()),
        ):
            pass
        assert running_gateways(tmp_path) == [presence()]


def test_what_a_killed_one_left_is_cleared_away(tmp_path):
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
    assert list((tmp_path / "run" / "gateway").glob("*.json"))
    assert running_gateways(tmp_path) == []
    assert not list((tmp_path / "run" / "gateway").glob("*.json"))


def test_only_the_owner_can_read_the_key_and_it_is_not_shown(tmp_path):
    with present(tmp_path, presence()):
        (file,) = (tmp_path / "run" / "gateway").glob("*.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "cpg-local" not in repr(presence())


def test_a_file_that_is_none_of_ours_is_left_out(tmp_path):
    with present(tmp_path, presence()):
        (file,) = (tmp_path / "run" / "gateway").glob("*.json")
        file.write_text("{}")
        assert running_gateways(tmp_path) == []


def test_the_homes_key_is_made_once_and_is_its_owners_alone(tmp_path):
    first = home_key(tmp_path)
    assert first.get_secret_value().startswith("cpg-")
    assert home_key(tmp_path) == first
    (file,) = (tmp_path / "run" / "gateway").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert home_key(tmp_path / "other") != first
