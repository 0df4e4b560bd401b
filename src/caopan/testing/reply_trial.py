"""Thousands of generated replies before the reader, and what came of them.

Owns `run_trial`: dressed, cut, hostile and scrambled replies, each compared with what the generator
knows it to mean. Must never take the reader's own word for what a reply means.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded: it draws the replies
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any, Final

from caopan.application.contracts.decision import Reading, read_reply
from caopan.application.contracts.decision_json import decision_json
from caopan.domain.decision import shapes
from caopan.testing.replies import Values, true_decision
from caopan.testing.reply_dress import dressed
from caopan.testing.reply_hostile import KINDS, bombs, scrambled
from caopan.testing.reply_meaning import UNTIL, meaning_of
from caopan.testing.samples import NOW, sample_id

_WHOLE_REPLIES: Final = 50
"""How many are cut at every byte."""
_SHORT: Final = 1_000
"""Bytes of such a reply."""
_BOMB: Final = 10_000_000
_OURS: Final = ("timestamp", "valid_until")
"""What a decision carries that no reply may set."""


@dataclass(slots=True)
class Trial:
    """What came of the replies of a trial. Times in seconds."""

    replies: int = 0
    accepted: int = 0
    exceptions: int = 0
    violating: int = 0
    """Accepted although contracts.md allows no such decision."""
    different: int = 0
    """Accepted with another meaning than the text's."""
    dressed: int = 0
    dressed_accepted: int = 0
    by_kind: Counter[str] = field(default_factory=Counter[str])
    times: list[float] = field(default_factory=list[float])
    longest: str = ""
    """The kind of the reply that took longest."""
    examples: list[str] = field(default_factory=list[str])
    """The first failures, for whoever has to mend them."""

    def as_json(self) -> dict[str, Any]:
        """Return the counts and times."""
        ordered = sorted(self.times)
        return {
            "replies": self.replies,
            "exceptions": self.exceptions,
            "accepted": self.accepted,
            "accepted_but_violating": self.violating,
            "accepted_with_other_meaning": self.different,
            "tolerated_dresses": self.dressed,
            "tolerated_dresses_accepted": self.dressed_accepted / max(self.dressed, 1),
            "p50_ms": round(1_000 * ordered[len(ordered) // 2], 3),
            "p99_ms": round(1_000 * ordered[int(0.99 * len(ordered))], 3),
            "max_ms": round(1_000 * ordered[-1], 3),
            "slowest_kind": self.longest,
            "by_kind": dict(sorted(self.by_kind.items())),
        }


@dataclass(frozen=True, slots=True)
class _Case:
    kind: str
    text: str
    meaning: shapes.Decision | None
    """The only decision that may be read."""
    must_pass: bool = False
    is_judged: bool = True
    """False where nobody can tell what the text means; what is accepted must still be lawful."""


def run_trial(
    replies: int,
    clock_s: Callable[[], float],
    *,
    seed: int = 1,
    texts: Sequence[str] = (),
    bomb: int = _BOMB,
) -> Trial:
    """Put `replies` generated replies before the reader; `texts` are real ones to draw from."""
    trial, slowest = Trial(), 0.0
    for case in _cases(replies, random.Random(seed), list(texts), bomb):  # noqa: S311 - no secret
        began = clock_s()
        try:
            reading = read(case.text)
        except Exception as error:  # noqa: BLE001 - the trial counts what may never happen
            trial.exceptions += 1
            trial.examples.append(f"{case.kind}: {error!r}: {case.text[:300]!r}")
            continue
        finally:
            took = clock_s() - began
            trial.times.append(took)
            trial.replies += 1
            trial.by_kind[case.kind] += 1
        if took > slowest:
            slowest, trial.longest = took, case.kind
        _count(trial, case, reading)
    return trial


def read(text: str) -> Reading:
    """Read a reply as the trial does."""
    return read_reply(text, decision_id=sample_id(1), made_at=NOW, valid_until=UNTIL)


def is_lawful(decision: shapes.Decision) -> bool:
    """Tell whether a decision, written out, means itself: the oracle allows all of it."""
    values: Values = decision_json(decision)
    for name in _OURS:
        del values[name]
    actions: list[Values] = values["actions"]
    for action in actions:
        plan: Values = action.get("exit_plan", {})
        conditions: list[Values] = plan.get("invalidation", [])
        for one in conditions:
            if not one["value"][0].isalpha():
                one["value"] = Decimal(one["value"])
    return meaning_of(values) == decision


def _count(trial: Trial, case: _Case, reading: Reading) -> None:
    decision = reading.decision
    trial.accepted += decision is not None
    trial.dressed += case.must_pass
    wrong = ""
    if decision is None:
        wrong = "refused" if case.must_pass else ""
    elif not is_lawful(decision):
        trial.violating += 1
        wrong = "unlawful"
    elif case.is_judged and decision != case.meaning:
        trial.different += 1
        wrong = "another meaning"
    else:
        trial.dressed_accepted += case.must_pass
    if wrong:
        told = "; ".join(reading.errors)
        trial.examples.append(f"{case.kind}: {wrong}: {told}: {case.text[:300]!r}")


def _cases(replies: int, rng: random.Random, texts: Sequence[str], bomb: int) -> Iterator[_Case]:
    """Yield bombs and cut replies, and then, in turn, every other kind until there are enough."""
    count = 0
    for case in _fixed(rng, texts, bomb, replies // 2):
        yield case
        count += 1
    while count < replies:
        for case in _round(rng, texts):
            yield case
            count += 1


def _fixed(rng: random.Random, texts: Sequence[str], bomb: int, most_cut: int) -> Iterator[_Case]:
    for text in chain(bombs(bomb), bombs(bomb // 11)):
        yield _Case("bomb", text, None)
    whole = [_short(rng, texts) for _ in range(_WHOLE_REPLIES)]
    cuts = [(case, at) for case in whole for at in range(len(case.text.encode()))]
    for case, at in cuts if len(cuts) <= most_cut else rng.sample(cuts, most_cut):
        text = case.text.encode()[:at].decode(errors="ignore")
        yield _Case("cut at a byte", text, case.meaning)


def _round(rng: random.Random, texts: Sequence[str]) -> Iterator[_Case]:
    for _ in range(12):
        yield _dressed(rng, texts)
    values = true_decision(rng, texts)
    for kind, make in KINDS.items():
        text, meaning = make(values, rng)
        yield _Case(kind, text, meaning)
    for _ in range(4):
        yield _scrambled(scrambled(json.dumps(values, ensure_ascii=False), rng))
        yield _scrambled(scrambled(_dressed(rng, texts).text, rng))
    if texts:
        yield _Case("real text alone", _piece(rng, texts), None)


def _dressed(rng: random.Random, texts: Sequence[str]) -> _Case:
    values = true_decision(rng, texts)
    pieces = [_piece(rng, texts) for _ in range(3)] if texts and rng.randrange(2) else []
    text, _ = dressed(values, rng, pieces)
    return _Case("tolerated dress", text, meaning_of(values), must_pass=True)


def _short(rng: random.Random, texts: Sequence[str]) -> _Case:
    """Return a reply that can be cut at each of its bytes in reasonable time."""
    while True:
        case = _dressed(rng, texts)
        if len(case.text.encode()) <= _SHORT:
            return case


def _scrambled(text: str) -> _Case:
    """Return a scrambled text; where it is plain JSON still, everyone can tell what it means."""
    try:
        values = json.loads(text, object_pairs_hook=_once)
    except ValueError:
        return _Case("scrambled", text, None, is_judged=False)
    meaning = meaning_of(values)
    return _Case("scrambled", text, meaning, is_judged=meaning is not None)


def _once(pairs: list[tuple[str, Any]]) -> Values:
    if len(dict(pairs)) != len(pairs):
        raise ValueError(pairs[0][0])
    return dict(pairs)


def _piece(rng: random.Random, texts: Sequence[str]) -> str:
    text = rng.choice(texts)
    start = rng.randrange(len(text))
    return text[start : start + rng.randint(1, 2_000)]
