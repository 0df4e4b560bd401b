"""Sizes: a module and a function fit into one head.

Owns the two limits. Must never know an exception: what is too long is split.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from finding import Finding, Source

MODULE_LINES = 500
FUNCTION_LINES = 70


def check(source: Source) -> Iterator[Finding]:
    """Report a module, and each function, over its limit; decorators are not counted."""
    count = len(source.lines)
    if count > MODULE_LINES:
        yield Finding(
            source.path, 1, "module-size", f"{count} lines, at most {MODULE_LINES}: split the noun"
        )
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                message = f"{node.name} has {length} lines, at most {FUNCTION_LINES}"
                yield Finding(source.path, node.lineno, "function-size", message)
