"""Letters that mean the same, and values as messages show them."""

from __future__ import annotations

import unicodedata

import pytest

from caopan.application.contracts.reply.letters import (
    CLOSERS,
    INVISIBLE,
    folded,
    folded_name,
    seen,
    shown,
)
from caopan.application.contracts.reply.scanner import Numeral


def test_full_width_forms_fold_to_what_unicode_says_they_are():
    for code in (*range(0xFF01, 0xFF5F), 0x3000):
        assert folded(chr(code)) == unicodedata.normalize("NFKC", chr(code))


def test_nothing_else_is_folded():
    kept = "白酒、。「」“”①Ⅷ²é१○０"[:-1]
    assert folded(kept) == kept


def test_an_id_keeps_its_own_signs():
    assert folded_name("ａＢ９－．＿") == "aB9-._"
    assert folded_name("，：＂（") == "，：＂（"


def test_invisible_letters_go_and_signs_of_direction_stay():
    assert seen("".join(INVISIBLE) + "x") == "x"
    assert seen("a\u202eb\u200e\u2066") == "a\u202eb\u200e\u2066"


def test_every_quote_is_closed_by_its_own_kind():
    assert CLOSERS['"'] == {'"'}
    assert not CLOSERS["「"] & CLOSERS["『"]
    assert all(closers for closers in CLOSERS.values())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1, "1"),
        (Numeral("1e3"), "1e3"),
        (Numeral("9" * 99), "9" * 60 + "…"),
        ("x", '"x"'),
        ("", '""'),
        ("a\nb\x1b\u202e", r'"a\nb\x1b\u202e"'),
        ("\ud800", r'"\ud800"'),
        ("白" * 61, '"' + "白" * 60 + '…"'),
        ([], "an array"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_value_is_shown_bounded_and_in_the_open(value, told):
    assert shown(value) == told
