"""A document comes into force whole or not at all; a key is shown once and kept as a hash."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from caopan.application.gateway.clients import key_digest
from caopan.bootstrap.models_admin import (
    DocumentJudge,
    KeyRequest,
    ModelsAdmin,
    first_document,
    mint_key,
)
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid, Conflict
from caopan.settings import Secret, load_settings
from caopan.testing.gateway_stores import MemoryClientKeys, MemoryModelsConfig

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
PROFILES = {
    "p": Profile("p", "", "", "https://p.example/v1"),
    "openai_compatible": Profile("openai_compatible", "", "", "", auth="none"),
    "deepseek": Profile("deepseek", "", "", "https://api.deepseek.com/v1"),
}
ENDPOINT = {"alias": "actor", "provider": "p", "model": "known", "auth_secret_ref": "env:KEY"}


class At:
    def now(self) -> datetime:
        return NOW

    async def pause(self, by: timedelta) -> None:
        del by


def secret(reference: str) -> Secret:
    if reference != "env:KEY":
        raise ConfigInvalid("SECRET_MISSING", f"{reference} is not set")
    return Secret("sk-x")


def unpriced(_snapshot, endpoint) -> bool:
    return endpoint.model != "known"


JUDGE = DocumentJudge(PROFILES, secret, unpriced)


def admin(**parts: Any) -> ModelsAdmin:
    given = {"config": MemoryModelsConfig(), "keys": MemoryClientKeys(), "judge": JUDGE, **parts}
    return ModelsAdmin(clock=At(), first=lambda: {"endpoints": [ENDPOINT]}, **given)


def judged(**fields: Any):
    document = {key: fields.pop(key) for key in ("budget", "aliases") if key in fields}
    return JUDGE.judged({"endpoints": [{**ENDPOINT, **fields}], **document})


def test_a_key_that_cannot_be_read_here_is_a_warning():
    assert judged().warnings == ()
    (warning,) = judged(auth_secret_ref="env:OTHER").warnings
    assert warning == "actor-p: env:OTHER is not set [SECRET_MISSING]"


def test_an_address_only_the_network_could_tell_is_refused_with_its_field():
    with pytest.raises(ConfigInvalid, match=r"endpoints\[0\].endpoint_url"):
        judged(endpoint_url="https://2130706433/v1")


@pytest.mark.parametrize(
    "budget",
    [
        {"budget": {"daily_cny": "1"}},
        {"budget": {"per_decision_cny": "1"}},
        {"aliases": {"actor": {"budget": {"daily_cny": "1"}}}},
    ],
)
def test_an_unknown_price_under_a_budget_is_refused_unless_a_figure_stands_in(budget):
    with pytest.raises(ConfigInvalid, match=r"endpoints\[0\].prices"):
        judged(model="new", **budget)
    assert judged(model="new", unknown_price_mtok_cny="100", **budget).warnings == ()


def test_an_unknown_price_without_a_budget_is_a_warning():
    assert judged(model="new").warnings == ("actor-p: the price of new is unknown",)


async def test_the_first_document_is_stored_once():
    one = admin()
    assert (await one.in_force()).version == 1
    assert (await one.in_force()).version == 1
    assert len(await one.config.history(9)) == 1


async def test_a_change_is_the_next_version_and_a_refused_one_is_none():
    one = admin()
    stored, _ = await one.change(
        lambda body: {**body, "retention_days": 5}, author="me", note="shorter"
    )
    assert (stored.version, stored.author, stored.note) == (2, "me", "shorter")
    with pytest.raises(ConfigInvalid):
        await one.change(lambda body: {**body, "retention_days": -5}, author="me", note="")
    assert (await one.in_force()).version == 2


async def test_of_two_changes_at_once_one_is_told_to_look_again():
    one = admin()
    await one.in_force()

    class Slow(MemoryModelsConfig):
        async def newest(self):
            return replace((await one.config.history(1))[0], version=1)

    behind = Slow()
    behind.put = one.config.put  # type: ignore[method-assign]
    await one.change(lambda body: {**body, "retention_days": 5}, author="a", note="")
    with pytest.raises(Conflict, match="CONFIG_VERSION"):
        await admin(config=behind).change(lambda body: body, author="b", note="")


async def test_a_key_is_kept_as_a_hash_with_what_it_may_do():
    one = admin()
    minted = await one.mint(KeyRequest("desk", ("actor",), daily_cny="12.5", rpm=60))
    text = minted.text.get_secret_value()
    assert text.startswith("cpg-")
    stored = await one.keys.all()
    assert stored == {key_digest(text): minted.key}
    assert text not in repr(stored)
    assert (minted.key.daily_budget, minted.key.aliases) == (1_250_000_000, ("actor",))
    with pytest.raises(Conflict, match="CLIENT_EXISTS"):
        await one.mint(KeyRequest("desk"))


async def test_a_key_is_revoked_by_name_and_stays_listed():
    one = admin()
    minted = await one.mint(KeyRequest("desk"))
    revoked = await one.revoke("desk")
    assert revoked.revoked_at == NOW
    assert [key.revoked_at for key in await one.listed()] == [NOW]
    assert (await one.revoke(minted.key.client_id)).name == "desk"
    with pytest.raises(ConfigInvalid, match="CLIENT_UNKNOWN"):
        await one.revoke("other")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"name": "a\nb"},
        {"aliases": ()},
        {"rpm": 0},
        {"daily_cny": "-1"},
        {"daily_cny": "x"},
        {"daily_cny": "NaN"},
        {"daily_cny": "0.000000001"},
        {"expires_at": NOW},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ConfigInvalid, match="KEY_INVALID"):
        mint_key(KeyRequest(**{"name": "desk", **fields}), NOW)


def test_a_new_installation_has_the_built_in_traders(tmp_path):
    settings = load_settings({"home": tmp_path}, environ={})
    snapshot = JUDGE.judged(first_document(settings, PROFILES)).snapshot
    assert set(snapshot.routes) == {"builtin/momentum", "builtin/mean_reversion"}


@pytest.mark.parametrize(
    ("url", "key", "provider", "private"),
    [
        ("https://api.deepseek.com/v1", "env:KEY", "deepseek", False),
        ("http://localhost:11434/v1", None, "openai_compatible", True),
        ("https://models.example/v1", "file:k", "openai_compatible", False),
    ],
)
def test_the_model_of_the_settings_is_taken_over(tmp_path, url, key, provider, private):
    environ = {"CAOPAN_MODEL_BASE_URL": url, "CAOPAN_MODEL": "some-model"}
    if key:
        environ["CAOPAN_MODEL_KEY"] = key
    settings = load_settings({"home": tmp_path}, environ=environ)
    endpoint = JUDGE.judged(first_document(settings, PROFILES)).snapshot.endpoints["some-model"]
    assert (endpoint.provider, endpoint.url, endpoint.secret_ref) == (provider, url, key)
    assert endpoint.private_address is private
