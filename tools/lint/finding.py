"""What a linter reads and what it says.

Owns Source (one parsed module of the product), Finding, and how modules are found. Must never
import the product: it is judged as text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path("src") / "caopan"


@dataclass(frozen=True)
class Source:
    """One module: where it lies below the repository, its lines and its tree."""

    path: Path
    lines: list[str]
    tree: ast.Module

    @property
    def room(self) -> tuple[str, ...]:
        """Return the path inside the package, for example ("domain", "risk", "gate.py")."""
        return self.path.relative_to(PACKAGE).parts


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to correct."""

    path: Path
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        """Return it as one line that editors can jump from."""
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


def sources(root: Path) -> Iterator[Source]:
    """Yield every module of the product below the repository `root`."""
    for file in sorted((root / PACKAGE).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        yield Source(file.relative_to(root), text.splitlines(), ast.parse(text, str(file)))
