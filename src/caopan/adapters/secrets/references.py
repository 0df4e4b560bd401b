"""What a reference to a secret means: `env:NAME`, `file:PATH` or `sealed:ID`.

Owns the three forms and where each leads. Must never repeat a malformed reference: a person may
have put the key itself in its place. Tests: tests/unit/adapters/secrets/test_references.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from caopan.adapters.secrets.sealed import SealedSecrets
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret, resolve_secret

_FORMS: Final = re.compile(
    r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00]+|sealed:[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
)
_WHO: Final = "an endpoint"


def check_reference(reference: str) -> None:
    """Judge the form of a reference, without looking where it leads.

    Raises ConfigInvalid SECRET_REFERENCE.
    """
    if not _FORMS.fullmatch(reference):
        raise ConfigInvalid(
            "SECRET_REFERENCE",
            "a secret is referred to by env:NAME, file:PATH or sealed:ID; what stands here is none",
            remedy="If the key itself stands here, replace it at the vendor: others may know it.",
        )


class SecretReferences:
    """Resolves references for one installation; call it as late as can be."""

    def __init__(self, home: Path) -> None:
        """Look for sealed secrets in `home`."""
        self._sealed = SealedSecrets(home)

    def resolve(self, reference: str) -> Secret:
        """Return the secret; may read files.

        Raises ConfigInvalid SECRET_REFERENCE, SECRET_MISSING, SECRET_EXPOSED or SECRET_DAMAGED;
        Unavailable SECRET_STORE.
        """
        check_reference(reference)
        kind, _, place = reference.partition(":")
        if kind == "sealed":
            return self._sealed.open(place)
        return resolve_secret(reference, named_by=_WHO)
