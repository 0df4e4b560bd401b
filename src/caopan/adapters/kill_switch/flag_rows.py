"""The flags in the database: the newest control of all accounts and of one.

Owns one plain connection with short timeouts, made again after any failure. It only reads, so that
a database that refuses writes still answers. Must never go through the pool of the units of work,
which may be exhausted by what is to be stopped.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

from caopan.adapters.kill_switch.flag_file import Flag
from caopan.domain.risk.kill_switch import KillLevel

_CONNECT_S: Final = 2
_SILENT_MS: Final = 2_000
"""How long a broken network may keep us waiting."""
_READ: LiteralString = """
    (SELECT level, reason, set_by, at FROM system_control ORDER BY version DESC LIMIT 1)
    UNION ALL
    (SELECT level, reason, set_by, at FROM control WHERE run_id = %s ORDER BY version DESC LIMIT 1)
"""


class FlagRows:
    """Reads the database's flags of one run."""

    def __init__(self, conninfo: str, run_id: int) -> None:
        """Keep where the database is (`conninfo`: the driver's form); nothing is connected yet."""
        self._conninfo = conninfo
        self._run_id = run_id
        self._link: psycopg.Connection[tuple[Any, ...]] | None = None

    def read(self) -> Flag:
        """Return the higher of the two flags. Raises psycopg.Error if the database is silent."""
        if self._link is None:
            self._link = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                tcp_user_timeout=_SILENT_MS,
                keepalives_idle=1,
                keepalives_interval=1,
                keepalives_count=2,
            )
        try:
            rows = self._link.execute(_READ, (self._run_id,)).fetchall()
        except psycopg.Error:
            self.close()
            raise
        flags = [Flag(KillLevel(row[0]), *row[1:]) for row in rows]
        return max(flags, key=lambda flag: flag.level, default=Flag())

    def close(self) -> None:
        """Give the connection up."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
