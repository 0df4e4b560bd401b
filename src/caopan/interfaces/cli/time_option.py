"""The time a command is told to act at.

Owns `instant`. Must never take a time without its zone. Tests: tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

from datetime import datetime

from caopan.kernel.errors import ConfigInvalid


def instant(text: str | None) -> datetime | None:
    """Return the time of `--at`; None where it is not given.

    Raises:
        ConfigInvalid: TIME_INVALID naming the text.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigInvalid(
            "TIME_INVALID",
            f"--at {text!r} is no time with a time zone",
            remedy="write it as 2026-11-20T10:00:00+08:00",
        )
    return found
