"""The process that holds the broker: the sandbox exchange behind the second gate, on a line.

Owns its object graph (`served_sandbox`), and which market and clock it has when it is started as
`python -m caopan.interfaces.broker_process`. Must never know our books, a model or the first gate.
Tests: tests/integration/brokers.
"""

from __future__ import annotations

import asyncio
import secrets
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from caopan.adapters.brokers.remote.server import Address, BrokerServer
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate, SecondLimits
from caopan.adapters.clock.system import SystemClock, monotonic_ms
from caopan.adapters.kill_switch.switch import FlagSwitch, flag_sources
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.kill_switch import KillSwitch
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.store import Store, VenueJournal
from caopan.application.replay.clock import ReplayClock
from caopan.bootstrap.build import stamp
from caopan.bootstrap.markets import open_calendar, open_files, open_synthetic
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.clock import Clock, shanghai
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret, Settings

_TOKEN_BYTES = 32
_TOKEN_LEAST = 16
"""Characters; what is shorter could be guessed."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerProcessRequest:
    """What one broker process serves, and where."""

    run_id: int
    address: Address
    token_file: Path
    data: Path | None
    """A file or folder of bars; None means the synthetic market of `seed`."""
    seed: int
    sessions: int
    """Of the synthetic market, up to `end`."""
    breadth: int
    end: date | None
    """None means today."""
    follow: bool
    """The clock stands where the latest request says: for simulated runs."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a desk must show to be let in: the token, and that it runs the same build."""

    token: Secret
    build: str = ""


@asynccontextmanager
async def served_sandbox(
    *,
    run_id: int,
    journal: VenueJournal,
    market: MarketData,
    calendar: TradingCalendar,
    clock: Clock,
    address: Address,
    admission: Admission,
    switch: KillSwitch,
) -> AsyncGenerator[Address]:
    """Serve the sandbox of a run for as long as the block runs; give where it listens.

    A ReplayClock follows the time that requests carry.
    """
    rules = load_rules()
    venue = SandboxVenue(
        run_id=run_id,
        journal=journal,
        market=market,
        clock=clock,
        calendar=calendar,
        rules=rules.market,
        fees=fee_schedule(rules.fees),
    )
    await venue.load()
    limits = SecondLimits(orders_per_second=venue.capabilities.orders_per_second)
    gate = SecondGate(venue, clock=clock, switch=switch, limits=limits)
    follow = _follower(clock) if isinstance(clock, ReplayClock) else None
    server = BrokerServer(
        gate, admission.token, counter=venue, follow=follow, build=admission.build
    )
    try:
        yield await server.start(address)
    finally:
        await server.stop()


async def run_broker_process(
    database_url: str,
    settings: Settings,
    request: BrokerProcessRequest,
    ready: Callable[[Address], None],
) -> None:
    """Serve until the process is stopped; `ready` is told where.

    Raises:
        ConfigInvalid: RUN_UNKNOWN, as `stamp`, or for data or a token file that cannot be used.
    """
    build = stamp(database_url)
    clock = ReplayClock(_EPOCH) if request.follow else SystemClock()
    async with PostgresStore(database_url) as store:
        await _refuse_unknown(store, request.run_id)
        calendar = await open_calendar(store)
    market = _market(request, calendar)
    journal = PostgresVenueJournal(database_url)
    sources = flag_sources(settings.home, request.run_id, conninfo(database_url))
    try:
        with FlagSwitch(sources, lambda: monotonic_ms() / 1000) as switch:
            async with served_sandbox(
                run_id=request.run_id,
                journal=journal,
                market=market,
                calendar=calendar,
                clock=clock,
                address=request.address,
                admission=Admission(token_of(request.token_file), build),
                switch=switch,
            ) as address:
                ready(address)
                await asyncio.Event().wait()
    finally:
        await journal.close()


def token_of(path: Path) -> Secret:
    """Return the token in `path`, made at random and readable by its owner only if it is missing.

    Raises:
        ConfigInvalid: TOKEN_FILE if the file is anybody else's to read, holds less than 16
            characters, or cannot be read or written.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(secrets.token_urlsafe(_TOKEN_BYTES), encoding="ascii")
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid("TOKEN_FILE", f"the token file {path}: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigInvalid(
            "TOKEN_FILE",
            f"the token file {path} has the mode {mode:o}: others than its owner may use it",
            remedy=f"chmod 600 {path}, or remove it to have a new one made",
        )
    if len(text) < _TOKEN_LEAST:
        raise ConfigInvalid(
            "TOKEN_FILE",
            f"the token in {path} has {len(text)} characters, fewer than {_TOKEN_LEAST}",
            remedy="remove the file to have one made",
        )
    return Secret(text)


def _follower(clock: ReplayClock) -> Callable[[datetime], None]:
    def follow(now: datetime) -> None:
        if now > clock.now():
            clock.set(now)

    return follow


def _market(request: BrokerProcessRequest, calendar: TradingCalendar) -> MarketData:
    if request.data is not None:
        return open_files(request.data, calendar, None)[0]
    end = request.end or calendar.on_or_before(shanghai(SystemClock().now()).date())
    return open_synthetic(
        request.seed, calendar, end=end, days=request.sessions, breadth=request.breadth
    )[0]


async def _refuse_unknown(store: Store, run_id: int) -> None:
    if all(run.run_id != run_id for run in await store.runs()):
        raise ConfigInvalid("RUN_UNKNOWN", f"there is no run {run_id}")
