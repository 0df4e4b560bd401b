"""One JSON object out of a text, from a given place on, strictly or in the dress models put on it.

Owns `scan`, Numeral and the bounds on what is read at all. Each thing it forgives is named, and
none can change a value. It walks a text once, without recursion: time and memory grow with the
text and no faster. Must never guess where a text ends, keep one of two values of a field, or read
a number as a binary float. Tests: tests/unit/application/contracts/test_reply_scanner.py,
tests/property/application/test_reply_scanner.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from caopan.application.contracts.reply.letters import (
    CLOSERS,
    INVISIBLE,
    STRUCTURE,
    folded,
    shown,
)

MOST_DEPTH: Final = 12
"""A decision goes six deep."""
MOST_VALUES: Final = 20_000
MOST_DIGITS: Final = 40
"""Letters of a number."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_PLAIN_TEXT: Final = re.compile(r'"([^"\\\x00-\x1f]*)"')
_LINE_END: Final = re.compile(r"[^\n]*")
_REST: Final = {
    quote: re.compile(rf"[^{re.escape(''.join(sorted(closers | {quote})))}\\\x00-\x1f]*")
    for quote, closers in CLOSERS.items()
}
"""What a text that began with `quote` runs on with."""
_NUMBER_RUN: Final = re.compile(r"[-+.eE0-9－＋．ｅＥ０-９−]+")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[A-Za-zＡ-Ｚａ-ｚ_]+")
_HEX: Final = re.compile(r"[0-9a-fA-F]{4}")
_NOTHING_BUT_FENCE: Final = re.compile(r"[\s`~]*\Z")

_WORDS: Final = {"null": None, "true": True, "false": False}
_PYTHON_WORDS: Final = {"None": None, "True": True, "False": False}
_ESCAPES: Final = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_HIGH: Final = range(0xD800, 0xDC00)
_LOW: Final = range(0xDC00, 0xE000)

_Container: TypeAlias = "dict[str, Any] | list[Any]"


@dataclass(frozen=True, slots=True)
class Numeral:
    """A JSON number as it is written: what it means is for its field to say."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Scanned:
    """What came of reading one object."""

    value: dict[str, Any] | None
    """None where it could not be read."""
    start: int
    end: int
    """The first place after the object, or where reading stopped."""
    fixes: frozenset[str]
    names: frozenset[str]
    """Every field name met, at any depth."""
    problem: str = ""
    is_cut_off: bool = False
    """True where the text ended before the object did."""
    line_end: int | None = None
    """The first line end inside a text of the object: JSON has none there."""


class _Trouble(Exception):
    """Reading cannot go on."""

    def __init__(self, what: str, *, is_cut_off: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.is_cut_off = is_cut_off


def scan(text: str, start: int, whole: frozenset[str] = frozenset()) -> Scanned:
    """Read the object that begins at `start`, where an opening brace stands.

    `whole` names all fields an object can have: one that has them all may miss its closing brace at
    the end of the text, as nothing else could have followed. An empty `whole` forbids that.
    """
    scanner = _Scanner(text, start, whole)
    try:
        value, problem, is_cut_off = scanner.run(), "", False
    except _Trouble as trouble:
        value, problem, is_cut_off = None, trouble.what, trouble.is_cut_off
    return Scanned(
        value=value,
        start=start,
        end=scanner.pos,
        fixes=frozenset(scanner.fixes),
        names=frozenset(scanner.names),
        problem=problem,
        is_cut_off=is_cut_off,
        line_end=scanner.line_end,
    )


class _Scanner:
    """A reader with its place in the text and the containers it is inside of."""

    def __init__(self, text: str, start: int, whole: frozenset[str]) -> None:
        self.text, self.pos, self.whole = text, start, whole
        self.fixes = set[str]()
        self.names = set[str]()
        self.line_end: int | None = None
        self._stack: list[_Container] = []
        self._name = ""
        """The field whose value comes next."""
        self._after_comma = False
        self._values = 0
        self._step: Callable[[str], None] = self._value

    def run(self) -> dict[str, Any]:
        root = dict[str, Any]()
        self._sign()
        self._push(root)
        while self._stack:
            self._skip()
            self._step(self._sign())
        return root

    # --- signs and what stands between them -----------------------------------------------------

    def _skip(self) -> None:
        """Go past spaces, invisible letters and comments."""
        while True:
            match = _SPACE.match(self.text, self.pos)
            self.pos = self.pos if match is None else match.end()
            letter = self.text[self.pos : self.pos + 1]
            if letter == "/":
                if not self._comment():
                    return
            elif letter in INVISIBLE or (letter > "\x7f" and letter.isspace()):
                self.fixes.add("invisible_characters")
                self.pos += 1
            else:
                return

    def _comment(self) -> bool:
        kind = self.text[self.pos : self.pos + 2]
        if kind == "//":
            match = _LINE_END.match(self.text, self.pos)
            self.pos = len(self.text) if match is None else match.end()
        elif kind == "/*":
            end = self.text.find("*/", self.pos + 2)
            if end < 0:
                self._cut_off()
            self.pos = end + 2
        elif kind == "/":
            self._cut_off()
        else:
            return False
        self.fixes.add("comment")
        return True

    def _sign(self) -> str:
        """Return the sign at hand, full-width ones as JSON has them; empty at the end."""
        letter = self.text[self.pos : self.pos + 1]
        sign = STRUCTURE.get(letter)
        if sign is None:
            return letter
        self.fixes.add("full_width")
        return sign

    def _fail(self, what: str) -> NoReturn:
        if self.pos >= len(self.text):
            self._cut_off()
        near = shown(self.text[self.pos : self.pos + 20], 20)
        raise _Trouble(f"{what} at character {self.pos}, where there is {near}")

    def _cut_off(self) -> NoReturn:
        self.pos = len(self.text)
        raise _Trouble("the JSON object is cut off before its end", is_cut_off=True)

    # --- containers ------------------------------------------------------------------------------

    def _push(self, container: _Container) -> None:
        if len(self._stack) >= MOST_DEPTH:
            self._fail(f"more than {MOST_DEPTH} levels")
        self._stack.append(container)
        self.pos += 1
        self._after_comma = False
        self._step = self._key if isinstance(container, dict) else self._value

    def _pop(self) -> None:
        if self._after_comma:
            self.fixes.add("trailing_comma")
        self._stack.pop()
        self.pos += 1
        self._after_comma = False
        self._step = self._next

    def _put(self, value: object) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            self._fail(f"more than {MOST_VALUES} values")
        top = self._stack[-1]
        if isinstance(top, dict):
            top[self._name] = value
        else:
            top.append(value)
        self._after_comma = False
        self._step = self._next

    def _key(self, sign: str) -> None:
        if sign == "}":
            self._pop()
            return
        if sign not in CLOSERS:
            self._fail("a field name in double quotes is expected")
        raw = self._text(sign)
        name = folded(raw)
        if name != raw:
            self.fixes.add("full_width")
        if name in self._stack[-1]:
            self._fail(f"the field {shown(name)} is given twice in one object,")
        self.names.add(name)
        self._name = name
        self._after_comma = False
        self._step = self._colon

    def _colon(self, sign: str) -> None:
        if sign != ":":
            self._fail("a colon is expected")
        self.pos += 1
        self._step = self._value

    def _value(self, sign: str) -> None:
        top = self._stack[-1]
        if sign == "]" and isinstance(top, list) and (self._after_comma or not top):
            self._pop()
        elif sign == "{":
            self._put_container(dict[str, Any]())
        elif sign == "[":
            self._put_container(list[Any]())
        elif sign in CLOSERS:
            self._put(self._text(sign))
        else:
            self._put(self._scalar())

    def _put_container(self, container: _Container) -> None:
        self._put(container)
        self._push(container)

    def _next(self, sign: str) -> None:
        is_object = isinstance(self._stack[-1], dict)
        if sign == ",":
            self.pos += 1
            self._after_comma = True
            self._step = self._key if is_object else self._value
        elif sign and sign == ("}" if is_object else "]"):
            self._pop()
        elif self._only_brace_missing():
            self.fixes.add("closing_brace")
            self._stack.clear()
        else:
            self._fail(f"a comma or {'a brace' if is_object else 'a bracket'} is expected")

    def _only_brace_missing(self) -> bool:
        """Tell whether nothing but the last brace can be missing of the text."""
        root = self._stack[0]
        return (
            len(self._stack) == 1
            and isinstance(root, dict)
            and bool(self.whole)
            and self.whole <= root.keys()
            and _NOTHING_BUT_FENCE.match(self.text, self.pos) is not None
        )

    # --- values ----------------------------------------------------------------------------------

    def _text(self, quote: str) -> str:
        """Read a text, from its opening quote past its closing one."""
        match = _PLAIN_TEXT.match(self.text, self.pos)
        if match is not None:
            self.pos = match.end()
            return match[1]
        if quote != '"':
            self.fixes.add("typographic_quotes")
        closers, rest = CLOSERS[quote], _REST[quote]
        self.pos += 1
        parts: list[str] = []
        while True:
            found = rest.match(self.text, self.pos)
            if found is not None:
                parts.append(found[0])
                self.pos = found.end()
            letter = self.text[self.pos : self.pos + 1]
            if letter in closers:
                self.pos += 1
                return "".join(parts)
            parts.append(self._odd_letter(letter))

    def _odd_letter(self, letter: str) -> str:
        """Read what inside a text is not simply itself."""
        if letter == "\\":
            return self._escape()
        if letter not in {"\n", "\r", "\t"}:
            self._fail("the end of a text is expected")
        if self.line_end is None and letter == "\n":
            self.line_end = self.pos
        self.fixes.add("line_break_in_text")
        self.pos += 1
        return letter

    def _escape(self) -> str:
        kind = self.text[self.pos + 1 : self.pos + 2]
        if kind == "u":
            return self._unicode_escape()
        if kind == "'":
            self.fixes.add("escaped_apostrophe")
        elif kind not in _ESCAPES:
            if not kind:
                self._cut_off()
            self._fail("an unknown escape")
        self.pos += 2
        return _ESCAPES.get(kind, kind)

    def _unicode_escape(self) -> str:
        code = self._code_unit()
        if code in _HIGH and self.text.startswith("\\u", self.pos):
            at = self.pos
            low = self._code_unit()
            if low in _LOW:
                return chr(0x10000 + ((code - _HIGH.start) << 10) + (low - _LOW.start))
            self.pos = at
        if code in _HIGH or code in _LOW:
            raise _Trouble("half of a surrogate pair is escaped, which is no letter")
        return chr(code)

    def _code_unit(self) -> int:
        match = _HEX.match(self.text, self.pos + 2)
        if match is None:
            if len(self.text) < self.pos + 6:
                self._cut_off()
            self._fail("an unknown escape")
        self.pos += 6
        return int(match[0], 16)

    def _scalar(self) -> object:
        run = _NUMBER_RUN.match(self.text, self.pos)
        # A word may begin like the exponent of a number.
        if run is not None and folded(run[0][0]) not in {"e", "E"}:
            return self._number(run[0])
        word = _WORD.match(self.text, self.pos)
        if word is None:
            self._fail("a text in double quotes, a number or null is expected")
        name = folded(word[0])
        if name in _PYTHON_WORDS:
            self.fixes.add("python_literal")
        elif name not in _WORDS:
            if word.end() == len(self.text):
                self._cut_off()
            self._fail("a text in double quotes, a number or null is expected")
        if name != word[0]:
            self.fixes.add("full_width")
        self.pos = word.end()
        return (_WORDS | _PYTHON_WORDS)[name]

    def _number(self, run: str) -> Numeral:
        if len(run) > MOST_DIGITS:
            self._fail(f"a number of {len(run)} letters")
        plain = folded(run).replace("−", "-")
        if _NUMBER.fullmatch(plain) is None:
            if self.pos + len(run) == len(self.text):
                self._cut_off()
            self._fail("a plain number such as 10.5 is expected")
        if plain != run:
            self.fixes.add("full_width")
        self.pos += len(run)
        return Numeral(plain)
