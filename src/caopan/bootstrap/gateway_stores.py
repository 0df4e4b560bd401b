"""What commands and the gateway need of models and keys, opened over one database.

Owns `administration` and the few things a command asks without a database: profiles, sealing.
Must never open the rooms that only calls need. Tests: tests/integration/cli/test_models.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.llm.prices import price_rules
from caopan.adapters.llm.profiles import load_profiles
from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.client_keys import PostgresClientKeys
from caopan.adapters.postgres.models_config import PostgresModelsConfig
from caopan.adapters.secrets.references import SecretReferences
from caopan.adapters.secrets.sealed import SealedEntry, SealedSecrets
from caopan.application.gateway.price_list import PriceList
from caopan.application.ports.model_calls import EndpointMetrics
from caopan.bootstrap.models_admin import DocumentJudge, ModelsAdmin, first_document
from caopan.domain.gateway.endpoint import Endpoint, PriceRule, Snapshot
from caopan.domain.gateway.profile import Profile
from caopan.kernel.clock import Clock
from caopan.settings import Secret, Settings


def known_profiles(settings: Settings) -> Mapping[str, Profile]:
    """Return the vendors' facts, those in `profiles` of the home included.

    Raises ConfigInvalid PROFILE_INVALID.
    """
    own = settings.home / "profiles"
    return load_profiles(own if own.is_dir() else None)


def price_list(profiles: Mapping[str, Profile]) -> PriceList:
    """Return the prices of every endpoint."""

    def table(endpoint: Endpoint) -> Sequence[PriceRule]:
        profile = profiles[endpoint.provider]
        return price_rules(profile.price_provider, endpoint.model, profile.currency)

    return PriceList(table)


def document_judge(
    profiles: Mapping[str, Profile], secret: Callable[[str], Secret], clock: Clock
) -> DocumentJudge:
    """Return who judges a models document in this installation."""

    def unpriced(snapshot: Snapshot, endpoint: Endpoint) -> bool:
        # Prices are prepared once a version, and a version that was refused has none: so anew.
        return price_list(profiles).worst(snapshot, endpoint, 1, 1, clock.now()) is None

    return DocumentJudge(profiles, secret, unpriced)


@asynccontextmanager
async def administration(url: str, settings: Settings) -> AsyncGenerator[ModelsAdmin]:
    """Give the configuration and the client keys in the database at `url`."""
    profiles, clock = known_profiles(settings), SystemClock()
    config, keys = PostgresModelsConfig(url), PostgresClientKeys(url)
    try:
        yield ModelsAdmin(
            config=config,
            keys=keys,
            judge=document_judge(profiles, SecretReferences(settings.home).resolve, clock),
            clock=clock,
            first=partial(first_document, settings, profiles),
        )
    finally:
        await keys.close()
        await config.close()


async def recorded_metrics(url: str, since: datetime, until: datetime) -> Sequence[EndpointMetrics]:
    """Return what became of the attempts that began in [since, until), by endpoint."""
    history = PostgresCallHistory(url)
    try:
        return await history.endpoint_metrics(since, until)
    finally:
        await history.close()


def seal_secret(settings: Settings, name: str, text: str) -> SealedEntry:
    """Keep a key encrypted in the home, in the place of what was there under this name.

    Raises ConfigInvalid SECRET_REFERENCE, SECRET_UNUSABLE, SECRET_EXPOSED or SECRET_DAMAGED;
    Unavailable SECRET_STORE.
    """
    return SealedSecrets(settings.home).seal(name, Secret(text), SystemClock().now())
