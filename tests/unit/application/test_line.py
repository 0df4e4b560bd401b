"""What a line knows of itself from its calls, and when an order may leave over it."""

from __future__ import annotations

import pytest

from caopan.application.line import Line, WatchedBroker
from caopan.kernel.errors import CaopanError, Conflict, Denied, OutcomeUnknown, Unavailable
from caopan.testing.models import buy_action
from caopan.testing.table_desk import FIRST, TableDesk

CUT = Unavailable("BROKER_DISCONNECTED", "cut")


class Venue:
    """Answers every question as it is told to."""

    name = "venue"

    def __init__(self) -> None:
        self.error: CaopanError | None = None
        self.asked: list[str] = []

    def __getattr__(self, method: str):
        async def call(*_: object) -> str:
            self.asked.append(method)
            if self.error is not None:
                raise self.error
            return method

        return call


@pytest.fixture
def line() -> Line:
    return Line()


async def broken(line: Line, error: CaopanError = CUT) -> WatchedBroker:
    venue = Venue()
    broker = WatchedBroker(venue, line)  # type: ignore[arg-type]
    venue.error = error
    with pytest.raises(type(error)):
        await broker.account()
    venue.error = None
    return broker


async def test_between_an_outage_and_a_comparison_questions_and_cancels_pass_and_orders_do_not(
    line,
):
    broker = await broken(line)
    assert (line.is_down, line.breaks, line.problem) == (True, 1, CUT)
    for call in (broker.find("tag"), broker.reports([]), broker.cancel(None)):  # type: ignore[arg-type]
        await call
    assert not line.is_down
    for _ in range(2):
        with pytest.raises(Unavailable, match="BROKER_DISCONNECTED"):
            await broker.submit(None, None)  # type: ignore[arg-type]
        assert "submit" not in broker.inner.asked  # type: ignore[attr-defined]
        assert line.breaks == 1
    with line.comparison():
        pass
    await broker.submit(None, None)  # type: ignore[arg-type]


async def test_a_comparison_that_failed_or_was_overtaken_by_a_break_does_not_count(line):
    broker = await broken(line)
    with pytest.raises(Unavailable), line.comparison():
        raise CUT
    with line.comparison():
        line.failed(CUT)
        await broker.account()
        line.failed(CUT)
        await broker.account()
    assert not line.may_place
    with line.comparison():
        pass
    assert line.may_place
    line.opened_again()
    assert not line.may_place


async def test_a_line_that_goes_down_again_waits_for_another_comparison(line):
    broker = await broken(line)
    await broker.account()
    with line.comparison():
        pass
    assert line.may_place
    line.failed(CUT)
    with line.comparison():
        pass
    # Whole only by an answer, however often somebody compares.
    assert not line.may_place


@pytest.mark.parametrize(
    "error",
    [
        Denied("BROKER_REJECT_SESSION", "closed"),
        Unavailable("BROKER_RATE_LIMIT", "slower"),
        Unavailable("DB_UNREACHABLE", "the venue's own"),
        Conflict("VENUE_SEQ", "raced"),
    ],
)
async def test_an_answer_of_any_kind_is_no_outage(line, error):
    await broken(line, error)
    assert line.may_place


@pytest.mark.parametrize("code", ["BROKER_DISCONNECTED", "BROKER_TIMEOUT", "BROKER_PROTOCOL"])
async def test_a_lost_answer_is_an_outage(line, code):
    await broken(line, OutcomeUnknown(code, "lost"))
    assert line.is_down


async def test_no_model_is_asked_and_what_waits_goes_on_waiting(line):
    desk = await TableDesk(line=line).open()
    first, waits = await desk.placed(
        buy_action(FIRST, 1_000, "10.00"),
        buy_action("600002.SH", 1_000, "10.00") | {"depends_on": 0},
    )
    line.opened_again()
    with pytest.raises(Unavailable, match="BROKER_DISCONNECTED"):
        await desk.decide(buy_action(FIRST, 1_000, "10.00"), slot="second")
    assert len(await desk.cycles()) == 1
    desk.counter.fill(first, 1_000)
    await desk.settle()
    assert (await desk.order(waits)).status == "created"
    await desk.pipeline.reconcile("reconnect")
    await desk.settle()
    assert (await desk.order(waits)).status == "accepted"
