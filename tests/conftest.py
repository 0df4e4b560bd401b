"""What tests of every kind share: one embedded cluster per run, one database per worker.

The cluster is started by the first worker that needs it and shared by the others, the way two
commands share one: nothing here but a folder name is passed between processes. When it cannot
start, the tests that need it fail; they are never skipped.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.locks import FileLock
from caopan.adapters.embedded.services import Services
from caopan.adapters.embedded.services import services as open_services
from caopan.settings import load_settings

ROOT = Path(__file__).parent.parent
TEMPLATE = "template_migrated"
_HOME = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder of this run's cluster; the controller makes it, workers are told it."""
    told = getattr(config, "workerinput", None)
    home = Path(told["caopan_home"]) if told else Path(tempfile.mkdtemp(prefix="caopan-tests-"))
    config.stash[_HOME] = home


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell an xdist worker where the cluster is."""
    node.workerinput["caopan_home"] = str(node.config.stash[_HOME])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cluster's folder; the last worker to leave has stopped its servers."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[_HOME], ignore_errors=True)


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Generator[Services]:
    """Both embedded servers, without fsync, whatever DATABASE_URL says outside."""
    settings = load_settings({"home": pytestconfig.stash[_HOME]}, environ={})
    with open_services(settings, durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def _template(services: Services) -> str:
    """A database migrated once per run, for the others to be copied from."""
    assert services.directory is not None
    turn = FileLock(services.directory / "run" / "template.lock")
    assert turn.take(wait_s=120)
    try:
        with _admin(services) as link:
            found = link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE])
            if found.fetchone() is None:
                fresh = f"{TEMPLATE}_new"
                _recreate(link, fresh, template="template0")
                _migrate(_url(services, fresh))
                names = sql.Identifier(fresh), sql.Identifier(TEMPLATE)
                link.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))
    finally:
        turn.close()
    return TEMPLATE


@pytest.fixture(scope="session")
def database_url(services: Services, _template: str, worker_id: str) -> str:
    """This worker's own migrated database (`postgresql+psycopg://…`), shared by its tests."""
    with _admin(services) as link:
        _recreate(link, _name(worker_id), template=_template)
    return _url(services, _name(worker_id))


@pytest.fixture
def clean_database(services: Services, _template: str, database_url: str, worker_id: str) -> str:
    """The same database as a fresh migration leaves it. Close engines before the test ends."""
    with _admin(services) as link:
        _recreate(link, _name(worker_id), template=_template)
    return database_url


@pytest.fixture
def empty_database(services: Services, worker_id: str) -> str:
    """A database without any table, for tests of the migrations themselves."""
    name = f"{_name(worker_id)}_empty"
    with _admin(services) as link:
        _recreate(link, name, template="template0")
    return _url(services, name)


@pytest.fixture
def redis_url(services: Services, worker_id: str) -> str:
    """This worker's own, emptied Redis database."""
    number = int(worker_id.removeprefix("gw") or 0) % 16 if worker_id != "master" else 0
    url = services.redis_url.removesuffix("/0") + f"/{number}"
    with Redis.from_url(url) as link:
        link.flushdb()
    return url


@pytest.fixture(scope="session")
def worker_id(pytestconfig: pytest.Config) -> str:
    """xdist's name of this process; `master` without xdist."""
    told = getattr(pytestconfig, "workerinput", None)
    return told["workerid"] if told else "master"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real market data; the test is skipped where there is none."""
    folder = Path(os.environ.get("CAOPAN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "daily_bars.parquet").exists():
        pytest.skip(f"no real data in {folder} (CAOPAN_REAL_DATA names the folder)")
    return folder


def _admin(services: Services) -> psycopg.Connection:
    assert services.admin_url is not None
    return psycopg.connect(libpq_url(services.admin_url), autocommit=True)


def _name(worker_id: str) -> str:
    return f"worker_{worker_id}"


def _url(services: Services, name: str) -> str:
    return services.database_url.rsplit("/", 1)[0] + f"/{name}"


def _recreate(link: psycopg.Connection, name: str, *, template: str) -> None:
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    link.execute(sql.SQL("DROP DATABASE IF EXISTS {name} WITH (FORCE)").format(**names))
    create = "CREATE DATABASE {name} OWNER caopan TEMPLATE {template} STRATEGY FILE_COPY"
    link.execute(sql.SQL(create).format(**names))


def _migrate(url: str) -> None:
    from caopan.adapters.postgres.schema import upgrade

    done = upgrade(url)
    if inspect.isawaitable(done):
        asyncio.run(_awaited(done))


async def _awaited(done) -> None:
    await done
