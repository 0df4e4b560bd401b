"""No key is readable anywhere: not of a vendor, however it is kept, and not of a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.connection import conninfo
from caopan.application.ports.model_calls import CallFilter
from caopan.bootstrap.gateway_stores import seal_secret
from caopan.settings import load_settings
from caopan.testing.gateway_process import RunningGateway, running_gateway
from caopan.testing.vendors.misbehaving import Misbehaving

CANARIES = {
    "env": "sk-canary-env-5d1f0c6b7a8e9342",
    "file": "sk-canary-file-91ab37cc20de4f58",
    "sealed": "sk-canary-sealed-7733aa55ee1199bb",
}
FAULTS = ("ok", "echo", "401", "500", "cut:5", "ok_error")
PAGES = (
    "/v1/models",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/config/models",
    "/api/config/models/versions",
    "/api/config/models/metrics",
    "/api/config/models/schema",
)


def document(url: str, references: dict[str, str]) -> dict[str, Any]:
    return {
        "endpoints": [
            {
                "alias": f"{kind}/{fault}",
                "name": f"{kind}/{fault}",
                "provider": "openai_compatible",
                "model": fault,
                "endpoint_url": url,
                "auth_secret_ref": reference,
                "private_address": True,
                "retry": {"max_attempts": 1},
                "circuit_breaker": {"enabled": False},
            }
            for kind, reference in references.items()
            for fault in FAULTS
        ]
    }


def tables(url: str) -> Iterator[str]:
    """Yield every row of every table of the gateway as text."""
    with psycopg.connect(conninfo(url)) as link:
        for name in ("llm_call", "llm_body", "models_config", "client_key"):
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
            yield from (row[0] for row in link.execute(query))


async def bodies(url: str) -> list[str]:
    """Return every recorded request and answer, unpacked."""
    history = PostgresCallHistory(url)
    try:
        page = await history.page(CallFilter(), 1_000)
        ids = {call.call_id for call in page.calls}
        details = [detail for call in ids for detail in await history.call(call)]
    finally:
        await history.close()
    assert details
    return [str(part) for detail in details for part in (detail.request, detail.response)]


def answers(gateway: RunningGateway) -> Iterator[str]:
    """Make every call there is, and yield all that comes back."""
    for kind in CANARIES:
        for fault in FAULTS:
            for stream in (False, True):
                status, body, headers = gateway.chat(f"{kind}/{fault}", {"stream": stream})
                assert status in {200, 502}, (kind, fault, body)
                yield f"{body} {headers}"
    for page in PAGES:
        status, body, headers = gateway.ask(page)
        assert status == 200
        yield f"{body} {headers}"
    for key in ("", CANARIES["env"]):
        yield str(gateway.ask("/v1/models", key=key))
    _, read, _ = gateway.ask("/api/config/models")
    read["endpoints"][0]["auth_secret_ref"] = CANARIES["env"]
    yield str(gateway.change(read))
    read["endpoints"][0]["auth_secret_ref"] = "env:X"
    read["endpoints"][0]["endpoint_url"] = f"https://u:{CANARIES['env']}@h/v1"
    yield str(gateway.change(read))


@pytest.mark.slow
def test_no_key_is_readable_anywhere(clean_database, redis_url, tmp_path):
    home = tmp_path / "home"
    key_file = tmp_path / "key"
    key_file.write_text(CANARIES["file"])
    settings = load_settings({"home": home}, environ={})
    seal_secret(settings, "canary", CANARIES["sealed"])
    references = {"env": "env:CANARY", "file": f"file:{key_file}", "sealed": "sealed:canary"}
    vendor = Misbehaving()
    with vendor.in_thread() as url:
        found: dict[str, str] = {}
        with running_gateway(
            home,
            database_url=clean_database,
            redis_url=redis_url,
            document=document(url, references),
            environ={"CANARY": CANARIES["env"]},
        ) as one:
            found["answers"] = "\n".join(answers(one))
            # The key of this home's commands lies there, for its owner alone.
            state = [*(home / "run" / "gateway").glob("*[ny]")]
            own = (home / "run" / "gateway" / "home.key").read_text()
            assert [file.stat().st_mode & 0o077 for file in state] == [0, 0]
            one.stop()
        sent = {call.headers.get("authorization") for call in vendor.calls}
    # The canaries did travel: a test that finds none of them must not be one that used none.
    assert {f"Bearer {canary}" for canary in CANARIES.values()} <= sent
    found["rows"] = "\n".join(tables(clean_database))
    found["bodies"] = "\n".join(asyncio.run(bodies(clean_database)))
    with Redis.from_url(redis_url) as link:
        found["valkey"] = "\n".join(str(link.dump(name)) + str(name) for name in link.scan_iter())
    for file in home.rglob("*"):
        if file.is_file() and file.name != "home.key":
            found[f"file {file.name}"] = file.read_bytes().decode("latin-1")
    for secret in (*CANARIES.values(), own, one.admin_key):
        leaks = [place for place, text in found.items() if secret in text]
        assert leaks == []
        assert secret not in one.told[-1]
