"""A model's reply on files.

Owns `reply_check` (reads the two files). Must never write, or use a network or a database. Tests:
tests/integration/cli/test_actor_parse.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from caopan.application.contracts.reply.reading import MOST_CHARACTERS
from caopan.application.reply_file import judge_reply
from caopan.bootstrap.json_files import read_json
from caopan.kernel.errors import ConfigInvalid


def reply_check(observation: Path, reply: Path, at: datetime | None) -> dict[str, Any]:
    """Return what is read of the reply, and what the checker says of it.

    Raises:
        ConfigInvalid: GATE_FILE_UNREADABLE, or GATE_FILE_INVALID for the observation. Whatever
            the reply holds is no error.
    """
    return judge_reply(read_json(observation), _text(reply), at)


def _text(path: Path) -> str:
    """Return a file's text as an endpoint might have sent it, no more of it than can be read.

    What is no UTF-8 comes through as what has none, and is refused for that.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * MOST_CHARACTERS + 1)
    except OSError as error:
        raise ConfigInvalid(
            "GATE_FILE_UNREADABLE", f"{path.name}: {error}", remedy="give the model's reply as text"
        ) from error
    return data.decode("utf-8", "surrogateescape")
