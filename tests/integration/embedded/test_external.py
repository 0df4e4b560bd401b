"""External servers: used as they are, and one clear message for each thing that can be wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
from redis import Redis

from caopan.adapters.embedded import external
from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.services import Services
from caopan.adapters.embedded.services import services as open_services
from caopan.kernel.errors import Unavailable
from caopan.settings import load_settings


@contextmanager
def answering(reply: bytes) -> Generator[int]:
    """A server that answers whatever is said with `reply`."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    link, _ = door.accept()
                except OSError:
                    return
                with link:
                    link.recv(4096)
                    link.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
    thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refusal(tmp_path, **urls: str) -> Unavailable:
    settings = load_settings({"home": tmp_path / "home", **urls}, environ={})
    with pytest.raises(Unavailable) as caught, open_services(settings):
        pass
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    return caught.value


def with_password(url: str, password: str) -> str:
    scheme, rest = url.split("://")
    user = rest.split(":", maxsplit=1)[0]
    return f"{scheme}://{user}:{password}@{rest.rsplit('@', maxsplit=1)[1]}"


def test_both_external_embeds_nothing(services: Services, tmp_path):
    urls = {"database_url": services.database_url, "redis_url": services.redis_url}
    settings = load_settings({"home": tmp_path / "home", **urls}, environ={})
    with open_services(settings) as running:
        assert not running.embedded
        assert running.directory is None
        assert running.admin_url is None
        with psycopg.connect(libpq_url(running.database_url)) as link:
            assert link.execute("SELECT 1").fetchone() == (1,)
        with Redis.from_url(running.redis_url) as cache:
            assert cache.ping()
    assert not (tmp_path / "home").exists()


def test_one_external_embeds_the_other_only(services: Services, tmp_path):
    home = tmp_path / "home"
    settings = load_settings({"home": home, "database_url": services.database_url}, environ={})
    with open_services(settings, durable=False) as running:
        assert not running.embedded
        assert running.directory == home
        with Redis.from_url(running.redis_url) as cache:
            assert cache.ping()
        assert not (home / "data" / "postgres").exists()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_the_scheme_is_understood(services: Services, tmp_path, scheme):
    url = f"{scheme}://{services.database_url.partition('://')[2]}"
    urls = {"database_url": url, "redis_url": services.redis_url}
    settings = load_settings({"home": tmp_path / "home", **urls}, environ={})
    with open_services(settings) as running:
        assert running.database_url == services.database_url


def test_wrong_passwords(services: Services, tmp_path):
    database = with_password(services.database_url, "secret")
    assert refusal(tmp_path, database_url=database, redis_url=services.redis_url).code == "DB_AUTH"
    redis = with_password(services.redis_url, "secret")
    urls = {"database_url": services.database_url, "redis_url": redis}
    assert refusal(tmp_path, **urls).code == "REDIS_AUTH"


def test_missing_password_of_redis(services: Services, tmp_path):
    bare = f"redis://{services.redis_url.rsplit('@', maxsplit=1)[1]}"
    urls = {"database_url": services.database_url, "redis_url": bare}
    assert refusal(tmp_path, **urls).code == "REDIS_AUTH"


def test_unknown_user_and_database(services: Services, tmp_path):
    stranger = services.database_url.replace("//caopan:", "//stranger:")
    urls = {"database_url": stranger, "redis_url": services.redis_url}
    assert refusal(tmp_path, **urls).code == "DB_AUTH"
    elsewhere = services.database_url.rsplit("/", maxsplit=1)[0] + "/nowhere"
    urls["database_url"] = elsewhere
    error = refusal(tmp_path, **urls)
    assert error.code == "DB_NOT_FOUND"
    assert "nowhere" in error.message


def test_nobody_listens(services: Services, tmp_path):
    database = f"postgresql://caopan:secret@127.0.0.1:{closed_port()}/caopan"
    error = refusal(tmp_path, database_url=database, redis_url=services.redis_url)
    assert error.code == "DB_UNREACHABLE"
    assert "caopan:***@127.0.0.1" in error.message
    redis = f"redis://:secret@127.0.0.1:{closed_port()}/0"
    urls = {"database_url": services.database_url, "redis_url": redis}
    assert refusal(tmp_path, **urls).code == "REDIS_UNREACHABLE"


def test_something_else_listens(services: Services, tmp_path):
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        database = f"postgresql://caopan:secret@127.0.0.1:{port}/caopan"
        error = refusal(tmp_path, database_url=database, redis_url=services.redis_url)
        assert error.code == "DB_UNREACHABLE"
        urls = {"database_url": services.database_url, "redis_url": f"redis://127.0.0.1:{port}/0"}
        assert refusal(tmp_path, **urls).code == "REDIS_UNREACHABLE"


def test_server_with_a_full_disk_says_so(services: Services, tmp_path):
    text = b"SFATAL\0VFATAL\0C53100\0Mcould not write file: No space left on device\0\0"
    reply = b"E" + (len(text) + 4).to_bytes(4) + text
    with answering(reply) as port:
        database = f"postgresql://caopan:secret@127.0.0.1:{port}/caopan?sslmode=disable"
        error = refusal(tmp_path, database_url=database, redis_url=services.redis_url)
    assert error.code == "DB_DISK_FULL"


def test_too_old_servers(services: Services, tmp_path, monkeypatch):
    urls = {"database_url": services.database_url, "redis_url": services.redis_url}
    monkeypatch.setattr(external, "REDIS_MINIMUM", (99, 0))
    assert refusal(tmp_path, **urls).code == "REDIS_VERSION"
    monkeypatch.setattr(external, "POSTGRES_MINIMUM", 99)
    error = refusal(tmp_path, **urls)
    assert error.code == "DB_VERSION"
    assert "PostgreSQL 18" in error.message
