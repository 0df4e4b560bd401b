"""Which price holds, and what is charged where none is known."""

from __future__ import annotations

from caopan.application.gateway.price_list import PriceList
from caopan.domain.gateway.endpoint import CNY, PriceRule
from caopan.domain.gateway.usage import Tokens
from caopan.testing.gateway_rig import START, a_snapshot, an_endpoint

MILLION = Tokens(1_000_000, 1_000_000)


def rule(price: str) -> PriceRule:
    return PriceRule("*", "2026-01-01T00:00:00Z", "CNY", price, price)


def test_the_nearest_price_holds():
    prices = PriceList(lambda _: (rule("3"),))
    own, plain = an_endpoint("own", prices=(rule("1"),)), an_endpoint("plain", prices=())
    configured = a_snapshot(own, plain, prices=(rule("2"),))
    table = a_snapshot(own, plain, version=2)
    found = [
        prices.priced(snapshot, endpoint, MILLION, START).cost
        for snapshot in (configured, table)
        for endpoint in (own, plain)
    ]
    assert found == [2 * CNY, 4 * CNY, 2 * CNY, 6 * CNY]


def test_a_new_version_brings_new_prices_and_the_old_keeps_its_own():
    prices = PriceList(lambda _: ())
    cheap = a_snapshot(an_endpoint("a", prices=(rule("1"),)))
    dear = a_snapshot(an_endpoint("a", prices=(rule("5"),)), version=2)
    for _ in range(2):
        for snapshot, cost in ((cheap, 2 * CNY), (dear, 10 * CNY)):
            found = prices.priced(snapshot, snapshot.endpoints["a"], MILLION, START)
            assert (found.cost, found.charged) == (cost, cost)
            assert found.version


def test_an_unknown_price_is_none_and_charged_what_the_endpoint_says():
    prices = PriceList(lambda _: ())
    silent = an_endpoint("a", prices=())
    told = an_endpoint("a", prices=(), unknown_price_mtok=7 * CNY)
    for version, (endpoint, worst, charged) in enumerate(
        ((silent, None, 0), (told, 14 * CNY, 14 * CNY))
    ):
        snapshot = a_snapshot(endpoint, version=version)
        assert prices.worst(snapshot, endpoint, 1_000_000, 1_000_000, START) == worst
        found = prices.priced(snapshot, endpoint, MILLION, START)
        assert (found.cost, found.charged, found.version) == (None, charged, None)
