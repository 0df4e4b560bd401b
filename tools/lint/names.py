"""Names that say nothing: a module is named by its noun.

Owns the list of refused names. Must never look inside a module.
"""

from __future__ import annotations

from collections.abc import Iterator

from finding import Finding, Source

REFUSED = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})


def check(source: Source) -> Iterator[Finding]:
    """Report a module or package whose name is one of the refused, whole or as its last word."""
    for part in source.room:
        name = part.removesuffix(".py").lower()
        if name.rsplit("_", 1)[-1] in REFUSED:
            message = f"{name!r} says nothing: name the noun it owns"
            yield Finding(source.path, 1, "module-name", message)
