"""The observation of a desk's account at one moment.

Owns which of the desk's parts the builder is given. Must never look at anything later than the
moment. Tests: tests/unit/application/test_observing.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from caopan.application.account import AccountCache
from caopan.application.decision_cycle.observe import AccountState, Observation, build_observation
from caopan.application.desk import Viewpoint
from caopan.application.intents import prices_of
from caopan.domain.decision.cycle import Cycle
from caopan.domain.risk.kill_switch import Control, KillLevel
from caopan.domain.risk.policy import tightest
from caopan.kernel.clock import shanghai
from caopan.kernel.ids import derived_uuid


def observe(
    desk: Viewpoint,
    account: AccountCache,
    cycle: Cycle,
    now: datetime,
    own_record: Sequence[Mapping[str, Any]],
    control: Control,
) -> Observation:
    """Return what `cycle` may know at `now`: `own_record` of its past, `control` of its trading."""
    day = cycle.trading_day
    session = desk.calendar.is_session(shanghai(now).date())
    references = desk.market.references(day, now)
    return build_observation(
        observation_id=derived_uuid(now, str(cycle.decision_id), "observation"),
        now=now,
        trading_day=day,
        window=desk.phases.window(now, session=session),
        cancelable_until=desk.phases.cancelable_until(now, session=session),
        market=desk.market,
        account=AccountState(
            account_id=desk.run.account_id,
            book=account.book,
            prices=prices_of(desk, references, account.book.quantities(), day, now),
            open_orders=list(account.working.values()),
            orders_today=account.orders_on(day),
            exit_plans=account.exit_plans,
            own_record=own_record,
            posture=_posture(desk, control, now),
        ),
        policy=desk.policy,
        fees=desk.fees,
        rules=desk.rules,
    )


def _posture(desk: Viewpoint, control: Control, now: datetime) -> str:
    if control.level > KillLevel.OFF:
        return "kill_switch"
    return tightest(desk.policy.posture_at(now), control.posture).value


def phase_end(desk: Viewpoint, now: datetime) -> datetime:
    """Return when the phase of the trading day ends that `now` lies in."""
    session = desk.calendar.is_session(shanghai(now).date())
    return desk.phases.window(now, session=session).end
