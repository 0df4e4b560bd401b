"""The Knight drill: a broker's process of another build joins, and nothing is traded with it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

import caopan as package


@pytest.fixture
def other_build(tmp_path) -> Path:
    """Return a folder with a copy of the product in which one comment differs."""
    copied = shutil.copytree(
        Path(package.__file__).parent,
        tmp_path / "old" / "caopan",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with (copied / "kernel" / "money.py").open("a", encoding="utf-8") as file:
        file.write("\n# One line of another day.\n")
    return copied.parent


def test_nobody_trades_with_a_broker_of_another_build(caopan, desk, other_build):
    old = desk.broker(source=other_build)
    said = ("--broker", str(desk.socket))
    for words in (
        ("trader", *said),
        ("cycle", "--seed", "7", "--at", "2025-06-03T09:17", *said),
    ):
        code, told = caopan(*words)
        assert (code, told["error"]["code"]) == (5, "BROKER_BUILD"), told
        assert "the broker process runs 0." in told["error"]["message"]
    orders = caopan("orders")[1]["orders"]
    old.close()
    # The same build is let in, and another one that takes its place while the trader is there not.
    broker = desk.broker()
    trader = desk.trader()
    desk.until(lambda: "Compared" in trader.log, trader)
    broker.close()
    joined = desk.broker(source=other_build)
    desk.until(lambda: "BROKER_BUILD" in trader.log, trader)
    joined.close()
    desk.broker()
    desk.until_compared("reconnect", 1, trader)
    trader.end(signal.SIGTERM)
    assert trader.said()[0] == 0
    assert caopan("orders")[1]["orders"] == orders
