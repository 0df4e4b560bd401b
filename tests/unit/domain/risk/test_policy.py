"""The policy's JSON: read strictly, written so that it reads back the same."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import PostureSlot, RiskPolicy, cautious
from caopan.domain.risk.policy_limits import LIMITS, Kind
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

SHARES = st.integers(0, 10_000).map(lambda n: Fraction(n, 10_000))


def values(name):
    limit = LIMITS[name]
    found = SHARES if limit.kind is Kind.SHARE else st.integers(0, limit.most)
    return st.none() | found if limit.optional else found


SYMBOLS = st.frozensets(st.sampled_from(["600519.SH", "000001.SZ", "920047.BJ"]))
SLOTS = st.tuples(st.integers(0, 22), st.integers(0, 59), st.sampled_from(list(Posture))).map(
    lambda one: PostureSlot(time(one[0], one[1]), time(23, 59), one[2])
)
POLICIES = st.builds(
    RiskPolicy,
    **{name: values(name) for name in LIMITS},
    allow_st=st.booleans(),
    allow_limit_up_buy=st.booleans(),
    exit_plan_required=st.booleans(),
    all_or_none=st.booleans(),
    new_listing_days_refused=st.integers(0, 10_000),
    blacklist=SYMBOLS,
    whitelist=st.none() | SYMBOLS,
    posture_mode=st.sampled_from(list(Posture)),
    posture_schedule=st.lists(SLOTS, max_size=3).map(tuple),
)


@given(POLICIES)
def test_it_reads_back_the_same(policy):
    assert RiskPolicy.from_json(policy.as_json()) == policy
    assert RiskPolicy.from_json(policy.as_json()).version == policy.version


def test_every_part_is_in_its_version():
    base = RiskPolicy()
    changed = {
        "whitelist": frozenset(),
        "blacklist": frozenset({"600519.SH"}),
        "posture_mode": Posture.CAUTIOUS,
        "posture_schedule": (PostureSlot(time(9), time(10), Posture.CAUTIOUS),),
    }
    for part in fields(RiskPolicy):
        value = getattr(base, part.name)
        if part.name in changed:
            other = changed[part.name]
        elif isinstance(value, bool):
            other = not value
        elif value is None:
            other = 1
        else:
            other = value / 2 if isinstance(value, Fraction) else value - 1
        assert replace(base, **{part.name: other}).version != base.version, part.name


def test_what_is_left_out_keeps_its_default():
    assert RiskPolicy.from_json({}) == RiskPolicy()
    given_one = RiskPolicy.from_json({"limits": {"gross_cap": Decimal("0.5")}})
    assert given_one == replace(RiskPolicy(), gross_cap=Fraction(1, 2))


def test_an_empty_whitelist_is_not_a_missing_one():
    assert RiskPolicy.from_json({"lists": {"whitelist": []}}).whitelist == frozenset()
    assert RiskPolicy.from_json({"lists": {"whitelist": None}}).whitelist is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "policy"),
        ({"limit": {}}, "limit"),
        ({"limits": {"gros_cap": "1"}}, "limits.gros_cap"),
        ({"limits": {"gross_cap": "95"}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": "-0.1"}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": 0.5}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": True}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": "NaN"}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": "1e-999999999"}}, "limits.gross_cap"),
        ({"limits": {"gross_cap": None}}, "limits.gross_cap"),
        ({"limits": {"single_order_cap": "0.00001"}}, "limits.single_order_cap"),
        ({"limits": {"single_order_cap": "200,000"}}, "limits.single_order_cap"),
        ({"limits": {"max_positions": "1.5"}}, "limits.max_positions"),
        ({"limits": {"orders_per_day": 2_001}}, "limits.orders_per_day"),
        ({"limits": {"orders_per_second": 31}}, "limits.orders_per_second"),
        ({"lists": {"blacklist": ["600519"]}}, "lists.blacklist"),
        ({"lists": {"blacklist": "600519.SH"}}, "lists.blacklist"),
        ({"lists": {"blacklist": [["600519.SH"]]}}, "lists.blacklist"),
        ({"posture": {"mode": "kill_switch"}}, "posture.mode"),
        ({"posture": {"mode": ["normal"]}}, "posture.mode"),
        ({"posture": {"schedule": [{"from": "9", "to": "10:00"}]}}, "posture.schedule[0].from"),
        (
            {"posture": {"schedule": [{"from": "10:00", "to": "09:00", "posture": "normal"}]}},
            "posture.schedule[0]",
        ),
        ({"st_policy": True}, "st_policy"),
        ({"limit_up_buy": ["allow"]}, "limit_up_buy"),
        ({"new_listing_policy": -1}, "new_listing_policy"),
        ({"new_listing_policy": "later"}, "new_listing_policy"),
        ({"exit_plan_required": "yes"}, "exit_plan_required"),
    ],
)
def test_what_is_wrong_is_refused_by_name(body, told):
    with pytest.raises(ConfigInvalid) as caught:
        RiskPolicy.from_json(body)
    assert caught.value.code == "POLICY_INVALID"
    assert caught.value.message.startswith(f"{told}:")
    assert caught.value.remedy


@given(POLICIES)
def test_caution_halves_caps_and_nothing_else(policy):
    careful = cautious(policy)
    for part in fields(RiskPolicy):
        before, after = getattr(policy, part.name), getattr(careful, part.name)
        if "_cap" in part.name and before is not None:
            assert 0 <= before - 2 * after <= 1
        else:
            assert before == after


def test_money_is_in_yuan_outside_and_in_units_inside():
    found = RiskPolicy.from_json({"limits": {"single_order_cap": "1234.5678"}})
    assert found.single_order_cap == units("1234.5678")
    assert found.as_json()["limits"]["single_order_cap"] == "1234.5678"
