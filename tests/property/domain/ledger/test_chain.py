"""The chain: every change after the fact is found, and the first bad entry is named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.domain.ledger.chain import (
    GENESIS,
    Draft,
    Entry,
    Fault,
    Head,
    Stage,
    Verification,
    Verifier,
    entry_hash,
    seal,
)
from caopan.kernel.canonical import canonical, sha256_hex

QUICK = settings(deadline=None, max_examples=100)

payloads = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.text(max_size=3))
drafts = st.builds(
    Draft,
    stage=st.sampled_from(Stage),
    at=st.datetimes(
        datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis wants bounds without a zone
        datetime(2030, 1, 1),  # noqa: DTZ001 - as above
        timezones=st.just(UTC),
    ),
    payload=payloads | payloads.map(canonical),
    decision_id=st.none() | st.uuids(),
    trace_id=st.none() | st.uuids(),
)
Rows = list[tuple[Entry, bytes | None]]


@dataclass
class Chain:
    """A sealed chain as it would lie in a table, with its recorded head."""

    rows: Rows
    head: Head


def sealed(items: list[Draft]) -> Chain:
    rows, head = seal(Head(), items)
    return Chain(list(rows), head)


chains = st.lists(drafts, min_size=2, max_size=6).map(sealed)


def verify(rows: Rows, head: Head) -> Verification:
    verifier = Verifier()
    for entry, payload in rows:
        verifier.feed(entry, payload)
    return verifier.finish(head)


def changed_text(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


@QUICK
@given(chains)
def test_a_clean_chain_verifies(chain):
    found = verify(chain.rows, chain.head)
    assert found == Verification(len(chain.rows), 0, chain.head.hash)
    assert found.verified
    assert [entry.seq for entry, _ in chain.rows] == list(range(1, len(chain.rows) + 1))
    assert chain.rows[0][0].prev_hash == GENESIS


def test_an_empty_chain_verifies():
    assert verify([], Head()).verified


@QUICK
@given(st.lists(drafts, max_size=6), st.integers(0, 6))
def test_sealing_in_parts_gives_the_same_chain(items, cut):
    whole, head = seal(Head(), items)
    first, middle = seal(Head(), items[:cut])
    rest, end = seal(middle, items[cut:])
    assert first + rest == whole
    assert end == head


@QUICK
@given(chains, st.data())
def test_pruned_payloads_are_counted_and_not_bad(chain, data):
    count = len(chain.rows)
    pruned = data.draw(st.sets(st.integers(0, count - 1)))
    rows: Rows = [
        (entry, None if index in pruned else payload)
        for index, (entry, payload) in enumerate(chain.rows)
    ]
    found = verify(rows, chain.head)
    assert found.verified
    assert found.pruned == len(pruned)


@QUICK
@given(chains, st.data())
def test_a_flipped_byte_of_a_payload_is_found(chain, data):
    index = data.draw(st.integers(0, len(chain.rows) - 1))
    entry, payload = chain.rows[index]
    position = data.draw(st.integers(0, len(payload) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    forged = bytes([*payload[:position], payload[position] ^ bit, *payload[position + 1 :]])
    rows = [*chain.rows[:index], (entry, forged), *chain.rows[index + 1 :]]
    assert_bad(verify(rows, chain.head), index + 1, Fault.PAYLOAD_CHANGED)


@QUICK
@given(chains, st.data())
def test_a_lost_payload_is_not_taken_for_a_pruned_one(chain, data):
    index = data.draw(st.integers(0, len(chain.rows) - 1))
    rows = [*chain.rows[:index], (chain.rows[index][0], b""), *chain.rows[index + 1 :]]
    assert_bad(verify(rows, chain.head), index + 1, Fault.PAYLOAD_CHANGED)


FIELDS = {
    "seq": Fault.MISSING,
    "stage": Fault.ENTRY_CHANGED,
    "at": Fault.ENTRY_CHANGED,
    "decision_id": Fault.ENTRY_CHANGED,
    "trace_id": Fault.ENTRY_CHANGED,
    "payload_hash": Fault.ENTRY_CHANGED,
    "prev_hash": Fault.BROKEN_LINK,
    "hash": Fault.ENTRY_CHANGED,
}


def test_every_field_of_an_entry_is_tried():
    assert set(FIELDS) == set(Entry.__dataclass_fields__)


@QUICK
@given(chains, st.sampled_from(sorted(FIELDS)), st.data())
def test_any_changed_field_is_found(chain, field, data):
    index = data.draw(st.integers(0, len(chain.rows) - 1))
    entry, payload = chain.rows[index]
    old = getattr(entry, field)
    new = {
        "seq": lambda: old + data.draw(st.sampled_from([-1, 1, 5])),
        "stage": lambda: data.draw(st.sampled_from([s for s in Stage if s is not old])),
        # A microsecond too: what is stored is exactly what is hashed.
        "at": lambda: old + timedelta(microseconds=data.draw(st.sampled_from([1, 999, 1_000]))),
        "decision_id": lambda: data.draw((st.none() | st.uuids()).filter(lambda u: u != old)),
        "trace_id": lambda: data.draw((st.none() | st.uuids()).filter(lambda u: u != old)),
        "payload_hash": lambda: changed_text(old),
        "prev_hash": lambda: changed_text(old),
        "hash": lambda: changed_text(old),
    }[field]()
    forged = replace(entry, **{field: new})
    rows = [*chain.rows[:index], (forged, payload), *chain.rows[index + 1 :]]
    assert_bad(verify(rows, chain.head), index + 1, FIELDS[field])


@QUICK
@given(chains, st.data())
def test_a_changed_entry_with_its_hash_made_good_breaks_the_next_link(chain, data):
    index = data.draw(st.integers(0, len(chain.rows) - 2))
    entry, payload = chain.rows[index]
    at = entry.at + timedelta(seconds=1)
    digest = entry_hash(
        entry.seq,
        entry.prev_hash,
        entry.stage,
        at,
        entry.decision_id,
        entry.trace_id,
        entry.payload_hash,
    )
    rows = list(chain.rows)
    rows[index] = (replace(entry, at=at, hash=digest), payload)
    assert_bad(verify(rows, chain.head), index + 2, Fault.BROKEN_LINK)


@QUICK
@given(chains, st.data())
def test_a_removed_entry_is_found(chain, data):
    index = data.draw(st.integers(0, len(chain.rows) - 1))
    rows = [*chain.rows[:index], *chain.rows[index + 1 :]]
    last = index == len(chain.rows) - 1
    fault = Fault.HEAD_MISMATCH if last else Fault.MISSING
    assert_bad(verify(rows, chain.head), index + 1, fault)


@QUICK
@given(chains, st.data())
def test_a_tail_cut_off_is_found(chain, data):
    kept = data.draw(st.integers(0, len(chain.rows) - 1))
    assert_bad(verify(chain.rows[:kept], chain.head), kept + 1, Fault.HEAD_MISMATCH)


@QUICK
@given(chains, st.data())
def test_a_repeated_entry_is_found(chain, data):
    index = data.draw(st.integers(0, len(chain.rows) - 1))
    rows = [*chain.rows[: index + 1], *chain.rows[index:]]
    assert_bad(verify(rows, chain.head), index + 2, Fault.MISSING)


@QUICK
@given(chains, st.data())
def test_two_entries_swapped_are_found(chain, data):
    pair = data.draw(
        st.lists(st.integers(0, len(chain.rows) - 1), min_size=2, max_size=2, unique=True)
    )
    low, high = sorted(pair)
    rows = list(chain.rows)
    rows[low], rows[high] = rows[high], rows[low]
    # As a reader meets them that does not order by seq.
    assert_bad(verify(rows, chain.head), low + 1, Fault.MISSING)
    # As a reader meets them after the two had their numbers exchanged too.
    rows[low] = (replace(rows[low][0], seq=low + 1), rows[low][1])
    rows[high] = (replace(rows[high][0], seq=high + 1), rows[high][1])
    assert_bad(verify(rows, chain.head), low + 1, Fault.BROKEN_LINK)


@QUICK
@given(chains, st.lists(drafts, min_size=1, max_size=3))
def test_entries_added_behind_the_head_are_found(chain, extra):
    added, _ = seal(chain.head, extra)
    found = verify([*chain.rows, *added], chain.head)
    assert_bad(found, len(chain.rows) + 1, Fault.HEAD_MISMATCH)


@QUICK
@given(chains, st.data())
def test_a_rewritten_tail_is_found_by_the_head(chain, data):
    kept = data.draw(st.integers(0, len(chain.rows) - 1))
    length = data.draw(st.integers(1, 4))
    anew = data.draw(st.lists(drafts, min_size=length, max_size=length))
    before = chain.rows[kept - 1][0] if kept else None
    start = Head() if before is None else Head(before.seq, before.hash)
    tail, head = seal(start, anew)
    if head == chain.head:
        return
    found = verify([*chain.rows[:kept], *tail], chain.head)
    assert found.fault is Fault.HEAD_MISMATCH
    # The head tells that the end is not the recorded one; never an entry beyond both ends.
    assert found.first_bad_seq is not None
    assert kept < found.first_bad_seq <= max(chain.head.seq, head.seq)


@QUICK
@given(st.lists(drafts, min_size=1, max_size=4))
def test_what_the_chain_alone_cannot_show(anew):
    # Rewriting everything, head included, is what the anchor outside the database is for.
    forged, head = seal(Head(), anew)
    assert verify(list(forged), head).verified


def assert_bad(found: Verification, seq: int, fault: Fault) -> None:
    assert (found.first_bad_seq, found.fault) == (seq, fault)
    assert not found.verified


def test_the_verifier_stops_at_the_first_bad_entry():
    chain = sealed([Draft(Stage.FILL, datetime(2023, 1, 1, tzinfo=UTC), {"n": n}) for n in "abcd"])
    verifier = Verifier()
    for index, (entry, payload) in enumerate(chain.rows):
        verifier.feed(entry, b"{}" if index in (1, 2) else payload)
        assert verifier.failed == (index >= 1)
    assert_bad(verifier.finish(chain.head), 2, Fault.PAYLOAD_CHANGED)
    assert verifier.finish(chain.head).entries == 1


def test_the_hash_is_over_tag_seq_link_and_canonical_entry():
    at = datetime(2023, 1, 3, 1, 16, 0, 123_456, tzinfo=UTC)
    (entry, payload), *_ = seal(Head(), [Draft(Stage.RISK, at, {"b": 1, "a": "操"})])[0]
    assert payload == '{"a":"操","b":1}'.encode()
    assert entry.payload_hash == sha256_hex(payload)
    assert entry.at == at.replace(microsecond=123_000)
    body = canonical(
        {
            "at": "2023-01-03T01:16:00.123Z",
            "decision_id": None,
            "payload_hash": entry.payload_hash,
            "stage": "risk",
            "trace_id": None,
        }
    )
    preimage = b"caopan.ledger.v1" + (1).to_bytes(8, "big") + bytes(32) + body
    assert entry.hash == sha256_hex(preimage)


def test_the_zone_of_a_time_does_not_change_the_hash():
    at = datetime(2023, 1, 3, 1, 16, tzinfo=UTC)
    there = at.astimezone(timezone(timedelta(hours=8)))
    assert (
        seal(Head(), [Draft(Stage.RISK, at, {})])[1]
        == (seal(Head(), [Draft(Stage.RISK, there, {})])[1])
    )


@pytest.mark.parametrize("stage", Stage)
def test_stages_are_lower_snake_case_words(stage):
    assert stage.value == stage.name.lower()
