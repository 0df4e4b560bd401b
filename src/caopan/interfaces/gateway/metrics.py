"""The page of metrics: what a process saw, as Prometheus reads it.

Owns the names of the metrics. Must never count anything itself: a scrape reads what is counted
already, so that a call pays nothing for it. Tests: tests/unit/interfaces/gateway/test_metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from caopan.application.gateway.overview import Overview, daily_budgets
from caopan.application.gateway.tallies import BOUNDS_MS, EndpointTally, Histogram
from caopan.domain.gateway.breaker import Phase
from caopan.domain.gateway.endpoint import CNY

if TYPE_CHECKING:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_EVERY: Final = 6
"""Of the fine buckets every sixth is told: steps of 1.8."""
_NAME: Final = "caopan_gateway_"
_Family = TypeVar("_Family", "CounterMetricFamily", "GaugeMetricFamily")


@dataclass(frozen=True, slots=True)
class _Families:
    """The library's own classes; imported when somebody scrapes, not when the gateway starts."""

    counter: type[CounterMetricFamily]
    gauge: type[GaugeMetricFamily]
    histogram: type[HistogramMetricFamily]


class _Collector:
    """Gives one overview to the library's own writer of the text format."""

    def __init__(self, overview: Overview, families: _Families) -> None:
        self._overview = overview
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._calls()
        yield from self._endpoints()
        yield from self._process()

    def _calls(self) -> Iterator[Metric]:
        tallies = self._overview.tallies
        calls = {(a, p, str(s)): count for (a, p, s), count in tallies.calls.items()}
        yield self._counter("calls", "Answers to callers", ("alias", "path", "status"), calls)
        refused = "Calls refused before any endpoint was asked"
        yield self._counter("refused", refused, ("alias", "code"), tallies.refused)
        again = "Further attempts at the same endpoint"
        yield self._counter("retries", again, ("endpoint", "reason"), tallies.retries)
        elsewhere = "Attempts elsewhere"
        names = ("from_endpoint", "to_endpoint", "reason")
        yield self._counter("fallbacks", elsewhere, names, tallies.fallbacks)
        soft = {(scope,): count for scope, count in tallies.soft_budgets.items()}
        alerts = "Calls that passed a budget's soft bound"
        yield self._counter("budget_alerts", alerts, ("scope",), soft)
        names = ("endpoint", "to", "reason")
        yield self._counter("breaker_moves", "Moves of breakers", names, tallies.moves)

    def _endpoints(self) -> Iterator[Metric]:
        found = self._overview.tallies.endpoints
        at = ("alias", "endpoint")
        attempts = _spread(found, lambda one: one.outcomes)
        names = (*at, "outcome", "code")
        yield self._counter("attempts", "Attempts by outcome", names, attempts)
        tokens = _spread(found, lambda one: {(name,): count for name, count in one.tokens.items()})
        yield self._counter("tokens", "Tokens as told by vendors", (*at, "class"), tokens)
        quality = _spread(found, lambda one: {(name,): n for name, n in one.quality.items()})
        yield self._counter("bad_answers", "Invalid JSON and blanks", (*at, "kind"), quality)
        # A metric is a float by its format; money that is owed is in the database, exact.
        cost = {place: one.cost / CNY for place, one in found.items()}
        yield self._counter("cost_cny", "Known cost in CNY", at, cost)
        unpriced = {place: one.unpriced for place, one in found.items()}
        yield self._counter("unpriced", "Attempts whose price is unknown", at, unpriced)
        estimated = {place: one.estimated for place, one in found.items()}
        yield self._counter("estimated", "Attempts whose tokens are estimates", at, estimated)
        under_way = {place: one.under_way for place, one in found.items()}
        yield self._gauge("under_way", "Attempts under way", at, under_way)
        first = {place: one.first_token for place, one in found.items()}
        yield self._histograms("first_token_seconds", "Time to the first token", at, first)
        total = {place: one.total for place, one in found.items()}
        yield self._histograms("total_seconds", "Time of a good answer", at, total)
        overhead = {place: one.overhead for place, one in found.items()}
        yield self._histograms("overhead_seconds", "The gateway's own part", at, overhead)

    def _process(self) -> Iterator[Metric]:
        overview = self._overview
        states = {
            (name, phase.value): int(standing.phase is phase)
            for name, standing in overview.standings.items()
            for phase in Phase
        }
        yield self._gauge(
            "breaker_state", "1 for the state it is in", ("endpoint", "state"), states
        )
        gates = {
            (name,): int(one.limited_until is not None) for name, one in overview.standings.items()
        }
        yield self._gauge("rate_limit_gate", "1 while a vendor asked to wait", ("endpoint",), gates)
        left = {
            (scope,): (limit - overview.spent.get(scope, 0)) / CNY
            for scope, limit in daily_budgets(overview.snapshot).items()
        }
        yield self._gauge("budget_left_cny", "Left of a day's budget in CNY", ("scope",), left)
        for name, told, value in (
            ("audit_waiting", "Records not in the database yet", overview.audit_waiting),
            ("config_version", "Version of the configuration", overview.snapshot.version),
            (
                "config_refused",
                "1 while a newer version is refused",
                int(bool(overview.config_error)),
            ),
            ("limits_shared", "1 while limits are shared", int(overview.is_shared)),
            ("event_loop_lag_seconds", "Worst lag lately", overview.loop_lag_ms / 1000),
            ("start_time_seconds", "Start, Unix time", overview.started_at.timestamp()),
        ):
            yield self._gauge(name, told, (), {(): value})
        failed = {(): overview.tallies.reloads_failed}
        yield self._counter("config_reload_failures", "Versions that were refused", (), failed)

    def _counter(
        self, name: str, told: str, labels: tuple[str, ...], values: Mapping[Any, float]
    ) -> Metric:
        family = self._families.counter(_NAME + name, told, labels=labels)
        return _filled(family, values)

    def _gauge(
        self, name: str, told: str, labels: tuple[str, ...], values: Mapping[Any, float]
    ) -> Metric:
        family = self._families.gauge(_NAME + name, told, labels=labels)
        return _filled(family, values)

    def _histograms(
        self, name: str, told: str, labels: tuple[str, ...], values: Mapping[Any, Histogram]
    ) -> Metric:
        family = self._families.histogram(_NAME + name, told, labels=labels)
        for place, histogram in values.items():
            family.add_metric(place, _buckets(histogram), histogram.total_ms / 1000)
        return family


def metrics_page(overview: Overview) -> bytes:
    """Return the page in the text format."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - 6 MB that only a scraped gateway needs
    from prometheus_client.core import (  # noqa: PLC0415 - as above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    registry = CollectorRegistry()
    families = _Families(CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)
    registry.register(cast("Any", _Collector(overview, families)))
    return generate_latest(registry)


def _filled(family: _Family, values: Mapping[Any, float]) -> _Family:
    for place, value in values.items():
        family.add_metric(place, value)
    return family


def _spread(
    found: Mapping[tuple[str, str], EndpointTally],
    of: Callable[[EndpointTally], Mapping[Any, int]],
) -> dict[tuple[str, ...], int]:
    return {
        (*place, *part): count for place, one in found.items() for part, count in of(one).items()
    }


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    seen = 0
    for index, (bound, count) in enumerate(_bounded(histogram), 1):
        seen += count
        if index % _EVERY == 0:
            told.append((f"{bound / 1000:.6g}", seen))
    return [*told, ("+Inf", histogram.count)]


def _bounded(histogram: Histogram) -> Iterable[tuple[float, int]]:
    return zip(BOUNDS_MS, histogram.counts[:-1], strict=True)
