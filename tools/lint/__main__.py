"""The house's own linters over the product: `python tools/lint [ROOT]`.

Owns the list of linters. Must never change a file. Prints one finding a line and ends with 1 if
there is any. Tests: tests/unit/tools/test_lint.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import commits
import exact_money
import names
import sizes
from finding import PACKAGE, sources

LINTERS = (sizes, exact_money, commits, names)


def main() -> int:
    """Check every module below the repository given, by default this one."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    modules = list(sources(root))
    if not modules:
        print(f"Error: no module below {root / PACKAGE}", file=sys.stderr)
        return 1
    each = (linter.check(module) for module in modules for linter in LINTERS)
    found = sorted({finding for findings in each for finding in findings})
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
