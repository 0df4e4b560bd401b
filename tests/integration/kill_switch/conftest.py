"""A desk with one open order, and the command line against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.interfaces.cli.__main__ import main
from caopan.testing.store_samples import (
    ACCOUNT,
    sample_cycle,
    sample_draft,
    sample_order,
    sample_time,
)


@dataclass(frozen=True)
class Desk:
    """A running desk."""

    url: str
    home: Path
    run_id: int


@pytest.fixture
def desk(tmp_path: Path, clean_database: str) -> Desk:
    async def open_desk() -> int:
        async with PostgresStore(clean_database) as store:
            run = await store.create_run(RunKind.DESK, ACCOUNT, {}, "c" * 64, sample_time())
            async with store.lease(run.run_id), store.begin(run.run_id) as uow:
                await uow.cycles.add(sample_cycle())
                await uow.orders.add([sample_order()])
                await uow.ledger.append([sample_draft()])
                await uow.commit()
            return run.run_id

    home = tmp_path / "home"
    home.mkdir()
    return Desk(clean_database, home, asyncio.run(open_desk()))


@pytest.fixture
def caopan(desk: Desk, monkeypatch, capsys) -> Callable[..., tuple[int, dict]]:
    """Return a function that runs a command with --json and gives exit code and answer."""

    def run(*words: str, database: str = desk.url, home: Path = desk.home):
        monkeypatch.setenv("CAOPAN_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", database)
        # Redis is out of reach: nothing here may need it.
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        capsys.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run
