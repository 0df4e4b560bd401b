"""Ledger entries, the hash chain that binds them, and its verification.

Owns Entry, Draft, Head, `seal` and `Verifier`. Must never store or read anything: it is given
entries and payload bytes. An entry binds its payload by hash, so payloads may be pruned by
retention while the chain stays verifiable. Tests: tests/property/domain/ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import iso

DOMAIN_TAG = b"caopan.ledger.v1"
GENESIS = "0" * 64


class Stage(StrEnum):
    """What an entry is evidence of."""

    OBSERVATION = "observation"
    ACTOR = "actor"
    CHECKER = "checker"
    RISK = "risk"
    APPROVAL = "approval"
    ORDER = "order"
    FILL = "fill"
    ACCOUNTING = "accounting"
    OUTCOME = "outcome"
    EXIT_TRIGGER = "exit_trigger"
    RECONCILIATION = "reconciliation"
    CONFIG_CHANGE = "config_change"
    MODE_CHANGE = "mode_change"
    OPERATOR_ACTION = "operator_action"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a use case wants recorded; the ledger gives it a place in the chain."""

    stage: Stage
    at: datetime
    payload: Mapping[str, Any] | bytes
    """What is recorded; bytes are taken as canonical JSON already written."""
    decision_id: UUID | None = None
    trace_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the chain."""

    seq: int
    stage: Stage
    at: datetime
    decision_id: UUID | None
    trace_id: UUID | None
    payload_hash: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain; the genesis head has seq 0."""

    seq: int = 0
    hash: str = GENESIS


def entry_hash(
    seq: int,
    prev_hash: str,
    stage: str,
    at: datetime,
    decision_id: UUID | None,
    trace_id: UUID | None,
    payload_hash: str,
) -> str:
    """Return SHA-256(domain tag ‖ seq ‖ prev_hash ‖ canonical(entry)) as hex."""
    body = canonical(
        {
            "at": iso(at),
            "decision_id": None if decision_id is None else str(decision_id),
            "payload_hash": payload_hash,
            "stage": str(stage),
            "trace_id": None if trace_id is None else str(trace_id),
        }
    )
    digest = sha256(DOMAIN_TAG)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(bytes.fromhex(prev_hash))
    digest.update(body)
    return digest.hexdigest()


def seal(head: Head, drafts: Sequence[Draft]) -> tuple[list[tuple[Entry, bytes]], Head]:
    """Return the drafts as chained entries with their canonical payloads, and the new head."""
    sealed: list[tuple[Entry, bytes]] = []
    seq, previous = head.seq, head.hash
    for draft in drafts:
        payload = draft.payload if isinstance(draft.payload, bytes) else canonical(draft.payload)
        payload_hash = sha256_hex(payload)
        # The hash covers whole milliseconds, so nothing finer is kept.
        at = draft.at.replace(microsecond=draft.at.microsecond // 1000 * 1000)
        seq += 1
        digest = entry_hash(
            seq, previous, draft.stage, at, draft.decision_id, draft.trace_id, payload_hash
        )
        entry = Entry(
            seq,
            draft.stage,
            at,
            draft.decision_id,
            draft.trace_id,
            payload_hash,
            previous,
            digest,
        )
        sealed.append((entry, payload))
        previous = digest
    return sealed, Head(seq, previous)


class Fault(StrEnum):
    """What is wrong with the first bad entry."""

    MISSING = "missing"
    """A sequence number is absent: an entry was removed or two were swapped."""
    BROKEN_LINK = "broken_link"
    """prev_hash is not the hash of the entry before."""
    ENTRY_CHANGED = "entry_changed"
    """The entry's own fields do not give its hash."""
    PAYLOAD_CHANGED = "payload_changed"
    """The stored payload does not give payload_hash."""
    HEAD_MISMATCH = "head_mismatch"
    """The chain ends before or beside the recorded head: entries were cut off or added."""
    ROWS_DIFFER = "rows_differ"
    """The chain itself is whole, but the run or its decisions are not what it tells of."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The verifier's word on one chain."""

    entries: int
    pruned: int
    """Entries whose payload was removed by retention: not bad, but no longer readable."""
    head: str
    first_bad_seq: int | None = None
    fault: Fault | None = None

    @property
    def verified(self) -> bool:
        """Return whether every link and every payload at hand is intact."""
        return self.fault is None


class Verifier:
    """Checks a chain fed in order of seq; stops at the first bad entry."""

    def __init__(self) -> None:
        """Start before the first entry."""
        self._head = Head()
        self._pruned = 0
        self._bad: tuple[int, Fault] | None = None

    @property
    def failed(self) -> bool:
        """Return whether a bad entry was met; feeding more changes nothing."""
        return self._bad is not None

    def feed(self, entry: Entry, payload: bytes | None) -> None:
        """Check one entry and its payload (None where retention pruned it)."""
        if self._bad is not None:
            return
        fault = self._fault_of(entry, payload)
        if fault is not None:
            bad_seq = self._head.seq + 1 if fault is Fault.MISSING else entry.seq
            self._bad = (bad_seq, fault)
            return
        self._pruned += payload is None
        self._head = Head(entry.seq, entry.hash)

    def finish(self, recorded: Head) -> Verification:
        """Compare with the recorded head and return the verdict."""
        if self._bad is None and self._head != recorded:
            # Equally long: the last entry is not the one recorded, so from there on at the latest.
            shorter = min(self._head.seq, recorded.seq)
            bad_seq = shorter + (self._head.seq != recorded.seq)
            self._bad = (bad_seq, Fault.HEAD_MISMATCH)
        seq, fault = self._bad or (None, None)
        return Verification(self._head.seq, self._pruned, self._head.hash, seq, fault)

    def _fault_of(self, entry: Entry, payload: bytes | None) -> Fault | None:
        if entry.seq != self._head.seq + 1:
            return Fault.MISSING
        if entry.prev_hash != self._head.hash:
            return Fault.BROKEN_LINK
        expected = entry_hash(
            entry.seq,
            entry.prev_hash,
            entry.stage,
            entry.at,
            entry.decision_id,
            entry.trace_id,
            entry.payload_hash,
        )
        if entry.hash != expected or entry.at.microsecond % 1000:
            return Fault.ENTRY_CHANGED
        if payload is not None and sha256_hex(payload) != entry.payload_hash:
            return Fault.PAYLOAD_CHANGED
        return None
