"""Where the data of the embedded servers lies, and as whom they run there.

Owns `HOME/data`: the choice of confinement, the record of a place outside HOME where root needs
one, and the passwords. Must never delete data and never change a folder it did not make.

    data/place.json        as whom, and where, when that is not plainly HOME/data as this user
    data/credentials.json  passwords of the servers, readable by the owner only
    data/postgres          the cluster; it appears under this name only when it is complete
    data/valkey            the append-only file
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from caopan.adapters.embedded.binaries import Binaries, bundled, copied_to, copy_bundled
from caopan.adapters.embedded.confinement import (
    Confinement,
    as_self,
    as_unprivileged,
    as_user,
    in_namespace,
)
from caopan.adapters.embedded.locks import FileLock, make_private, open_private
from caopan.kernel.errors import ConfigInvalid, CorruptState, Unavailable

_OUTSIDE: Final = (Path("/var/lib/caopan"), Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - a fresh 0700 folder is made inside


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers' data and binaries are, and as whom the servers run."""

    confinement: Confinement
    directory: Path
    binaries: Binaries


@dataclass(frozen=True, slots=True)
class Credentials:
    """Passwords, made once per home."""

    superuser: str
    owner: str
    valkey: str


def prepare_home(home: Path) -> None:
    """Make the home directory, private to its owner.

    Raises ConfigInvalid HOME_UNUSABLE when it is not a directory one can write.
    """
    try:
        if not home.is_dir():
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("run", "data", "logs", "backups"):
            make_private(home / name)
        os.close(open_private(home / "run" / "home.lock", os.O_RDWR))
    except OSError as error:
        raise home_unusable(home, error) from error


def home_unusable(home: Path, error: OSError) -> ConfigInvalid | Unavailable:
    """Translate what the file system said about the home directory."""
    if error.errno == 28:  # noqa: PLR2004 - ENOSPC
        return disk_full(home)
    return ConfigInvalid(
        "HOME_UNUSABLE",
        f"CAOPAN_HOME={str(home)!r} cannot be used: {error.strerror or error}",
        remedy="Set CAOPAN_HOME to a directory that you own and can write.",
    )


def disk_full(home: Path) -> Unavailable:
    """Return the error for a file system without room."""
    free = ""
    try:
        free = f" ({shutil.disk_usage(home).free // 1_000_000} MB free)"
    except OSError:
        free = ""
    return Unavailable(
        "DB_DISK_FULL",
        f"the disk that holds {home} is full{free}",
        remedy="Free at least 500 MB there, or set CAOPAN_HOME to a directory on another disk.",
    )


def find_place(home: Path) -> Place:
    """Return where the servers of `home` live; choose and record it the first time.

    Call with a start lock held. Raises ConfigInvalid or CorruptState when the record points to
    something this user cannot or should not use.
    """
    turn = FileLock(home / "run" / "place.lock")
    turn.take(wait_s=120)
    try:
        return _find_place(home)
    finally:
        turn.close()


def recorded_directory(home: Path) -> Path | None:
    """Return the directory outside `home` that its record names; None without such a record."""
    try:
        noted = json.loads((home / "data" / "place.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    directory = Path(str(noted["directory"]))
    back = directory / "home"
    ours = back.exists() and back.read_text(encoding="utf-8") == str(home)
    return directory if ours else None


def load_credentials(home: Path) -> Credentials | None:
    """Return the passwords of `home`; None when there are none yet."""
    try:
        return Credentials(**json.loads((home / "data" / "credentials.json").read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CorruptState(
            "CREDENTIALS_BROKEN",
            f"{home / 'data' / 'credentials.json'} cannot be read: {error}",
            remedy="Delete that file: new passwords are then set in the databases.",
        ) from error


def held_credentials(home: Path) -> Credentials:
    """Return the passwords of a home whose servers run. Raises CorruptState when they are gone."""
    held = load_credentials(home)
    if held is None:
        raise CorruptState(
            "CREDENTIALS_BROKEN",
            f"{home / 'data' / 'credentials.json'} has gone while the servers run",
            remedy="End all Caopan commands of this home; the next one sets new passwords.",
        )
    return held


def make_credentials(home: Path) -> Credentials:
    """Draw new passwords and write them down before anything uses them."""
    made = Credentials(*(secrets.token_urlsafe(24) for _ in range(3)))
    write_private(home / "data" / "credentials.json", json.dumps(asdict(made)))
    return made


def write_private(path: Path, text: str) -> None:
    """Write `text` durably and at once: a reader sees the old file or the new one."""
    fresh = path.with_suffix(".new")
    descriptor = open_private(fresh, os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def own_folder(folder: Path, user: Confinement) -> Path:
    """Make `folder`, private to whoever the servers run as."""
    folder.mkdir(exist_ok=True, mode=0o700)
    if user.kind == "user":
        os.chown(folder, user.uid, user.gid)
    return folder


def _find_place(home: Path) -> Place:
    data = home / "data"
    record = data / "place.json"
    if record.exists():
        return _recorded(home, json.loads(record.read_text(encoding="utf-8")))
    owner = data.stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise ConfigInvalid(
                "HOME_UNUSABLE",
                f"the data in {data} belongs to the user with id {owner.st_uid}",
                remedy="Run as that user, or set CAOPAN_HOME to a directory of your own.",
            )
        return Place(_ordinary(data), data, bundled())
    if owner.st_uid != 0:
        # Root in a user's home: the servers run as that user, or the user could never use them.
        return _reachable(as_user(owner.st_uid, owner.st_gid), data)
    inside = in_namespace()
    if inside and inside.reaches(data, bundled().program("postgres")):
        return Place(inside, data, bundled())
    if (data / "postgres" / "PG_VERSION").exists():
        # Its data must not seem lost: nothing new is made elsewhere.
        raise Unavailable(
            "ROOT_REFUSED",
            f"the databases in {data} are root's, and this machine allows no user namespace"
            " to run them in",
            remedy="Allow user namespaces, or hand the directory to a user and run as them.",
        )
    return _settle_outside(home, record)


def _ordinary(data: Path) -> Confinement:
    """Return how an ordinary user runs the servers: as themselves, if the machine knows them.

    initdb looks its user up by name; a container started under a number it does not know gets a
    namespace in which it has a name.
    """
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        named = in_namespace()
        if named and named.reaches(data, bundled().program("postgres")):
            return named
    return as_self()


def _recorded(home: Path, record: dict[str, object]) -> Place:
    directory = Path(str(record["directory"]))
    if not directory.is_dir():
        raise CorruptState(
            "PLACE_GONE",
            f"the databases of {home} were kept in {directory}, which no longer exists",
            remedy="Bring it back, or run `caopan reset` and restore a backup.",
        )
    back = directory / "home"
    keeper = Path(back.read_text(encoding="utf-8")) if back.exists() else home
    if keeper != home and keeper.exists() and not keeper.samefile(home):
        raise ConfigInvalid(
            "HOME_COPIED",
            f"{home} is a copy of {keeper}: both name {directory} as the place of their databases",
            remedy=f"Use {keeper}, or delete {home / 'data'} and restore a backup there.",
        )
    if os.geteuid() != 0:
        raise ConfigInvalid(
            "HOME_UNUSABLE",
            f"the databases of {home} were made by root and lie in {directory}",
            remedy="Run as root, or set CAOPAN_HOME to a directory of your own.",
        )
    write_private(back, str(home))
    confinement = as_user(int(str(record["uid"])), int(str(record["gid"])))
    return _reachable(confinement, directory)


def _settle_outside(home: Path, record: Path) -> Place:
    """Make a place that an unprivileged user can reach, and record it in the home."""
    least = as_unprivileged()
    name = f"caopan-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}-{secrets.token_hex(4)}"
    for parent in _OUTSIDE:
        directory = parent / name
        if least is None:
            break
        try:
            parent.mkdir(exist_ok=True, mode=0o755)
            directory.mkdir(mode=0o700)
            os.chown(directory, least.uid, least.gid)
        except OSError:
            continue
        if least.reaches(directory):
            place = _reachable(least, directory)
            write_private(directory / "home", str(home))
            noted = {"directory": str(directory), "uid": least.uid, "gid": least.gid}
            write_private(record, json.dumps(noted))
            return place
        directory.rmdir()
    raise Unavailable(
        "ROOT_REFUSED",
        "PostgreSQL refuses to run as root, and this machine allows neither a user namespace nor"
        " a directory that an unprivileged user can reach",
        remedy="Run Caopan as an ordinary user, or set DATABASE_URL and REDIS_URL.",
    )


def _reachable(confinement: Confinement, directory: Path) -> Place:
    """Return the place with binaries the confined user can run, copied there when need be."""
    if not confinement.reaches(directory):
        raise ConfigInvalid(
            "HOME_UNUSABLE",
            f"the user with id {confinement.uid}, who owns {directory}, cannot reach it",
            remedy="Run as that user, or set CAOPAN_HOME to a directory of your own.",
        )
    binaries = bundled()
    if not confinement.reaches(directory, binaries.program("postgres")):
        binaries = _copied(binaries, directory, confinement)
    return Place(confinement, directory, binaries)


def _copied(source: Binaries, directory: Path, user: Confinement) -> Binaries:
    """Copy the binaries to where `user` can run them; keep the newest copy only."""
    program = source.program("postgres")
    mark = f"{os.fspath(program)} {program.stat().st_mtime_ns}"
    shelf = own_folder(directory / "bin", user)
    target = shelf / hashlib.sha256(mark.encode()).hexdigest()[:12]
    if not target.exists():
        for old in shelf.iterdir():
            shutil.rmtree(old)
        fresh = target.with_suffix(".new")
        copy_bundled(fresh)
        for folder, _, files in os.walk(fresh):
            for name in (".", *files):
                os.chown(Path(folder) / name, user.uid, user.gid, follow_symlinks=False)
        fresh.rename(target)
    return copied_to(target)
