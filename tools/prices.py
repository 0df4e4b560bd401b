"""Price tables from the public library: `python tools/prices.py write`, `... check 7.1`.

`write` renews adapters/llm/price_tables/library/ from the installed genai-prices, a development
dependency: at run time only these files are read, which costs a gateway neither its memory nor its
start. `check` names where our tables and the library differ by more than 5 %; its argument is CNY
for one USD. Renewing prices: raise genai-prices in the lock, `write`, `check`, read the diff.

Owns the translation into our rules. Must never write a price that the library itself has from
somewhere else than the vendor, nor one whose form our rules cannot say: those are named in the
file as left out, and stay unknown. Tests: tests/unit/tools/test_prices.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
)

from caopan.adapters.llm.prices import price_rules
from caopan.domain.gateway.endpoint import CNY
from caopan.domain.gateway.pricing import ModelPrices
from caopan.domain.gateway.usage import Tokens

FOLDER = Path(__file__).parents[1] / "src/caopan/adapters/llm/price_tables/library"
VENDORS: dict[str, str] = {
    "anthropic": "claude",
    "google": "gemini",
    "minimax": "",
    "mistral": "",
    "moonshotai": "",
    "openai": "",
    "x-ai": "",
    "zai": "",
}
"""Vendors the library knows well, with the prefix of the names they themselves serve.

DeepSeek (its hours are of working days) and Zhipu (bills in CNY, by length) are our own tables.
"""
ALWAYS = "1970-01-01T00:00:00+00:00"
TOLERANCE = Decimal("0.05")
DATED = re.compile(r"\^(?P<name>[\w./\\-]+?)(?P<mark>\[-@\]|-)\\d\{(?:8|4\}-\\d\{2\}-\\d\{2)\}\$")
SECOND_HAND = "Imported from OpenRouter"
CONFIRMED = "Verified against"

NOT_TEXT = ("input_image_mtok", "output_image_mtok", "output_audio_mtok", "output_video_mtok")
"""Models made for pictures or sound bill them apart, which a rule cannot say."""

Rate = tuple[str, str, str, str | None, str | None, int]
"""valid_from, input, output, cached, cache_write, tier_from"""
Row = tuple[str, str, str, str, str | None, str | None, int]
"""The same after the name of its model."""


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; return 0, or 1 where `check` found differences."""
    match arguments:
        case ["write"]:
            for vendor in VENDORS:
                (FOLDER / f"{vendor}.json").write_text(table(vendor), encoding="utf-8")
            return 0
        case ["check", usd_cny]:
            found = [one for vendor in checked() for one in differences(vendor, usd_cny)]
            for one in found:
                print(one)
            print(f"{len(found)} differences above {TOLERANCE:%}")
            return 1 if found else 0
        case _:
            print(__doc__)
            return 2


def table(vendor: str) -> str:
    """Return the text of a vendor's file: one rule a line, so that a diff reads as a change."""
    provider = _provider(vendor)
    rows, left_out = rules(provider, VENDORS[vendor])
    head = {
        "library": "genai-prices",
        "version": version("genai-prices"),
        "page": (provider.pricing_urls or [""])[0],
        "currency": "USD",
        "left_out": left_out,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    return "\n".join(["{", *lines, '  "rules": [', body, "  ]", "}", ""])


def rules(provider: Provider, prefix: str) -> tuple[list[Row], list[str]]:
    """Return a provider's rules and the names of the models that are left out."""
    rows, left_out = list[Row](), list[str]()
    for model in provider.models:
        names = [
            name.casefold()
            for name in _names(model.match)
            if name.casefold().startswith(prefix) and _found(provider, name) == model.id
        ]
        if not names:
            continue
        prices = None if _second_hand(model) else list(_prices(model))
        if prices is None or None in prices:
            left_out.append(model.id)
            continue
        rows += [(name, *price) for name in names for price in prices if price is not None]
    return sorted(set(rows), key=lambda row: (row[0], row[1], row[-1])), sorted(set(left_out))


def _second_hand(model: ModelInfo) -> bool:
    comments = model.price_comments or ""
    return SECOND_HAND in comments and CONFIRMED not in comments


def _prices(model: ModelInfo) -> Iterator[Rate | None]:
    """Yield the rates of a model, None for what is not billed by text tokens alone."""
    conditional: list[ConditionalPrice | ModelPrice] = (
        [*model.prices] if isinstance(model.prices, list) else [model.prices]
    )
    for one in conditional:
        if isinstance(one, ModelPrice):
            yield from _tiers(ALWAYS, one)
        elif one.constraint is None:
            yield from _tiers(ALWAYS, one.prices)
        elif isinstance(one.constraint, StartDateConstraint):
            begins = datetime.combine(one.constraint.start_date, datetime.min.time(), UTC)
            yield from _tiers(begins.isoformat(), one.prices)
        else:
            raise ValueError(f"{model.id}: hours of the day need a table of our own")


def _tiers(begins: str, prices: ModelPrice) -> Iterator[Rate | None]:
    values = vars(prices)
    if values.get("input_mtok") is None or any(values.get(name) for name in NOT_TEXT):
        yield None
        return
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    starts = {
        tier.start + 1
        for name in names
        if isinstance(value := values.get(name), TieredPrices)
        for tier in value.tiers
    }
    for start in (0, *sorted(starts)):
        plain, output, cached, written = (_at(values.get(name), start) for name in names)
        yield begins, plain or "0", output or "0", cached, written, start


def _at(value: Decimal | TieredPrices | None, start: int) -> str | None:
    """Return the price of a tier; the library's begin after their start."""
    if value is None:
        return None
    if isinstance(value, TieredPrices):
        reached = [tier.price for tier in value.tiers if tier.start < start]
        value = reached[-1] if reached else value.base
    return f"{value.normalize():f}"


def _names(clause: Any) -> Iterator[str]:  # noqa: ANN401 - the library's union of clauses
    match clause:
        case ClauseOr(or_=parts):
            for part in parts:
                yield from _names(part)
        case ClauseEquals(equals=name) | ClauseEndsWith(ends_with=name):
            yield name
        case ClauseStartsWith(starts_with=name) | ClauseContains(contains=name):
            yield f"{name}*"
        case ClauseRegex(regex=pattern):
            found = DATED.fullmatch(pattern)
            if found is not None:
                marks = "-@" if found["mark"] == "[-@]" else "-"
                plain = found["name"].replace("\\", "")
                yield from (f"{plain}{mark}20*" for mark in marks)
        case _:
            pass


def _found(provider: Provider, name: str) -> str | None:
    """Return which model the library finds by a name that stands for ours."""
    forms = [name]
    if name.endswith("20*"):
        forms = [f"{name[:-3]}20260101", f"{name[:-3]}2026-01-01"]
    elif name.endswith("*"):
        forms = [name[:-1]]
    found = [model.id for form in forms if (model := provider.find_model(form)) is not None]
    return found[0] if found else None


class Difference(NamedTuple):
    """A usage that our tables and the library price differently."""

    vendor: str
    model: str
    at: datetime
    prompt: int
    ours: Decimal
    """In CNY."""
    theirs: Decimal

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.vendor} {self.model} {self.at:%a %Y-%m-%dT%H:%MZ} {self.prompt} tokens: "
            f"{self.ours:.6f} CNY here, {self.theirs:.6f} in the library"
        )


MOMENTS = (
    datetime(2026, 11, 20, 2, tzinfo=UTC),
    datetime(2026, 11, 20, 12, tzinfo=UTC),
    datetime(2026, 11, 22, 2, tzinfo=UTC),
)
"""A Friday morning in Beijing, the evening of that day, a Sunday morning."""
SIZES = (1_000, 50_000, 300_000)


def checked() -> list[str]:
    """Return the vendors both sides have."""
    return sorted({*VENDORS, "deepseek", "zhipuai"})


def differences(vendor: str, usd_cny: str) -> Iterator[Difference]:
    """Yield every model, moment and size that both price, more than TOLERANCE apart."""
    provider = _provider(vendor)
    rate = Decimal(usd_cny)
    for model in provider.models:
        rules_here = price_rules(vendor, model.id, "USD")
        ours = ModelPrices(model.id, [rules_here], usd_cny=usd_cny)
        for at in MOMENTS:
            for prompt in SIZES:
                cost = ours.cost(Tokens(prompt, prompt // 10, prompt // 2), at)
                if cost is None:
                    continue
                usage = Usage(
                    input_tokens=prompt,
                    output_tokens=prompt // 10,
                    cache_read_tokens=prompt // 2,
                )
                price = model.calc_price(usage, provider, genai_request_timestamp=at)
                here, there = Decimal(cost.amount) / CNY, price.total_price * rate
                if abs(here - there) > TOLERANCE * max(here, there):
                    yield Difference(vendor, model.id, at, prompt, here, there)


def _provider(vendor: str) -> Provider:
    return next(one for one in get_snapshot().providers if one.id == vendor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
