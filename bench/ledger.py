"""The store: appending to the ledger and verifying it, one unit of work, bars in bulk.

Each figure stands beside its floor, measured in the same run: appending beside the driver's
executemany of the same rows, bars beside a bare COPY of the same frame. Median of RUNS (spread).
"""

from __future__ import annotations

import asyncio
import statistics
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import psycopg

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.embedded.services import services
from caopan.adapters.postgres import schema
from caopan.adapters.postgres.bars import SCHEMA, import_bars, load_bars
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.domain.ledger.chain import Draft, Head, Stage, Verifier, seal
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.settings import Settings
from caopan.testing.store_samples import sample_cycle, sample_draft, sample_id, sample_time

RUNS = 5
ENTRIES, BATCH, UNITS_OF_WORK = 20_000, 1_000, 400
SYMBOLS, SESSIONS = 150, 970
_BARE = """
    CREATE TABLE bare_entry (run_id bigint, seq bigint, recorded_at timestamptz DEFAULT now(),
        stage text, at timestamptz, decision_id uuid, trace_id uuid, payload_hash text,
        prev_hash text, hash text, PRIMARY KEY (run_id, seq));
    CREATE TABLE bare_payload (run_id bigint, seq bigint, recorded_at timestamptz DEFAULT now(),
        body bytea, PRIMARY KEY (run_id, seq))
"""
_INSERT_ENTRY = """
    INSERT INTO bare_entry (run_id, seq, stage, at, decision_id, trace_id, payload_hash, prev_hash,
        hash) VALUES (1, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_PAYLOAD = "INSERT INTO bare_payload (run_id, seq, body) VALUES (1, %s, %s)"


def run(settings: Settings) -> dict[str, Any]:
    """Return rates (higher is better) and latencies."""
    with services(settings) as servers:
        url = servers.database_url
        schema.upgrade(url)
        return {
            "observation_body": _bodies(),
            "ledger": asyncio.run(_ledger(url)),
            "unit_of_work_us": {
                "durable": asyncio.run(_units_of_work(url, durable=True)),
                "replay": asyncio.run(_units_of_work(url, durable=False)),
            },
            "bars": _bars(url),
        }


def _bodies() -> dict[str, Any]:
    """Measure packing an observation of 157 symbols."""
    body = _observation()
    figures: dict[str, Any] = {"bytes": len(body)}
    for level in (1, 6):
        taken = [_timed(lambda level=level: zlib.compress(body, level)) for _ in range(20)]
        packed = zlib.compress(body, level)
        figures[f"level_{level}"] = {
            "bytes": len(packed),
            "pack_ms": round(statistics.median(taken), 2),
            "unpack_ms": round(_timed(lambda packed=packed: zlib.decompress(packed)), 2),
        }
    return figures


async def _ledger(url: str) -> dict[str, Any]:
    drafts = [_draft()] * BATCH
    append: list[float] = []
    verify: list[float] = []
    async with PostgresStore(url, synchronous_commit=False) as store:
        for _ in range(RUNS):
            run = await store.create_run(RunKind.REPLAY, "a", {}, "c" * 64, sample_time())
            async with store.lease(run.run_id):
                async with store.begin(run.run_id) as uow:
                    await uow.cycles.add(sample_cycle())
                    await uow.commit()
                start = monotonic_ms()
                for _ in range(ENTRIES // BATCH):
                    async with store.begin(run.run_id) as uow:
                        await uow.ledger.append(drafts)
                        await uow.commit()
                append.append(ENTRIES / (monotonic_ms() - start) * 1000)
            start = monotonic_ms()
            verifier = Verifier()
            async with store.begin(run.run_id) as uow:
                async for entry, payload in uow.ledger.entries():
                    verifier.feed(entry, payload)
                assert verifier.finish(await uow.ledger.head()).verified
            verify.append(ENTRIES / (monotonic_ms() - start) * 1000)
    floor = [_executemany(url) for _ in range(RUNS)]
    return {
        "append_rows_per_s": _spread(append),
        "executemany_rows_per_s": _spread(floor),
        "append_of_executemany": round(statistics.median(append) / statistics.median(floor), 2),
        "verify_entries_per_s": _spread(verify),
    }


def _executemany(url: str) -> float:
    """Return rows per second of the same rows, made beforehand, into tables with a key only."""
    sealed, _ = seal(Head(), [_draft()] * ENTRIES)
    entries = [
        (e.seq, e.stage.value, e.at, e.decision_id, e.trace_id, e.payload_hash, e.prev_hash, e.hash)
        for e, _ in sealed
    ]
    payloads = [(entry.seq, body) for entry, body in sealed]
    with psycopg.connect(conninfo(url, "-c synchronous_commit=off")) as link:
        link.execute(_BARE)
        start = monotonic_ms()
        for first in range(0, ENTRIES, BATCH):
            batch = slice(first, first + BATCH)
            link.cursor().executemany(_INSERT_ENTRY, entries[batch])
            link.cursor().executemany(_INSERT_PAYLOAD, payloads[batch])
            link.commit()
        taken = monotonic_ms() - start
        link.execute("DROP TABLE bare_entry, bare_payload")
    return ENTRIES / taken * 1000


def _draft() -> Draft:
    return sample_draft(text="hold, for want of a reason " * 8)


async def _units_of_work(url: str, *, durable: bool) -> dict[str, Any]:
    """Measure a stage of a cycle: one entry, the cycle saved, committed."""
    async with PostgresStore(url, synchronous_commit=durable) as store:
        run = await store.create_run(RunKind.REPLAY, "a", {}, "c" * 64, sample_time())
        cycle = sample_cycle()
        body = _observation()

        async def observe(number: int) -> None:
            async with store.begin(run.run_id) as uow:
                mark = body + b" " * number
                await uow.observations.add(
                    sample_id("seen", number),
                    cycle.decision_id,
                    sample_time(),
                    sha256_hex(mark),
                    mark,
                )
                await uow.ledger.append([Draft(Stage.OBSERVATION, sample_time(), mark)])
                await uow.commit()

        async def stage(_: int) -> None:
            async with store.begin(run.run_id) as uow:
                await uow.cycles.save(replace(cycle, status_code="X"))
                await uow.ledger.append([sample_draft()])
                await uow.commit()

        async with store.lease(run.run_id):
            async with store.begin(run.run_id) as uow:
                await uow.cycles.add(cycle)
                await uow.commit()
            return {"stage": await _latency(stage), "observation": await _latency(observe)}


async def _latency(do: Callable[[int], Awaitable[None]]) -> dict[str, int]:
    taken: list[float] = []
    for number in range(UNITS_OF_WORK):
        start = monotonic_ms()
        await do(number)
        taken.append((monotonic_ms() - start) * 1000)
    cuts = statistics.quantiles(taken, n=20)
    return {"p50": round(cuts[9]), "p95": round(cuts[18])}


def _bars(url: str) -> dict[str, Any]:
    frame = _frame()
    put: list[float] = []
    got: list[float] = []
    bare: list[float] = []
    for number in range(RUNS):
        checksum = f"{number:064x}"
        taken = _timed(
            lambda checksum=checksum: import_bars(
                url, label="bench", source="bench", checksum=checksum, synthetic=True, frame=frame
            )
        )
        put.append(frame.height / taken * 1000)
        got.append(frame.height / _timed(lambda: load_bars(url, 1)) * 1000)
        bare.append(frame.height / _bare_copy(url, frame) * 1000)
    return {
        "rows": frame.height,
        "import_rows_per_s": _spread(put),
        "bare_copy_rows_per_s": _spread(bare),
        "import_of_bare_copy": round(statistics.median(put) / statistics.median(bare), 2),
        "load_rows_per_s": _spread(got),
    }


def _bare_copy(url: str, frame: pl.DataFrame) -> float:
    """Return milliseconds of writing the frame as CSV into a table without rules or index."""
    with psycopg.connect(conninfo(url)) as link:
        link.execute("CREATE TABLE bare (LIKE bar)")
        link.execute("ALTER TABLE bare DROP COLUMN dataset_id")
        start = monotonic_ms()
        with link.cursor().copy("COPY bare FROM STDIN (FORMAT csv)") as copy:
            copy.write(frame.write_csv(include_header=False).encode())
        taken = monotonic_ms() - start
        link.rollback()
    return taken


def _frame() -> pl.DataFrame:
    days = pl.date_range(date(2020, 1, 1), date(2023, 12, 31), eager=True).head(SESSIONS)
    symbols = pl.DataFrame({"symbol": [f"{600_000 + n}.SH" for n in range(SYMBOLS)]})
    price = (pl.int_range(pl.len()) % 5_000 * 100 + 50_000).cast(pl.Int64())
    made = symbols.join(pl.DataFrame({"day": days}), how="cross").with_columns(
        open=price,
        high=price + 900,
        low=price - 900,
        close=price + 300,
        pre_close=price - 200,
        volume=price * 10,
        amount=price * 123_457,
        limit_up=price * 11 // 10,
        limit_down=price * 9 // 10,
        is_suspended=False,
        is_st=False,
        is_ex_date=False,
        turnover_rate=pl.lit(1.0) / price,
    )
    absent = [pl.lit(None, kind).alias(name) for name, kind in SCHEMA.items() if name not in made]
    return made.with_columns(absent).select(pl.col(n).cast(kind) for n, kind in SCHEMA.items())


def _observation() -> bytes:
    symbols = {
        f"{600_000 + n}.SH": {
            f"feature_{k}": round((n * 37 + k * 11) % 1_000 / 997 - 0.5, 6) for k in range(40)
        }
        for n in range(157)
    }
    return canonical({"features": symbols, "at": "2023-06-01T01:16:00.000Z"})


def _timed(do: Callable[[], object]) -> float:
    start = monotonic_ms()
    do()
    return monotonic_ms() - start


def _spread(values: list[float]) -> dict[str, int]:
    return {
        "median": round(statistics.median(values)),
        "least": round(min(values)),
        "most": round(max(values)),
    }
