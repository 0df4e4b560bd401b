"""Many traders, one account: what they did, in the order they saw it, must have one explanation.

Processes race for the lease and, holding it, reserve cash; every call is recorded as asked,
answered, refused or unknown (no answer: a killed process, a broken connection), and the history is
held to what one trader at a time could have done.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import psycopg

from caopan.adapters.postgres.store import PostgresStore
from caopan.domain.accounting.journal import CASH_FREE, CASH_FROZEN, CNY, fold
from caopan.testing.store_samples import sample_deposit

TRADERS, ATTEMPTS = 4, 25
SLICE = 1_000
CASH = 30 * SLICE
"""Less than all traders together ask for: somebody must be refused."""

TRADER = """
import asyncio, json, sys
from dataclasses import replace
from caopan.adapters.postgres.store import PostgresStore
from caopan.domain.accounting.journal import CASH_FREE, CASH_FROZEN, CNY, Kind, Posting, Transaction
from caopan.kernel.errors import CaopanError, Conflict, CorruptState
from caopan.testing.store_samples import sample_id, sample_time

url, run_id, me, attempts, size = sys.argv[1], *map(int, sys.argv[2:6])

def tell(**what):
    print(json.dumps({"trader": me, **what}), flush=True)

def reservation(number):
    name = f"reservation {me}"
    legs = (Posting(CASH_FREE, CNY, -size), Posting(f"{CASH_FROZEN}/{me}-{number}", CNY, size))
    return Transaction(sample_id(name, number), Kind.FREEZE, sample_time(), legs)

async def reserve(store, number):
    txn = reservation(number)
    tell(event="ask", txn=str(txn.txn_id))
    try:
        async with store.begin(run_id) as uow:
            free = (await uow.journal.balances()).cash_free
            if free < size:
                tell(event="refused", txn=str(txn.txn_id), code="NO_CASH")
                return
            await uow.journal.post([txn])
            await uow.commit()
    except (Conflict, CorruptState) as error:
        tell(event="refused", txn=str(txn.txn_id), code=error.code)
        if error.code == "RUN_FENCED":
            raise
    except CaopanError as error:
        tell(event="unknown", txn=str(txn.txn_id), code=error.code)
        raise
    else:
        tell(event="ok", txn=str(txn.txn_id))

async def trade():
    number = 0
    async with PostgresStore(url) as store:
        while number < attempts:
            try:
                async with store.lease(run_id):
                    tell(event="lease")
                    for _ in range(5):
                        await reserve(store, number)
                        number += 1
                    tell(event="release")
            except CaopanError as error:
                number += error.code != "RUN_BUSY"
                await asyncio.sleep(0.002)

asyncio.run(trade())
"""


@dataclass
class History:
    """What every trader said, each in its own order."""

    events: list[dict]

    def of(self, event: str) -> set[str]:
        return {told["txn"] for told in self.events if told["event"] == event}

    @property
    def unknown(self) -> set[str]:
        """Asked and never answered, or answered with a broken connection."""
        return self.of("ask") - self.of("ok") - self.of("refused")


def race(url: str, run_id: int, disturb) -> History:
    traders = [
        subprocess.Popen(
            [sys.executable, "-c", TRADER, url]
            + [str(word) for word in (run_id, number, ATTEMPTS, SLICE)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(TRADERS)
    ]
    try:
        disturb(traders)
        told = [trader.communicate(timeout=120)[0] for trader in traders]
    finally:
        for trader in traders:
            trader.kill()
            trader.wait()
    lines = [line for part in told for line in part.splitlines() if line.endswith("}")]
    return History([json.loads(line) for line in lines])


def break_leases_and_kill_one(url: str):
    def disturb(traders) -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as link:
            for _ in range(6):
                link.execute("SELECT pg_sleep(0.3)")
                link.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND classid = x'63616f70'::int AND granted AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            traders[0].kill()

    return disturb


async def test_the_same_cash_is_never_spent_twice(clean_database, store, unheld, superuser):
    del superuser
    async with store.lease(unheld), store.begin(unheld) as uow:
        await uow.journal.post([sample_deposit(CASH)])
        await uow.commit()
    history = race(clean_database, unheld, break_leases_and_kill_one(clean_database))
    async with PostgresStore(clean_database) as reader, reader.begin(unheld) as uow:
        journal = await uow.journal.transactions()
        book = await uow.journal.balances()
    booked = {str(one.txn_id) for one in journal[1:]}
    # Whatever was answered is true; what had no answer may be either, but only once.
    assert history.of("ok") <= booked
    assert not history.of("refused") & booked
    assert booked <= history.of("ok") | history.unknown
    # No cash was spent twice, and what is stored is what was booked.
    assert len(journal) - 1 <= CASH // SLICE
    assert book.balances == fold(journal).balances
    assert book.balances.get((CASH_FREE, CNY), 0) == CASH - SLICE * (len(journal) - 1)
    assert all(
        amount == SLICE
        for (name, _), amount in book.balances.items()
        if name.startswith(CASH_FROZEN)
    )
    # The race was one: several traders got something, and somebody was refused.
    assert len({told["trader"] for told in history.events if told["event"] == "ok"}) > 1
    assert len(journal) - 1 == CASH // SLICE
    assert history.of("refused")
