"""The embedded PostgreSQL cluster: made once, completely or not at all, and how it is run.

Owns initdb, the roles and the database in it, and the server's command line. Must never touch a
cluster directory that holds data but to start a server on it.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

from caopan.adapters.embedded.binaries import POSTGRES_MAJOR
from caopan.adapters.embedded.confinement import environment
from caopan.adapters.embedded.locks import FileLock
from caopan.adapters.embedded.place import (
    Credentials,
    Place,
    disk_full,
    find_place,
    load_credentials,
    make_credentials,
    own_folder,
)
from caopan.adapters.embedded.watchdog import ServerPlan
from caopan.kernel.errors import ConfigInvalid, CorruptState, Unavailable

SUPERUSER: Final = "postgres"
OWNER: Final = "caopan"
DATABASE: Final = "caopan"

_INITDB_BYTES: Final = 150_000_000
_WAL_SEGMENT_BYTES: Final = 16_777_216
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    # A socket's path may be 107 bytes long at most; a home can be deeper than that.
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "lc_messages": "C",
    "jit": "off",
}
_ACCESS: Final = "host all all 127.0.0.1/32 scram-sha-256\n"
_TEST_SETTINGS: Final = {"fsync": "off", "full_page_writes": "off"}


def plan_postgres(home: Path, starting: FileLock, *, durable: bool) -> ServerPlan:
    """Prepare the cluster of `home` (made on first use) and return how to run it.

    Raises Unavailable, ConfigInvalid or CorruptState with the remedy when it cannot be.
    """
    place = find_place(home)
    cluster = place.directory / "postgres"
    held = load_credentials(home)
    if not (cluster / "PG_VERSION").exists():
        held = held or make_credentials(home)
        _make_cluster(home, place, cluster, held, starting)
    version = (cluster / "PG_VERSION").read_text().strip()
    if version != str(POSTGRES_MAJOR):
        raise Unavailable(
            "DB_VERSION",
            f"the cluster in {cluster} is of PostgreSQL {version}, this Caopan brings"
            f" {POSTGRES_MAJOR}",
            remedy=f"Back it up with the Caopan that made it, move {cluster} away, then restore.",
        )
    if held is None:
        held = make_credentials(home)
        _single_user(home, place, cluster, _passwords(held, "ALTER"), starting)
    settings = {**_SETTINGS, "port": "{port}", **({} if durable else _TEST_SETTINGS)}
    return ServerPlan(
        name="postgres",
        run=str(home / "run" / "postgres"),
        data=str(cluster),
        log=str(home / "logs" / "postgres.log"),
        arguments=[
            str(place.binaries.program("postgres")),
            "-D",
            str(cluster),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        stdin="",
        confinement=asdict(place.confinement),
        # Fast shutdown, then immediate (recovers at the next start), then the kernel.
        stop=[[signal.SIGINT, 60], [signal.SIGQUIT, 10], [signal.SIGKILL, 10]],
    )


def database_url(port: int, held: Credentials) -> str:
    """Return the URL of the product's database for its owner, as SQLAlchemy wants it."""
    return f"postgresql+psycopg://{OWNER}:{held.owner}@127.0.0.1:{port}/{DATABASE}"


def admin_url(port: int, held: Credentials) -> str:
    """Return the URL of the maintenance database for the superuser."""
    return f"postgresql+psycopg://{SUPERUSER}:{held.superuser}@127.0.0.1:{port}/postgres"


def explain(
    home: Path, name: Literal["PostgreSQL", "Valkey"], failure: str, told: str
) -> ConfigInvalid | Unavailable:
    """Return the one error for what a server told before it ended."""
    # The log lies on the same disk: when that is full, the server could not even say so.
    unheard = shutil.disk_usage(home).free < _WAL_SEGMENT_BYTES
    if unheard or "No space left on device" in told or "Disk quota exceeded" in told:
        return disk_full(home)
    if re.search(
        r"Read-only file system|[Pp]ermission denied|invalid permissions|wrong owner", told
    ):
        return ConfigInvalid(
            "HOME_UNUSABLE",
            f"{name} cannot write in CAOPAN_HOME={str(home)!r}: {_last_complaint(told)}",
            remedy="Make the directory writable for you, or set CAOPAN_HOME to another one.",
        )
    if re.search(r"could not (create|attach|map|resize).*(shared memory|semaphore)", told):
        return Unavailable(
            "DB_START",
            f"{name} got no shared memory from this machine: {_last_complaint(told)}",
            remedy="Free memory (or raise the container's limits), then try again.",
        )
    return Unavailable(
        "DB_START" if name == "PostgreSQL" else "REDIS_START",
        f"{name} did not start: {failure}; {_last_complaint(told) or 'it logged nothing'}",
        remedy=f"Read the logs in {home / 'logs'}; `caopan doctor` checks the rest.",
    )


def _last_complaint(told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    grave = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error|rror:", line)]
    return (grave or lines or [""])[-1][:300]


def _make_cluster(
    home: Path, place: Place, cluster: Path, held: Credentials, starting: FileLock
) -> None:
    """Make the whole cluster under another name; the rename at the end makes it count."""
    if cluster.exists():
        if any(cluster.iterdir()):
            raise CorruptState(
                "CLUSTER_BROKEN",
                f"{cluster} holds files but no PG_VERSION: it is not a whole cluster",
                remedy=f"Nothing was changed. Move {cluster} away, then restore a backup.",
            )
        cluster.rmdir()
    free = shutil.disk_usage(place.directory).free
    if free < _INITDB_BYTES:
        raise disk_full(place.directory)
    # Never renamed, so never used: traces of an initdb that was killed.
    for trace in cluster.parent.glob("postgres.new*"):
        shutil.rmtree(trace)
    fresh = own_folder(cluster.with_name("postgres.new"), place.confinement)
    words = [
        *("-D", str(fresh), "-U", SUPERUSER, "--auth=trust"),
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
        *("--builtin-locale=C.UTF-8", "--no-instructions"),
    ]
    _run(place, "initdb", words, "", starting, home)
    # initdb's own rules trust whoever connects; ours want a password, from this machine only.
    (fresh / "pg_hba.conf").write_text(_ACCESS, encoding="ascii")
    script = _passwords(held, "CREATE") + f"CREATE DATABASE {DATABASE} OWNER {OWNER};\n"
    _single_user(home, place, fresh, script, starting)
    fresh.rename(cluster)


def _passwords(held: Credentials, verb: str) -> str:
    """Return one statement a line, as single-user mode wants them; the passwords are URL-safe."""
    return (
        f"ALTER ROLE {SUPERUSER} PASSWORD '{held.superuser}';\n"
        f"{verb} ROLE {OWNER} LOGIN PASSWORD '{held.owner}';\n"
    )


def _single_user(home: Path, place: Place, cluster: Path, script: str, starting: FileLock) -> None:
    """Run statements in a cluster without a server: no port, no password, nobody else."""
    words = ["--single", "-D", str(cluster), "-c", "log_min_messages=error", "postgres"]
    told = _run(place, "postgres", words, script, starting, home)
    if "ERROR" in told:
        raise Unavailable("DB_START", f"preparing {cluster} failed: {_last_complaint(told)}")


def _run(
    place: Place, program: str, words: list[str], stdin: str, starting: FileLock, home: Path
) -> str:
    """Run one of PostgreSQL's programs to its end and return what it said on stderr.

    It inherits the start lock: when this command is killed, the next one waits for it to end.
    """
    done = subprocess.run(
        place.confinement.command([str(place.binaries.program(program)), *words]),
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        cwd="/",
        check=False,
        pass_fds=(starting.descriptor,),
    )
    if done.returncode != 0:
        failure = f"{program} ended with status {done.returncode}"
        raise explain(home, "PostgreSQL", failure, done.stdout + done.stderr)
    return done.stderr
