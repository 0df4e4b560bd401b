"""The NAV chart: one well-formed page that draws what the report holds and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.ports.store import NavPoint
from caopan.interfaces.cli.nav_page import Words, nav_page
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW

CASH = units(1_000_000)
WORDS = Words(
    lang="en",
    title="NAV of momentum",
    subtitle="the subtitle",
    synthetic="Synthetic market",
    nav="Strategy",
    hold="Buy and hold",
    cash="Cash",
    drawdown="Deepest drawdown",
    month="Month end",
)


def point(number: int, nav: int, benchmark: int | None = None) -> NavPoint:
    return NavPoint(
        trading_day=DAY + timedelta(days=number),
        at=NOW + timedelta(days=number),
        nav=nav,
        cash_free=nav,
        cash_frozen=0,
        market_value=0,
        fees_total=0,
        realised_total=0,
        benchmark=benchmark,
    )


def points(navs: list[int], holds: list[int] | None = None) -> list[NavPoint]:
    return [
        point(number, nav, None if holds is None else holds[number])
        for number, nav in enumerate(navs)
    ]


class Structure(HTMLParser):
    """Reads a page and refuses tags that do not pair."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def svg_of(page: str) -> ET.Element:
    start, end = page.index("<svg"), page.index("</svg>") + len("</svg>")
    return ET.fromstring(page[start:end])  # noqa: S314 - written a moment ago


def coordinates(svg: ET.Element) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for element in svg.iter():
        for pair in element.get("points", "").split():
            x, _, y = pair.partition(",")
            found.append((float(x), float(y)))
        for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2")):
            if element.get(x) is not None:
                found.append((float(element.get(x) or ""), float(element.get(y) or "")))
    return found


navs = st.lists(st.integers(1, 10**13), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(navs, st.booleans(), st.sampled_from(["en", "zh-CN"]))
def test_any_run_is_drawn_inside_its_frame(navs, hold, lang):
    page = nav_page(
        points(navs, [nav + 1 for nav in navs] if hold else None),
        CASH,
        replace(WORDS, lang=lang),
        synthetic=False,
    )
    assert Structure(page).seen.count("svg") == 1
    assert f'<html lang="{lang}">' in page
    svg = svg_of(page)
    width, height = (float(part) for part in (svg.get("viewBox") or "").split()[2:])
    for x, y in coordinates(svg):
        assert 0 <= x <= width
        assert 0 <= y <= height
    lines = [element for element in svg.iter() if element.tag == "polyline"]
    assert len(lines) == (3 if hold else 2)
    assert all(len((line.get("points") or "").split()) == len(navs) for line in lines)
    assert "nan" not in page
    assert "inf" not in page.replace("info", "")


@pytest.mark.parametrize("navs", [[CASH], [CASH] * 3, [CASH, 2 * CASH], [CASH // 2] * 2])
def test_one_point_a_flat_line_and_only_gains(navs):
    text = Structure(nav_page(points(navs), CASH, WORDS, synthetic=False)).text
    fall = min(navs[0] / CASH - 1, 0)
    assert f"Deepest drawdown {fall:.1%}" in text


def test_the_deepest_drawdown_is_the_runs_own():
    run = [CASH, CASH * 12 // 10, CASH * 9 // 10, CASH * 11 // 10]
    text = Structure(nav_page(points(run), CASH, WORDS, synthetic=False)).text
    assert "Deepest drawdown -25.0%" in text


def test_words_and_labels_are_text_and_never_markup():
    evil = '<script>alert("x")</script>&"\''
    words = Words(**dict.fromkeys(Words.__dataclass_fields__, evil) | {"lang": "en"})
    page = nav_page(points([CASH, CASH + 1], [CASH, CASH]), CASH, words, synthetic=True)
    structure = Structure(page)
    assert "script" not in structure.seen
    # Title, heading, tag, subtitle, three keys, drawdown, three table heads.
    assert structure.text.count(evil) == 11
    assert svg_of(page).get("aria-label") == evil


def test_a_synthetic_market_is_labelled_wherever_it_is_shown():
    run = points([CASH])
    assert "Synthetic market" in nav_page(run, CASH, WORDS, synthetic=True)
    assert "Synthetic market" not in nav_page(run, CASH, WORDS, synthetic=False)


def test_nothing_is_fetched():
    page = nav_page(points([CASH, CASH + 5]), CASH, WORDS, synthetic=True)
    assert not re.search(r"https?:|url\(|@import|//", page)


def test_the_table_has_a_row_a_month_with_the_months_last_figures():
    run = [
        replace(point(0, units("100.005"), units(7)), trading_day=day)
        for day in (date(2023, 1, 30), date(2023, 1, 31), date(2023, 2, 1), date(2023, 3, 1))
    ]
    run[1] = replace(run[1], nav=units("1234567.89"))
    page = nav_page(run, CASH, WORDS, synthetic=False)
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert rows[0] == ("2023-01-31", "1,234,567.89", "7.00")
    assert [row[0] for row in rows] == ["2023-01-31", "2023-02-01", "2023-03-01"]


def test_a_yardstick_that_is_not_known_throughout_is_not_drawn():
    run = [point(0, CASH, CASH), point(1, CASH)]
    page = nav_page(run, CASH, WORDS, synthetic=False)
    assert "var(--hold)" not in page.partition("<svg")[2].partition("</svg>")[0]
    assert "<td>–</td>" in page
