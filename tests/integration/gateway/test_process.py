"""The gateway as a process: found while it lives, stopped without harm, killed without loss."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg
import pytest

from caopan.adapters.postgres.connection import conninfo
from caopan.bootstrap.gateway_presence import ask_gateway, running_gateways
from caopan.testing.gateway_process import running_gateway
from caopan.testing.vendors.misbehaving import Misbehaving

WITHIN_S = 20


def document(url: str, *models: str, **fields: Any) -> dict[str, Any]:
    return {
        "endpoints": [
            {
                "alias": model,
                "name": model,
                "provider": "openai_compatible",
                "model": model,
                "endpoint_url": url,
                "auth_type": "none",
                "private_address": True,
                **fields,
            }
            for model in models
        ]
    }


def rows(url: str) -> list[tuple]:
    query = "SELECT alias, attempt, outcome, error_code FROM llm_call ORDER BY began_at, attempt"
    with psycopg.connect(conninfo(url)) as link:
        return link.execute(query).fetchall()


def eventually(check):
    """Wait until `check` is true of what takes a moment, and return what it returned."""
    ends = time.monotonic() + WITHIN_S
    while not (found := check()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.05)
    return found


@pytest.fixture
def vendor():
    return Misbehaving()


@pytest.fixture
def start(clean_database, redis_url, tmp_path, vendor):
    """Start a gateway of one home on an empty database, in front of `vendor`."""

    def begin(*models: str, words=(), key="", home="home", url="", **fields: Any):
        given = document(url, *models, **fields) if models else None
        return running_gateway(
            tmp_path / home,
            database_url=clean_database,
            redis_url=redis_url,
            document=given,
            words=words,
            key=key,
        )

    return begin


def test_it_is_found_while_it_lives_and_makes_one_first_key(start, vendor, tmp_path):
    with vendor.in_thread() as url:
        with start("ok", url=url) as one:
            assert one.admin_key.startswith("cpg-")
            (found,) = running_gateways(tmp_path / "home")
            assert found.url == one.url
            told = ask_gateway(found, "/api/config/models/metrics")
            assert [part["endpoint"] for part in told["endpoints"]] == ["ok"]
            assert one.ask("/readyz")[1]["status"] == "ok"
            assert one.chat("ok")[0] == 200
            assert one.stop() == 0
        assert running_gateways(tmp_path / "home") == []
        with start(key=one.admin_key) as again:
            assert again.told == [line for line in again.told if "ready" in line]
            assert again.chat("ok")[0] == 200
            # A desk that began before goes on with the same key.
            assert again.chat("ok", key=found.key.get_secret_value())[0] == 200


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--host", "0.0.0.0"], 2, "GATEWAY_ADDRESS"),  # noqa: S104 - is refused
        (["--config", "no-such-file.json"], 2, "MODELS_INVALID"),
    ],
)
def test_what_it_will_not_do_is_told_before_anything_starts(tmp_path, words, code, told):
    done = subprocess.run(
        [sys.executable, "-m", "caopan.interfaces.gateway", "--home", str(tmp_path), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_out_of_reach(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--home", str(tmp_path), "--port", str(port)]
        done = subprocess.run(
            [sys.executable, "-m", "caopan.interfaces.gateway", *words],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert f"127.0.0.1:{port}" in done.stderr


def test_a_call_under_way_is_answered_before_it_stops(start, vendor, clean_database):
    answers = []
    with vendor.in_thread() as url, start("slow:1000", url=url) as one:
        asking = threading.Thread(target=lambda: answers.append(one.chat("slow:1000")))
        asking.start()
        eventually(lambda: vendor.under_way)
        assert one.stop() == 0
        asking.join()
    assert answers[0][0] == 200
    assert rows(clean_database) == [("slow:1000", 1, "ok", None)]


def test_killed_in_the_middle_nothing_said_is_lost(start, vendor, clean_database, tmp_path):
    def ask() -> None:
        # The line breaks with the process.
        with pytest.raises(OSError):  # noqa: PT011 - whichever way it breaks
            one.chat("hang")

    with vendor.in_thread() as url:
        with start("ok", "hang", url=url) as one:
            assert one.chat("ok")[0] == 200
            asking = threading.Thread(target=ask)
            asking.start()
            eventually(lambda: vendor.under_way)
            one.stop(signal.SIGKILL)
            asking.join()
        assert running_gateways(tmp_path / "home") == []
        with start(key=one.admin_key):
            eventually(lambda: "lost" in [row[2] for row in rows(clean_database)])
    assert rows(clean_database) == [("ok", 1, "ok", None), ("hang", 1, "lost", "GATEWAY_DIED")]


def test_a_change_reaches_every_process_and_cuts_no_stream(start, vendor):
    """Sixty-four streams run on two processes while endpoints change under them."""
    finished: list[bytes] = []

    def read(gateway) -> None:
        fields = {"stream": True}
        status, body, _ = gateway.chat("drip:50", fields)
        assert status == 200
        finished.append(body)

    with (
        vendor.in_thread() as url,
        start("drip:50", "ok", url=url) as one,
        start(key=one.admin_key, home="second") as two,
    ):
        readers = [
            threading.Thread(target=read, args=[gateway])
            for gateway in (one, two)
            for _ in range(32)
        ]
        for reader in readers:
            reader.start()
        eventually(lambda: vendor.under_way == 64)
        changed = document(url, "drip:50", "other")
        changed["endpoints"][0]["timeouts"] = {"connect_ms": 1_234}
        began = time.monotonic()
        status, told = one.change(changed)
        assert (status, told["version"]) == (200, 3), told
        eventually(lambda: two.chat("other")[0] == 200)
        assert time.monotonic() - began < 5
        assert one.chat("ok")[0] == two.chat("ok")[0] == 404
        for reader in readers:
            reader.join()
    assert len(finished) == 64
    assert all(body.endswith(b"data: [DONE]\n\n") for body in finished)


def test_an_invalid_change_is_refused_whole_by_every_process(start, vendor):
    with vendor.in_thread() as url, start("ok", url=url) as one:
        wrong = document(url, "ok")
        wrong["endpoints"][0]["routing"] = {"weight": 2}
        status, told = one.change(wrong)
        assert status == 400
        assert told["error"]["param"] == "endpoints[0].routing.weight"
        assert one.chat("ok")[0] == 200


def test_two_processes_share_a_breaker(start, vendor):
    breaker = {"failures": 3, "open_ms": 60_000}
    with (
        vendor.in_thread() as url,
        start("500", url=url, circuit_breaker=breaker) as one,
        start(key=one.admin_key, home="second") as two,
    ):
        for _ in range(3):
            one.chat("500")

        def opened() -> bool:
            status, told, _ = two.ask("/api/config/models/metrics")
            assert status == 200
            return told["endpoints"][0]["state"] == "open"

        eventually(opened)
        before = vendor.seen["500"]
        status, told, _ = two.chat("500")
        assert (status, told["error"]["code"]) == (503, "CIRCUIT_BREAKER_OPEN")
        assert vendor.seen["500"] == before


def test_what_no_call_needs_is_not_loaded():
    """So the process starts in a moment and stays small."""
    asked = (
        "import json, sys; import caopan.interfaces.gateway.__main__;"
        "print(json.dumps([name for name in sys.modules if '.' not in name]))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"polars", "sqlalchemy", "sqlmodel", "alembic", "openai", "httpx2", "typer", "rich"}
    heavy |= {"genai_prices", "prometheus_client", "exchange_calendars", "numpy", "pandas"}
    assert not loaded & heavy
