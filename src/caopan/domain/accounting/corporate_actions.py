"""Ex-right reference prices: what yesterday's close is worth after a corporate action.

Owns the formula of the exchanges. Must never touch a book: bookings are made elsewhere. Tests:
tests/unit/domain/accounting/test_corporate_actions.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import half_up, yuan


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one share held at the record date receives. Cash and prices in units, pre-tax."""

    cash: Fraction = Fraction(0)
    """Cash per share; a fraction of a unit where only some shares take part (差异化分红)."""
    bonus: Fraction = Fraction(0)
    """New shares per share, free of charge: bonus shares and converted reserves (送股, 转增)."""
    rights: Fraction = Fraction(0)
    """New shares per share that may be bought (配股)."""
    rights_price: int = 0

    def __post_init__(self) -> None:
        """Refuse negative terms. Raises ConfigInvalid CORPORATE_ACTION_INVALID."""
        for name in ("cash", "bonus", "rights", "rights_price"):
            if getattr(self, name) < 0:
                raise ConfigInvalid(
                    "CORPORATE_ACTION_INVALID", f"{name} {getattr(self, name)} is negative"
                )

    def taken_by(self, share: Fraction) -> Entitlement:
        """Return the terms spread over all shares where only `share` of them take part."""
        return Entitlement(self.cash * share, self.bonus * share, self.rights, self.rights_price)


def ex_reference(pre_close: int, terms: Entitlement, tick: int) -> int:
    """Return the ex-right reference price in units, rounded half up to the tick.

    (close - cash + rights price x rights) / (1 + bonus + rights): the price at which a holder who
    takes up the rights is as rich as before.

    Raises:
        ConfigInvalid: CORPORATE_ACTION_INVALID if the terms are worth the whole price or more.
    """
    worth = pre_close - terms.cash + terms.rights_price * terms.rights
    found = half_up(worth / (1 + terms.bonus + terms.rights), tick)
    if found <= 0:
        raise ConfigInvalid(
            "CORPORATE_ACTION_INVALID",
            f"a close of {yuan(pre_close)} leaves nothing after {terms}",
            remedy="check the cash per share and the close before",
        )
    return found


def share_factor(terms: Entitlement) -> Fraction:
    """Return holding after / holding before for a holder who does not take up the rights."""
    return 1 + terms.bonus
