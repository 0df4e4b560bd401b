"""The library's price tables are what the tool writes, and price as the library does."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

TOOL = Path(__file__).parents[3] / "tools" / "prices.py"


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("prices_tool", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_is_what_the_tool_writes(made):
    assert {file.stem for file in made.FOLDER.glob("*.json")} == set(made.VENDORS)
    for vendor in made.VENDORS:
        stored = (made.FOLDER / f"{vendor}.json").read_text("utf-8")
        assert stored == made.table(vendor), "run python tools/prices.py write"


def test_every_rule_of_the_library_prices_as_the_library_does(made):
    for vendor in made.VENDORS:
        assert list(made.differences(vendor, "7.1")) == []


def test_deepseek_differs_on_days_without_peak_hours_only(made):
    """The library cannot say what day it is; its vendor does."""
    found = list(made.differences("deepseek", "7.1"))
    assert {one.at for one in found} == {datetime(2026, 11, 22, 2, tzinfo=UTC)}
    assert all(one.theirs == pytest.approx(2 * one.ours, rel=Decimal("0.001")) for one in found)


def test_zhipu_differs_beyond_the_shortest_tier_only(made):
    """The library has the cheapest tier alone."""
    found = list(made.differences("zhipuai", "7.25"))
    assert {one.model for one in found} == {"GLM-5", "GLM-5-Turbo", "GLM-5.1"}
    assert all(one.prompt >= 32_000 and one.ours > one.theirs for one in found)


def provider(*models: ModelInfo) -> Provider:
    return Provider("vendor", "Vendor", "https://", models=[*models])


def model(name: str, match: object, prices: object, comments: str | None = None) -> ModelInfo:
    return ModelInfo(id=name, match=match, prices=prices, price_comments=comments)  # pyright: ignore[reportArgumentType]  # the library's unions


def price(**rates: object) -> ModelPrice:
    return ModelPrice(**rates)  # pyright: ignore[reportArgumentType]  # decimals by name


PLAIN = price(input_mtok=Decimal("1.50"), output_mtok=Decimal(20))


def test_names_tiers_and_dates_become_rules(made):
    tiered = price(
        input_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(start=1000, price=Decimal(2))]),
        output_mtok=Decimal(3),
        cache_read_mtok=Decimal("0.1"),
    )
    later = ConditionalPrice(
        constraint=StartDateConstraint(start_date=date(2026, 9, 10)), prices=PLAIN
    )
    match = ClauseOr(
        or_=[
            ClauseEquals(equals="One"),
            ClauseStartsWith(starts_with="one-x"),
            ClauseRegex(regex=r"^one-5\.6[-@]\d{8}$"),
            ClauseRegex(regex=r"^.*anything$"),
        ]
    )
    prices = [ConditionalPrice(constraint=None, prices=tiered), later]
    rows, left_out = made.rules(provider(model("one", match, prices)), "")
    assert left_out == []
    assert rows == sorted(
        row
        for name in ("one", "one-x*", "one-5.6-20*", "one-5.6@20*")
        for row in (
            (name, made.ALWAYS, "1", "3", "0.1", None, 0),
            (name, made.ALWAYS, "2", "3", "0.1", None, 1001),
            (name, "2026-09-10T00:00:00+00:00", "1.5", "20", None, None, 0),
        )
    )


def test_a_name_that_the_library_gives_to_another_model_is_not_taken(made):
    first = model("first", ClauseContains(contains="mini"), PLAIN)
    second = model("second", ClauseEquals(equals="big-mini"), PLAIN)
    rows, _ = made.rules(provider(first, second), "")
    assert [row[0] for row in rows] == ["mini*"]


@pytest.mark.parametrize(
    ("prices", "comments"),
    [
        (PLAIN, "Imported from OpenRouter pricing; verify against Vendor pricing."),
        (price(audio_hours=Decimal(1)), None),
        (price(input_mtok=Decimal(1), output_audio_mtok=Decimal(9)), None),
    ],
)
def test_what_the_vendor_does_not_say_of_text_is_left_out_by_name(made, prices, comments):
    rows, left_out = made.rules(
        provider(model("one", ClauseEquals(equals="one"), prices, comments)), ""
    )
    assert (rows, left_out) == ([], ["one"])


def test_hours_of_the_day_are_refused(made):
    """They need weekdays and holidays: a table of our own."""
    night = TimeOfDateConstraint(
        start_time=datetime(2026, 1, 1, 1, tzinfo=UTC).timetz(),
        end_time=datetime(2026, 1, 1, 4, tzinfo=UTC).timetz(),
    )
    prices = [ConditionalPrice(constraint=night, prices=PLAIN)]
    with pytest.raises(ValueError, match="hours of the day"):
        made.rules(provider(model("one", ClauseEquals(equals="one"), prices)), "")


def test_a_file_says_where_it_comes_from(made):
    body = json.loads(made.table("openai"))
    assert body["library"] == "genai-prices"
    assert body["page"].startswith("https://developers.openai.com/")
    assert "whisper-1" in body["left_out"]
