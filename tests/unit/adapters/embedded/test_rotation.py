"""Server logs stay bounded, and the server that appends to one never notices."""

from __future__ import annotations

import pytest

from caopan.adapters.embedded import watchdog


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "LOG_BYTES", 100)
    return tmp_path / "server.log"


def test_short_log_is_left_alone(log):
    watchdog.rotate(log)
    log.write_text("short")
    watchdog.rotate(log)
    assert log.read_text() == "short"
    assert list(log.parent.iterdir()) == [log]


def test_long_log_moves_on_while_it_is_written(log):
    with log.open("a") as server:
        for number in range(8):
            server.write(f"{number}" * 120)
            server.flush()
            watchdog.rotate(log)
        server.write("next")
    assert log.read_text() == "next"
    copies = sorted(log.parent.glob("server.log.*"))
    assert [copy.read_text()[0] for copy in copies] == ["7", "6", "5"]


def test_log_that_cannot_be_copied_is_emptied_all_the_same(log, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watchdog.shutil, "copyfile", full)
    log.write_text("x" * 120)
    watchdog.rotate(log)
    assert log.read_text() == ""
