"""How domain values are written in columns: money, shares, bodies.

Owns the exact conversions between integer units and NUMERIC, and the packing of bodies. Must never
round. Tests: tests/integration/postgres/test_values.py.
"""

from __future__ import annotations

import zlib
from decimal import Decimal

from caopan.domain.accounting.journal import CNY
from caopan.kernel.errors import ConfigInvalid

_MONEY_EXPONENT = -4
_COST_EXPONENT = -8
_PACKED = 0x78
"""First byte of a zlib stream; no JSON value begins with it ("x")."""
_WORTH_PACKING = 512


def numeric(units: int) -> Decimal:
    """Return integer units as yuan."""
    return Decimal(units).scaleb(_MONEY_EXPONENT)


def numeric_or_none(units: int | None) -> Decimal | None:
    """Return integer units as yuan, None as None."""
    return None if units is None else Decimal(units).scaleb(_MONEY_EXPONENT)


def units(value: Decimal) -> int:
    """Return yuan as integer units."""
    return int(value.scaleb(-_MONEY_EXPONENT))


def units_or_none(value: Decimal | None) -> int | None:
    """Return yuan as integer units, None as None."""
    return None if value is None else int(value.scaleb(-_MONEY_EXPONENT))


def asset_numeric(asset: str, amount: int) -> Decimal:
    """Return an amount of money as yuan, an amount of shares as it is."""
    return numeric(amount) if asset == CNY else Decimal(amount)


def asset_units(asset: str, value: Decimal) -> int:
    """Return a stored amount as integer units of money or whole shares."""
    return units(value) if asset == CNY else int(value)


def cost_numeric(text: str | None) -> Decimal | None:
    """Return a decimal string of yuan with at most eight decimals.

    Raises ConfigInvalid COST_INVALID where the column would have to round.
    """
    if text is None:
        return None
    value = Decimal(text)
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < _COST_EXPONENT:
        raise ConfigInvalid("COST_INVALID", f"cost_cny {text!r} has more than eight decimals")
    return value


def cost_text(value: Decimal | None) -> str | None:
    """Return a stored cost as the shortest plain decimal string."""
    return None if value is None else format(value.normalize(), "f")


def pack(body: bytes) -> bytes:
    """Return `body` (JSON) compressed where that pays.

    Level 1: on a 150 kB observation level 6 takes several times as long for a little less space.
    """
    return zlib.compress(body, 1) if len(body) >= _WORTH_PACKING else body


def pack_text(text: str) -> bytes:
    """Return any text compressed; unlike JSON it may begin with any letter."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def unpack_text(stored: bytes) -> str:
    """Return the text that `pack_text` stored."""
    return zlib.decompress(stored).decode("utf-8", "surrogatepass")


def unpack(stored: bytes) -> bytes:
    """Return the body that `pack` stored; a damaged one comes back as it lies, for the verifier."""
    if not stored or stored[0] != _PACKED:
        return stored
    try:
        return zlib.decompress(stored)
    except zlib.error:
        return stored
