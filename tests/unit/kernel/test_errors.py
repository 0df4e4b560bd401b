"""The tree of errors: what each kind tells its caller to do."""

from __future__ import annotations

import copy
import pickle

import pytest

from caopan.kernel import errors
from caopan.kernel.errors import CaopanError, Retry

KINDS = {
    errors.Denied: Retry.NEVER,
    errors.Unavailable: Retry.SAFE,
    errors.OutcomeUnknown: Retry.ASK_FIRST,
    errors.Conflict: Retry.RELOAD,
    errors.CorruptState: Retry.HUMAN,
    errors.ConfigInvalid: Retry.HUMAN,
}


def test_the_tree_is_flat_and_whole():
    defined = {
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, CaopanError) and item is not CaopanError
    }
    assert defined == set(KINDS)
    assert all(kind.__bases__ == (CaopanError,) for kind in KINDS)


@pytest.mark.parametrize(("kind", "retry"), KINDS.items())
def test_each_kind_says_what_may_be_done(kind, retry):
    assert kind("CODE", "message").retry is retry


def test_no_kind_is_caught_as_another():
    for kind in KINDS:
        for other in KINDS:
            assert issubclass(kind, other) == (kind is other)


def test_an_error_is_one_line_of_code_message_and_remedy():
    error = errors.Denied("RISK_TICK", "price 1.005 is off tick", remedy="round it")
    assert str(error) == "RISK_TICK: price 1.005 is off tick Remedy: round it"
    assert str(errors.Denied("RISK_TICK", "off tick")) == "RISK_TICK: off tick"
    assert (error.code, error.message, error.remedy) == (
        "RISK_TICK",
        "price 1.005 is off tick",
        "round it",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_a_process_boundary(kind):
    error = kind("CODE", "message", remedy="remedy")
    restored = pickle.loads(pickle.dumps(error))  # noqa: S301 - written a moment ago
    for twin in (restored, copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.remedy == "remedy"
