"""Lines of a decision as a person reads them, for every command that shows one.

Owns the line of an action and of a reason. Must never show what the decision does not say. Tests:
tests/integration/cli/test_actor_parse.py, tests/integration/cli/test_decide.py.
"""

from __future__ import annotations

from typing import Any

from caopan.interfaces.cli.output import Cli

_SHOWN = ("type", "side", "symbol", "target_weight", "qty", "price", "target_order_id")


def action_line(action: dict[str, Any]) -> str:
    """Return an action in one line: what it is about, without its plan and reasons."""
    return " ".join(str(action[name]) for name in _SHOWN if name in action)


def reason_line(cli: Cli, reason: dict[str, Any]) -> str:
    """Return why something was refused or found, with the values compared."""
    place = f"[{reason['action_index']}] " if "action_index" in reason else ""
    told = f"  {place}{reason['code']}: {reason['detail']}"
    if "limit" in reason or "actual" in reason:
        values = {name: reason.get(name, "—") for name in ("limit", "actual")}
        told += f" ({cli.tr('risk.values', **values)})"
    return told
