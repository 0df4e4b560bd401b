"""Which JSON object of a model's text is its answer.

Owns `read_text`: thoughts, prose and fences around one object are taken off, and each is named.
What could be meant in two ways is refused: two different answers, an answer that is part of
something larger, one that is cut off. Must never look for an answer inside a text of another
object, nor take one out of the model's thoughts. Time and memory are bounded by the length of the
text, which is bounded. Tests: tests/unit/application/contracts/test_reply_reading.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from caopan.application.contracts.reply.letters import INVISIBLE, seen
from caopan.application.contracts.reply.scanner import MOST_DIGITS, Numeral, Scanned, scan

MOST_CHARACTERS: Final = 1_000_000
"""Of a whole reply, thoughts included."""
MOST_OBJECT: Final = 200_000
"""Bytes of the object that is the answer: less than is kept of a reply, so that the answer always
is."""

MOST_OBJECTS: Final = 500
"""Beginnings of objects that are looked into."""

ROOT_FIELDS: Final = frozenset(
    {"observation_ref", "account_view", "global_intent", "notes", "actions"}
)
_DECISION: Final = frozenset({"observation_ref", "account_view", "actions"})
"""An object with any of these is meant to be a decision."""
_TELLING: Final = ROOT_FIELDS | {"type", "order_type", "exit_plan", "target_order_id"}
"""A broken object with any of these is not taken for prose."""
_ACTIONS: Final = frozenset({"set_target", "place_order", "modify_order", "cancel_order", "no_op"})

_TAGS: Final = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|seed:think|思考"
_BEGINS: Final = rf"[\s{''.join(sorted(INVISIBLE))}]*(?:[\"“”„‟〝〞＂「『}}｝]|//|/\*)"
"""What follows a brace that opens an object; others are prose, such as {symbol}."""
_MARK: Final = re.compile(rf"[{{｛](?={_BEGINS})|<(?P<end>/?)(?P<tag>{_TAGS})>", re.IGNORECASE)
_CLOSING: Final = re.compile(rf"</(?:{_TAGS})>", re.IGNORECASE)
_FENCE: Final = re.compile(r"(?:`{3,}|~{3,})[ \t]*[A-Za-z0-9_+.#-]*")
_ONLY_FENCES: Final = re.compile(r"[\s`~]*\Z")
_PART_OF_MORE: Final = re.compile(r"(?:[\[［【]|[\"”」』][ \t\r\n]*[:：]|[}\]\"][ \t\r\n]*,)\Z")
"""What stands before an object that is a member of something."""
_GOES_ON: Final = re.compile(r"[\s}\]]*[,，]\s*[\"“「{｛\[［]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_BEFORE: Final = 80
"""Characters looked at before an object."""
_MOST_CLOSINGS: Final = 20
_MOST_CONTAINERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class ReadText:
    """The object found in a text, or why there is none."""

    value: dict[str, Any] | None
    fixes: frozenset[str] = frozenset()
    problem: str = ""
    start: int = 0
    end: int = 0
    """Where in the text the object stands."""


@dataclass(slots=True)
class _Found:
    """What a walk through the text has met."""

    objects: list[Scanned] = field(default_factory=list[Scanned])
    prose: list[str] = field(default_factory=list[str])
    has_thoughts: bool = False
    problem: str = ""
    """Why the text is refused whatever else it holds."""
    broken: str = ""
    """What was wrong with the first object that could not be read."""


def read_text(text: str) -> ReadText:
    """Return the one JSON object that `text` answers with; it never raises."""
    if len(text) > MOST_CHARACTERS:
        return _refused(f"the reply has {len(text)} characters, more than {MOST_CHARACTERS}")
    if not text.isascii() and not _has_utf_8(text):
        return _refused("the reply holds half of a surrogate pair, which is no letter")
    value = _strict(text)
    if value is not None:
        start = len(text) - len(text.lstrip())
        return ReadText(value, start=start, end=len(text.rstrip()))
    found = _after_thoughts(text) or _walk(text)
    if found.problem:
        return _refused(found.problem)
    return _chosen(text, found)


def _refused(problem: str) -> ReadText:
    return ReadText(None, problem=problem)


def _has_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- the plain case ---------------------------------------------------------------------------


def _strict(text: str) -> dict[str, Any] | None:
    """Return the object of a text that is nothing but plain JSON, by the C parser; else None."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")) or len(body) > MOST_OBJECT // 4:
        return None
    # Bounds its depth too, which a recursive parser has to be kept from.
    if body.count("{") + body.count("[") > _MOST_CONTAINERS or _SURROGATE_ESCAPE.search(body):
        return None
    try:
        return json.loads(
            body,
            parse_int=_numeral,
            parse_float=_numeral,
            parse_constant=_numeral,
            object_pairs_hook=_once,
        )
    except (ValueError, RecursionError):
        # The other reader says what is wrong.
        return None


def _numeral(text: str) -> Numeral:
    if len(text) > MOST_DIGITS or text[-1:] not in "0123456789":
        raise ValueError(text[:MOST_DIGITS])
    return Numeral(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or not all(name.isascii() for name in found):
        raise ValueError(len(pairs))
    return found


# --- the dressed case -------------------------------------------------------------------------


def _after_thoughts(text: str) -> _Found | None:
    """Return the object that is all of the text after a closing tag of thoughts, if there is one.

    Thoughts are no JSON: walking through them may stumble. Where they end so cleanly it need not.
    """
    for closing in islice(_CLOSING.finditer(text), _MOST_CLOSINGS):
        start = _first_brace(text, closing.end())
        if start is None or _beyond_fences(text[closing.end() : start]):
            continue
        scanned = scan(text, start, ROOT_FIELDS)
        if scanned.value is not None and _ONLY_FENCES.match(text, scanned.end) is not None:
            around = [text[closing.end() : start], text[scanned.end :]]
            return _Found([scanned], around, has_thoughts=True)
    return None


def _first_brace(text: str, start: int) -> int | None:
    places = [at for brace in "{｛" if (at := text.find(brace, start)) >= 0]
    return min(places, default=None)


def _beyond_fences(piece: str) -> bool:
    """Tell whether a piece of text is more than fences, spaces and invisible letters."""
    return bool(seen(_FENCE.sub("", piece)).strip())


def _walk(text: str) -> _Found:
    """Walk through the text once, past prose, thoughts and objects."""
    found, pos, work, tried = _Found(), 0, 0, 0
    most_work = 3 * len(text) + MOST_DIGITS
    while (mark := _MARK.search(text, pos)) is not None:
        found.prose.append(text[pos : mark.start()])
        if mark["tag"] is not None:
            pos = _past_thoughts(text, mark, found)
            continue
        at = mark.start()
        scanned = scan(text, at, ROOT_FIELDS)
        work, tried = work + scanned.end - at, tried + 1
        if work > most_work or tried > MOST_OBJECTS:
            found.problem = f"the reply holds more than {MOST_OBJECTS} JSON objects, or broken ones"
            return found
        if scanned.value is not None:
            found.objects.append(scanned)
            pos = scanned.end
            continue
        if _is_broken_answer(scanned):
            found.problem = scanned.problem
            return found
        found.broken = found.broken or scanned.problem
        # JSON has no line end inside a text: there a text that never ends has ended.
        pos = max(at + 1, scanned.end if scanned.line_end is None else scanned.line_end)
        found.prose.append(text[at:pos])
    found.prose.append(text[pos:])
    return found


def _past_thoughts(text: str, mark: re.Match[str], found: _Found) -> int:
    """Return the place after the thoughts that a tag opens, or that a stray tag closes."""
    found.has_thoughts = True
    if mark["end"]:
        # All that came before was thought, though it did not say so: templates open the tag.
        found.objects.clear()
        found.prose.clear()
        return mark.end()
    closing = re.compile(rf"</{re.escape(mark['tag'])}>", re.IGNORECASE).search(text, mark.end())
    # Thoughts that never end hold no answer, and nothing follows them.
    return len(text) if closing is None else closing.end()


def _is_broken_answer(scanned: Scanned) -> bool:
    """Tell whether a broken object may have been meant as the answer."""
    if scanned.names & _TELLING:
        return True
    return scanned.is_cut_off and not scanned.names


# --- the choice -------------------------------------------------------------------------------


def _chosen(text: str, found: _Found) -> ReadText:
    decisions, others = list[Scanned](), list[Scanned]()
    for one in found.objects:
        (decisions if _DECISION & (one.value or {}).keys() else others).append(one)
    if not decisions:
        return _without_decision(found)
    first = decisions[0]
    if any(one.value != first.value for one in decisions):
        return _refused("the reply holds two different decisions")
    if any(_is_action(one.value or {}) for one in others):
        return _refused("the reply holds an action outside its decision")
    if any(_is_part_of_more(text, one) for one in decisions):
        return _refused("the decision is part of something larger; answer with it alone")
    if len(text[first.start : first.end].encode()) > MOST_OBJECT:
        return _refused(f"the decision has more than {MOST_OBJECT} bytes")
    fixes = set(first.fixes) | _dress(found)
    if others:
        fixes.add("prose")
    if len(decisions) > 1:
        fixes.add("repeated_object")
    return ReadText(first.value, frozenset(fixes), start=first.start, end=first.end)


def _without_decision(found: _Found) -> ReadText:
    dress = _dress(found)
    if len(found.objects) == 1 and "prose" not in dress:
        # It is meant as the answer; its fields say what it lacks.
        only = found.objects[0]
        return ReadText(only.value, only.fixes | dress, start=only.start, end=only.end)
    if found.broken:
        return _refused(found.broken)
    if found.objects:
        return _refused("none of the JSON objects of the reply is a decision")
    if found.has_thoughts:
        return _refused("the reply holds thoughts but no JSON object after them")
    return _refused("the reply holds no JSON object")


def _is_action(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and kind.lower() in _ACTIONS


def _is_part_of_more(text: str, one: Scanned) -> bool:
    before = text[max(0, one.start - _BEFORE) : one.start].rstrip()
    return _PART_OF_MORE.search(before) is not None or _GOES_ON.match(text, one.end) is not None


def _dress(found: _Found) -> set[str]:
    """Name what was around the objects."""
    fixes = {"thinking"} if found.has_thoughts else set[str]()
    for piece in found.prose:
        if _FENCE.search(piece):
            fixes.add("code_fence")
        if any(letter in piece for letter in INVISIBLE):
            fixes.add("invisible_characters")
        if _beyond_fences(piece):
            fixes.add("prose")
    return fixes
