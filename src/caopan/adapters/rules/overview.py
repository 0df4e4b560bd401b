"""`rules show`: every rule in force for one security on one day, each with its source.

Owns the list of what is shown. Must never fill in what is not known: it is listed as unknown, with
the reason. Tests: tests/unit/adapters/rules/test_overview.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from caopan.adapters.rules.book import RuleBook
from caopan.domain.accounting.fees import FeeKind
from caopan.domain.market.dated import DatedRow
from caopan.domain.market.phases import OrderKind, Phase
from caopan.domain.market.price_limits import LimitCase, LimitRow, LimitState, band_limits
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.market.symbols import Security
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.money import yuan


@dataclass(frozen=True, slots=True)
class Shown:
    """One rule as it stands, or why it is not known."""

    rule: str
    value: dict[str, Any]
    """Figures as text, counts as numbers; empty where there is no such rule or it is unknown."""
    row: DatedRow | None = None
    unknown: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the rule with its source."""
        if self.row is None:
            return {"rule": self.rule, "unknown": self.unknown or "no such rule"}
        until = self.row.effective_to
        return {
            "rule": self.rule,
            **self.value,
            "source": self.row.source,
            "confidence": self.row.confidence,
            "effective_from": self.row.effective_from.isoformat(),
            "effective_to": None if until is None else until.isoformat(),
        }


def overview(
    security: Security, day: date, book: RuleBook, pre_close: int | None = None
) -> list[Shown]:
    """Return every rule for `security` on `day`; with `pre_close` (units) the limits as prices."""
    found = list(_limits(security, day, book, pre_close))
    for rule, read in _readers(security, day, book):
        try:
            row, value = read()
        except Denied as error:
            found.append(Shown(rule, {}, unknown=error.message))
            continue
        found.append(Shown(rule, value if row else {}, row))
    found.extend(_order_types(security, day, book))
    return found


def phases_shown(security: Security, day: date, book: RuleBook) -> list[dict[str, str]]:
    """Return the phases of a session `day` with what may be placed and cancelled in each.

    Raises:
        Denied: RISK_RULES_UNKNOWN if the hours of the day are not known.
    """
    listing, table = security.listing, book.market.phases
    windows = table.windows(day, exchange=listing.exchange, instrument=security.instrument)
    starts = [f"{shanghai(window.start):%H:%M}" for window in windows]
    # The last phase ends with the day; the calendar's own last day has no morrow to ask.
    hours = zip(starts, [*starts[1:], "00:00"], strict=True)
    return [
        {"phase": window.phase.value, "start": start, "end": end}
        | _permits(window.phase, security, day, book)
        for window, (start, end) in zip(windows, hours, strict=True)
    ]


def _permits(phase: Phase, security: Security, day: date, book: RuleBook) -> dict[str, str]:
    listing, table = security.listing, book.market.phases
    shown: dict[str, str] = {}
    for kind in OrderKind:
        permit = table.may_place(
            phase, kind, exchange=listing.exchange, board=listing.board, day=day
        )
        shown[kind.value] = permit.value
    cancel = table.may_cancel(phase, OrderKind.LIMIT, exchange=listing.exchange, day=day)
    return {**shown, "cancel": cancel.value}


def _limits(
    security: Security, day: date, book: RuleBook, pre_close: int | None
) -> Iterator[Shown]:
    listing, table = security.listing, book.market.limits
    rows = table.rows(listing.exchange, listing.board, day)
    for row in rows:
        value: dict[str, Any] = {
            "state": row.state.value,
            "up": _share(row.up),
            "down": _share(row.down),
        }
        if pre_close is not None:
            try:
                prices = band_limits(table.band(_case(security, row, day)), pre_close)
            except Denied as error:
                yield Shown("price_limit", {}, unknown=error.message)
                continue
            value["limit_up"] = None if prices.up is None else yuan(prices.up)
            value["limit_down"] = None if prices.down is None else yuan(prices.down)
        yield Shown("price_limit", value, row)
    if not rows:
        reason = f"no price limit of {listing.board} on {listing.exchange} on {day}"
        yield Shown("price_limit", {}, unknown=reason)


def _case(security: Security, row: LimitRow, day: date) -> LimitCase:
    listing, state = security.listing, row.state
    first = state in {LimitState.LISTING_DAY, LimitState.LISTING_WINDOW}
    delisting = {LimitState.DELISTING_DAY: 1, LimitState.DELISTING: 2}
    return LimitCase(
        listing.exchange,
        listing.board,
        day,
        is_st=state is LimitState.ST,
        listing_day_index=1 if first else None,
        delisting_day_index=delisting.get(state),
        relisted=state is LimitState.RELISTING_DAY,
    )


_Read = Callable[[], tuple[DatedRow | None, dict[str, Any]]]


def _readers(security: Security, day: date, book: RuleBook) -> Iterator[tuple[str, _Read]]:
    """Yield each rule's name and how its row and value are read."""
    listing, kind, market = security.listing, security.instrument, book.market
    exchange, board = listing.exchange, listing.board

    def rounding() -> tuple[DatedRow, dict[str, Any]]:
        row = market.limits.rounding_row(exchange, day, kind)
        return row, {"rounding": row.rounding.value}

    def tick() -> tuple[DatedRow, dict[str, Any]]:
        row = market.limits.tick_row(exchange, day, kind)
        return row, {"tick_size": yuan(row.tick_size)}

    def quantity() -> tuple[DatedRow, dict[str, Any]]:
        row = market.quantities.rule(exchange, board, day)
        names = ("lot_size", "min_buy_qty", "qty_step", "max_limit_qty", "max_market_qty")
        return row, {name: getattr(row, name) for name in names}

    def cage() -> tuple[DatedRow, dict[str, Any]]:
        row = market.cages.row(exchange, board, day)
        return row, {"share": _share(row.share), "ticks": row.ticks, "beyond": row.beyond.value}

    def settlement() -> tuple[DatedRow, dict[str, Any]]:
        row = market.settlement.row(exchange, board, security.fund_kind, day)
        return row, {"holding_days": row.holding_days}

    def hours() -> tuple[DatedRow, dict[str, Any]]:
        row = market.phases.session_row(day, exchange, kind)
        return row, {"closing_auction": row.closing_auction}

    def after_hours() -> tuple[DatedRow | None, dict[str, Any]]:
        return market.phases.after_hours_row(exchange, board, day), {}

    yield from (
        ("limit_rounding", rounding),
        ("tick", tick),
        ("quantity", quantity),
        ("price_cage", cage),
        ("settlement", settlement),
        ("hours", hours),
        ("after_hours", after_hours),
    )
    if kind is Instrument.STOCK:
        yield from _share_readers(security, day, book)
    for fee in FeeKind:
        yield fee.value, lambda fee=fee: _fee(book, fee, exchange, day, kind)


def _share_readers(security: Security, day: date, book: RuleBook) -> Iterator[tuple[str, _Read]]:
    listing, market = security.listing, book.market

    def cap() -> tuple[DatedRow | None, dict[str, Any]]:
        row = market.quantities.daily_buy_cap(listing.exchange, day)
        return row, {} if row is None else {"most": row.most}

    def halts() -> tuple[DatedRow, dict[str, Any]]:
        row = market.halts.row(listing.exchange, listing.board, day)
        return row, {"tiers": [_share(tier) for tier in row.tiers], "minutes": row.minutes}

    yield "risk_warning_daily_buy", cap
    yield "temporary_halt", halts


def _fee(
    book: RuleBook, fee: FeeKind, exchange: Exchange, day: date, kind: Instrument
) -> tuple[DatedRow, dict[str, Any]]:
    row = book.fees.row(exchange, fee, day, kind)
    return row, {"rate": _share(row.rate)}


def _order_types(security: Security, day: date, book: RuleBook) -> Iterator[Shown]:
    listing = security.listing
    for row in book.market.order_types.offered(listing.exchange, listing.board, day):
        kind = row.order_type.kind
        if kind is OrderKind.AFTER_HOURS_FIXED and not book.market.phases.after_hours(
            listing.exchange, listing.board, day
        ):
            continue
        value = {
            "order_type": row.order_type.value,
            "needs_limits": row.needs_limits,
            "needs_protection": row.needs_protection,
        }
        yield Shown("order_type", value, row)


def _share(share: Fraction | None) -> str | None:
    """Return a share exactly, as percent; None for none."""
    if share is None:
        return None
    percent = share * 100
    digits = 0
    while (percent * 10**digits).denominator != 1:
        digits += 1
    whole = f"{int(percent * 10**digits):0{digits + 1}d}"
    text = f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
    return f"{text}%"
