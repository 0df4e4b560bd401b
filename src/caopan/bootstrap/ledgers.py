"""Reading the ledger: verification of chains and the story of one decision.

Owns `verify_runs` and `read_story`. Must never write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import Run, UnitOfWork
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Entry, Fault, Head, Verification, Verifier
from caopan.kernel.clock import iso
from caopan.kernel.errors import CaopanError, ConfigInvalid

LAST = "last"


@dataclass(frozen=True, slots=True)
class Story:
    """One decision's entries with their payloads, and whether the chain holds up to them."""

    run_id: int
    decision_id: UUID
    trace_id: UUID | None
    entries: list[tuple[Entry, bytes | None]]
    verification: Verification

    def as_json(self) -> dict[str, Any]:
        """Return the story as JSON values."""
        return {
            "run_id": self.run_id,
            "decision_id": str(self.decision_id),
            "trace_id": str(self.trace_id),
            "verified": self.verification.verified,
            "entries": [
                {
                    "seq": entry.seq,
                    "stage": entry.stage.value,
                    "at": iso(entry.at),
                    "hash": entry.hash,
                    "payload": json.loads(payload) if payload else None,
                }
                for entry, payload in self.entries
            ],
        }


async def verify_runs(database_url: str, run_id: int | None) -> list[tuple[Run, Verification]]:
    """Return the verdict on each run's chain, oldest run first; of one run where `run_id` says so.

    Raises:
        ConfigInvalid: RUN_UNKNOWN if there is no such run.
    """
    async with PostgresStore(database_url) as store:
        runs = [run for run in await store.runs() if run_id in (None, run.run_id)]
        if run_id is not None and not runs:
            raise ConfigInvalid("RUN_UNKNOWN", f"there is no run {run_id}")
        found: list[tuple[Run, Verification]] = []
        for run in reversed(runs):
            async with store.begin(run.run_id) as uow:
                found.append((run, await _verify(uow)))
        return found


async def read_story(database_url: str, name: str, run_id: int | None) -> Story | None:
    """Return the story of the decision whose id begins with `name`; "last" is the newest.

    Raises:
        ConfigInvalid: DECISION_AMBIGUOUS if several decisions of one run begin so.
    """
    async with PostgresStore(database_url) as store:
        if name == LAST:
            matches = await _newest(store, run_id)
        else:
            matches = list(await store.find_decision(name))
        matches = [match for match in matches if run_id in (None, match[0])]
        if not matches:
            return None
        chosen_run, decision_id = matches[0]
        others = {other for run, other in matches if run == chosen_run}
        if len(others) > 1:
            raise ConfigInvalid(
                "DECISION_AMBIGUOUS",
                f"{len(others)} decisions begin with {name!r}",
                remedy="give more of the id",
            )
        async with store.begin(chosen_run) as uow:
            entries = [pair async for pair in uow.ledger.entries(decision_id)]
            verification = await _verify(uow)
    trace_id = entries[0][0].trace_id if entries else None
    return Story(chosen_run, decision_id, trace_id, entries, verification)


async def _newest(store: PostgresStore, run_id: int | None) -> list[tuple[int, UUID]]:
    for run in await store.runs():
        if run_id not in (None, run.run_id):
            continue
        async with store.begin(run.run_id) as uow:
            newest = await uow.cycles.last()
            if newest is not None:
                return [(run.run_id, await _recorded_last(uow, newest))]
    return []


async def _recorded_last(uow: UnitOfWork, newest: Cycle) -> UUID:
    """Return, of the decisions opened at the newest one's instant, the one recorded last.

    Where a desk's time stands still, a person's decision is opened at the instant of a model's.
    """
    found: dict[UUID, int] = {}
    for cycle in await uow.cycles.all():
        if cycle.opened_at == newest.opened_at:
            async for entry, _ in uow.ledger.entries(cycle.decision_id):
                found.setdefault(cycle.decision_id, entry.seq)
    return max(found, key=lambda one: found[one], default=newest.decision_id)


async def _verify(uow: UnitOfWork) -> Verification:
    """Return the verdict on a chain, and on whether run and decisions are those it tells of.

    An emptied chain with a head set back to nothing is whole in itself; the rows tell on it.
    """
    verifier = Verifier()
    decided: set[UUID] = set()
    config: object = None
    async for entry, payload in uow.ledger.entries():
        verifier.feed(entry, payload)
        if verifier.failed:
            break
        if entry.seq == 1 and payload:
            config = json.loads(payload).get("config")
        if entry.decision_id is not None:
            decided.add(entry.decision_id)
    try:
        head = await uow.ledger.head()
    except CaopanError:
        head = Head()
    verdict = verifier.finish(head)
    if not verdict.verified:
        return verdict
    run = await uow.run.get()
    known = {cycle.decision_id for cycle in await uow.cycles.all()}
    opened = verdict.entries > 0 or bool(known)
    if known == decided and (not opened or config == run.config):
        return verdict
    first_bad = 1 if opened and config != run.config else verdict.entries + 1
    return replace(verdict, first_bad_seq=first_bad, fault=Fault.ROWS_DIFFER)
