"""The venues the contract is held against, each over the same small market and clock.

A new adapter joins VENUES: a function that opens it before a sandbox, again and again on the same
journal, as a process that starts would.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

from caopan.adapters.brokers._template.broker import TemplateBroker
from caopan.adapters.brokers._template.counter import (
    CounterAsset,
    CounterOrder,
    CounterRefused,
    CounterTrade,
)
from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.brokers.remote.server import BrokerServer
from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.broker import Broker, OrderStatusReport
from caopan.application.ports.kill_switch import Released
from caopan.application.ports.store import Run, RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.clearance import mint
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.ids import foreign_order_id
from caopan.kernel.money import units, yuan
from caopan.settings import Secret
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.samples import NOW, sample_order
from caopan.testing.venues import FaultyBroker

BEFORE, TODAY, NEXT = date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2)
SESSIONS = (BEFORE, TODAY, NEXT)
MINE, QUIET, ALIEN = "600001.SH", "000002.SZ", "600009.SH"
AFTER_CLOSE = at_shanghai(TODAY, time(15, 1))
CASH, HELD = units(1_000_000), 5_000
RULES = load_rules()


@dataclass
class World:
    """A venue in the opening auction of TODAY with cash and shares, and the clock that moves it."""

    wrap: Callable[[World, SandboxVenue], Awaitable[Broker]]
    clock: ReplayClock = field(default_factory=lambda: ReplayClock(NOW))
    store: MemoryStore = field(default_factory=MemoryStore)
    run: Run | None = None
    closers: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    broker: Broker = field(init=False)
    exchange: SandboxVenue = field(init=False)
    """What stands behind the broker: the counter's own side."""

    async def open(self) -> None:
        """Open broker and exchange as a process that starts: nothing but the journal is known."""
        if self.run is None:
            config = {"contract": "broker"}
            self.run = await self.store.create_run(RunKind.DEMO, "sandbox", config, "0" * 64, NOW)
        self.exchange = SandboxVenue(
            run_id=self.run.run_id,
            journal=MemoryVenueJournal(self.store.database),
            market=market(),
            clock=self.clock,
            calendar=TradingCalendar("test", BEFORE, NEXT, SESSIONS),
            rules=RULES.market,
            fees=fee_schedule(RULES.fees),
        )
        await self.exchange.load()
        await self.exchange.deposit("opening", CASH)
        await self.exchange.bring_in("import", [BroughtLot(MINE, HELD, units(50_000), BEFORE)])
        self.broker = await self.wrap(self, self.exchange)

    async def close(self) -> None:
        while self.closers:
            await self.closers.pop()()

    def order(self, number: int = 1, **changes: object) -> Order:
        """Return an order that may be sent now."""
        now = self.clock.now()
        still = {"trading_day": shanghai(now).date(), "not_after": now + timedelta(minutes=4)}
        return replace(sample_order(number, symbol=MINE), **{**still, **changes})

    async def submit(self, order: Order) -> OrderStatusReport:
        return await self.broker.submit(order, mint(order, "policy"))


def market() -> TableMarket:
    bars = [flat_bar(symbol, day, "10.00") for symbol in (MINE, QUIET) for day in (BEFORE, NEXT)]
    bars.append(day_bar(MINE, TODAY, "10.00", "10.40", "9.60", "10.10", volume=30_000))
    bars.append(flat_bar(QUIET, TODAY, "10.00", volume=0))
    return TableMarket(SESSIONS, bars)


async def sandbox(world: World, exchange: SandboxVenue) -> Broker:
    del world
    return exchange


async def faulty(world: World, exchange: SandboxVenue) -> Broker:
    del world
    return FaultyBroker(exchange)


async def gated(world: World, exchange: SandboxVenue) -> Broker:
    return SecondGate(exchange, clock=world.clock, switch=Released())


async def over_a_line(world: World, exchange: SandboxVenue) -> Broker:
    """Return a client of a server that holds the exchange behind the second gate."""
    await world.close()
    folder = tempfile.TemporaryDirectory(prefix="caopan-")
    token = Secret("a token")
    server = BrokerServer(await gated(world, exchange), token, counter=exchange)
    address = await server.start(Path(folder.name) / "broker.sock")
    client = RemoteBroker(address, token, world.clock)
    await client.connect()

    async def clean() -> None:
        folder.cleanup()

    world.closers += [clean, server.stop, client.close]
    return client


async def from_the_template(world: World, exchange: SandboxVenue) -> Broker:
    return TemplateBroker(FakeCounter(exchange), world.clock, name="sandbox")


VENUES = {
    "sandbox": sandbox,
    "faulty": faulty,
    "second_gate": gated,
    "over_a_line": over_a_line,
    "template": from_the_template,
}

_STATES = {
    OrderStatus.ACCEPTED: 50,
    OrderStatus.PENDING_CANCEL: 51,
    OrderStatus.CANCELED: 54,
    OrderStatus.EXPIRED: 54,
    OrderStatus.PARTIALLY_FILLED: 55,
    OrderStatus.FILLED: 56,
}
_REASONS = {
    "BROKER_REJECT_FUNDS": (260200, "[COUNTER][260200][可用资金不足]"),
    "BROKER_REJECT_POSITION": (251005, "[COUNTER][251005][证券可用数量不足]"),
    "BROKER_REJECT_SESSION": (120144, "[120144] 当前时间不允许交易"),
    "BROKER_REJECT_PRICE_LIMIT": (2**31 - 1, "委托价格超出涨跌停限制"),
}


class FakeCounter:
    """A vendor's client in front of the sandbox: numbers, remarks and texts instead of words."""

    def __init__(self, exchange: SandboxVenue) -> None:
        self._exchange = exchange

    def is_connected(self) -> bool:
        return True

    async def order_stock(
        self, stock_code: str, volume: int, price: Decimal, remark: str, *, is_buy: bool
    ) -> str:
        order = sample_order(
            client_order_id=remark,
            symbol=stock_code,
            side=Side.BUY if is_buy else Side.SELL,
            price=units(price),
            qty=volume,
        )
        try:
            return (await self._exchange.submit(order, mint(order, "none"))).broker_order_id
        except Denied as no:
            raise CounterRefused(*_REASONS.get(no.code, (2**31 - 1, "不允许"))) from no

    async def cancel_order(self, number: str) -> None:
        for day in SESSIONS:
            for one in await self._exchange.orders(day):
                if one.broker_order_id == number:
                    try:
                        await self._exchange.cancel(
                            sample_order(
                                client_order_id=foreign_order_id(number), broker_order_id=number
                            )
                        )
                    except Denied as no:
                        raise CounterRefused(*_REASONS[no.code]) from no

    async def query_orders(self, day: date) -> list[CounterOrder]:
        listed: list[CounterOrder] = []
        for one in await self._exchange.orders(day):
            report = await self._exchange.find(one.client_order_id) if one.client_order_id else None
            listed.append(
                CounterOrder(
                    one.broker_order_id,
                    one.client_order_id,
                    one.symbol,
                    one.side is Side.BUY,
                    Decimal(yuan(one.price)),
                    one.qty,
                    one.filled_qty,
                    _STATES[one.status],
                    "",
                    one.at,
                    one.at if report is None else report.at,
                )
            )
        return listed

    async def query_trades(self, day: date) -> list[CounterTrade]:
        return [
            CounterTrade(
                one.broker_fill_id,
                one.broker_order_id,
                one.symbol,
                one.side is Side.BUY,
                Decimal(yuan(one.price)),
                one.qty,
                one.at,
            )
            for one in await self._exchange.fills(day)
        ]

    async def query_asset(self) -> CounterAsset:
        account = await self._exchange.account()
        return CounterAsset(
            Decimal(yuan(account.cash_free)),
            Decimal(yuan(account.cash_frozen)),
            [(symbol, one.qty, one.sellable) for symbol, one in account.positions.items()],
        )
