"""Waits that grow and end."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from caopan.application.back_off import MOST, BackOff


@given(st.integers(1, 60))
def test_waits_never_shrink_nor_pass_the_limit_and_success_begins_anew(tries):
    back_off = BackOff()
    waits = [back_off.failed() for _ in range(tries)]
    assert waits == sorted(waits)
    assert timedelta() < waits[0]
    assert waits[-1] <= MOST
    assert back_off.failures == tries
    assert tries < 7 or waits[-1] == MOST
    back_off.succeeded()
    assert (back_off.failures, back_off.failed()) == (0, waits[0])
