"""Exact money: in the core, no amount of money ever meets a binary float.

Owns which names are money and what counts as a float: the built-in `float`, a literal with a
point, an annotation. Must never judge a ratio: `fee_rate` or `symbol_nav_cap` are no money.
A line whose end reads `# lint-ok: exact-money - <reason>` is left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from finding import Finding, Source

ROOMS = frozenset({"domain", "kernel"})
MONEY = frozenset(
    [
        "price",
        "amount",
        "cash",
        "fee",
        "nav",
        "cost",
        "commission",
        "duty",
        "balance",
        "proceeds",
        "dividend",
        "yuan",
        "fen",
        "close",
    ]
)
RATIO = frozenset(
    {"rate", "ratio", "pct", "bps", "cap", "fraction", "weight", "count", "share", "factor"}
)
ESCAPE = re.compile(r"#.*\blint-ok: exact-money - \S+")


def check(source: Source) -> Iterator[Finding]:
    """Report floats that meet money in kernel and domain."""
    if source.room[0] not in ROOMS:
        return
    for node in ast.walk(source.tree):
        name = _money_met_by_float(node)
        if name is None or not isinstance(node, ast.expr | ast.stmt | ast.arg):
            continue
        last = source.lines[(node.end_lineno or node.lineno) - 1]
        if not ESCAPE.search(last):
            message = f"{name} meets a float: money is integer units"
            yield Finding(source.path, node.lineno, "exact-money", message)


def _money_met_by_float(node: ast.AST) -> str | None:
    name: str | None = None
    float_there = False
    match node:
        case ast.Call(func=ast.Name(id="float"), args=[argument]):
            name, float_there = _money_in(argument), True
        case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
            name = _money_in(left) or _money_in(right)
            float_there = _float_in(left) or _float_in(right)
        case ast.AnnAssign(target=target, annotation=annotation):
            name, float_there = _money_in(target), _names_float(annotation)
        case ast.arg(arg=arg, annotation=annotation) if annotation is not None:
            name, float_there = arg if _is_money(arg) else None, _names_float(annotation)
        case _:
            pass
    return name if float_there else None


def _money_in(tree: ast.AST) -> str | None:
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
        if isinstance(name, str) and _is_money(name):
            return name
    return None


def _is_money(name: str) -> bool:
    words = [word.removesuffix("s") for word in name.lower().strip("_").split("_")]
    return words[-1] not in RATIO and not MONEY.isdisjoint(words)


def _float_in(tree: ast.AST) -> bool:
    return any(isinstance(n, ast.Constant) and isinstance(n.value, float) for n in ast.walk(tree))


def _names_float(annotation: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and n.id == "float" for n in ast.walk(annotation))
