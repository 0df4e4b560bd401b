"""The price table: what vendors publish, by vendor and model, with dates and sources.

Owns the reading of price_tables/: one file a vendor of our own (*.toml), and what a maintained
public library knows (library/*.json, written by tools/prices.py). Must never hold a price that its
vendor has not published, nor fetch one: what is not here is unknown. Tests:
tests/unit/adapters/llm/test_prices.py.

A vendor is named as its profile names it (`Profile.price_provider`): anthropic, dashscope,
deepseek, google, local, minimax, mistral, moonshotai, openai, volcengine, x-ai, zai, zhipuai.

A file is read when its vendor is first asked for, so a gateway pays for the vendors it uses.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from caopan.domain.gateway.endpoint import PriceRule
from caopan.domain.gateway.pricing import names_model
from caopan.kernel.errors import ConfigInvalid

_TABLES = Path(__file__).with_name("price_tables")
_LIBRARY = _TABLES / "library"


@lru_cache(maxsize=1024)
def price_rules(vendor: str, model: str, currency: str) -> tuple[PriceRule, ...]:
    """Return what is published of a model, from one table; empty where the price is unknown.

    `currency` is the one the vendor bills in: a table that prices the model in it goes before one
    in another; of either, our own goes before the library's.

    Raises:
        ConfigInvalid: MODEL_PRICES_UNREADABLE if the vendor's table is damaged.
    """
    tables = (_own(vendor), _of_library(vendor))
    named = [[rule for rule in table if names_model(rule, model)] for table in tables]
    for billed in (True, False):
        for table in named:
            rules = tuple(rule for rule in table if (rule.currency == currency) == billed)
            if rules:
                return rules
    return ()


def price_vendors() -> tuple[str, ...]:
    """Return every vendor that has a table, sorted."""
    files = [*_TABLES.iterdir(), *_LIBRARY.iterdir()]
    names = (file.name.rpartition(".") for file in files if file.is_file())
    return tuple(sorted({name for name, _, kind in names if kind in {"toml", "json"}}))


@lru_cache(maxsize=64)
def _own(vendor: str) -> tuple[PriceRule, ...]:
    file = _file(_TABLES, f"{vendor}.toml")
    if file is None:
        return ()
    try:
        body = tomllib.loads(file.read_text("utf-8"))
        holidays = tuple(day.isoformat() for day in body.get("public_holidays", ()))
        return tuple(_rules(body["price"], holidays))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from error


def _rules(rows: Sequence[Mapping[str, Any]], holidays: tuple[str, ...]) -> Iterator[PriceRule]:
    for row in rows:
        valid_from, read = cast("datetime", row["valid_from"]), cast("date | None", row.get("read"))
        source = row["source"] if read is None else f"{row['source']} ({read.isoformat()})"
        for model in row["models"]:
            for rate in row["rates"]:
                yield PriceRule(
                    model,
                    valid_from.isoformat(),
                    row["currency"],
                    rate["input"],
                    rate["output"],
                    rate.get("cached"),
                    rate.get("from", 0),
                    tuple(rate["hours"]) if "hours" in rate else None,
                    tuple(rate["weekdays"]) if "weekdays" in rate else None,
                    source,
                    rate.get("cache_write"),
                    () if rate.get("on_public_holidays", True) else holidays,
                )


@lru_cache(maxsize=64)
def _of_library(vendor: str) -> tuple[PriceRule, ...]:
    file = _file(_LIBRARY, f"{vendor}.json")
    if file is None:
        return ()
    try:
        body = json.loads(file.read_text("utf-8"))
        source = f"{body['page']}, as {body['library']} {body['version']} has it"
        return tuple(
            PriceRule(
                model,
                valid_from,
                body["currency"],
                plain,
                output,
                cached,
                tier_from,
                source=source,
                cache_write_mtok=cache_write,
            )
            for model, valid_from, plain, output, cached, cache_write, tier_from in body["rules"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from error


def _file(folder: Path, name: str) -> Path | None:
    """Return the file of that very name: a vendor is no path."""
    return next((file for file in folder.iterdir() if file.name == name), None)


def _unreadable(file: Path, error: Exception) -> ConfigInvalid:
    return ConfigInvalid(
        "MODEL_PRICES_UNREADABLE",
        f"price table {file.name}: {type(error).__name__}: {error}",
        remedy="install caopan again: the file is part of it",
    )
