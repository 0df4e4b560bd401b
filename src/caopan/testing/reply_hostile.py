"""Replies that must be refused, or whose meaning is no longer that of the decision they came from.

Owns the table of hostile kinds: each makes a text of a true decision and tells what alone may be
read of it, None where nothing may. Must never call application/contracts.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - handed in, seeded: it draws the harm
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, TypeAlias, cast

from caopan.domain.decision.shapes import Decision
from caopan.testing.replies import Values, true_decision
from caopan.testing.reply_meaning import meaning_of

Hostile: TypeAlias = tuple[str, Decision | None]
_Place: TypeAlias = tuple[Any, str | int]

_WRONG: Final[tuple[Any, ...]] = (
    True,
    False,
    [],
    {},
    [[]],
    {"a": 1},
    "",
    "abc",
    "NaN",
    "1e3",
    "--1",
    "持有",
    None,
)
_NO_NUMBERS: Final = (
    *("NaN", "Infinity", "-Infinity", "1e3", "1E+3", "0x10", "01", "+1", ".5", "1.", "1_000"),
    *(
        "100股",
        "1手",
        "--1",
        "1e999999999",
        "9" * 5_000,
        "undefined",
        "qty",
        "１e３",
        "一百",
        "true",
    ),
)
_NO_PRICES: Final = (
    *("10.5元", "¥10.5", "10,5", "1,688", "1e3", "NaN", "inf", "-1", "0", "0.0000", "十元", ""),
    *("10.12345", "12345678", "1 0", "10.5 CNY", "0x1", "१०", "①", "1/2", "10。5"),
)
_PIECES: Final = (
    *("x", "{", "[", '{"a":', '{"actions":[', "<think>", "</think>", "`", '{"', "\n", "\\"),
    *('{"a":"\n', '{"a":1}', "9", "“", "｛", "/*", "{//", "{\u200b", '{"observation_ref":"x"}'),
)
_NO_WORDS: Final = (
    "hold",
    "持有",
    "long",
    "short",
    "buy sell",
    "BUY!",
    "close",
    "none",
    "清仓",
    "B",
)


def _text(values: object) -> str:
    return json.dumps(values, ensure_ascii=False)


def _places(value: object) -> list[_Place]:
    """Return every (container, key) of a value, at any depth."""
    found: list[_Place] = []
    rest: list[object] = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            members = list(cast("Values", one).items())
        elif isinstance(one, list):
            members = list(enumerate(cast("list[Any]", one)))
        else:
            continue
        for name, member in members:
            found.append((cast("Any", one), name))
            rest.append(member)
    return found


def _wrong_type(values: Values, rng: random.Random) -> Hostile:
    changed = deepcopy(values)
    container, name = rng.choice(_places(changed))
    container[name] = deepcopy(rng.choice(_WRONG))
    return _text(changed), meaning_of(changed)


def _missing(values: Values, rng: random.Random) -> Hostile:
    changed = deepcopy(values)
    container, name = rng.choice(_places(changed))
    del container[name]
    return _text(changed), meaning_of(changed)


def _unknown(values: Values, rng: random.Random) -> Hostile:
    changed = deepcopy(values)
    objects = [one for one, name in _places(changed) if isinstance(name, str)]
    name = rng.choice(("decision_id", "account_id", "valid_until", "mode", "Qty", "limit", "risk"))
    rng.choice(objects)[name] = rng.choice(("x", 1, None))
    return _text(changed), None


def _duplicate(values: Values, rng: random.Random) -> Hostile:
    """Give a field twice: with another value, the same, or under a name in full width."""
    name = rng.choice(("observation_ref", "actions", "account_view"))
    other = rng.choice((values[name], "x", None, []))
    wide = "".join(chr(ord(one) + 0xFEE0) for one in name)
    again = f'"{rng.choice((name, name, wide))}": {_text(other)}'
    text = _text(values)
    return rng.choice((f"{{{again}, {text[1:]}", f"{text[:-1]}, {again}}}")), None


def _with_order(values: Values) -> tuple[Values, Values]:
    """Return the values with an order among their actions, and that order."""
    changed = deepcopy(values)
    order: Values = {"type": "place_order", "symbol": "600519.SH", "side": "buy", "qty": 100}
    order |= {"order_type": "limit", "price": "10.50"}
    changed["actions"] = [*changed["actions"][:3], order]
    return changed, order


def _bad_number(values: Values, rng: random.Random) -> Hostile:
    changed, order = _with_order(values)
    order["qty"] = "@"
    bad = rng.choice(_NO_NUMBERS)
    return _text(changed).replace('"@"', rng.choice((bad, f'"{bad}"'))), None


def _bad_price(values: Values, rng: random.Random) -> Hostile:
    changed, order = _with_order(values)
    order["price"] = rng.choice(_NO_PRICES)
    return _text(changed), None


def _bad_word(values: Values, rng: random.Random) -> Hostile:
    changed, order = _with_order(values)
    order[rng.choice(("side", "type", "order_type", "tif"))] = rng.choice(_NO_WORDS)
    return _text(changed), None


def _deep(values: Values, rng: random.Random) -> Hostile:
    depth = rng.choice((13, 100, 1_000, 20_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    nest = f"{opening * depth}1{closing * depth}"
    text = _text(values)
    return rng.choice((f'{text[:-1]}, "notes2": {nest}}}', f'{{"actions": {nest}}}', nest)), None


def _two(values: Values, rng: random.Random) -> Hostile:
    other = true_decision(rng)
    if other == values:
        return _text([values]), None
    between = rng.choice(("\n", " or else ", "```\n```json\n"))
    return f"{_text(values)}{between}{_text(other)}", None


def _wrapped(values: Values, rng: random.Random) -> Hostile:
    text = _text(values)
    return rng.choice(
        (
            f"[{text}]",
            f'{{"decision": {text}}}',
            f'{{"decision": {text}',
            f'["note", {text}]',
            f'{text}, {{"type": "no_op"}}]}}',
            f'{{"type": "no_op"}}\n{text}',
            json.dumps(text),
            f"<think>{text}",
            f"<think>{text}</thinking>",
            f"<think>{text}</think>",
        )
    ), None


def _broken(values: Values, rng: random.Random) -> Hostile:
    """Break the JSON itself, outside its texts."""
    text = _text({**values, "observation_ref": "x" * 64})
    return rng.choice(
        (
            text.replace('"observation_ref"', "observation_ref", 1),
            text.replace('"observation_ref"', "'observation_ref'", 1),
            text.replace('", "account_view"', '" "account_view"', 1),
            text.replace('"account_view":', '"account_view"', 1),
            text.replace('"account_view":', '"account_view"=', 1),
            text.replace('", "account_view"', '",, "account_view"', 1),
            text.replace('"account_view": {', '"account_view": {,', 1),
            text.replace('"account_view": {', '"account_view": [', 1),
            text.replace("x" * 64, '\\ud800"', 1),
            text.replace("x" * 64, "\\q", 1),
            text.replace("x" * 64, "\x01", 1),
            text.replace("x" * 64, 'x" "x', 1),
            text.replace('{"nav"', '/* {"nav"', 1),
        )
    ), None


def _cut(values: Values, rng: random.Random) -> Hostile:
    text = _text(values)
    # What misses its last brace alone may still be read, and then as a whole.
    return text[: rng.randrange(len(text))], meaning_of(values)


KINDS: Final[Mapping[str, Callable[[Values, random.Random], Hostile]]] = {
    "wrong type": _wrong_type,
    "missing field": _missing,
    "unknown field": _unknown,
    "duplicate key": _duplicate,
    "bad number": _bad_number,
    "bad price": _bad_price,
    "bad word": _bad_word,
    "deep": _deep,
    "two decisions": _two,
    "wrapped": _wrapped,
    "broken JSON": _broken,
    "cut off": _cut,
}


def bombs(size: int) -> Iterator[str]:
    """Yield texts of about `size` characters made to cost time or memory, one at a time."""
    for piece in _PIECES:
        yield piece * (size // len(piece))
    yield '{"actions":"' + "\\n" * (size // 2)
    yield '{"actions":["' + "a" * size
    yield '{"actions":[' + "1," * (size // 2)
    yield '{"actions":' + "9" * size + "}"
    yield '{"actions":1' + " " * size + "}"
    yield "".join(f'{{"k{number}":' for number in range(size // 9))


def scrambled(text: str, rng: random.Random) -> str:
    """Return a text with a few of its letters changed, left out, doubled or swapped."""
    letters = list(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(letters))
        letters[at] = rng.choice(
            ("", letters[at] * 2, rng.choice('{}[]",:\\ 019-eE.“”：，<>/`'), "0")
        )
    return "".join(letters)
