"""What an ex-date gives, and to whom."""

from datetime import date, time
from fractions import Fraction

from caopan.application.day_books import entitlements_of
from caopan.domain.accounting.journal import Book, fold
from caopan.domain.market.reference import CorporateAction
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.samples import DAY, SYMBOL, sample_reference

EARLIER = date(2023, 5, 31)
AT_THE_OPEN = at_shanghai(DAY, time(9, 16))
AFTER_THE_CLOSE = at_shanghai(DAY, time(15, 1))


SEED = "0" * 64


class ExDate(TableMarket):
    """A market whose one reference carries an entitlement."""

    def __init__(self, action):
        super().__init__([EARLIER, DAY], [flat_bar(SYMBOL, DAY, "10.00")])
        self._reference_given = sample_reference(action=action)

    def references(self, day, now):
        return {SYMBOL: self._reference_given}


def holding(**shares):
    """A book with `shares` free, keyed by b<yyyymmdd> of purchase."""
    balances = {}
    for name, qty in shares.items():
        bought_on = date.fromisoformat(f"{name[1:5]}-{name[5:7]}-{name[7:]}").isoformat()
        balances[f"shares.free/{bought_on}", SYMBOL] = qty
        balances["outside", SYMBOL] = balances.get(("outside", SYMBOL), 0) - qty
    return Book(balances)


def test_shares_bought_on_the_ex_date_receive_nothing():
    """Asked again after the close, as a restarted day does, the day's own purchase is held too."""
    market = ExDate(CorporateAction(units(1), Fraction(2), estimated=False))
    bought_today = holding(b20230601=500)

    assert entitlements_of(market, SEED, bought_today, DAY, AFTER_THE_CLOSE) == []


def test_the_answer_of_the_open_is_the_answer_after_the_close():
    market = ExDate(CorporateAction(units(1), Fraction(2), estimated=False))
    at_open = entitlements_of(market, SEED, holding(b20230531=1000), DAY, AT_THE_OPEN)
    later = entitlements_of(
        market, SEED, holding(b20230531=1000, b20230601=500), DAY, AFTER_THE_CLOSE
    )

    assert [t.postings for t in later] == [t.postings for t in at_open]
    assert [t.txn_id for t in later] == [t.txn_id for t in at_open]
    received = fold(at_open)
    assert received.cash_free == 1000 * units(1)
    assert received.quantities() == {SYMBOL: 1000}
    assert [lot.bought_on for lot in received.lots(SYMBOL)] == [EARLIER]
