"""The same decision in every dress that models put on one and that docs/actor.md tolerates.

Owns `dressed`. Whatever it writes means exactly the values it was given. Must never call
application/contracts, nor write what the document does not list.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - handed in, seeded: it draws the dress
from collections.abc import Sequence
from typing import Any, Final, cast

from caopan.testing.replies import (
    MONEY_FIELDS,
    PRICE_FIELDS,
    SHARE_FIELDS,
    WHOLE_FIELDS,
    WORD_FIELDS,
    Values,
)

DRESSES: Final = (
    *("full_width", "quotes", "spacing", "comments", "trailing_commas", "numbers", "words"),
    *("nulls", "escapes", "thinking", "fence", "prose", "mark", "repeated"),
)
_LITTLE: Final = 25
"""Percent of the places at which a dress shows."""
_WIDE_SIGNS: Final = {"{": "｛", "}": "｝", "[": "［", "]": "］", ":": "：", ",": "，"}
_QUOTES: Final = (("“", "”"), ("「", "」"), ("『", "』"), ("＂", "＂"), ("”", "”"))
_NOT_INSIDE: Final = frozenset('"“”„‟〝〞＂「」『』\\')
_SYNONYMS: Final = {"buy": "买入", "sell": "卖出", "limit": "限价", "market": "市价", "lt": "<"}
_TAGS: Final = ("think", "thinking", "reasoning", "Think", "seed:think", "思考")
_FENCES: Final = (
    *(("```json\n", "\n```"), ("```\n", "\n```"), ("~~~json\n", "\n~~~"), ("```JSON ", " ```")),
    *(("```jsonc\n", "\n```\n"), ("````\n", "\n````"), ("```json\n", "")),
)
_BEFORE: Final = (
    "Here is my decision:\n",
    "好的，经过分析，决策如下：",
    "I use {symbol}.\n",
    "OK. ",
)
_AFTER: Final = ("\nLet me know!", "\n以上是我的决策。", " <FINISH_SIGNAL>", '\n{"status": 1} done')
_THOUGHTS: Final = (
    'First {x}, then a draft: {"observation_ref": "x", "actions": [{',
    "现金不足，先卖后买。“持有”",
    '{"actions": [{"type": "no_op"}]}',
    "it's {'a': 1} ```json\n{}\n```",
)
_SPACES: Final = (" ", "\n", "\t", "  \r\n", "\u3000", "\u200b", "\ufeff", "\xa0")
_COMMENTS: Final = ("// 10 lots\n", "/* sell first */", "/* } */", '// "qty": 100\n')
_MAY_BE_NULL: Final = {
    "actions": (
        *("symbol", "side", "order_type", "price", "qty", "tif", "target_weight", "entry"),
        *("target_order_id", "depends_on", "exit_plan", "intent"),
    ),
    "exit_plan": ("stop_basis", "take_profit", "trail_pct", "invalidation", "min_price"),
    "intent": ("evidence",),
    "entry": ("max_price", "tranches", "cancel_at"),
    "": ("global_intent", "notes"),
}


def dressed(
    values: Values, rng: random.Random, texts: Sequence[str] = (), most: int = 4
) -> tuple[str, tuple[str, ...]]:
    """Return a reply that means `values`, and the dresses it wears: `most` at most."""
    worn = tuple(rng.sample(DRESSES, rng.randint(0, most)))
    body = _Writer(rng, frozenset(worn)).value(values, "")
    if "repeated" in worn:
        body = f"{body}\n\n{body}"
    if "fence" in worn:
        before, after = rng.choice(_FENCES)
        body = f"{before}{body}{after}"
    # Thoughts that were not opened are told from prose only where nothing but one object follows.
    is_open = bool({"prose", "repeated"} & set(worn)) or rng.randrange(4) > 0
    if "prose" in worn:
        body = _among_prose(body, rng, texts)
    if "thinking" in worn:
        body = _after_thoughts(body, rng, texts, is_open=is_open)
    return ("\ufeff" if "mark" in worn else "") + body, worn


def _among_prose(body: str, rng: random.Random, texts: Sequence[str]) -> str:
    pieces = list(texts) or [""]
    before = rng.choice((*_BEFORE, rng.choice(pieces) + "\n"))
    after = rng.choice((*_AFTER, "\n" + rng.choice(pieces), ""))
    return f"{before}{body}{after}"


def _after_thoughts(body: str, rng: random.Random, texts: Sequence[str], *, is_open: bool) -> str:
    """Put thoughts before a reply; without `is_open` the template has opened them."""
    tag = rng.choice(_TAGS)
    thoughts = "\n".join(rng.choices((*_THOUGHTS, *texts), k=rng.randint(0, 3)))
    return f"{f'<{tag}>' if is_open else ''}{thoughts}</{tag}>\n{body}"


class _Writer:
    """Writes JSON in the dresses it is given."""

    def __init__(self, rng: random.Random, worn: frozenset[str]) -> None:
        self._rng = rng
        self._worn = worn
        self._quotes = rng.choice(_QUOTES)
        self._is_ascii = "escapes" in worn and rng.randrange(2) == 0

    def value(self, value: object, field: str) -> str:
        """Return the text of a value that stands in the field of that name."""
        if isinstance(value, dict):
            return self._object(cast("Values", value), field)
        if isinstance(value, list):
            items = [self.value(item, field) for item in cast("list[Any]", value)]
            return self._enclosed("[", items, "]")
        if value is None:
            return self._rng.choice(("null", "None")) if self._wears("words") else "null"
        if isinstance(value, str):
            return self._string(value, field)
        return self._number(str(value), field)

    def _wears(self, dress: str) -> bool:
        return dress in self._worn and self._rng.randrange(100) < _LITTLE

    def _object(self, value: Values, field: str) -> str:
        if "nulls" in self._worn:
            absent = [name for name in _MAY_BE_NULL.get(field, ()) if name not in value]
            value = value | dict.fromkeys(absent[: self._rng.randrange(3)])
        members = [
            f"{self._quoted(self._key(name))}{self._gap()}{self._sign(':')}"
            f"{self._gap()}{self.value(one, name)}"
            for name, one in value.items()
        ]
        return self._enclosed("{", members, "}")

    def _enclosed(self, opening: str, members: list[str], closing: str) -> str:
        inside = f"{self._gap()}{self._sign(',')}{self._gap()}".join(members)
        if members and self._wears("trailing_commas"):
            inside += f"{self._gap()}{self._sign(',')}"
        return f"{self._sign(opening)}{self._gap()}{inside}{self._gap()}{self._sign(closing)}"

    def _sign(self, sign: str) -> str:
        return _WIDE_SIGNS[sign] if self._wears("full_width") else sign

    def _gap(self) -> str:
        gap = self._rng.choice(_SPACES) if self._wears("spacing") else ""
        return gap + self._rng.choice(_COMMENTS) if self._wears("comments") else gap

    def _key(self, name: str) -> str:
        return _wide(name) if self._wears("full_width") else name

    def _string(self, value: str, field: str) -> str:
        if field in PRICE_FIELDS | MONEY_FIELDS | SHARE_FIELDS and "numbers" in self._worn:
            return self._decimal(value, field)
        if field in WORD_FIELDS and self._wears("words"):
            words = (value.upper(), value.title(), f" {value}", _SYNONYMS.get(value, value))
            return self._quoted(self._rng.choice(words))
        if field == "symbol" and self._wears("words"):
            return self._quoted(self._rng.choice((value.lower(), f"{value} ")))
        is_name = field in WORD_FIELDS or field in {"symbol", "observation_ref", "evidence"}
        if is_name and self._wears("full_width"):
            return self._quoted(_wide(value))
        return self._quoted(value)

    def _decimal(self, value: str, field: str) -> str:
        whole, _, rest = value.partition(".")
        forms = [_wide(value), f" {value}", f"{whole}.{rest:0<4}00"]
        if rest and field in MONEY_FIELDS:
            forms.append(f"{int(whole):,}.{rest}")
        form = self._rng.choice(forms)
        if self._rng.randrange(2):
            # A number has no zeros before it, which a text may have.
            bare = f"{int(whole)}.{rest}" if rest else str(int(whole))
            return self._rng.choice((bare, _wide(bare), f"{bare}000" if rest else bare))
        return self._quoted(form)

    def _number(self, text: str, field: str) -> str:
        if "numbers" not in self._worn or "e" in text:
            return text
        forms = [text, self._quoted(text), _wide(text), self._quoted(_wide(text))]
        if field in WHOLE_FIELDS:
            forms.append(f"{text}.0")
        return self._rng.choice(forms)

    def _quoted(self, text: str) -> str:
        if self._wears("quotes") and not _NOT_INSIDE & set(text):
            opening, closing = self._quotes
            return f"{opening}{self._escaped(text)}{closing}"
        return f'"{self._escaped(text)}"'

    def _escaped(self, text: str) -> str:
        return "".join(self._letter(letter) for letter in text)

    def _letter(self, letter: str) -> str:
        if letter == "\n" and self._wears("escapes"):
            return letter
        if letter == "'" and self._wears("escapes"):
            return "\\'"
        return json.dumps(letter, ensure_ascii=self._is_ascii)[1:-1]


def _wide(text: str) -> str:
    """Return `text` in full-width forms."""
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)
