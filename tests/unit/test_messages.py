"""Both languages say the same things, and nothing is missing in silence."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

import caopan
from caopan.messages import LANGUAGES, catalogue, tr


def placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_both_languages_have_the_same_keys_and_placeholders():
    english, chinese = catalogue("en"), catalogue("zh")
    assert english.keys() == chinese.keys()
    differing = [key for key in english if placeholders(english[key]) != placeholders(chinese[key])]
    assert differing == []


def test_no_text_is_empty():
    for lang in LANGUAGES:
        assert [key for key, text in catalogue(lang).items() if not text.strip()] == []


def test_catalogue_files_are_sorted_and_hold_no_key_twice():
    """Sorted, so that two people adding texts rarely touch the same line."""
    for lang in LANGUAGES:
        path = Path(caopan.__file__).parent / "locale" / f"{lang}.json"
        pairs = json.loads(path.read_text("utf-8"), object_pairs_hook=list)
        keys = [key for key, _ in pairs]
        assert keys == sorted(set(keys))


def test_values_are_put_in():
    assert tr("error.INTERNAL.report", "en", place="/x").startswith("The report is in /x")
    assert "/x" in tr("error.INTERNAL.report", "zh", place="/x")


def test_missing_key_or_value_is_an_error():
    with pytest.raises(KeyError):
        tr("no.such.key", "en")
    with pytest.raises(KeyError):
        tr("error.INTERNAL.report", "en")
