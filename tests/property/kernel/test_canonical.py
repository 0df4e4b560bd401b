"""Canonical JSON: RFC 8785, one byte form whichever path writes it."""

from __future__ import annotations

import json
import math
import struct
from enum import IntEnum, StrEnum
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.kernel import canonical as module
from caopan.kernel.canonical import canonical, content_hash, sha256_hex
from caopan.kernel.errors import ConfigInvalid

QUICK = settings(deadline=None, max_examples=150)

SAFE = 2**53
# The second kind looks like JSON's own escapes, which a writer must not take for its own.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.text(
    '\\u0"\x00é', max_size=9
)
numbers = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)

# RFC 8785, Appendix B: the bits of a double and how ECMAScript writes it.
APPENDIX_B = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


def slowly(value) -> bytes:
    """Return the bytes the general writer gives, whatever the fast path would take."""
    parts: list[str] = []
    module._write(value, parts)
    return "".join(parts).encode()


@pytest.mark.parametrize(("bits", "written"), APPENDIX_B)
def test_numbers_of_appendix_b(bits, written):
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical(value) == written.encode()
    assert canonical({"n": [value]}) == f'{{"n":[{written}]}}'.encode()


def test_example_of_the_rfc():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_ordered_by_utf_16_code_units():
    # RFC 8785 §3.2.3. U+1F600 is D83D DE00 in UTF-16, so it comes before U+FB33.
    given_keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical(dict.fromkeys(given_keys, 0)).decode()
    assert list(json.loads(written)) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_only_what_must_be_escaped_is_escaped():
    text = "".join(map(chr, range(0x21))) + '"\\/\u007f\u2028\u2029操'
    escapes = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}
    expected = "".join(escapes.get(code, f"\\u{code:04x}") for code in range(0x20))
    assert canonical(text).decode() == f'"{expected} \\"\\\\/\u007f\u2028\u2029操"'


@QUICK
@given(values)
def test_fast_and_general_writer_give_the_same_bytes(value):
    assert canonical(value) == slowly(value)


@QUICK
@given(values)
def test_written_json_reads_back_to_the_same_value(value):
    written = canonical(value)
    # As ECMAScript reads it: every number is a double.
    read = json.loads(written, parse_int=float)
    assert read == value
    assert canonical(read) == written


@QUICK
@given(st.dictionaries(texts, values, max_size=6), st.randoms(use_true_random=False))
def test_neither_order_of_keys_nor_kind_of_sequence_matters(value, chance):
    items = list(value.items())
    chance.shuffle(items)
    assert canonical(dict(items)) == canonical(value)
    assert canonical(MappingProxyType(dict(items))) == canonical(value)
    assert canonical({"l": tuple(value)}) == canonical({"l": list(value)})


@QUICK
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_ecmascript_and_exact(value):
    written = canonical(value).decode()
    assert float(written) == value
    mantissa = written.lstrip("-").partition("e")[0]
    assert not mantissa.startswith("00")
    assert not mantissa.endswith(".")
    has_exponent = "e" in written
    assert has_exponent == (value != 0 and not 1e-6 <= abs(value) < 1e21)


class _Word(StrEnum):
    BUY = "buy"


class _Number(IntEnum):
    TWO = 2


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000", '"\\u0000"', "\x00", "\\\\u0000"])
def test_text_that_looks_like_an_escape_stays_text(text):
    assert json.loads(canonical({"k": [text, 1e300], text: 5e-7})) == {
        "k": [text, 1e300],
        text: 5e-7,
    }


def test_subclasses_are_written_as_what_they_are():
    assert canonical({_Word.BUY: [_Word.BUY, _Number.TWO]}) == b'{"buy":["buy",2]}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        SAFE + 1,
        -SAFE - 1,
        10**400,
        "\ud800",
        "a\udfffb",
        "\udc00\ud800",
        {"\ud800": 1},
        {"a": 1, "操\udfff": 2},
        {1: 2},
        {None: 2},
        b"bytes",
        bytearray(b"bytes"),
        memoryview(b"bytes"),
        {1, 2},
        object(),
        1j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused(value):
    for nested in (value, [value], {"deep": [{"er": value}]}):
        with pytest.raises(ConfigInvalid) as caught:
            canonical(nested)
        assert caught.value.code == "CANONICAL_VALUE"


@pytest.mark.parametrize("value", [SAFE, -SAFE, 0, -1])
def test_integers_up_to_2_to_the_53_are_written(value):
    assert canonical(value) == str(value).encode()


@QUICK
@given(values, values)
def test_equal_hashes_mean_equal_json(left, right):
    same = canonical(left) == canonical(right)
    assert (content_hash(left) == content_hash(right)) == same


def test_hash_of_a_known_text():
    assert sha256_hex(b"abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert content_hash({}) == sha256_hex(b"{}")
