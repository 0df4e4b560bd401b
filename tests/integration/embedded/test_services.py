"""The embedded servers live exactly as long as somebody uses them, whatever is killed."""

from __future__ import annotations

import json
import os
import sys

import psycopg
import pytest
from redis import Redis

from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.services import services
from caopan.kernel.errors import CorruptState

linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")


def write(url: str, text: str) -> None:
    with psycopg.connect(libpq_url(url), autocommit=True) as link:
        link.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        link.execute("INSERT INTO note VALUES (%s)", [text])


def read(url: str) -> list[str]:
    with psycopg.connect(libpq_url(url)) as link:
        return [row[0] for row in link.execute("SELECT text FROM note ORDER BY text")]


def test_data_survive_the_end_and_both_servers_stop(settings, eventually, listens):
    with services(settings, durable=False) as running:
        write(running.database_url, "first")
        with Redis.from_url(running.redis_url) as link:
            link.set("word", "kept")
        first = running
    eventually(lambda: not listens(first.database_url) and not listens(first.redis_url))
    with services(settings, durable=False) as running:
        assert read(running.database_url) == ["first"]
        with Redis.from_url(running.redis_url, decode_responses=True) as link:
            assert link.get("word") == "kept"


def test_only_the_password_opens_and_the_owner_is_no_superuser(settings):
    with services(settings, durable=False) as running:
        with psycopg.connect(libpq_url(running.database_url)) as link:
            rights = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
            found = link.execute(f"{rights} FROM pg_roles WHERE rolname = current_user").fetchone()
            assert found == (False,)
            addresses = link.execute("SHOW listen_addresses").fetchone()
            assert addresses == ("127.0.0.1",)
        address = libpq_url(running.database_url)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(address.replace(address.split(":")[2].split("@")[0], "guess"))
        with pytest.raises(psycopg.OperationalError, match="no password"):
            psycopg.connect(address.replace(":" + address.split(":")[2].split("@")[0], ""))
        assert address.split(":")[2].split("@")[0] not in repr(running)


def test_files_of_a_home_are_its_owners_alone(settings):
    with services(settings, durable=False):
        home = settings.home
        for path in (home, home / "data", home / "data" / "credentials.json", home / "logs"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_killed_command_takes_the_servers_with_it(command, eventually, listens):
    one = command()
    urls = one.urls()
    assert all(listens(url) for url in urls)
    one.kill()
    eventually(lambda: not any(listens(url) for url in urls))


@linux
def test_killed_watchdog_takes_its_server_with_it(command, eventually, listens, watchdogs, kill):
    urls = command().urls()
    for pid in watchdogs():
        kill(pid)
    eventually(lambda: not any(listens(url) for url in urls))


def test_start_after_everything_was_killed(command, processes, watchdogs, kill):
    one = command()
    database, _ = one.urls()
    write(database, "before the crash")
    for pid in {*watchdogs(), *processes()}:
        kill(pid)
    again = command()
    database, _ = again.urls()
    assert read(database) == ["before the crash"]


def test_two_commands_share_and_the_first_may_leave(command):
    one, two = command(), command()
    assert one.urls() == two.urls()
    urls = two.urls()
    write(urls[0], "shared")
    one.leave()
    assert read(urls[0]) == ["shared"]
    with Redis.from_url(urls[1]) as link:
        assert link.ping()
    two.leave()


def test_command_that_meets_a_stopping_server_waits_for_it(command, listens):
    for _ in range(4):
        one = command()
        one.urls()
        # Killed, not left: the watchdog begins to stop while the next command arrives.
        one.process.kill()
    assert all(listens(url) for url in command().urls())


def test_pid_file_of_a_crash_whose_pid_somebody_else_has_now(settings):
    with services(settings, durable=False) as running:
        write(running.database_url, "kept")
    data = settings.home / "data" / "postgres"
    lines = [str(os.getpid()), str(data), "1", "5432", "", "127.0.0.1", "1 1", "ready"]
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with services(settings, durable=False) as running:
        assert read(running.database_url) == ["kept"]


@pytest.mark.parametrize("moment", ["initdb", "postgres"])
def test_killed_while_the_cluster_was_made(command, home, eventually, moment):
    one = command()
    sign = home / "data" / ("postgres.new" if moment == "initdb" else "postgres")
    eventually(sign.exists)
    one.kill()
    write(command().urls()[0], "a whole cluster")


def test_traces_of_a_half_made_cluster_are_cleared(settings):
    trace = settings.home / "data" / "postgres.new"
    trace.mkdir(parents=True)
    (trace / "PG_VERSION").write_text("18\n")
    with services(settings, durable=False) as running:
        write(running.database_url, "new")
    assert not trace.exists()


def test_directory_with_data_is_never_replaced(settings):
    cluster = settings.home / "data" / "postgres"
    (cluster / "base").mkdir(parents=True)
    (cluster / "base" / "1").write_text("precious")
    with (
        pytest.raises(CorruptState, match="CLUSTER_BROKEN"),
        services(settings, durable=False),
    ):
        pass
    assert (cluster / "base" / "1").read_text() == "precious"


def test_lost_passwords_are_set_anew(settings):
    with services(settings, durable=False) as running:
        write(running.database_url, "kept")
    (settings.home / "data" / "credentials.json").unlink()
    with services(settings, durable=False) as running:
        assert read(running.database_url) == ["kept"]


def test_unreadable_append_only_file_is_set_aside(settings):
    with services(settings, durable=False) as running, Redis.from_url(running.redis_url) as link:
        link.set("word", "lost")
    folder = settings.home / "data" / "valkey" / "appendonlydir"
    for part in folder.glob("*.aof"):
        part.write_bytes(b"this is no append-only file\r\n" * 4)
    with services(settings, durable=False) as running, Redis.from_url(running.redis_url) as link:
        assert link.get("word") is None
    assert (folder.parent / "appendonlydir.broken-1").exists()


def test_server_that_dies_alone_is_started_again_by_the_next_command(command, settings, kill):
    one = command()
    one.urls()
    for name in ("postgres", "valkey"):
        state = json.loads((settings.home / "run" / name / "state.json").read_text())
        kill(state["pid"])
    write(command().urls()[0], "served")
