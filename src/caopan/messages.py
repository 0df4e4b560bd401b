"""Every text a person reads on the command line, in Chinese and English.

Owns the catalogue (`locale/zh.json`, `locale/en.json`: same keys, same placeholders). Must never
fall back in silence: an unknown key or a missing value is a fault of ours and raises.
Tests: tests/unit/test_messages.py.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

from caopan.settings import Language

LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
_FOLDER: Final = Path(__file__).with_name("locale")


@cache
def catalogue(lang: Language) -> dict[str, str]:
    """Return all texts of `lang` by key."""
    return json.loads((_FOLDER / f"{lang}.json").read_text(encoding="utf-8"))


def tr(key: str, lang: Language, **values: object) -> str:
    """Return the text of `key` in `lang` with `values` put in.

    Raises KeyError for a key that is not in the catalogue or a placeholder without a value.
    """
    return catalogue(lang)[key].format(**values)
