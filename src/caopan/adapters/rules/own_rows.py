"""Our own dated rule rows: what the cited data set does not cover.

Owns these rows and nothing else; each has its source and how sure it is. Must never repeat a rule
the data set gives: where both speak and differ, the case is refused. Tests:
tests/unit/adapters/rules.

Confidence: V read in the official text; V2 read in a secondary page, an engine's source or a
vendor's document; M from memory, unrefuted; U sources conflict. Sources "§n" are the sections of
market-rules.md (survey of 2026-11-22), S-numbers its list of sources.
"""

from __future__ import annotations

from datetime import date

from caopan.domain.accounting.fees import FeeKind, FeeRow
from caopan.domain.market.phases import AfterHoursRow, GapRow, Permit, SessionRow
from caopan.domain.market.price_limits import LimitRounding, OneTickRow, RoundingRow, TickRow
from caopan.domain.market.quantity import QuantityRow
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.money import rate, units

_RULES_2006 = date(2006, 7, 1)
_STAR_OPENS = date(2019, 7, 22)
_CHINEXT_REFORM = date(2020, 8, 24)
_BSE_OPENS = date(2021, 11, 15)
_RULES_2023 = date(2023, 4, 10)
_FEES_2023 = date(2023, 8, 28)
_RULES_2026 = date(2026, 7, 6)

ROUNDING = (
    RoundingRow(
        # The text says half up; two engines checked against a whole market's quotes cut inwards.
        # The inward band lies inside the other, so it never admits an order that is void.
        exchange=Exchange.BJ,
        rounding=LimitRounding.INWARD,
        effective_from=_BSE_OPENS,
        source="§1.2 (S5)",
        confidence="V2",
    ),
)

TICKS = (
    TickRow(
        exchange=Exchange.BJ,
        tick_size=units("0.01"),
        effective_from=_BSE_OPENS,
        source="§3 (S8)",
        confidence="V2",
    ),
)

ONE_TICK = (
    OneTickRow(
        # The earlier rules had the rounding sentence only.
        exchange=Exchange.SH,
        applies=False,
        effective_from=date(1996, 12, 16),
        effective_to=_RULES_2023,
        source="§1.2 (S1)",
        confidence="V",
    ),
)
"""Beijing's relaxation is not known: a share that would need it (below 0.04 yuan) is refused."""

QUANTITIES = (
    *(
        QuantityRow(
            exchange=exchange,
            board=Board.MAIN,
            lot_size=100,
            min_buy_qty=100,
            qty_step=100,
            max_limit_qty=1_000_000,
            max_market_qty=1_000_000,
            effective_from=_RULES_2006,
            source="§3 (S9)",
            confidence="V2",
        )
        for exchange in (Exchange.SH, Exchange.SZ)
    ),
    QuantityRow(
        # Before its reform ChiNext kept Shenzhen's general rule.
        exchange=Exchange.SZ,
        board=Board.CHINEXT,
        lot_size=100,
        min_buy_qty=100,
        qty_step=100,
        max_limit_qty=1_000_000,
        max_market_qty=1_000_000,
        effective_from=date(2009, 10, 30),
        effective_to=_CHINEXT_REFORM,
        source="§3 (S9)",
        confidence="M",
    ),
    QuantityRow(
        exchange=Exchange.SZ,
        board=Board.CHINEXT,
        lot_size=100,
        min_buy_qty=100,
        qty_step=100,
        max_limit_qty=300_000,
        max_market_qty=150_000,
        effective_from=_CHINEXT_REFORM,
        source="§3 (S9)",
        confidence="V2",
    ),
    QuantityRow(
        exchange=Exchange.SH,
        board=Board.STAR,
        lot_size=200,
        min_buy_qty=200,
        qty_step=1,
        max_limit_qty=100_000,
        max_market_qty=50_000,
        effective_from=_STAR_OPENS,
        source="§3 (S9)",
        confidence="V2",
    ),
    QuantityRow(
        exchange=Exchange.BJ,
        board=Board.BSE,
        lot_size=100,
        min_buy_qty=100,
        qty_step=1,
        max_limit_qty=1_000_000,
        max_market_qty=1_000_000,
        effective_from=_BSE_OPENS,
        source="§3 (S8; the largest order from memory)",
        confidence="M",
    ),
)

SESSIONS = (
    SessionRow(
        # Sources differ on whether cancels end at 14:57 or 14:59; the earlier is safe.
        exchange=Exchange.BJ,
        closing_auction=True,
        effective_from=_BSE_OPENS,
        source="§4",
        confidence="U",
    ),
)

AFTER_HOURS = (
    AfterHoursRow(
        exchange=Exchange.SH,
        board=Board.STAR,
        effective_from=_STAR_OPENS,
        source="§0, §4 (S1)",
        confidence="V",
    ),
    AfterHoursRow(
        exchange=Exchange.SZ,
        board=Board.CHINEXT,
        effective_from=_CHINEXT_REFORM,
        source="§0, §4 (S1)",
        confidence="V",
    ),
    *(
        AfterHoursRow(
            exchange=exchange,
            board=Board.MAIN,
            effective_from=_RULES_2026,
            source="§0, §4 (S1)",
            confidence="V",
        )
        for exchange in (Exchange.SH, Exchange.SZ)
    ),
)
"""Beijing's rules name it too, but it was not put into force with them (§0)."""

AUCTION_GAPS = (
    GapRow(
        exchange=Exchange.SH,
        permit=Permit.REFUSED,
        effective_from=_RULES_2006,
        source="§4",
        confidence="M",
    ),
    GapRow(
        exchange=Exchange.SZ,
        permit=Permit.QUEUED,
        effective_from=_RULES_2006,
        source="§4 (S6)",
        confidence="V2",
    ),
    GapRow(
        exchange=Exchange.BJ,
        permit=Permit.REFUSED,
        effective_from=_BSE_OPENS,
        source="§4, taken as Shanghai's: refusing is the safe side",
        confidence="M",
    ),
)

FEES = (
    FeeRow(
        exchange=Exchange.BJ,
        kind=FeeKind.STAMP_DUTY_SELL,
        rate=rate("0.001"),
        effective_from=_BSE_OPENS,
        effective_to=_FEES_2023,
        source="§7 (S1): a national tax, the same on each exchange",
        confidence="V2",
    ),
    FeeRow(
        exchange=Exchange.BJ,
        kind=FeeKind.STAMP_DUTY_SELL,
        rate=rate("0.0005"),
        effective_from=_FEES_2023,
        source="§7 (S1): a national tax, the same on each exchange",
        confidence="V2",
    ),
    FeeRow(
        exchange=Exchange.BJ,
        kind=FeeKind.TRANSFER_FEE,
        rate=rate("0.000025"),
        effective_from=_BSE_OPENS,
        effective_to=date(2022, 4, 29),
        source="§7",
        confidence="M",
    ),
    FeeRow(
        exchange=Exchange.BJ,
        kind=FeeKind.TRANSFER_FEE,
        rate=rate("0.00001"),
        effective_from=date(2022, 4, 29),
        source="§7 (S1)",
        confidence="V2",
    ),
    *(
        FeeRow(
            exchange=exchange,
            kind=FeeKind.HANDLING_FEE,
            rate=rate(share),
            effective_from=start,
            effective_to=end,
            source="§7 (S13)",
            confidence="V2",
        )
        for exchange, share, start, end in (
            (Exchange.SH, "0.0000487", date(2015, 8, 1), _FEES_2023),
            (Exchange.SZ, "0.0000487", date(2015, 8, 1), _FEES_2023),
            (Exchange.SH, "0.0000341", _FEES_2023, None),
            (Exchange.SZ, "0.0000341", _FEES_2023, None),
            (Exchange.BJ, "0.00025", _BSE_OPENS, _FEES_2023),
            (Exchange.BJ, "0.000125", _FEES_2023, None),
        )
    ),
    *(
        FeeRow(
            exchange=exchange,
            kind=FeeKind.REGULATORY_FEE,
            rate=rate("0.00002"),
            effective_from=start,
            source="§7 (发改价格〔2012〕2119号)",
            confidence="V2",
        )
        for exchange, start in (
            (Exchange.SH, date(2012, 9, 1)),
            (Exchange.SZ, date(2012, 9, 1)),
            (Exchange.BJ, _BSE_OPENS),
        )
    ),
)
