"""Which build of the product this process runs, and on which schema.

Owns `software_version` and `stamp`, what processes show each other before they trade together. Must
never read anything but the package's own files and the schema's revision. Tests:
tests/unit/bootstrap/test_build.py, tests/integration/trader/test_builds.py.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import caopan
from caopan import __version__
from caopan.adapters.postgres import schema
from caopan.kernel.errors import ConfigInvalid

_DIGITS: Final = 16
_NOT_SOURCE: Final = "__pycache__"


@cache
def code_hash(folder: Path | None = None) -> str:
    """Return the SHA-256 over names and bytes of every file of the package (or of `folder`)."""
    root = Path(caopan.__file__).parent if folder is None else folder
    digest = sha256()
    for path in sorted(path for path in root.rglob("*") if _NOT_SOURCE not in path.parts):
        if path.is_file():
            body = path.read_bytes()
            name = path.relative_to(root).as_posix().encode()
            # Lengths keep one file's end from being read as another's beginning.
            digest.update(b"%d %d " % (len(name), len(body)))
            digest.update(name)
            digest.update(body)
    return digest.hexdigest()


def software_version() -> str:
    """Return what is reported to a broker as the software's version."""
    return f"{__version__}+{code_hash()[:_DIGITS]}"


def stamp(database_url: str) -> str:
    """Return build and schema of this process in one line; only equal ones trade together.

    Raises:
        ConfigInvalid: DB_NEWER if a newer build has migrated the database, DB_NOT_MIGRATED if this
            one has not yet.
    """
    status = schema.status(database_url)
    if status.pending:
        raise ConfigInvalid(
            "DB_NOT_MIGRATED",
            f"the database is at {status.current}, this build is at {status.head}",
            remedy="run `caopan db upgrade`",
        )
    return f"{software_version()}, schema {status.current}"
