"""Callers' keys: known by their digest, void once they are revoked, their names taken for good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caopan.adapters.postgres.client_keys import PostgresClientKeys
from caopan.kernel.errors import Conflict
from caopan.testing.gateway_samples import AT, sample_key
from caopan.testing.gateway_stores import MemoryClientKeys

A, B = "a" * 64, "b" * 64


@pytest.fixture(params=["memory", "postgres"])
async def keys(request):
    if request.param == "memory":
        yield MemoryClientKeys()
        return
    stored = PostgresClientKeys(request.getfixturevalue("clean_database"))
    yield stored
    await stored.close()


async def test_a_key_comes_back_as_it_was(keys):
    assert await keys.all() == {}
    plain = sample_key("plain", daily_budget=None, rpm=None, expires_at=None, aliases=("*",))
    await keys.add(A, sample_key(admin=True))
    await keys.add(B, plain)
    assert await keys.all() == {A: sample_key(admin=True), B: plain}


async def test_a_name_is_taken_even_by_a_key_that_is_void(keys):
    await keys.add(A, sample_key())
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            await keys.add(B, sample_key(client_id="another"))
        assert caught.value.code == "CLIENT_EXISTS"
        await keys.revoke("id-research", AT)
    assert set(await keys.all()) == {A}


async def test_a_key_is_void_from_the_first_time_it_was_revoked(keys):
    await keys.add(A, sample_key())
    await keys.revoke("id-research", AT)
    await keys.revoke("id-research", AT + timedelta(days=1))
    assert (await keys.all())[A].revoked_at == AT
    with pytest.raises(Conflict) as caught:
        await keys.revoke("nobody", AT)
    assert caught.value.code == "CLIENT_UNKNOWN"
