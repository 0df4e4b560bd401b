"""Whether the servers the user gave us are there, let us in and are new enough.

Owns the checks of external servers and the one message each failure gets. Must never repeat a
password: URLs are shown without it.
"""

from __future__ import annotations

import socket
from typing import Any, Final
from urllib.parse import urlsplit

from caopan.kernel.errors import Unavailable
from caopan.settings import redact_url

POSTGRES_MINIMUM: Final = 16
REDIS_MINIMUM: Final = (6, 2)
_TIMEOUT_S: Final = 5

# What a server says when it refuses somebody, in the languages it may say it in; libpq passes on
# the text but not the SQLSTATE of a refused connection.
_AUTH_WORDS: Final = (
    "password",
    "authentication",
    "role ",
    "pg_hba",
    "口令",
    "密码",
    "认证",
    "角色",
)


def libpq_url(url: str) -> str:
    """Return `url` as libpq and psycopg want it; libpq's other form is left as it is."""
    if "://" not in url:
        return url
    return "postgresql://" + url.partition("://")[2]


def sqlalchemy_url(url: str) -> str:
    """Return `url` as SQLAlchemy wants it for psycopg."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def check_database(url: str, *, variable: str = "DATABASE_URL") -> int:
    """Connect once; return the server's major version.

    Raises Unavailable DB_UNREACHABLE, DB_AUTH, DB_NOT_FOUND, DB_DISK_FULL or DB_VERSION.
    """
    import psycopg

    place = redact_url(url)
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=_TIMEOUT_S) as link:
            major = link.info.server_version // 10_000
    except psycopg.Error as error:
        raise _database_refusal(place, variable, str(error)) from None
    if major < POSTGRES_MINIMUM:
        raise Unavailable(
            "DB_VERSION",
            f"{place} is PostgreSQL {major}; Caopan needs {POSTGRES_MINIMUM} or later",
            remedy=f"Upgrade the server, or unset {variable} to use the embedded one.",
        )
    return major


def check_redis(url: str, *, variable: str = "REDIS_URL") -> str:
    """Connect once; return the server's version.

    Raises Unavailable REDIS_UNREACHABLE, REDIS_AUTH or REDIS_VERSION.
    """
    from redis import Redis, exceptions

    place = redact_url(url)
    remedy = f"Correct {variable}, start that server, or unset {variable} to use the embedded one."
    link: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped keywords
        url, socket_connect_timeout=_TIMEOUT_S, socket_timeout=_TIMEOUT_S, decode_responses=True
    )
    try:
        link.ping()
        version = str(link.info("server")["redis_version"])
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise Unavailable(
            "REDIS_AUTH",
            f"{place} refused the user or password: {_one_line(str(error))}",
            remedy=f"Correct the user and password in {variable}.",
        ) from None
    except exceptions.RedisError as error:
        raise Unavailable(
            "REDIS_UNREACHABLE", f"{place} does not answer: {_one_line(str(error))}", remedy=remedy
        ) from None
    finally:
        link.close()
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_MINIMUM:
        needed = ".".join(str(part) for part in REDIS_MINIMUM)
        raise Unavailable(
            "REDIS_VERSION",
            f"{place} is Redis {version}; Caopan needs {needed} or later",
            remedy=f"Upgrade the server, or unset {variable} to use the embedded one.",
        )
    return version


def _database_refusal(place: str, variable: str, told: str) -> Unavailable:
    """Translate why PostgreSQL could not be connected to; the server's own words are kept."""
    line = _one_line(told)
    if "No space left" in told:
        return Unavailable(
            "DB_DISK_FULL",
            f"the disk of {place} is full: {line}",
            remedy="Free disk space on the database server.",
        )
    if not _listens(place):
        return Unavailable(
            "DB_UNREACHABLE",
            f"{place} does not answer: {line}",
            remedy=f"Correct {variable}, start that server, or unset it to use the embedded one.",
        )
    if any(word in told for word in _AUTH_WORDS):
        return Unavailable(
            "DB_AUTH",
            f"{place} refused the user or password: {line}",
            remedy=f"Correct the user and password in {variable}.",
        )
    if "database" in told and "does not exist" in told:
        return Unavailable(
            "DB_NOT_FOUND",
            f"{place} has no such database: {line}",
            remedy=f"Create it (`createdb`), or correct the name in {variable}.",
        )
    return Unavailable(
        "DB_UNREACHABLE",
        f"{place} answered but did not let us in: {line}",
        remedy="See to what the server says, then try again.",
    )


def _listens(place: str) -> bool:
    parts = urlsplit(place)
    if not parts.hostname:
        # A local socket or settings in the query: libpq's own words have to do.
        return True
    try:
        with socket.create_connection((parts.hostname, parts.port or 5432), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
