"""Which object of a text is the answer: dresses taken off, and everything that stays doubtful."""

from __future__ import annotations

import json

import pytest

from caopan.application.contracts.reply.reading import (
    MOST_CHARACTERS,
    MOST_OBJECT,
    MOST_OBJECTS,
    read_text,
)
from caopan.application.contracts.reply.scanner import Numeral

D = '{"observation_ref": "x", "account_view": {}, "actions": [{"type": "no_op"}]}'
OTHER = D.replace('"x"', '"y"')
WHOLE = D[:-1] + ', "notes": "n", "global_intent": null}'


def fixes(text: str) -> set[str]:
    """Return what was forgiven of a text that is read as D."""
    found = read_text(text)
    assert found.problem == ""
    assert found.value == json.loads(D)
    assert text[found.start : found.end] == D
    return set(found.fixes)


@pytest.mark.parametrize("text", [D, f"  \n{D}\r\n", D.replace("{}", "{ }").replace("{ }", "{}")])
def test_plain_json_needs_no_fix(text):
    assert fixes(text) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"```json\n{D}\n```", {"code_fence"}),
        (f"```JSON5 {D} ```", {"code_fence"}),
        (f"~~~\n{D}\n~~~", {"code_fence"}),
        (f"````\n{D}", {"code_fence"}),
        (f"Here it is:\n```json\n{D}\n```\nGood luck!", {"code_fence", "prose"}),
        (f"```python\nx = 1\n```\n```json\n{D}\n```", {"code_fence", "prose"}),
        (f"好的：{D}。以上", {"prose"}),
        (f"I use {{symbol}} and {{}} below. {D}", {"prose"}),
        (f'{{"status": "ok"}}\n{D}\n{{"n": [1]}}', {"prose"}),
        (f'{{"error":"No rec\nfound\n{D}', {"prose"}),
        (f'{D}\n{{"error": "No rec', {"prose"}),
        (f"{D}}}", {"prose"}),
        (f"\ufeff{D}", {"invisible_characters"}),
        (f"\u200b\n{D}\u200b", {"invisible_characters"}),
        (f"{D}\n{D}", {"repeated_object"}),
        (f'<think>{OTHER} {{"a": </think>{D}', {"thinking"}),
        (f"<Thinking>\n</Thinking>\n```json\n{D}\n```", {"thinking", "code_fence"}),
        (f"<思考>先卖</思考>{D}", {"thinking"}),
        (f'{OTHER} no, wait: {{"x\n</think>\n{D}', {"thinking"}),
        (f'a </think> b {{"actions" </think>\n{D}\n', {"thinking"}),
        (f"<think>a</think> So: {D} <think>b", {"thinking", "prose"}),
        (f"{D}<think>{OTHER}</think>", {"thinking"}),
    ],
)
def test_what_is_around_the_answer_is_taken_off_and_named(text, expected):
    assert fixes(text) == expected


def test_tags_fences_and_objects_inside_texts_are_texts():
    texts = f"<think> ```json </think> {OTHER} {{ <thinking>"
    body = json.dumps({**json.loads(D), "notes": texts})
    for text in (body, f"```\n{body}\n```", f"<think>{OTHER}</think>{body}", f"ok {body}"):
        value = read_text(text).value
        assert value is not None
        assert value["notes"] == texts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("Hold.", "no JSON object"),
        ("[]", "no JSON object"),
        (f"{D}\n{OTHER}", "two different"),
        (f"{D}\n{OTHER}\n{D}", "two different"),
        (f"```json\n{D}\n```\nor\n```json\n{OTHER}\n```", "two different"),
        (f"[{D}]", "part of something larger"),
        (f"[{D}", "part of something larger"),
        (f'[{{"a": 1}}, {D}]', "part of something larger"),
        (f'{D}, {{"a": 1}}', "part of something larger"),
        (f'"decision": {D}', "part of something larger"),
        (f'{{"a": oops, "decision": {D}', "part of something larger"),
        (f"{D}\n" + '{"type": "place_order"}', "outside its decision"),
        ('{"type": "no_op"}' + f"\n{D}", "outside its decision"),
        (f"{D}\n{OTHER[:-30]}", "cut off"),
        (f'{D}\n{{"', "cut off"),
        (f"<think>{D}", "thoughts but no JSON"),
        (f"<think>{D}</thinking>", "thoughts but no JSON"),
        (f"<think>{D}</think>", "thoughts but no JSON"),
        (f"{D}</think>", "thoughts but no JSON"),
        (D[:-1], "cut off"),
        (D[:-2], "cut off"),
        (WHOLE[:-30], "cut off"),
        (D.replace('"x"', "'x'"), "double quotes"),
        (json.dumps(D), "no"),
        ("\ud800" + D, "surrogate"),
        (D.replace('"x"', r'"\ud800"'), "surrogate"),
        (D.replace('"x"', "NaN"), "NaN"),
        (D.replace('"x"', '"x", "observation_ref": "x"'), "given twice"),
        (D.replace("{}", '{"actions": 1, "actions": 1}'), "given twice"),
        ('Say {"n": 1} and {"n": 2}', "none of the JSON objects"),
    ],
)
def test_what_stays_doubtful_is_refused_and_told(text, why):
    found = read_text(text)
    assert found.value is None
    assert why in found.problem


def test_a_decision_quoted_in_a_text_of_a_broken_one_is_never_the_answer():
    """What a model quotes of the news must not be taken for what it decides."""
    hostile = D.replace('"', "“")
    for broken in (
        f'{{"actions": [oops], "notes": "{hostile}"}}',
        f'{{"actions": [], "notes": "{hostile}',
        f'{{"notes": "</think>{hostile} and more',
        f'{{"type": "no_op", "x": bad, "notes": "{hostile}"}}',
    ):
        assert read_text(broken).value is None


def test_the_last_brace_may_be_missing_only_where_all_fields_are_there():
    found = read_text(WHOLE[:-1])
    assert found.fixes == {"closing_brace"}
    assert found.value == json.loads(WHOLE)
    for field in ("notes", "global_intent"):
        values = {name: value for name, value in json.loads(WHOLE).items() if name != field}
        assert "cut off" in read_text(json.dumps(values)[:-1]).problem


def test_an_only_object_is_handed_on_to_say_what_it_lacks():
    for text in ("{}", '```json\n{"action": "buy", "n": 1}\n```', '{"decision": {"actions": []}}'):
        assert read_text(text).value is not None


def test_numbers_are_kept_as_they_are_written():
    found = read_text(D.replace('"x"', "1.10")).value
    assert found is not None
    assert found["observation_ref"] == Numeral("1.10")


def test_length_and_number_of_objects_are_bounded():
    assert read_text(D + " " * (MOST_CHARACTERS - len(D))).value is not None
    assert "characters" in read_text(D + " " * MOST_CHARACTERS).problem
    assert "bytes" in read_text(D.replace('"x"', f'"{"白" * (MOST_OBJECT // 3)}"')).problem
    assert read_text('{"n": 1}' * (MOST_OBJECTS - 1) + D).value is not None
    assert "JSON objects" in read_text('{"n": 1}' * MOST_OBJECTS + D).problem
    assert "JSON objects" in read_text('{"n": x' * (MOST_OBJECTS + 1)).problem
