"""Generated replies: each tolerated dress means the same, nothing else is read, nothing raises."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.contracts.decision_json import decision_json
from caopan.testing.replies import true_decision
from caopan.testing.reply_dress import dressed
from caopan.testing.reply_hostile import KINDS, bombs
from caopan.testing.reply_meaning import meaning_of
from caopan.testing.reply_trial import is_lawful, read, run_trial

DOCUMENT = Path(__file__).parents[3] / "docs" / "actor.md"
QUICK = settings(deadline=None, max_examples=150)
seeds = st.integers(0, 2**32).map(random.Random)


@QUICK
@given(seeds)
def test_a_plain_reply_means_what_its_values_mean(rng):
    values = true_decision(rng)
    reading = read(json.dumps(values, ensure_ascii=rng.random() < 0.5))
    assert reading.decision == meaning_of(values) is not None
    assert reading.fixes == ()


@QUICK
@given(seeds)
def test_every_tolerated_dress_means_the_same(rng):
    values = true_decision(rng)
    text, worn = dressed(values, rng, most=14)
    reading = read(text)
    assert reading.errors == ()
    assert reading.decision == meaning_of(values)
    assert worn or not reading.fixes


@settings(QUICK, max_examples=40)
@given(seeds)
def test_a_cut_reply_is_read_whole_or_not_at_all(rng):
    values = true_decision(rng)
    text, _ = dressed(values, rng)
    data, whole = text.encode(), meaning_of(values)
    for at in range(0, len(data), 7):
        found = read(data[:at].decode(errors="ignore")).decision
        assert found is None or found == whole


@QUICK
@pytest.mark.parametrize("kind", KINDS)
@given(rng=seeds)
def test_a_hostile_reply_is_refused_or_means_what_it_says(kind, rng):
    text, meaning = KINDS[kind](true_decision(rng), rng)
    found = read(text).decision
    assert found is None or found == meaning


@QUICK
@given(seeds)
def test_a_decision_written_out_reads_back_as_itself(rng):
    decision = meaning_of(true_decision(rng))
    assert decision is not None
    assert is_lawful(decision)
    values = decision_json(decision)
    del values["timestamp"], values["valid_until"]
    assert read(json.dumps(values)).decision == decision


def test_what_was_read_of_a_reply_reads_the_same_alone():
    """What is kept of a long reply is the part that was read."""
    for seed in range(200):
        rng = random.Random(seed)  # noqa: S311 - no secret
        text, _ = dressed(true_decision(rng), rng)
        reading = read(text)
        assert read(text[reading.start : reading.end]).decision == reading.decision is not None


def test_every_fix_is_in_the_document():
    table = DOCUMENT.read_text("utf-8").partition("### What is forgiven")[2].partition("###")[0]
    documented = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    met = set[str]()
    for seed in range(400):
        rng = random.Random(seed)  # noqa: S311 - no secret
        met.update(read(dressed(true_decision(rng), rng, most=14)[0]).fixes)
    # Only where all five fields are there may the last brace be missing.
    assert met == documented - {"closing_brace"}


def test_bombs_are_refused_and_cost_little_memory():
    for bomb in bombs(10_000_000):
        assert read(bomb).decision is None
    for bomb in bombs(150_000):
        tracemalloc.start()
        assert read(bomb).decision is None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * len(bomb) + 2**20


def test_a_trial_of_many_replies_finds_nothing():
    # `caopan bench actor` puts a hundred thousand before the reader, real texts among them.
    trial = run_trial(3_000, lambda: 0.0, seed=11, bomb=200_000)
    assert trial.examples == []
    assert (trial.exceptions, trial.violating, trial.different) == (0, 0, 0)
    assert trial.dressed_accepted == trial.dressed > 0


def test_the_trial_notices_a_reader_that_lies(monkeypatch):
    """The trial must be able to fail."""
    import caopan.testing.reply_trial as trials
    from caopan.application.contracts.decision import Reading

    honest = trials.read
    other = honest(json.dumps(true_decision(random.Random(1))))  # noqa: S311 - no secret
    for lie in (lambda _text: other, lambda text: honest(text[:-1]), lambda _text: Reading(None)):
        monkeypatch.setattr(trials, "read", lie)
        found = run_trial(150, lambda: 0.0, seed=3, bomb=1_000)
        assert found.examples
