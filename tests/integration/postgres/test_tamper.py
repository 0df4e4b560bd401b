"""Whoever can disable the triggers can change the ledger, but not unseen."""

from __future__ import annotations

# ruff: noqa: S608 - the statements are this file's own
import zlib

import pytest

from caopan.domain.ledger.chain import Draft, Fault, Stage, Verifier
from caopan.testing.store_samples import sample_draft, sample_id, sample_observation, sample_time

LINKS = 9
OBSERVED = 4


@pytest.fixture
async def chain(store, run_id, superuser):
    """Return a verified chain whose fourth entry is an observation, and its triggers disabled."""
    observation_id, digest, body = sample_observation(size=300)
    drafts = [sample_draft(text=f"entry {n} " * 40) for n in range(1, LINKS + 1)]
    drafts[OBSERVED - 1] = Draft(
        Stage.OBSERVATION, sample_time(), body, sample_id("decision"), sample_id("trace")
    )
    async with store.begin(run_id) as uow:
        await uow.observations.add(
            observation_id, sample_id("decision"), sample_time(), digest, body
        )
        await uow.ledger.append(drafts)
        await uow.commit()
    assert (await verdict(store, run_id)).verified
    superuser.execute("SET session_replication_role = replica")
    return run_id


async def verdict(store, run_id):
    verifier = Verifier()
    async with store.begin(run_id) as uow:
        async for entry, payload in uow.ledger.entries():
            verifier.feed(entry, payload)
        return verifier.finish(await uow.ledger.head())


async def found(store, run_id) -> tuple[int | None, Fault | None]:
    verification = await verdict(store, run_id)
    assert not verification.verified
    return verification.first_bad_seq, verification.fault


async def test_one_byte_of_a_stored_payload(store, chain, superuser):
    for offset in (0, 10, 40):
        flip = "set_byte(body, %s, get_byte(body, %s) # 1)"
        superuser.execute(
            f"UPDATE ledger_payload SET body = {flip} WHERE seq = 6", [offset, offset]
        )
        assert await found(store, chain) == (6, Fault.PAYLOAD_CHANGED)
        superuser.execute(
            f"UPDATE ledger_payload SET body = {flip} WHERE seq = 6", [offset, offset]
        )
    assert (await verdict(store, chain)).verified


async def test_a_payload_replaced_by_another_valid_one(store, chain, superuser):
    body = zlib.compress(b'{"said":"buy everything"}' * 40, 1)
    superuser.execute("UPDATE ledger_payload SET body = %s WHERE seq = 2", [body])
    assert await found(store, chain) == (2, Fault.PAYLOAD_CHANGED)


async def test_the_observation_that_an_entry_rests_on(store, chain, superuser):
    superuser.execute("UPDATE observation SET body = set_byte(body, 30, 0)")
    assert await found(store, chain) == (OBSERVED, Fault.PAYLOAD_CHANGED)


async def test_the_observation_renamed_to_another_hash(store, chain, superuser):
    superuser.execute("UPDATE observation SET content_hash = repeat('0', 64)")
    assert await found(store, chain) == (OBSERVED, Fault.PAYLOAD_CHANGED)


@pytest.mark.parametrize("table", ["ledger_payload", "observation"])
async def test_a_payload_removed_without_retention(store, chain, superuser, table):
    superuser.execute(f"DELETE FROM {table} WHERE recorded_at IS NOT NULL")
    seq = 1 if table == "ledger_payload" else OBSERVED
    assert await found(store, chain) == (seq, Fault.PAYLOAD_CHANGED)


async def test_an_entry_removed(store, chain, superuser):
    superuser.execute("DELETE FROM ledger_entry WHERE seq = 5")
    assert await found(store, chain) == (5, Fault.MISSING)


async def test_two_entries_swapped(store, chain, superuser):
    superuser.execute(
        "UPDATE ledger_entry SET seq = 9 - seq,"
        " recorded_at = recorded_at + seq * interval '1 us' WHERE seq IN (2, 7)"
    )
    assert await found(store, chain) == (2, Fault.BROKEN_LINK)


async def test_two_entries_swapped_with_their_links(store, chain, superuser):
    superuser.execute(
        "UPDATE ledger_entry e SET (stage, at, payload_hash, hash, prev_hash) ="
        " (SELECT stage, at, payload_hash, e.hash, e.prev_hash FROM ledger_entry"
        " WHERE seq = 9 - e.seq) WHERE seq IN (2, 7)"
    )
    assert await found(store, chain) == (2, Fault.ENTRY_CHANGED)


@pytest.mark.parametrize(
    "change",
    [
        "stage = 'risk'",
        "at = at + interval '1 hour'",
        "decision_id = NULL",
        "trace_id = gen_random_uuid()",
        "payload_hash = repeat('a', 64)",
        "hash = repeat('a', 64)",
    ],
)
async def test_a_field_of_an_entry(store, chain, superuser, change):
    superuser.execute(f"UPDATE ledger_entry SET {change} WHERE seq = 3")
    assert await found(store, chain) == (3, Fault.ENTRY_CHANGED)


async def test_the_link_to_the_entry_before(store, chain, superuser):
    superuser.execute("UPDATE ledger_entry SET prev_hash = repeat('a', 64) WHERE seq = 3")
    assert await found(store, chain) == (3, Fault.BROKEN_LINK)


async def test_the_end_cut_off(store, chain, superuser):
    superuser.execute("DELETE FROM ledger_entry WHERE seq >= 8")
    assert await found(store, chain) == (8, Fault.HEAD_MISMATCH)


async def test_the_head_set_back(store, chain, superuser):
    superuser.execute(
        "UPDATE ledger_head h SET seq = e.seq, hash = e.hash FROM ledger_entry e WHERE e.seq = 6"
    )
    assert await found(store, chain) == (7, Fault.HEAD_MISMATCH)


async def test_when_an_entry_was_recorded_is_not_in_doubt_either(store, chain, superuser):
    """Its payload lies in the month it was recorded in; elsewhere there is none."""
    superuser.execute("UPDATE ledger_entry SET recorded_at = '2020-01-01' WHERE seq = 3")
    assert await found(store, chain) == (3, Fault.PAYLOAD_CHANGED)
