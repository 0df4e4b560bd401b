"""One object out of a text: what is forgiven, what is refused, and how much is read at all."""

from __future__ import annotations

import pytest

from caopan.application.contracts.reply.scanner import (
    MOST_DEPTH,
    MOST_DIGITS,
    MOST_VALUES,
    Numeral,
    scan,
)

N = Numeral


@pytest.mark.parametrize(
    ("text", "value", "fixes"),
    [
        ("{}", {}, set()),
        (
            '{"a": [1, -2.50, 1e-5], "b": null}',
            {"a": [N("1"), N("-2.50"), N("1e-5")], "b": None},
            (),
        ),
        (r'{"a": "\"\\\/\b\f\n\r\t\u767d\ud83d\ude00"}', {"a": '"\\/\b\f\n\r\t白😀'}, ()),
        ('{"a": 1,}', {"a": N("1")}, {"trailing_comma"}),
        ('{"a": [1,],}', {"a": [N("1")]}, {"trailing_comma"}),
        ("｛＂a＂：［１，２］｝", {"a": [N("1"), N("2")]}, {"full_width", "typographic_quotes"}),
        ('{"ｑｔｙ": －１．５}', {"qty": N("-1.5")}, {"full_width"}),
        ('{"a": 1、"b": 2}', {"a": N("1"), "b": N("2")}, {"full_width"}),
        ("{“a”: ”b”, „c“: ‟d”}", {"a": "b", "c": "d"}, {"typographic_quotes"}),
        ("{「a」: 『b』, 「c」: 「『d』」}", {"a": "b", "c": "『d』"}, {"typographic_quotes"}),
        ('{"a": "“b”「c」，：１"}', {"a": "“b”「c」，：１"}, set()),
        ('{/* a */"a": 1 // b\n}', {"a": N("1")}, {"comment"}),
        ('{"a": "// b /* c */"}', {"a": "// b /* c */"}, set()),
        (
            '{"a": None, "b": True, "c": False}',
            {"a": None, "b": True, "c": False},
            {"python_literal"},
        ),
        ('{\ufeff"a"\u200b:\u30001}', {"a": N("1")}, {"invisible_characters"}),
        ('{"a": "x\n\ty"}', {"a": "x\n\ty"}, {"line_break_in_text"}),
        (r'{"a": "it\'s"}', {"a": "it's"}, {"escaped_apostrophe"}),
        ('{"a": ｎｕｌｌ}', {"a": None}, {"full_width"}),
    ],
)
def test_what_is_read_and_what_was_forgiven(text, value, fixes):
    found = scan(text, 0)
    assert found.problem == ""
    assert found.value == value
    assert found.fixes == set(fixes)
    assert found.end == len(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1 "b": 2}',
        '{"a" 1}',
        '{"a"= 1}',
        '{"a": 1,, "b": 2}',
        "{,}",
        '{"a": [,]}',
        '{"a": [1 2]}',
        '{"a": [1}]',
        '{"a": 1]',
        "{a: 1}",
        "{'a': 1}",
        "{\"a\": 'b'}",
        '{"a": "b" "c"}',
        "{“a”: “b “c” d”}",
        "{「a」: 「b 「c」 d」}",
        '{"a": "\x00"}',
        '{"a": "\x1f"}',
        r'{"a": "\x41"}',
        r'{"a": "\u12"}',
        r'{"a": "\ud800"}',
        r'{"a": "\udc00\ud800"}',
        r'{"a": "\ud800\u0041"}',
        '{"a": # b\n1}',
        '{"a": nul, "b": 1}',
        '{"a": NULL}',
        '{"a": undefined}',
        '{"a": 1} '.replace("1", "1 000"),
    ],
)
def test_what_could_be_meant_in_two_ways_or_none_is_refused(text):
    found = scan(text, 0)
    assert found.value is None
    assert found.problem
    assert not found.is_cut_off


@pytest.mark.parametrize(
    "number",
    [
        *("NaN", "Infinity", "-Infinity", "01", "-", "+1", ".5", "1.", "1e", "1e+", "1.e5", "0x10"),
        *(
            "1_000",
            "1,000.5,",
            "--1",
            "1-1",
            "１，０００",
            "①",
            "१",
            "一百",
            "10.5元",
            "100股",
            "1 0",
        ),
        "9" * (MOST_DIGITS + 1),
    ],
)
def test_what_is_no_json_number_is_refused(number):
    assert scan(f'{{"a": {number}}}', 0).value is None
    assert scan(f'{{"a": [{number}]}}', 0).value is None


def test_a_number_keeps_its_digits():
    digits = "1234567890.12345678901234567890"
    assert scan(f'{{"a": {digits}}}', 0).value == {"a": N(digits)}


@pytest.mark.parametrize("again", ['"a"', "“a”", '"ａ"', r'"\u0061"', "「a」"])
def test_a_field_given_twice_is_refused_however_it_is_written(again):
    for text in (f'{{"a": 1, {again}: 1}}', f'{{"x": [{{"a": 1, {again}: 2}}]}}'):
        found = scan(text, 0)
        assert found.value is None
        assert "given twice" in found.problem


def test_the_same_field_of_two_objects_is_no_repetition():
    assert scan('{"x": [{"a": 1}, {"a": 2}], "a": 3}', 0).value is not None


def test_reading_begins_and_ends_where_the_object_does():
    text = 'so: {"a": 1} and {"b": 2}'
    found = scan(text, 4)
    assert (found.value, text[found.start : found.end]) == ({"a": N("1")}, '{"a": 1}')


def test_every_cut_is_told_from_a_mistake():
    text = r'{"a": [1.5, "b\u767d", {"c": null}, true], "d": /* e */ “f”}'
    for at in range(1, len(text)):
        found = scan(text[:at], 0)
        assert found.value is None
        assert found.is_cut_off, text[:at]


def test_the_last_brace_is_supplied_only_where_nothing_else_can_have_followed():
    whole = frozenset({"a", "b"})
    for end in ("", " \n", "\n```\n"):
        found = scan('{"a": 1, "b": [2]' + end, 0, whole)
        assert found.value == {"a": N("1"), "b": [N("2")]}
        assert found.fixes == {"closing_brace"}
    for text in (
        '{"a": 1',
        '{"a": 1, "b": [2',
        '{"a": 1, "b": [2],',
        '{"a": 1, "b": {"a": 1, "b": 1',
    ):
        assert scan(text, 0, whole).is_cut_off
    assert scan('{"a": 1, "b": 2 and more', 0, whole).value is None
    assert scan('{"a": 1, "b": 2', 0).value is None


def test_depth_and_number_of_values_are_bounded():
    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    assert scan(nested(MOST_DEPTH), 0).value is not None
    assert "levels" in scan(nested(MOST_DEPTH + 1), 0).problem
    assert "levels" in scan('{"a":' + "[" * 100_000, 0).problem

    def long(count: int) -> str:
        return '{"a":[' + ",".join("1" * count) + "]}"

    assert scan(long(MOST_VALUES - 1), 0).value is not None
    assert "values" in scan(long(MOST_VALUES), 0).problem
