"""Keys are read late, once for many, kept briefly, and never shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from caopan.adapters.llm import endpoint_keys
from caopan.adapters.llm.endpoint_keys import NO_KEY, EndpointKeys
from caopan.domain.gateway.endpoint import AuthType, Endpoint
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret

KEY = "sk-canary-31"
PROFILES = {"p": Profile("p", "", "", "", auth_header="x-goog-api-key")}
BEARER = Endpoint("e", "p", "m", auth=AuthType.BEARER, secret_ref="env:A")


class Counting:
    def __init__(self, value: str = KEY) -> None:
        self.asked: list[str] = []
        self.value = value

    def __call__(self, reference: str) -> Secret:
        self.asked.append(reference)
        return Secret(self.value)


async def test_many_calls_at_once_read_a_key_once():
    source = Counting()
    keys = EndpointKeys(source, PROFILES)
    found = await asyncio.gather(*(keys.header(BEARER) for _ in range(50)))
    assert {(one.name, one.value) for one in found} == {("Authorization", f"Bearer {KEY}")}
    assert source.asked == ["env:A"]


async def test_a_key_is_read_again_after_its_time_and_after_a_refusal(monkeypatch):
    source = Counting()
    keys = EndpointKeys(source, PROFILES)
    await keys.header(BEARER)
    source.value = "sk-rotated"
    assert (await keys.header(BEARER)).key == KEY.encode()
    keys.forget(BEARER)
    assert (await keys.header(BEARER)).key == b"sk-rotated"
    monkeypatch.setattr(endpoint_keys, "_KEPT_S", -1.0)
    keys.forget(BEARER)
    await keys.header(BEARER)
    await keys.header(BEARER)
    assert len(source.asked) == 4


async def test_the_header_is_the_profiles_and_may_be_none():
    keys = EndpointKeys(Counting(), PROFILES)
    own = await keys.header(replace(BEARER, auth=AuthType.API_KEY))
    assert (own.name, own.value) == ("x-goog-api-key", KEY)
    assert await keys.header(replace(BEARER, auth=AuthType.NONE)) is NO_KEY


@pytest.mark.parametrize("value", ["sk a", "sk\nInjected: 1", "", "sk-\u200b", "钥匙", "a" * 4097])
async def test_what_is_no_key_is_refused_without_being_shown(value):
    keys = EndpointKeys(Counting(value), PROFILES)
    with pytest.raises(ConfigInvalid) as caught:
        await keys.header(BEARER)
    assert caught.value.code == "SECRET_UNUSABLE"
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (replace(BEARER, secret_ref=None), "SECRET_MISSING"),
        (replace(BEARER, auth=AuthType.API_KEY, provider="?"), "PROFILE_UNKNOWN"),
    ],
)
async def test_an_endpoint_that_lacks_a_part_is_refused(endpoint, code):
    with pytest.raises(ConfigInvalid) as caught:
        await EndpointKeys(Counting(), PROFILES).header(endpoint)
    assert caught.value.code == code


async def test_a_header_does_not_show_its_key():
    found = await EndpointKeys(Counting(), PROFILES).header(BEARER)
    assert KEY not in repr(found) + str(found)
