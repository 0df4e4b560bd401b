"""One transaction, one owner: who may end it.

Owns the list of modules that commit. Must never guess types: outside the adapters the only thing
that commits is a unit of work, and it is called `uow`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from finding import Finding, Source

COMMITTERS = frozenset(
    ("adapters", "postgres", f"{name}.py")
    for name in (
        "bars",
        "call_history",
        "call_rows",
        "client_keys",
        "connection",
        "models_config",
        "schema",
        "store",
        "uow",
        "venue_journal",
    )
)
"""The unit of work, the doors of the schema and of runs, bulk loads, the venue's journal, and what
the model gateway keeps beside any run."""
UNIT_OF_WORK = "uow"


def check(source: Source) -> Iterator[Finding]:
    """Report `.commit(` outside those modules, but for `uow.commit(` above the adapters.

    The test doubles in `testing` stand in front of a unit of work and pass the call on.
    """
    if source.room in COMMITTERS or source.room[0] == "testing":
        return
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr != "commit":
            continue
        owner = node.func.value
        unit = isinstance(owner, ast.Name) and owner.id == UNIT_OF_WORK
        if unit and source.room[0] != "adapters":
            continue
        message = "a database session is committed by the unit of work only"
        yield Finding(source.path, node.lineno, "commit", message)
