"""The newest valid version is in force; an invalid one changes nothing and is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from caopan.application.gateway.tallies import Tallies
from caopan.application.ports.gateway import StoredConfig
from caopan.bootstrap.models_admin import DocumentJudge
from caopan.bootstrap.models_in_force import ModelsInForce
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid, Unavailable
from caopan.settings import Secret

AT = datetime(2026, 11, 20, tzinfo=UTC)
JUDGE = DocumentJudge(
    {"p": Profile("p", "", "", "https://p.example/v1", auth="none")},
    lambda _: Secret("k"),
    lambda *_: False,
)


def stored(version: int, model: str = "m", **fields: Any) -> StoredConfig:
    body = {"endpoints": [{"alias": "a", "provider": "p", "model": model, **fields}]}
    return StoredConfig(version, body, "me", "", AT + timedelta(minutes=version))


def in_force(*versions: StoredConfig) -> ModelsInForce:
    return ModelsInForce(JUDGE, Tallies(), versions or (stored(1),))


def model(models: ModelsInForce) -> str:
    return models.snapshot().endpoints["a-p"].model


class Store:
    """A store that announces versions and may be away."""

    def __init__(self, announced: list[int], newest: list[StoredConfig | None]) -> None:
        self._announced = announced
        self._newest = newest

    async def changed(self):
        for version in self._announced:
            yield version

    async def newest(self):
        found = self._newest.pop(0)
        if found is None:
            raise Unavailable("DB_UNREACHABLE", "away")
        return found


def test_a_newer_version_takes_over_and_a_running_call_keeps_its_own():
    heard = []
    models = ModelsInForce(JUDGE, Tallies(), [stored(1)], heard.append)
    mine = models.snapshot()
    models.take(stored(2, "n"))
    assert (model(models), models.snapshot().version) == ("n", 2)
    assert mine.endpoints["a-p"].model == "m"
    assert models.stored_at == AT + timedelta(minutes=2)
    assert heard == [models.snapshot()]


def test_an_older_version_never_takes_over():
    models = in_force(stored(3))
    models.take(stored(2, "n"))
    assert model(models) == "m"


def test_an_invalid_version_changes_nothing_and_is_told_once():
    tallies = Tallies()
    models = ModelsInForce(JUDGE, tallies, [stored(1)])
    for _ in range(2):
        models.take(stored(2, weight=1))
    assert model(models) == "m"
    assert "version 2" in models.error
    assert "endpoints[0].weight" in models.error
    assert tallies.reloads_failed == 1
    models.take(stored(3, "n"))
    assert (model(models), models.error) == ("n", "")


def test_a_restart_serves_the_newest_version_this_build_can_read():
    models = in_force(stored(3, newer_field=1), stored(2, "two"), stored(1))
    assert model(models) == "two"
    assert "version 3" in models.error


def test_with_no_valid_version_nothing_is_served():
    with pytest.raises(ConfigInvalid, match="MODELS_INVALID"):
        in_force(stored(2, newer_field=1), stored(1, newer_field=1))


async def test_a_database_that_is_away_is_waited_for():
    models = in_force()
    await models.follow(Store([1, 2, 2], [None, stored(2, "n")]))  # type: ignore[arg-type]
    assert model(models) == "n"
