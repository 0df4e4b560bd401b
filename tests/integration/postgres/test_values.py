"""Money and bodies come back from their columns exactly."""

from __future__ import annotations

import zlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.postgres import values
from caopan.domain.accounting.journal import CNY
from caopan.kernel.errors import ConfigInvalid

_units = st.integers(min_value=-(10**20) + 1, max_value=10**20 - 1)


@given(_units)
def test_units_are_yuan_with_four_exact_decimals(amount):
    written = values.numeric(amount)
    assert written * 10_000 == amount
    assert values.units(Decimal(f"{written:f}")) == amount
    assert values.asset_units(CNY, values.asset_numeric(CNY, amount)) == amount
    assert values.asset_numeric("600519.SH", amount) == amount
    assert values.asset_units("600519.SH", Decimal(amount)) == amount


@given(st.binary(max_size=5_000))
def test_bodies_come_back_whatever_their_size(tail):
    body = b'{"' + tail
    assert values.unpack(values.pack(body)) == body


@given(st.text(max_size=2_000))
def test_any_text_comes_back(text):
    assert values.unpack_text(values.pack_text(text)) == text


def test_a_damaged_body_comes_back_as_it_lies():
    damaged = bytearray(zlib.compress(b'{"a":1}' * 200, 1))
    damaged[20] ^= 0xFF
    assert values.unpack(bytes(damaged)) == bytes(damaged)
    assert values.unpack(b"") == b""


def test_costs_are_never_rounded():
    assert values.cost_text(values.cost_numeric("0.01250000")) == "0.0125"
    assert values.cost_text(values.cost_numeric("120")) == "120"
    assert values.cost_numeric(None) is None
    with pytest.raises(ConfigInvalid, match="COST_INVALID"):
        values.cost_numeric("0.123456789")
    with pytest.raises(ConfigInvalid, match="COST_INVALID"):
        values.cost_numeric("NaN")
