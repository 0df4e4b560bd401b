"""Corporate actions of a scenario: read, checked, and done to the account on their day.

Owns Action, the fields of each kind, and what of it is answered. Must never guess a term: a field
that is missing, or belongs to another kind, is refused by name. Tests:
tests/integration/exchange/test_scenario_actions.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any

from caopan.application.exchange.scenario_values import (
    Row,
    as_day,
    as_object,
    as_rate,
    as_symbol,
    field,
    refuse,
)
from caopan.domain.accounting.holding_changes import change_code, take_up_rights, write_off
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.matching.bars import read_price
from caopan.kernel.money import yuan


class ActionKind(StrEnum):
    """What happens to a security."""

    ENTITLEMENT = "entitlement"
    """A cash dividend, bonus shares, shares made of reserves; the kind where none is told."""
    SPLIT = "split"
    RIGHTS = "rights"
    CODE_CHANGE = "code_change"
    DELISTING = "delisting"


_FIELDS = {
    ActionKind.ENTITLEMENT: {
        "cash_per_share",
        "share_factor",
        "bonus",
        "pay_date",
        "listing_date",
    },
    ActionKind.SPLIT: {"share_factor"},
    ActionKind.RIGHTS: {"rights_per_share", "rights_price", "take_up", "listing_date"},
    ActionKind.CODE_CHANGE: {"new_symbol"},
    ActionKind.DELISTING: set[str](),
}
"""Beside kind, symbol and ex_date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One corporate action; money in units, everything per share held before the ex-date."""

    kind: ActionKind
    symbol: str
    cash_per_share: int = 0
    share_factor: Fraction = Fraction(1)
    bonus: Fraction = Fraction(0)
    """Of the new shares per share, those taxed as income at par (送股)."""
    pay_date: date | None = None
    """When the cash comes; None for the ex-date itself."""
    listing_date: date | None = None
    """From when on the new shares may be sold; None for the ex-date itself."""
    rights_per_share: Fraction = Fraction(0)
    rights_price: int = 0
    take_up: bool = False
    """Whether the holder pays for the rights; else they lapse."""
    new_symbol: str = ""


def read_actions(
    rows: Sequence[Any], traded: Mapping[str, Sequence[date]], days: Sequence[date]
) -> dict[date, list[Action]]:
    """Return the actions by the session they take effect on; `traded` has each symbol's sessions.

    Raises:
        ConfigInvalid: SCENARIO_INVALID or BARS_INVALID naming row and field.
    """
    found: dict[date, list[Action]] = {}
    for i, value in enumerate(rows):
        where = f"corporate_actions[{i}]"
        row = as_object(value, where)
        ex_date = as_day(field(row, "ex_date", where), f"{where}.ex_date")
        action = _action(row, where, ex_date, traded)
        # An ex-date without a session takes effect on the next one.
        day = next((one for one in days if one >= ex_date), None)
        if day is not None:
            found.setdefault(day, []).append(action)
    return found


def apply_actions(
    account: TradingAccount, actions: Sequence[Action], recorded_on: date | None
) -> list[dict[str, Any]]:
    """Do a day's actions to the account in their order; return what there is to say of them.

    Entitlements show in cash and positions, so nothing is said of them. `recorded_on` is the
    session before.
    """
    told: list[dict[str, Any]] = []
    # All of a day's actions are owed to what was held before the first of them.
    before = {held.symbol: held.qty for held in account.holdings.values()}
    for action in actions:
        symbol, held = action.symbol, before.get(action.symbol, 0)
        outcome = "done" if held else "nothing_held"
        match action.kind:
            case ActionKind.ENTITLEMENT | ActionKind.SPLIT:
                account.entitle(
                    symbol,
                    action.cash_per_share,
                    action.share_factor,
                    action.bonus,
                    recorded_on,
                    action.pay_date,
                    action.listing_date,
                )
            case ActionKind.RIGHTS:
                held = int(held * action.rights_per_share)
                outcome = _rights(account, action, held)
            case ActionKind.CODE_CHANGE:
                change_code(account, symbol, action.new_symbol)
            case ActionKind.DELISTING:
                write_off(account, symbol)
        if action.kind is not ActionKind.ENTITLEMENT:
            told.append(
                {
                    "date": account.today.isoformat(),
                    "symbol": symbol,
                    "kind": action.kind.value,
                    "qty": held,
                    "outcome": outcome,
                }
            )
    return told


def _rights(account: TradingAccount, action: Action, qty: int) -> str:
    if not qty:
        return "nothing_held"
    if not action.take_up:
        return "lapsed"
    price, listing = action.rights_price, action.listing_date
    taken = take_up_rights(account, action.symbol, qty, price, listing)
    return "taken_up" if taken else "lapsed_for_want_of_cash"


def _action(row: Row, where: str, ex_date: date, traded: Mapping[str, Sequence[date]]) -> Action:
    name = row.get("kind", ActionKind.ENTITLEMENT.value)
    if name not in tuple(ActionKind):
        refuse(f"{where}.kind", f"{name!r} is none of {', '.join(ActionKind)}")
    kind = ActionKind(name)
    for other in sorted(set[str]().union(*_FIELDS.values()) - _FIELDS[kind]):
        if other in row:
            refuse(f"{where}.{other}", f"a {kind} has no such field")
    symbol = as_symbol(row, where, traded)
    match kind:
        case ActionKind.ENTITLEMENT:
            return _entitlement(row, where, ex_date, symbol)
        case ActionKind.SPLIT:
            return Action(kind=kind, symbol=symbol, share_factor=_factor(row, where))
        case ActionKind.RIGHTS:
            return _rights_issue(row, where, ex_date, symbol)
        case ActionKind.CODE_CHANGE:
            new = as_symbol(row, where, traded, "new_symbol")
            if new == symbol:
                refuse(f"{where}.new_symbol", f"{new!r} is the old symbol")
            _refuse_bars(where, symbol, [day for day in traded[symbol] if day >= ex_date])
            _refuse_bars(where, new, [day for day in traded[new] if day < ex_date])
            return Action(kind=kind, symbol=symbol, new_symbol=new)
        case ActionKind.DELISTING:
            _refuse_bars(where, symbol, [day for day in traded[symbol] if day >= ex_date])
            return Action(kind=kind, symbol=symbol)


def _entitlement(row: Row, where: str, ex_date: date, symbol: str) -> Action:
    factor = _factor(row, where)
    bonus = as_rate(row, "bonus", where) if "bonus" in row else Fraction(0)
    if bonus and bonus > factor - 1:
        refuse(f"{where}.bonus", f"{bonus} is more than the {factor - 1} new shares a share")
    listing = _later(row, "listing_date", where, ex_date)
    if listing is not None and factor <= 1:
        refuse(f"{where}.listing_date", f"{listing}, but a factor of {factor} gives no new shares")
    return Action(
        kind=ActionKind.ENTITLEMENT,
        symbol=symbol,
        cash_per_share=read_price(row, "cash_per_share", where),
        share_factor=factor,
        bonus=bonus,
        pay_date=_later(row, "pay_date", where, ex_date),
        listing_date=listing,
    )


def _rights_issue(row: Row, where: str, ex_date: date, symbol: str) -> Action:
    per_share = as_rate(row, "rights_per_share", where)
    if not per_share:
        refuse(f"{where}.rights_per_share", "0 gives no rights")
    price = read_price(row, "rights_price", where)
    if not price:
        refuse(f"{where}.rights_price", f"{yuan(price)} is not above 0")
    take_up = field(row, "take_up", where)
    if not isinstance(take_up, bool):
        refuse(f"{where}.take_up", f"{take_up!r} is neither true nor false")
    return Action(
        kind=ActionKind.RIGHTS,
        symbol=symbol,
        rights_per_share=per_share,
        rights_price=price,
        take_up=take_up,
        listing_date=_later(row, "listing_date", where, ex_date),
    )


def _factor(row: Row, where: str) -> Fraction:
    factor = as_rate(row, "share_factor", where)
    if factor <= 0:
        refuse(f"{where}.share_factor", f"{factor} is not above 0")
    return factor


def _later(row: Row, name: str, where: str, ex_date: date) -> date | None:
    if row.get(name) is None:
        return None
    day = as_day(row[name], f"{where}.{name}")
    if day < ex_date:
        refuse(f"{where}.{name}", f"{day} lies before the ex-date {ex_date}")
    return day


def _refuse_bars(where: str, symbol: str, days: Sequence[date]) -> None:
    if days:
        refuse(f"{where}.ex_date", f"{symbol} has a bar on {days[0]}, under a code not in use then")
