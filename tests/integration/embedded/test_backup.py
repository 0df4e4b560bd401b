"""A backup is whole or absent; a restore replaces everything or nothing."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from caopan.adapters.embedded import backup as module
from caopan.adapters.embedded.backup import backup_database, restore_database, verify_backup
from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.reset import erase
from caopan.adapters.embedded.services import Services
from caopan.adapters.embedded.services import services as open_services
from caopan.kernel.errors import ConfigInvalid, Conflict, Denied, Unavailable
from caopan.settings import load_settings


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One pair of servers for this file: its tests bring their own contents."""
    settings = load_settings({"home": tmp_path_factory.mktemp("backup") / "home"}, environ={})
    with open_services(settings, durable=False) as servers:
        yield servers


@pytest.fixture(autouse=True)
def _emptied(running: Services):
    execute(running, "DROP SCHEMA public CASCADE")
    execute(running, "CREATE SCHEMA public")


def execute(running: Services, statement: LiteralString) -> None:
    with psycopg.connect(libpq_url(running.database_url), autocommit=True) as link:
        link.execute(statement)


def notes(running: Services) -> list[str]:
    with psycopg.connect(libpq_url(running.database_url)) as link:
        return [row[0] for row in link.execute("SELECT text FROM note ORDER BY text")]


def note(running: Services, text: str) -> None:
    execute(running, "CREATE TABLE IF NOT EXISTS note (text text NOT NULL)")
    with psycopg.connect(libpq_url(running.database_url), autocommit=True) as link:
        link.execute("INSERT INTO note VALUES (%s)", [text])


def databases(running: Services) -> set[str]:
    with psycopg.connect(libpq_url(running.admin_url or "")) as link:
        found = link.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
        return {row[0] for row in found}


def test_round_trip_brings_back_data_and_rules(running):
    note(running, "old")
    execute(running, "ALTER TABLE note ADD CONSTRAINT short CHECK (length(text) < 20)")
    file = backup_database(running, "round trip")
    assert file.name.startswith("auto-")
    assert file.name.endswith("-round-trip.dump")
    assert file.stat().st_mode & 0o077 == 0
    note(running, "new")
    saved = restore_database(running, file)
    assert notes(running) == ["old"]
    with pytest.raises(psycopg.errors.CheckViolation):
        note(running, "much longer than twenty letters")
    assert saved is not None
    restore_database(running, saved)
    assert notes(running) == ["new", "old"]
    assert databases(running) == {"postgres", "caopan"}


def test_owner_after_a_restore_is_still_the_owner(running):
    note(running, "old")
    restore_database(running, backup_database(running, "owner"))
    execute(running, "ALTER TABLE note ADD COLUMN more text")
    execute(running, "CREATE TABLE another (number int)")


def test_empty_database_needs_no_backup_before_a_restore(running):
    file = backup_database(running, "empty")
    assert restore_database(running, file) is None


def test_file_that_exists_is_not_overwritten(running, tmp_path):
    target = tmp_path / "mine.dump"
    target.write_text("mine")
    with pytest.raises(ConfigInvalid, match="BACKUP_EXISTS"):
        backup_database(running, "asked", output=target)
    assert target.read_text() == "mine"


def test_folder_that_cannot_be_written(running, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigInvalid, match="BACKUP_UNWRITABLE"):
        backup_database(running, "asked", output=tmp_path / "file" / "x.dump")


def test_only_the_newest_automatic_backups_are_kept(running, tmp_path):
    asked = backup_database(running, "asked", output=running.backups / "caopan-mine.dump")
    files = [backup_database(running, f"number {number}") for number in range(12)]
    kept = sorted(running.backups.glob("auto-*.dump"))
    assert kept == files[-module.AUTOMATIC_KEPT :]
    assert len(list(running.backups.glob("auto-*.sha256"))) == module.AUTOMATIC_KEPT
    assert asked.exists()


def test_damaged_and_unknown_files_are_refused(running, tmp_path):
    note(running, "old")
    file = backup_database(running, "asked", output=tmp_path / "one.dump")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ConfigInvalid, match="BACKUP_DAMAGED"):
        restore_database(running, file)
    file.with_name("one.dump.sha256").unlink()
    with pytest.raises(ConfigInvalid, match="BACKUP_UNVERIFIED"):
        verify_backup(file)
    with pytest.raises(ConfigInvalid, match="BACKUP_MISSING"):
        verify_backup(tmp_path / "none.dump")
    assert notes(running) == ["old"]


def test_restore_that_fails_midway_changes_nothing(running, monkeypatch):
    note(running, "old")
    file = backup_database(running, "one")
    note(running, "new")
    real = module._run_tool

    def fail_late(name, url, words, *, failed):
        real(name, url, words, failed=failed)
        if name == "pg_restore":
            raise Unavailable(failed, "the power went")

    monkeypatch.setattr(module, "_run_tool", fail_late)
    with pytest.raises(Unavailable, match="RESTORE_FAILED"):
        restore_database(running, file)
    assert notes(running) == ["new", "old"]
    assert databases(running) == {"postgres", "caopan"}


def test_traces_of_a_killed_restore_are_cleared_by_the_next(running):
    note(running, "old")
    file = backup_database(running, "one")
    with psycopg.connect(libpq_url(running.admin_url), autocommit=True) as link:
        link.execute("CREATE DATABASE caopan_restoring_20260101 OWNER caopan")
        link.execute("CREATE DATABASE caopan_restoring_others")
    restore_database(running, file)
    assert databases(running) == {"postgres", "caopan", "caopan_restoring_others"}
    with psycopg.connect(libpq_url(running.admin_url), autocommit=True) as link:
        link.execute("DROP DATABASE caopan_restoring_others")


def test_restore_beside_another_command_is_refused(running):
    note(running, "old")
    file = backup_database(running, "one")
    with (
        psycopg.connect(libpq_url(running.database_url)),
        pytest.raises(Conflict, match="DB_IN_USE"),
    ):
        restore_database(running, file)
    assert notes(running) == ["old"]


def test_external_role_without_the_right_is_told_so(running):
    """The owner role of an external server may not create databases unless it was granted."""
    note(running, "old")
    file = backup_database(running, "one")
    external = Services(
        database_url=running.database_url,
        redis_url=running.redis_url,
        embedded=False,
        directory=None,
        backups=running.backups,
    )
    with pytest.raises(Denied, match="PERMISSION_DB"):
        restore_database(external, file)
    with psycopg.connect(libpq_url(running.admin_url), autocommit=True) as link:
        link.execute(sql.SQL("ALTER ROLE caopan CREATEDB"))
        restore_database(external, file)
        link.execute(sql.SQL("ALTER ROLE caopan NOCREATEDB"))
    assert notes(running) == ["old"]


def test_erasing_waits_for_nobody_and_keeps_backups(settings, monkeypatch):
    monkeypatch.setattr("caopan.adapters.embedded.reset._WAIT_S", 0.1)
    with open_services(settings, durable=False) as servers:
        note(servers, "old")
        file = backup_database(servers, "one")
        with pytest.raises(Conflict, match="SERVICES_IN_USE"):
            erase(settings.home)
        assert notes(servers) == ["old"]
    erase(settings.home)
    assert not (settings.home / "data").exists()
    assert file.exists()
    with open_services(settings, durable=False) as servers:
        assert restore_database(servers, file) is None
        assert notes(servers) == ["old"]
