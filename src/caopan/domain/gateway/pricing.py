"""What a call costs, by the dated rules of its model.

Owns which price rule is in force for an instant and a prompt, the exact cost of a usage, and the
most a call can cost before it is made. Must never take an unknown price for zero, nor round but
once, at the end, half up to 1e-8 CNY. Tests: tests/property/domain/gateway/test_pricing.py,
tests/unit/domain/gateway/test_pricing.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import chain
from math import lcm

from caopan.domain.gateway.endpoint import CNY, PriceRule
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.canonical import content_hash
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import rate

MTOK = 1_000_000
FREE = PriceRule(
    "*", "1970-01-01T00:00:00+00:00", "CNY", "0", "0", source="runs on a machine of one's own"
)
"""Of local models: known to cost nothing, which is not the same as unknown."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE_MS = 60_000
_DAY_MINUTES = 1_440
_DAY_MS = _DAY_MINUTES * _MINUTE_MS
_BEIJING_MS = 8 * 60 * _MINUTE_MS
"""Ahead of UTC; there is no summer time."""
_WEEK = 7
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday, three days after a Monday."""
_VERSION_DIGITS = 16
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a usage costs, and by which price."""

    amount: int
    """In 1e-8 CNY."""
    price_version: str
    """Hash of the rule with its source, and of the rate of exchange where one was used."""


@dataclass(frozen=True, slots=True)
class _Rates:
    """Prices of one token in 1e-8 CNY, over one denominator."""

    plain: int
    output: int
    cached: int
    cache_write: int
    denominator: int

    def of(self, tokens: Tokens) -> int | None:
        if tokens.prompt is None or tokens.completion is None:
            return None
        # A vendor that counts more from the cache than it read at all is not believed.
        cached = min(tokens.cached or 0, tokens.prompt)
        written = min(tokens.cache_write or 0, tokens.prompt - cached)
        return self._rounded(
            (tokens.prompt - cached - written) * self.plain
            + cached * self.cached
            + written * self.cache_write
            + tokens.completion * self.output
        )

    def most(self, prompt: int, completion: int) -> int:
        dearest = max(self.plain, self.cached, self.cache_write)
        return self._rounded(prompt * dearest + completion * self.output)

    def _rounded(self, total: int) -> int:
        return (2 * total + self.denominator) // (2 * self.denominator)


@dataclass(frozen=True, slots=True)
class _Dated:
    """A rule ready to be asked: instants in Unix milliseconds, days and minutes of Beijing."""

    rule: PriceRule
    order: tuple[int, int, int, bool, int]
    """Nearer name, newer, higher tier, limited in time, later in the list: the greatest holds."""
    begins: int
    minutes: tuple[int, int] | None
    weekdays: frozenset[int] | None
    except_days: frozenset[int]
    rates: _Rates | None
    """None: in USD, and no rate of exchange is configured."""
    version: str

    def holds(self, at: int, prompt: int) -> bool:
        if at < self.begins or prompt < self.rule.tier_from:
            return False
        if self.minutes is None and self.weekdays is None and not self.except_days:
            return True
        day, since = divmod(at + _BEIJING_MS, _DAY_MS)
        if day in self.except_days:
            return False
        if self.weekdays is not None and (day + _EPOCH_WEEKDAY) % _WEEK + 1 not in self.weekdays:
            return False
        if self.minutes is None:
            return True
        begin, end = self.minutes
        minute = since // _MINUTE_MS
        return begin <= minute < end if begin < end else not end <= minute < begin


class ModelPrices:
    """Every rule that may price one model, nearest layer first.

    The first layer that has a rule in force decides: the endpoint's own, the configuration's, the
    price table's. Inside a layer the exact name goes before a prefix and a longer prefix before a
    shorter; then the newest rule, the highest tier, the one limited in time, the last.
    """

    def __init__(
        self, model: str, layers: Sequence[Sequence[PriceRule]], *, usd_cny: str | None
    ) -> None:
        """Prepare the rules of `layers` that name `model`; `usd_cny` is CNY for one USD.

        Raises:
            ConfigInvalid: MODEL_PRICE_INVALID naming the field of the rule that cannot be read.
        """
        name = model.casefold()
        self._layers = [
            sorted(_prepared(layer, name, usd_cny), key=lambda one: one.order, reverse=True)
            for layer in layers
        ]
        everyone = list(chain.from_iterable(self._layers))
        self._tiers = sorted({0, *(one.rule.tier_from for one in everyone)})
        self._begins = sorted({one.begins for one in everyone})
        self._edges = sorted(
            {minute for one in everyone if one.minutes for minute in one.minutes}
            | {0 for one in everyone if one.weekdays is not None or one.except_days}
        )

    @property
    def is_known(self) -> bool:
        """Tell whether any rule names the model."""
        return any(self._layers)

    def in_force(self, at: datetime, prompt: int) -> PriceRule | None:
        """Return the rule for a call with `prompt` tokens at the aware instant, None if none is."""
        found = self._holding(_ms(at), prompt)
        return None if found is None else found.rule

    def cost(self, tokens: Tokens, at: datetime) -> Cost | None:
        """Return what a usage costs; None where the price or either side's tokens are unknown.

        Reasoning is part of the answer and priced as such.
        """
        if tokens.prompt is None:
            return None
        found = self._holding(_ms(at), tokens.prompt)
        if found is None or found.rates is None:
            return None
        amount = found.rates.of(tokens)
        return None if amount is None else Cost(amount, found.version)

    def most(self, prompt: int, completion: int, begin: datetime, end: datetime) -> int | None:
        """Return the most a call can cost, in 1e-8 CNY, None where any price of it is unknown.

        It uses up to `prompt` and `completion` tokens and is priced at any instant from `begin`
        to `end`: no usage within these bounds costs more.
        """
        most = 0
        for at in self._instants(_ms(begin), _ms(end)):
            for tier in self._tiers:
                if tier > prompt:
                    break
                found = self._holding(at, tier)
                if found is None or found.rates is None:
                    return None
                most = max(most, found.rates.most(prompt, completion))
        return most

    def _holding(self, at: int, prompt: int) -> _Dated | None:
        for layer in self._layers:
            for one in layer:
                if one.holds(at, prompt):
                    return one
        return None

    def _instants(self, begin: int, end: int) -> Iterator[int]:
        """Yield `begin` and every later instant up to `end` from which another rule may hold."""
        yield begin
        for at in self._begins:
            if begin < at <= end:
                yield at
        if not self._edges:
            return
        day = (begin + _BEIJING_MS) // _DAY_MS * _DAY_MS - _BEIJING_MS
        while day <= end:
            for minute in self._edges:
                at = day + minute * _MINUTE_MS
                if begin < at <= end:
                    yield at
            day += _DAY_MS


def names_model(rule: PriceRule, model: str) -> bool:
    """Tell whether a rule's name, exact or a prefix, fits a model; case does not matter."""
    return _nearness(rule.model.casefold(), model.casefold()) is not None


def assumed_cost(prompt: int, completion: int, per_mtok: int) -> int:
    """Return what tokens of unknown price count as, rounded up; `per_mtok` in 1e-8 CNY."""
    return -(-(prompt + completion) * per_mtok // MTOK)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _prepared(layer: Sequence[PriceRule], model: str, usd_cny: str | None) -> Iterator[_Dated]:
    for position, rule in enumerate(layer):
        nearness = _nearness(rule.model.casefold(), model)
        if nearness is not None:
            yield _dated(rule, nearness, position, usd_cny)


def _nearness(name: str, model: str) -> int | None:
    """Return how closely a rule's name fits a model, None if it does not."""
    if name == model:
        return len(model) + 1
    if name.endswith("*") and model.startswith(name[:-1]):
        return len(name) - 1
    return None


def _dated(rule: PriceRule, nearness: int, position: int, usd_cny: str | None) -> _Dated:
    begins = _instant(rule)
    limited = not (rule.hours is None and rule.weekdays is None and not rule.except_days)
    in_usd = _in_usd(rule)
    return _Dated(
        rule,
        (nearness, begins, rule.tier_from, limited, position),
        begins,
        _minutes(rule),
        None if rule.weekdays is None else frozenset(rule.weekdays),
        frozenset(_day(rule, text) for text in rule.except_days),
        None if in_usd and usd_cny is None else _rates(rule, usd_cny if in_usd else None),
        _version(rule, usd_cny if in_usd else None),
    )


def _version(rule: PriceRule, usd_cny: str | None) -> str:
    fields = {**asdict(rule), "usd_cny": usd_cny}
    return content_hash(fields)[:_VERSION_DIGITS]


def _rates(rule: PriceRule, usd_cny: str | None) -> _Rates:
    per_token = Fraction(CNY, MTOK) * (1 if usd_cny is None else _amount(rule, "usd_cny", usd_cny))
    plain = _amount(rule, "input_mtok", rule.input_mtok) * per_token
    prices = (
        plain,
        _amount(rule, "output_mtok", rule.output_mtok) * per_token,
        _or(plain, rule, "cached_mtok", rule.cached_mtok, per_token),
        _or(plain, rule, "cache_write_mtok", rule.cache_write_mtok, per_token),
    )
    denominator = lcm(*(one.denominator for one in prices))
    first, second, third, fourth = (int(one * denominator) for one in prices)
    return _Rates(first, second, third, fourth, denominator)


def _or(
    plain: Fraction, rule: PriceRule, field: str, text: str | None, per_token: Fraction
) -> Fraction:
    return plain if text is None else _amount(rule, field, text) * per_token


def _amount(rule: PriceRule, field: str, text: str) -> Fraction:
    try:
        found = rate(text)
    except ConfigInvalid as error:
        raise _invalid(rule, field, text) from error
    if found < 0:
        raise _invalid(rule, field, text)
    return found


def _in_usd(rule: PriceRule) -> bool:
    if rule.currency not in {"CNY", "USD"}:
        raise _invalid(rule, "currency", rule.currency)
    return rule.currency == "USD"


def _instant(rule: PriceRule) -> int:
    try:
        begins = datetime.fromisoformat(rule.valid_from)
    except ValueError as error:
        raise _invalid(rule, "valid_from", rule.valid_from) from error
    if begins.tzinfo is None:
        raise _invalid(rule, "valid_from", rule.valid_from)
    return _ms(begins)


def _minutes(rule: PriceRule) -> tuple[int, int] | None:
    if rule.hours is None:
        return None
    begin, end = (_minute(rule, text) for text in rule.hours)
    return None if begin == end else (begin, end)


def _minute(rule: PriceRule, text: str) -> int:
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        raise _invalid(rule, "hours", text)
    return int(found.group(1)) * 60 + int(found.group(2))


def _day(rule: PriceRule, text: str) -> int:
    try:
        return (date.fromisoformat(text) - _EPOCH.date()).days
    except ValueError as error:
        raise _invalid(rule, "except_days", text) from error


def _invalid(rule: PriceRule, field: str, text: str) -> ConfigInvalid:
    return ConfigInvalid(
        "MODEL_PRICE_INVALID",
        f"price of {rule.model} from {rule.valid_from}: {field} {text!r} cannot be read",
        remedy="write prices as decimals, instants with their offset, hours as HH:MM",
    )
