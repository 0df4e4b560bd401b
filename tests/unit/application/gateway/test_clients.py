"""Who may call, and what for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.application.gateway.calls import CallRefused
from caopan.application.gateway.clients import (
    Clients,
    checked_admin,
    key_digest,
    may_ask,
    models_for,
)
from caopan.kernel.errors import Unavailable
from caopan.testing.gateway_rig import CLIENT, START, a_route, a_snapshot, an_endpoint
from caopan.testing.gateway_stores import MemoryClientKeys

KEY = "cpg-0123456789"


async def clients_with(key):
    clients, stored = Clients(), MemoryClientKeys()
    await stored.add(key_digest(KEY), key)
    await clients.refresh(stored)
    return clients


async def known(authorization, key=CLIENT, now=START):
    return (await clients_with(key)).known(authorization, now)


async def test_a_key_names_its_client():
    assert await known(f"Bearer {KEY}") is CLIENT
    assert await known(f"bearer  {KEY} ") is CLIENT


@pytest.mark.parametrize(
    "authorization",
    [None, "", KEY, f"Basic {KEY}", "Bearer ", "Bearer cpg-other", f"Bearer {KEY}x"],
)
async def test_no_other_text_does(authorization):
    with pytest.raises(CallRefused) as caught:
        await known(authorization)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


async def test_a_key_ends_when_it_is_revoked_or_expires():
    for field in ("revoked_at", "expires_at"):
        key = replace(CLIENT, **{field: START})
        assert await known(f"Bearer {KEY}", key, START - timedelta(seconds=1)) is key
        with pytest.raises(CallRefused):
            await known(f"Bearer {KEY}", key, START)


async def test_who_was_known_stays_known_while_the_keys_cannot_be_read():
    clients, stored = await clients_with(CLIENT), MemoryClientKeys()
    stored.is_cut_off = True
    with pytest.raises(Unavailable):
        await clients.refresh(stored)
    assert clients.known(f"Bearer {KEY}", START) is CLIENT


def test_scopes():
    some = replace(CLIENT, aliases=("actor", "checker"))
    assert [may_ask(some, alias) for alias in ("actor", "checker", "other", "*", "")] == [
        *(True, True),
        *(False, False, False),
    ]
    assert may_ask(CLIENT, "anything")
    checked_admin(replace(CLIENT, admin=True))
    with pytest.raises(CallRefused) as caught:
        checked_admin(CLIENT)
    assert caught.value.status == 403


def test_a_client_sees_the_models_it_may_ask_for():
    snapshot = a_snapshot(an_endpoint("a"))
    routes = {alias: a_route("a", alias=alias) for alias in ("b", "a", "secret")}
    snapshot = replace(snapshot, routes=routes)
    found = models_for(replace(CLIENT, aliases=("a", "b", "gone")), snapshot, 5)
    assert [one["id"] for one in found["data"]] == ["a", "b"]
    assert found["data"][0] == {"id": "a", "object": "model", "created": 5, "owned_by": "caopan"}
