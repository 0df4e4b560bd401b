"""What each holding cost, in both ways brokers show it, told again from the journal.

Owns `cost_bases`, the fold of journal and fills into a CostBasis per symbol. Must never feed a
booking: the journal's lots are the truth. Tests: tests/unit/application/test_holding_costs.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from uuid import UUID

from caopan.domain.accounting.cost_basis import CostBasis
from caopan.domain.accounting.journal import CNY, DIVIDEND, INVENTORY, OUTSIDE, Kind, Transaction
from caopan.domain.orders.order import Fill, Side


def cost_bases(journal: Iterable[Transaction], fills: Iterable[Fill]) -> Mapping[str, CostBasis]:
    """Return the basis of every symbol ever held; `journal` in order of posting."""
    by_id: dict[UUID, Fill] = {fill.fill_id: fill for fill in fills}
    found: dict[str, CostBasis] = {}
    for one in journal:
        fill = None if one.fill_id is None else by_id.get(one.fill_id)
        if one.kind is Kind.FILL and fill is not None:
            _trade(found, fill)
        elif one.kind is Kind.DEPOSIT:
            _brought_in(found, one)
        elif one.kind is Kind.CORPORATE_ACTION:
            _entitle(found, one)
    return found


def _trade(found: dict[str, CostBasis], fill: Fill) -> None:
    before = found.get(fill.symbol, CostBasis())
    change = before.bought if fill.side is Side.BUY else before.sold
    found[fill.symbol] = change(fill.qty, fill.qty * fill.price, fill.fees)


def _brought_in(found: dict[str, CostBasis], one: Transaction) -> None:
    costs: dict[str, int] = {}
    for posting in one.postings:
        head, _, rest = posting.account.partition("/")
        if head == INVENTORY:
            symbol = rest.partition("/")[0]
            costs[symbol] = costs.get(symbol, 0) + posting.amount
    for symbol, qty in _new_shares(one).items():
        found[symbol] = found.get(symbol, CostBasis()).bought(qty, costs.get(symbol, 0), 0)


def _entitle(found: dict[str, CostBasis], one: Transaction) -> None:
    # A dividend in cash has no posting that names the share; the memo begins with it.
    symbol = one.memo.partition(" ")[0]
    before = found.get(symbol)
    if before is None or not before.qty:
        return
    cash = -sum(posting.amount for posting in one.postings if posting.account == DIVIDEND)
    new = _new_shares(one).get(symbol, 0)
    found[symbol] = before.entitled(cash, Fraction(before.qty + new, before.qty))


def _new_shares(one: Transaction) -> dict[str, int]:
    shares: dict[str, int] = {}
    for posting in one.postings:
        if posting.account == OUTSIDE and posting.asset != CNY:
            shares[posting.asset] = shares.get(posting.asset, 0) - posting.amount
    return shares
