"""Which budgets a call must fit into."""

from datetime import UTC, datetime

import pytest

from caopan.domain.gateway.budget import BudgetClaim, beijing_day, budget_claims
from caopan.domain.gateway.endpoint import CNY, Budget, Endpoint, Route, Snapshot

NONE = Budget()


def claims(
    *,
    everything: Budget = NONE,
    alias: Budget = NONE,
    endpoint: Budget = NONE,
    client_daily: int | None = None,
    decision: str | None = "d1",
) -> dict[str, BudgetClaim]:
    found = budget_claims(
        Snapshot(1, {}, {}, budget=everything),
        Route("trader", (), budget=alias),
        Endpoint("one", "deepseek", "deepseek-flash", budget=endpoint),
        client=("desk", client_daily),
        decision_id=decision,
    )
    assert len({claim.scope for claim in found}) == len(found)
    return {claim.scope: claim for claim in found}


def test_without_a_bound_there_is_nothing_to_fit_into():
    assert claims() == {}


def test_each_scope_brings_its_own_bound():
    found = claims(
        everything=Budget(daily=5 * CNY),
        alias=Budget(daily=4 * CNY),
        endpoint=Budget(daily=3 * CNY),
        client_daily=2 * CNY,
    )
    assert {scope: claim.limit for scope, claim in found.items()} == {
        "all": 5 * CNY,
        "alias:trader": 4 * CNY,
        "endpoint:one": 3 * CNY,
        "client:desk": 2 * CNY,
    }


def test_a_bound_of_nothing_is_a_bound():
    assert claims(client_daily=0)["client:desk"] == BudgetClaim("client:desk", 0, 0)


@pytest.mark.parametrize(
    ("budgets", "limit", "soft"),
    [
        ((None, None, 7), 7, 5),
        ((9, 8, None), 8, 6),
        ((1, None, 7), 1, 0),
    ],
)
def test_the_least_bound_of_a_decision_holds(budgets, limit, soft):
    everything, alias, endpoint = (Budget(per_decision=one) for one in budgets)
    found = claims(everything=everything, alias=alias, endpoint=endpoint)
    assert found == {"decision:d1": BudgetClaim("decision:d1", limit, soft)}


def test_a_call_of_no_decision_has_no_budget_of_one():
    assert claims(everything=Budget(per_decision=7), decision=None) == {}


def test_the_soft_share_is_taken_as_written():
    """0.29 * 100 is 28.999... as a binary fraction."""
    found = claims(everything=Budget(daily=100, soft_share=0.29))
    assert found["all"].soft == 29


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 11, 22, 15, 59, 59, 999_999, tzinfo=UTC), "2026-11-22"),
        (datetime(2026, 11, 22, 16, 0, tzinfo=UTC), "2026-11-23"),
    ],
)
def test_a_budgets_day_is_beijings(instant, day):
    assert beijing_day(instant) == day
