"""One account's place at the desk: its image, its units of work, its controls.

Owns Seat: the image of the account that pipeline and execution share, when it is read anew, and
what stands against the account's trading. Must never be used by two tasks at once; the run's lease
keeps other processes away.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar
from uuid import UUID

from caopan.application.account import AccountCache
from caopan.application.desk import Desk
from caopan.application.ports.store import UnitOfWork
from caopan.domain.accounting.journal import Transaction
from caopan.domain.decision.shapes import Origin
from caopan.domain.ledger.chain import Draft
from caopan.domain.orders.order import Order
from caopan.domain.risk.kill_switch import Control, KillLevel
from caopan.kernel.errors import CorruptState

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Seat:
    """The desk and the present image of its account."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk; `reload` before use."""
        self.desk = desk
        self._account: AccountCache | None = None
        self.control = Control()
        """What stands against the account, as last read from or written to the store."""
        self.operated: set[UUID] = set()
        """Decisions of a person or a halt that may still have open orders."""
        self.stage_ms: dict[str, list[float]] = {}

    @property
    def account(self) -> AccountCache:
        """Return the account's image.

        Raises:
            CorruptState: ACCOUNT_NOT_LOADED before `reload`, and after any failure in a stage: what
                the image held may never have been stored.
        """
        if self._account is None:
            raise CorruptState(
                "ACCOUNT_NOT_LOADED", "the account was not read from the store", remedy="start anew"
            )
        return self._account

    def level(self) -> KillLevel:
        """Return the kill switch's level in force for this account, right now."""
        return max(self.desk.kill_switch.level(), self.control.level)

    def control_now(self) -> Control:
        """Return what stands against the account at this moment, for the gate."""
        return replace(self.control, level=self.level())

    def begin(self) -> UnitOfWork:
        """Return a unit of work on the account's run."""
        return self.desk.store.begin(self.desk.run.run_id)

    async def reload(self) -> None:
        """Read account and controls from the store."""
        async with self.begin() as uow:
            self._account = await AccountCache.load(uow)
            self.operated = {
                cycle.decision_id
                for cycle in await uow.cycles.unfinished()
                if cycle.origin is Origin.OPERATOR
            }
            self.control = await uow.controls.get()

    async def read_control(self) -> None:
        """Read what stands against the account anew: another process may have changed it."""
        async with self.begin() as uow:
            self.control = await uow.controls.get()

    @asynccontextmanager
    async def believed(self) -> AsyncGenerator[None]:
        """Forget the image if what happens inside fails: only the store knows what was stored.

        A CorruptState is about the facts, not about what was stored; the image stays.
        """
        try:
            yield
        except CorruptState:
            raise
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Forget the image: what was not committed must not be believed."""
        self._account = None

    async def trace(self, decision_id: UUID) -> UUID:
        """Return the trace of a decision. Raises CorruptState DECISION_MISSING."""
        async with self.begin() as uow:
            cycle = await uow.cycles.get(decision_id)
        if cycle is None:
            raise CorruptState("DECISION_MISSING", f"an order names decision {decision_id}")
        return cycle.trace_id

    async def record(
        self,
        drafts: Sequence[Draft],
        *,
        transactions: Sequence[Transaction] = (),
        orders: Sequence[Order] = (),
    ) -> None:
        """Make changed orders, bookings and their ledger entries durable together."""
        async with self.believed(), self.begin() as uow:
            if orders:
                await uow.orders.save(orders)
            if transactions:
                await uow.journal.post(transactions)
            if drafts:
                await uow.ledger.append(drafts)
            await uow.commit()
        self.account.apply(transactions, orders)

    async def timed(
        self, stage: str, work: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Do `work` and note how long it took."""
        began = self.desk.monotonic_ms()
        try:
            return await work(*args, **kwargs)
        finally:
            self.stage_ms.setdefault(stage, []).append(self.desk.monotonic_ms() - began)
