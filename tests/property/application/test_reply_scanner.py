"""The tolerant reader against the standard parser, and cut at every byte."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.contracts.reply.scanner import Numeral, scan

QUICK = settings(deadline=None, max_examples=200)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
members = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.text(st.characters(codec="ascii"), max_size=4), members, max_size=5)


def strict(text: str) -> Any:
    """Return what the standard parser reads, its numbers as they are written."""
    return json.loads(text, parse_int=Numeral, parse_float=Numeral)


@QUICK
@given(objects, st.booleans(), st.sampled_from([None, 0, 2]))
def test_plain_json_reads_as_the_standard_parser_reads_it(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    found = scan(text, 0)
    if found.value is None:
        # Beyond its bounds, a name twice by its full-width form, or half a pair: never by mistake.
        assert any(word in found.problem for word in ("levels", "twice", "surrogate"))
        return
    assert found.value == _folded(strict(text))
    assert not found.fixes - {"full_width"}
    assert found.end == len(text)


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(one) for one in value]
    if not isinstance(value, dict):
        return value
    wide = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
    return {name.translate(wide): _folded(one) for name, one in value.items()}


@QUICK
@given(st.text('{}[]:,"“”「」\\/*ntu019.-eE \n｛，：１nulNone\ud800', max_size=60))
def test_any_text_after_a_brace_is_read_or_refused(text):
    found = scan("{" + text, 0)
    assert (found.value is None) == bool(found.problem)
    assert 1 <= found.end <= len(text) + 1


@QUICK
@given(objects, st.data())
def test_no_part_of_an_object_is_an_object(value, data):
    text = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(1, len(text) - 1))
    assert scan(text[:at], 0).value is None
