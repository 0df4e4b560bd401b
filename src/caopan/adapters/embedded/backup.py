"""Saving the database to a file and putting it back.

Owns the dump's name, its checksum, and the order of a restore: into a fresh database first, the
swap by two renames in one transaction last. Must never overwrite a file, and never touch the
present data before the restored copy is whole. Tests: tests/integration/embedded/test_backup.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import conninfo, sql

from caopan.adapters.embedded.binaries import bundled
from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.locks import open_private
from caopan.adapters.embedded.services import Services
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict, Denied, Unavailable
from caopan.settings import child_environment

AUTOMATIC_KEPT: Final = 10
_CHUNK: Final = 1 << 20


def backup_database(services: Services, reason: str, *, output: Path | None = None) -> Path:
    """Save the database and return the file; its SHA-256 stands beside it (`.sha256`).

    Without `output` the file is an automatic one, `HOME/backups/auto-<time>-<reason>.dump`, of
    which the newest ten are kept. The data are those of one instant.

    Raises ConfigInvalid BACKUP_EXISTS when `output` is there already, Unavailable BACKUP_FAILED
    or DB_DISK_FULL; a failed backup leaves no file.
    """
    if output is None:
        # With microseconds, so that two backups of one second are two files.
        moment = datetime.now(tz=UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        word = re.sub(r"[^a-z0-9]+", "-", reason.lower()).strip("-") or "unnamed"
        target = services.backups / f"auto-{moment}-{word}.dump"
    else:
        target = output.absolute()
    _refuse_existing(target)
    partial = target.with_name(f"{target.name}.partial")
    try:
        os.close(open_private(partial, os.O_WRONLY | os.O_TRUNC))
        words = ["--format=custom", "--no-password", f"--file={partial}"]
        _run_tool("pg_dump", services.database_url, words, failed="BACKUP_FAILED")
        total = _checksum(partial)
        _sync(partial)
        _refuse_existing(target)
        _checksum_file(target).write_text(f"{total}  {target.name}\n", encoding="utf-8")
        partial.rename(target)
    except OSError as error:
        raise _file_trouble(target, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    if output is None:
        _retire(services.backups)
    return target


def verify_backup(file: Path) -> None:
    """Compare a backup with its checksum and read its table of contents.

    Raises ConfigInvalid BACKUP_MISSING, BACKUP_UNVERIFIED (no checksum) or BACKUP_DAMAGED.
    """
    beside = _checksum_file(file)
    if not file.is_file():
        message = f"there is no backup {file}"
        raise ConfigInvalid("BACKUP_MISSING", message, remedy="Look in CAOPAN_HOME/backups.")
    try:
        wanted = beside.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError) as error:
        raise ConfigInvalid(
            "BACKUP_UNVERIFIED",
            f"{file} has no checksum beside it ({beside.name})",
            remedy=f"Copy {beside.name} along with it; a dump of another tool is not restored.",
        ) from error
    found = _checksum(file)
    if found != wanted:
        raise ConfigInvalid(
            "BACKUP_DAMAGED",
            f"{file} was changed or cut short: its SHA-256 is {found[:16]}…, not {wanted[:16]}…",
            remedy="Take another copy or another backup.",
        )
    _execute(bundled().program("pg_restore"), ["--list", str(file)], {}, "BACKUP_DAMAGED")


def restore_database(services: Services, file: Path) -> Path | None:
    """Put a verified backup in the place of the present database; return the one made first.

    The present data are backed up, the file is restored into a fresh database, and only when that
    is whole do the two change names, in one transaction. Until then nothing has changed.

    Raises Conflict DB_IN_USE while others are connected, Denied PERMISSION_DB when an external
    role may not create databases, Unavailable RESTORE_FAILED; the present data stay in each case.
    """
    verify_backup(file)
    present = _database_name(services.database_url)
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d%H%M%S%f")
    fresh, retired = f"{present}_restoring_{stamp}", f"{present}_before_{stamp}"
    owner = str(conninfo.conninfo_to_dict(libpq_url(services.database_url)).get("user") or "")
    with _maintenance(services) as link:
        _refuse_in_use(link, present)
        _drop_unfinished(link, f"{present}_restoring_")
        saved = backup_database(services, "before-restore") if _holds_tables(services) else None
        try:
            _execute_sql(link, "CREATE DATABASE {} OWNER {} TEMPLATE template0", (fresh, owner))
            words = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-password"]
            url = _with_database(services.database_url, fresh)
            _run_tool("pg_restore", url, [*words, str(file)], failed="RESTORE_FAILED")
            with link.transaction():
                _execute_sql(link, "ALTER DATABASE {} RENAME TO {}", (present, retired))
                _execute_sql(link, "ALTER DATABASE {} RENAME TO {}", (fresh, present))
        except psycopg.Error as error:
            raise _database_trouble(present, error) from error
        finally:
            # Whichever of the two is left over now is the one nobody needs.
            for name in (fresh, retired):
                with suppress(psycopg.Error):
                    _execute_sql(link, "DROP DATABASE IF EXISTS {}", (name,))
    return saved


def _checksum_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _refuse_existing(target: Path) -> None:
    if target.exists():
        message = f"{target} exists already and is not overwritten"
        raise ConfigInvalid("BACKUP_EXISTS", message, remedy="Choose another --output.")


def _retire(folder: Path) -> None:
    """Delete automatic backups beyond the newest ten; those a person asked for stay."""
    for old in sorted(folder.glob("auto-*.dump"))[:-AUTOMATIC_KEPT]:
        old.unlink(missing_ok=True)
        _checksum_file(old).unlink(missing_ok=True)


def _run_tool(name: str, url: str, words: list[str], *, failed: str) -> None:
    """Run pg_dump or pg_restore against `url`; the password goes by environment."""
    known = conninfo.conninfo_to_dict(libpq_url(url))
    password = str(known.pop("password", "") or "")
    target = conninfo.make_conninfo("", **{name: value for name, value in known.items() if value})
    program = _tool(name, url)
    secret = {"PGPASSWORD": password} if password else {}
    _execute(program, [*words, f"--dbname={target}"], secret, failed)


def _tool(name: str, url: str) -> Path:
    """Return a program at least as new as the server: the bundled one, or one on the PATH."""
    with psycopg.connect(libpq_url(url), connect_timeout=5) as link:
        server = link.info.server_version // 10_000
    other = shutil.which(name)
    for program in (bundled().program(name), *([Path(other)] if other else [])):
        told = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            check=False,
            env=child_environment(),
        )
        found = re.search(r"(\d+)", told.stdout)
        if found and int(found[1]) >= server:
            return program
    raise Unavailable(
        "BACKUP_FAILED",
        f"no {name} for PostgreSQL {server} here: the bundled one is older than the server",
        remedy=f"Install PostgreSQL {server}'s client programs, or use its administrator's backup.",
    )


def _execute(program: Path, words: list[str], environment: dict[str, str], failed: str) -> None:
    done = subprocess.run(
        [str(program), *words],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=child_environment(**environment),
    )
    if done.returncode == 0:
        return
    told = " ".join(done.stderr.split())[-300:]
    full = "No space left on device" in done.stderr
    raise Unavailable(
        "DB_DISK_FULL" if full else failed,
        f"{program.name} ended with status {done.returncode}: {told}",
        remedy="Free disk space, then try again." if full else "Nothing was changed.",
    )


def _file_trouble(target: Path, error: OSError) -> CaopanError:
    if error.errno == 28:  # noqa: PLR2004 - ENOSPC
        message = f"the disk that holds {target.parent} is full"
        return Unavailable("DB_DISK_FULL", message, remedy="Free space or choose another --output.")
    return ConfigInvalid(
        "BACKUP_UNWRITABLE",
        f"{target} cannot be written: {error.strerror}",
        remedy="Choose another --output.",
    )


def _database_name(url: str) -> str:
    known = conninfo.conninfo_to_dict(libpq_url(url))
    return str(known.get("dbname") or known.get("user") or "")


def _with_database(url: str, name: str) -> str:
    return conninfo.make_conninfo(libpq_url(url), dbname=name)


def _maintenance(services: Services) -> psycopg.Connection[tuple[object, ...]]:
    """Connect beside the database, not to it: it is about to change its name."""
    url = services.admin_url or _with_database(services.database_url, "postgres")
    try:
        return psycopg.connect(libpq_url(url), autocommit=True)
    except psycopg.Error as error:
        raise _database_trouble("postgres", error) from error


def _holds_tables(services: Services) -> bool:
    with psycopg.connect(libpq_url(services.database_url)) as link:
        found = link.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog',"
            " 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'"
        ).fetchone()
    return found is not None and int(found[0]) > 0


def _refuse_in_use(link: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    found = link.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]
    ).fetchone()
    if found is not None and int(str(found[0])) > 0:
        raise Conflict(
            "DB_IN_USE",
            f"{found[0]} connection(s) of other commands use the database {name}",
            remedy="End the other Caopan commands, then restore again. Nothing was changed.",
        )


def _drop_unfinished(link: psycopg.Connection[tuple[object, ...]], prefix: str) -> None:
    """Drop what a killed restore left: databases that never had the product's name."""
    found = link.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        " AND datdba = (SELECT datdba FROM pg_database WHERE datname = %s)",
        [prefix, prefix.removesuffix("_restoring_")],
    ).fetchall()
    for (name,) in found:
        _execute_sql(link, "DROP DATABASE IF EXISTS {}", (str(name),))


def _execute_sql(
    link: psycopg.Connection[tuple[object, ...]], text: LiteralString, names: tuple[str, ...]
) -> None:
    link.execute(sql.SQL(text).format(*(sql.Identifier(name) for name in names)))


def _database_trouble(name: str, error: psycopg.Error) -> CaopanError:
    told = " ".join(str(error).split())[:300]
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Denied(
            "PERMISSION_DB",
            f"the database role may not create or rename databases: {told}",
            remedy="Grant it CREATEDB and make it the owner. The present data are unchanged.",
        )
    if isinstance(error, psycopg.errors.ObjectInUse):
        message = f"others connected to {name} meanwhile: {told}"
        return Conflict("DB_IN_USE", message, remedy="End them, then restore again.")
    return Unavailable(
        "RESTORE_FAILED", told, remedy="The present data are unchanged. Try another backup."
    )
