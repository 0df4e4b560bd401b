"""The models document and the callers' keys, as commands and the gateway's own pages change them.

Owns the checks of a document that need adapters, the first document of an installation, and the
minting of client keys. Must never store a document that does not parse, nor a key's text: it is
shown once and its hash is kept. Tests: tests/unit/bootstrap/test_models_admin.py.

Refused is what no call could survive: a document that does not parse, an address that is not
allowed, a price that is unknown where a budget would need it. Told as a warning is what may be
different where the gateway runs or may still come: a key that cannot be read here.
"""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from caopan.adapters.llm.addresses import lane_of
from caopan.application.contracts.models_parsing import parse_models
from caopan.application.gateway.clients import key_digest
from caopan.application.ports.gateway import ClientKey, ClientKeys, ModelsConfig, StoredConfig
from caopan.domain.gateway.endpoint import CNY, Endpoint, EndpointKind, Snapshot
from caopan.domain.gateway.profile import Profile
from caopan.kernel.clock import Clock
from caopan.kernel.errors import CaopanError, ConfigInvalid
from caopan.kernel.ids import derived_uuid
from caopan.settings import Secret, Settings

BUILTIN: Final = ("builtin/momentum", "builtin/mean_reversion")
GENERIC: Final = "openai_compatible"
"""Profile of an endpoint whose vendor nobody named."""
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Judged:
    """A document that may come into force."""

    snapshot: Snapshot
    warnings: tuple[str, ...]


class DocumentJudge:
    """Judges a document whole, with what only adapters know."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        secret: Callable[[str], Secret],
        unpriced: Callable[[Snapshot, Endpoint], bool],
    ) -> None:
        """`secret` resolves references; `unpriced` tells whether an endpoint's price is unknown."""
        self._profiles = profiles
        self._secret = secret
        self._unpriced = unpriced

    def profile(self, name: str) -> Profile:
        """Return a vendor's facts. Raises ConfigInvalid PRESET_UNKNOWN."""
        found = self._profiles.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._profiles, n=1, cutoff=0.5)
            raise ConfigInvalid(
                "PRESET_UNKNOWN",
                f"there is no preset {name!r}",
                remedy=f"did you mean {near[0]}?" if near else "`caopan models presets` lists them",
            )
        return found

    def parsed(self, body: Mapping[str, Any], version: int = 0) -> Snapshot:
        """Return what a document says. Raises ConfigInvalid MODELS_INVALID."""
        return parse_models(body, version=version, profiles=self._profiles)

    def judged(self, body: Mapping[str, Any], version: int = 0) -> Judged:
        """Return what a document says and what to look at.

        Raises ConfigInvalid MODELS_INVALID. May read files.
        """
        snapshot = self.parsed(body, version)
        warnings: list[str] = []
        for index, endpoint in enumerate(snapshot.endpoints.values()):
            at = f"endpoints[{index}]"
            if endpoint.kind is EndpointKind.OPENAI:
                _check_address(at, endpoint)
            if endpoint.unknown_price_mtok is None and self._unpriced(snapshot, endpoint):
                scope = _budget_over(snapshot, endpoint)
                if scope:
                    raise _unpriced(at, endpoint, scope)
                warnings.append(f"{endpoint.name}: the price of {endpoint.model} is unknown")
            if endpoint.secret_ref is not None:
                warnings += self._secret_warnings(endpoint)
        return Judged(snapshot, tuple(warnings))

    def _secret_warnings(self, endpoint: Endpoint) -> list[str]:
        try:
            self._secret(endpoint.secret_ref or "")
        except CaopanError as error:
            return [f"{endpoint.name}: {error.message} [{error.code}]"]
        return []


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new client key; `text` is shown once."""

    key: ClientKey
    text: Secret


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a key may do."""

    name: str
    aliases: tuple[str, ...] = ("*",)
    admin: bool = False
    daily_cny: str | None = None
    rpm: int | None = None
    expires_at: datetime | None = None


class ModelsAdmin:
    """Changes of the configuration and of client keys, over their stores."""

    def __init__(
        self,
        *,
        config: ModelsConfig,
        keys: ClientKeys,
        judge: DocumentJudge,
        clock: Clock,
        first: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`first` makes the document of an installation that has none yet."""
        self.config = config
        self.keys = keys
        self.judge = judge
        self._clock = clock
        self._first = first

    async def in_force(self) -> StoredConfig:
        """Return the version in force; the first one is stored now where there is none.

        Raises ConfigInvalid MODELS_INVALID if the first one is not valid.
        """
        newest = await self.config.newest()
        if newest is not None:
            return newest
        body = self._first()
        self.judge.judged(body)
        return await self._put(body, author="caopan", note="first version", expected=0)

    async def change(
        self, edit: Callable[[Mapping[str, Any]], Mapping[str, Any]], *, author: str, note: str
    ) -> tuple[StoredConfig, Judged]:
        """Store the next version, made of the one in force; return it and what to look at.

        Raises ConfigInvalid, and Conflict CONFIG_VERSION if somebody was quicker.
        """
        now = await self.in_force()
        body = edit(now.body)
        judged = self.judge.judged(body, now.version + 1)
        stored = await self._put(body, author=author, note=note, expected=now.version)
        return stored, judged

    async def _put(
        self, body: Mapping[str, Any], *, author: str, note: str, expected: int
    ) -> StoredConfig:
        return await self.config.put(
            body, author=author, note=note, expected=expected, at=self._clock.now()
        )

    async def mint(self, wanted: KeyRequest) -> MintedKey:
        """Make and store a client key.

        Raises ConfigInvalid KEY_INVALID, Conflict CLIENT_EXISTS.
        """
        now = self._clock.now()
        minted = mint_key(wanted, now)
        await self.keys.add(key_digest(minted.text.get_secret_value()), minted.key)
        return minted

    async def listed(self) -> Sequence[ClientKey]:
        """Return every key, by name."""
        found = await self.keys.all()
        return sorted(found.values(), key=lambda key: key.name)

    async def revoke(self, name: str) -> ClientKey:
        """Void the key called `name`. Raises ConfigInvalid CLIENT_UNKNOWN."""
        named = [key for key in await self.listed() if name in (key.name, key.client_id)]
        if not named:
            raise ConfigInvalid(
                "CLIENT_UNKNOWN",
                f"there is no client key {name!r}",
                remedy="`caopan gateway key ls` lists them",
            )
        now = self._clock.now()
        await self.keys.revoke(named[0].client_id, now)
        return replace(named[0], revoked_at=named[0].revoked_at or now)


def home_client(now: datetime) -> ClientKey:
    """Return what this home's own commands and desks may do: everything."""
    return ClientKey(
        client_id="home",
        name="this home",
        aliases=("*",),
        admin=True,
        daily_budget=None,
        rpm=None,
        expires_at=None,
        revoked_at=None,
        created_at=now,
    )


def mint_key(wanted: KeyRequest, now: datetime) -> MintedKey:
    """Return a new key, stored nowhere. Raises ConfigInvalid KEY_INVALID."""
    if not wanted.name.strip() or not wanted.name.isprintable():
        raise _bad_key(f"the name {wanted.name!r}", "give it a name that tells who uses it")
    if not wanted.aliases:
        raise _bad_key("no alias", "name at least one, or * for all")
    if wanted.rpm is not None and wanted.rpm < 1:
        raise _bad_key(f"{wanted.rpm} requests a minute", "give a whole number from 1")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise _bad_key("an expiry in the past", "give a day to come")
    text = Secret(f"cpg-{secrets.token_urlsafe(_KEY_BYTES)}")
    digest = key_digest(text.get_secret_value())
    key = ClientKey(
        client_id=str(derived_uuid(now, "client", digest)),
        name=wanted.name,
        aliases=wanted.aliases,
        admin=wanted.admin,
        daily_budget=_units(wanted.daily_cny),
        rpm=wanted.rpm,
        expires_at=wanted.expires_at,
        revoked_at=None,
        created_at=now,
    )
    return MintedKey(key, text)


def first_document(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """Return the document of a new installation: built-in traders, and the settings' own model."""
    endpoints: list[dict[str, Any]] = [
        {"alias": name, "name": name, "kind": "builtin", "provider": "builtin", "model": name}
        for name in BUILTIN
    ]
    model = settings.model
    if settings.model_base_url is not None and model and not model.startswith("gateway:"):
        endpoints.append(_of_settings(settings, profiles))
    return {"endpoints": endpoints}


def _of_settings(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    url = settings.model_base_url or ""
    host = urlsplit(url).hostname
    known = [
        profile.name
        for profile in profiles.values()
        if host and urlsplit(profile.url).hostname == host
    ]
    part: dict[str, Any] = {
        "alias": settings.model,
        "name": settings.model,
        "provider": known[0] if known else GENERIC,
        "endpoint_url": url,
        "model": settings.model,
    }
    if settings.model_key is None:
        part["auth_type"] = "none"
    else:
        part |= {"auth_type": "bearer", "auth_secret_ref": settings.model_key}
    # Whoever set the address in this environment administers the machine.
    try:
        lane_of(url, private_address=False)
    except ConfigInvalid:
        part["private_address"] = True
    return part


def _check_address(at: str, endpoint: Endpoint) -> None:
    try:
        lane_of(endpoint.url, private_address=endpoint.private_address)
    except ConfigInvalid as error:
        told = f"{at}.endpoint_url: {error.message}"
        raise ConfigInvalid("MODELS_INVALID", told, remedy=error.remedy) from error


def _budget_over(snapshot: Snapshot, endpoint: Endpoint) -> str:
    """Return a budget that every call of an endpoint has to fit into, "" if there is none."""
    budgets = {"budget": snapshot.budget, f"endpoints {endpoint.name}": endpoint.budget}
    for alias, route in snapshot.routes.items():
        if any(target.endpoint == endpoint.name for target in route.targets):
            budgets[f"aliases.{alias}.budget"] = route.budget
    for scope, budget in budgets.items():
        if budget.daily is not None or budget.per_decision is not None:
            return scope
    return ""


def _unpriced(at: str, endpoint: Endpoint, scope: str) -> ConfigInvalid:
    return ConfigInvalid(
        "MODELS_INVALID",
        f"{at}.prices: the price of {endpoint.model} is unknown, so that no call of "
        f"{endpoint.name} could be held against {scope}",
        remedy="give its prices, or unknown_price_mtok_cny to count it at",
    )


def _units(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        units = Decimal(text) * CNY
    except ArithmeticError:
        units = Decimal(-1)
    if not units.is_finite() or units < 0 or units != int(units):
        raise _bad_key(f"a budget of {text!r}", "give CNY as a decimal number such as 12.50")
    return int(units)


def _bad_key(what: str, remedy: str) -> ConfigInvalid:
    return ConfigInvalid("KEY_INVALID", f"{what} cannot be", remedy=remedy)
