"""The rule book: what the data set and our own rows become, and how they must not clash."""

import os
import subprocess
import sys
from datetime import date
from itertools import combinations

import marina_rules
import pytest

from caopan.adapters.rules import book
from caopan.domain.market.price_limits import LimitState
from caopan.domain.market.reference import Board, Exchange, FundKind, Instrument
from caopan.kernel.errors import ConfigInvalid

CONFIDENCE = {"V", "V2", "M", "U"}


def own():
    for table in book.own_tables().values():
        yield from table


def test_each_own_row_has_a_source_and_tells_how_sure_it_is():
    rows = list(own())
    assert len(rows) > 20
    assert all(row.source and row.confidence in CONFIDENCE for row in rows)
    assert all(row.effective_to is None or row.effective_from < row.effective_to for row in rows)


def test_the_citation_names_both_tables_by_digest():
    citation = book.load_rules().market.citation
    assert marina_rules.citation() in citation
    assert "own rows sha256:" in citation


def test_scopes_of_the_data_set_are_all_understood_but_b_shares():
    scopes = {
        record.scope
        for record in marina_rules.records()
        if record.rule.startswith("price_limit_pct") and "b_share" not in record.scope
    }
    assert scopes == set(book._STATES)


def test_where_both_speak_they_say_the_same():
    # Two rows of one key in force on one day would refuse the case; none may ship.
    table = book.load_rules().market.limits
    for rows in table._limits.values():
        for one, other in combinations(rows, 2):
            apart = (one.effective_to and one.effective_to <= other.effective_from) or (
                other.effective_to and other.effective_to <= one.effective_from
            )
            assert apart or one.value() == other.value()


def test_chinext_listings_leave_the_main_boards_rule_with_its_reform():
    rows = [
        row
        for record in marina_rules.records()
        for row in book._limit_rows(record)
        if row.board == "chinext" and row.state is LimitState.LISTING_DAY
    ]
    assert max(row.effective_to or date.max for row in rows) == date(2020, 8, 24)


def test_funds_settle_and_tick_by_the_data_set():
    market = book.load_rules().market
    day = date(2026, 11, 20)
    assert market.limits.tick_size(Exchange.SH, day, Instrument.FUND) == 10
    assert market.settlement.row(Exchange.SH, Board.ETF, FundKind.BOND, day).holding_days == 0
    assert market.settlement.row(Exchange.SZ, Board.ETF20, None, day).holding_days == 1


def test_the_digest_of_our_rows_does_not_depend_on_the_order_of_a_set():
    program = "from caopan.adapters.rules import book; print(book._own_digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_form_of_the_data_set_that_is_not_known_is_refused(monkeypatch):
    odd = next(r for r in marina_rules.records() if r.rule == "limit_price_rounding")
    monkeypatch.setattr(
        marina_rules, "records", lambda: (odd.__class__(**{**vars(odd), "value": "bankers"}),)
    )
    with pytest.raises(ConfigInvalid, match="RULES_UNREADABLE"):
        book.load_rules.__wrapped__()


def test_a_data_set_that_refuses_to_load_is_one_clear_message(monkeypatch):
    def refuse():
        raise ValueError("overlapping records")

    monkeypatch.setattr(marina_rules, "records", refuse)
    with pytest.raises(ConfigInvalid, match=r"RULES_UNREADABLE.*overlapping") as caught:
        book.load_rules.__wrapped__()
    assert caught.value.remedy
