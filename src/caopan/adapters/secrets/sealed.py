"""Secrets sealed in CAOPAN_HOME: ciphertexts in one file, the master key in another.

Owns both files, their rights (0600) and their form: AES-256-GCM, each ciphertext bound to its own
id and time of sealing, so that none can stand in for another. Must never write or show a plain
value, open anything with a master key that others can read, or leave half a file behind.
Tests: tests/unit/adapters/secrets/test_sealed.py.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from caopan.kernel.clock import iso
from caopan.kernel.errors import ConfigInvalid, Unavailable
from caopan.settings import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = 1
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_OTHERS: Final = 0o077
_OURS: Final = 0o600
_MOST_BYTES: Final = 65_536
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESEAL: Final = "Seal it again from its source."


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """What may be shown of a sealed secret."""

    secret_id: str
    sealed_at: str
    """ISO 8601 instant."""


class SealedSecrets:
    """The sealed secrets of one CAOPAN_HOME."""

    def __init__(self, home: Path, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """Touch nothing yet; `entropy` gives that many bytes nobody can foresee."""
        self._entropy = entropy
        self._home = home
        self.key_path: Final = home / "master.key"
        self.path: Final = home / "sealed.json"

    def seal(self, secret_id: str, value: Secret, at: datetime) -> SealedEntry:
        """Store `value` under `secret_id`, in the place of what was there.

        Raises ConfigInvalid SECRET_REFERENCE, SECRET_UNUSABLE, SECRET_EXPOSED or SECRET_DAMAGED;
        Unavailable SECRET_STORE.
        """
        _check_id(secret_id)
        plain = _encoded(value)
        if not 0 < len(plain) <= _MOST_BYTES:
            raise ConfigInvalid(
                "SECRET_UNUSABLE",
                f"the value for sealed:{secret_id} has {len(plain)} bytes, not 1 to {_MOST_BYTES}",
            )
        entry = SealedEntry(secret_id, iso(at))
        with self._alone():
            rows = self._rows()
            cipher = _cipher(self._master(make=not rows))
            nonce = self._entropy(_NONCE_BYTES)
            rows[secret_id] = {
                "sealed_at": entry.sealed_at,
                "nonce": _text(nonce),
                "ciphertext": _text(cipher.encrypt(nonce, plain, _binding(entry))),
            }
            self._write(rows)
        return entry

    def open(self, secret_id: str) -> Secret:
        """Return what was sealed.

        Raises ConfigInvalid SECRET_MISSING, SECRET_REFERENCE, SECRET_EXPOSED or SECRET_DAMAGED;
        Unavailable SECRET_STORE.
        """
        _check_id(secret_id)
        row = self._rows().get(secret_id)
        if row is None:
            raise _missing(secret_id)
        cipher = _cipher(self._master(make=False))
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in _cipher

        try:
            entry = SealedEntry(secret_id, row["sealed_at"])
            nonce, ciphertext = _bytes(row["nonce"]), _bytes(row["ciphertext"])
            plain = cipher.decrypt(nonce, ciphertext, _binding(entry)).decode()
        except (InvalidTag, KeyError, TypeError, ValueError, AttributeError):
            raise ConfigInvalid(
                "SECRET_DAMAGED",
                f"sealed:{secret_id} was altered, or sealed under another {self.key_path.name}",
                remedy=_RESEAL,
            ) from None
        return Secret(plain)

    def entries(self) -> Sequence[SealedEntry]:
        """Return what is sealed, by id, without opening anything.

        Raises ConfigInvalid SECRET_DAMAGED; Unavailable SECRET_STORE.
        """
        return [
            SealedEntry(name, str(row.get("sealed_at", "")))
            for name, row in sorted(self._rows().items())
        ]

    def remove(self, secret_id: str) -> None:
        """Forget a secret.

        Raises ConfigInvalid SECRET_MISSING, SECRET_REFERENCE or SECRET_DAMAGED; Unavailable
        SECRET_STORE.
        """
        _check_id(secret_id)
        with self._alone():
            rows = self._rows()
            if rows.pop(secret_id, None) is None:
                raise _missing(secret_id)
            self._write(rows)

    def _master(self, *, make: bool) -> bytes:
        """Return the master key, made now if it may be and is not there."""
        try:
            if make and not self.key_path.exists():
                self._replace(self.key_path, self._entropy(_KEY_BYTES).hex().encode() + b"\n")
            with self.key_path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                body = file.read(_MOST_BYTES)
        except FileNotFoundError:
            raise ConfigInvalid(
                "SECRET_DAMAGED",
                f"{self.key_path} is gone; what was sealed under it cannot be opened",
                remedy="Restore it from your backup, or remove and seal anew.",
            ) from None
        except OSError as error:
            raise _unusable(self.key_path, error) from error
        if mode & _OTHERS:
            raise ConfigInvalid(
                "SECRET_EXPOSED",
                f"{self.key_path} has mode {mode & 0o777:o}: others may read it",
                remedy=f"chmod 600 {self.key_path}, and replace the keys that were sealed.",
            )
        try:
            key = bytes.fromhex(body.decode())
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise ConfigInvalid("SECRET_DAMAGED", f"{self.key_path} holds no master key")
        return key

    def _rows(self) -> dict[str, dict[str, Any]]:
        try:
            body = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            told: Any = json.loads(body)
            rows = told["secrets"] if told["version"] == _VERSION else None
        except (ValueError, KeyError, TypeError, RecursionError):
            rows = None
        if not isinstance(rows, dict) or not all(
            isinstance(row, dict) for row in cast("dict[str, Any]", rows).values()
        ):
            raise ConfigInvalid(
                "SECRET_DAMAGED",
                f"{self.path} is no file of sealed secrets",
                remedy="Restore it from your backup, or move it away and seal anew.",
            )
        return cast("dict[str, dict[str, Any]]", rows)

    def _write(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        told = {"version": _VERSION, "secrets": rows}
        try:
            self._replace(self.path, json.dumps(told, indent=2, sort_keys=True).encode() + b"\n")
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _replace(self, path: Path, body: bytes) -> None:
        """Write a file whole and durably, readable by its owner alone from its first moment."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        draft.unlink(missing_ok=True)
        try:
            opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OURS)
            with os.fdopen(opened, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other processes from changing the files at the same time."""
        lock = self._home / "sealed.lock"
        try:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened = os.open(lock, os.O_RDWR | os.O_CREAT, _OURS)
        except OSError as error:
            raise _unusable(lock, error) from error
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)


def _cipher(key: bytes) -> AESGCM:
    # 7 MB that only a home with sealed secrets needs.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


def _binding(entry: SealedEntry) -> bytes:
    """Return what a ciphertext is bound to: moved to another row, it does not open."""
    return f"caopan sealed {_VERSION}\n{entry.secret_id}\n{entry.sealed_at}".encode()


def _check_id(secret_id: str) -> None:
    if not _ID.fullmatch(secret_id):
        # Not repeated: a person may have put the key itself here.
        raise ConfigInvalid(
            "SECRET_REFERENCE",
            "the id of a sealed secret has 1 to 64 letters, digits, dots, dashes or underscores",
            remedy="Name it like sealed:deepseek.",
        )


def _missing(secret_id: str) -> ConfigInvalid:
    return ConfigInvalid("SECRET_MISSING", f"nothing is sealed as {secret_id}", remedy=_RESEAL)


def _unusable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "SECRET_STORE",
        f"{path}: {error.strerror or type(error).__name__}",
        remedy="Make CAOPAN_HOME readable and writable for the user that runs Caopan.",
    )


def _encoded(value: Secret) -> bytes:
    """Return a value as UTF-8; nothing where it has no such form."""
    try:
        return value.get_secret_value().encode()
    except UnicodeEncodeError:
        # Not raised: the error holds the value.
        return b""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
