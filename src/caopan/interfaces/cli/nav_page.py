"""The saved NAV chart: one self-contained HTML page.

Owns the drawing of a run's NAV against buy-and-hold and cash, with the drawdown below, as inline
SVG that follows the reader's light or dark setting. Must never fetch anything or compute a figure
that the report does not hold. Tests: tests/unit/interfaces/test_nav_page.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from caopan.application.ports.store import NavPoint
from caopan.kernel.money import UNITS_PER_YUAN

_WIDTH, _LEFT, _RIGHT = 960, 76, 16
_TOP, _NAV_HEIGHT, _GAP, _DRAW_HEIGHT = 16, 300, 34, 96
_HEIGHT = _TOP + _NAV_HEIGHT + _GAP + _DRAW_HEIGHT + 28
_GRID_LINES = 5
_SHALLOWEST = -0.001
"""Depth of the drawdown's axis where there was none."""

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c1f24;--dim:#5b6470;--grid:#e3e6ea;
--nav:#2458c5;--hold:#b26b00;--cash:#7a828c;--down:#2458c533}
@media (prefers-color-scheme:dark){:root{--bg:#14171c;--ink:#e8eaed;--dim:#a2abb7;--grid:#2b3038;
--nav:#7ea6ff;--hold:#f0b44c;--cash:#98a1ac;--down:#7ea6ff33}}
body{margin:0;padding:24px;background:var(--bg);color:var(--ink);
font:15px/1.5 "PingFang SC","Microsoft YaHei","Noto Sans SC",system-ui,sans-serif}
main{max-width:960px;margin:auto}h1{font-size:20px;margin:0 0 2px}
p{color:var(--dim);margin:0 0 12px}
svg{width:100%;height:auto;display:block}text{fill:var(--dim);font-size:12px}
.tag{border:1px solid currentColor;border-radius:4px;padding:0 6px;font-size:12px;color:var(--hold)}
.key{display:flex;gap:18px;flex-wrap:wrap;margin:0 0 8px}.key i{display:inline-block;width:18px;
height:3px;vertical-align:middle;margin-right:6px}
table{border-collapse:collapse;margin-top:16px;font-variant-numeric:tabular-nums}
td,th{padding:3px 14px 3px 0;text-align:right;font-weight:400}th{color:var(--dim)}
td:first-child,th:first-child{text-align:left}
"""


@dataclass(frozen=True, slots=True)
class Words:
    """The page's texts, already in the reader's language."""

    lang: str
    title: str
    subtitle: str
    synthetic: str
    nav: str
    hold: str
    cash: str
    drawdown: str
    month: str


def nav_page(points: Sequence[NavPoint], cash: int, words: Words, *, synthetic: bool) -> str:
    """Return the page of `points` (at least one); `cash` in units is where all lines start."""
    nav = [point.nav for point in points]
    hold = [point.benchmark for point in points if point.benchmark is not None]
    lines = [("nav", nav), ("cash", [cash] * len(nav))]
    if len(hold) == len(nav):
        lines.insert(1, ("hold", hold))
    low = min(min(values) for _, values in lines)
    high = max(max(values) for _, values in lines)
    pad = max((high - low) // 20, UNITS_PER_YUAN)
    y_of = _scale(low - pad, high + pad, _TOP + _NAV_HEIGHT, _TOP)
    x_of = _scale(0, max(len(nav) - 1, 1), _LEFT, _WIDTH - _RIGHT)
    parts = _grid(low - pad, high + pad, y_of)
    parts += [_line(values, x_of, y_of, f"var(--{name})") for name, values in lines]
    parts += _drawdown(nav, cash, x_of, words)
    parts += _months(points, x_of)
    tag = f' <span class="tag">{escape(words.synthetic)}</span>' if synthetic else ""
    key = "".join(
        f'<span><i style="background:var(--{name})"></i>{escape(text)}</span>'
        for name, text in (("nav", words.nav), ("hold", words.hold), ("cash", words.cash))
        if any(name == drawn for drawn, _ in lines)
    )
    return (
        f'<!doctype html><html lang="{words.lang}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(words.title)}</title><style>{_STYLE}</style><main>"
        f"<h1>{escape(words.title)}{tag}</h1><p>{escape(words.subtitle)}</p>"
        f'<div class="key">{key}</div>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words.title)}">'
        f"{''.join(parts)}</svg>{_table(points, words)}</main></html>\n"
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1
    return lambda value: round(start + (value - low) / span * (end - start), 1)


def _line(
    values: Sequence[int],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    colour: str,
) -> str:
    path = " ".join(f"{x_of(index)},{y_of(value)}" for index, value in enumerate(values))
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def _grid(low: int, high: int, y_of: Callable[[float], float]) -> list[str]:
    parts: list[str] = []
    for step in range(_GRID_LINES + 1):
        value = low + (high - low) * step / _GRID_LINES
        y = y_of(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="var(--grid)"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">'
            f"{value / UNITS_PER_YUAN:,.0f}</text>"
        )
    return parts


def _drawdown(
    nav: Sequence[int], cash: int, x_of: Callable[[float], float], words: Words
) -> list[str]:
    peak, falls = cash, list[float]()
    for value in nav:
        peak = max(peak, value)
        falls.append(value / peak - 1)
    deepest = min(falls)
    top = _TOP + _NAV_HEIGHT + _GAP
    lowest = min(deepest, _SHALLOWEST)
    y_of = _scale(0, lowest, top, top + _DRAW_HEIGHT)
    path = " ".join(f"{x_of(index)},{y_of(fall)}" for index, fall in enumerate(falls))
    ends = f"{x_of(len(falls) - 1)},{top} {x_of(0)},{top}"
    return [
        f'<text x="{_LEFT}" y="{top - 8}">{escape(words.drawdown)} {deepest:.1%}</text>',
        f'<polygon points="{path} {ends}" fill="var(--down)" stroke="var(--nav)"/>',
        f'<text x="{_LEFT - 8}" y="{top + 4}" text-anchor="end">0%</text>',
        (
            f'<text x="{_LEFT - 8}" y="{top + _DRAW_HEIGHT + 4}" text-anchor="end">'
            f"{lowest:.1%}</text>"
        ),
    ]


def _months(points: Sequence[NavPoint], x_of: Callable[[float], float]) -> list[str]:
    firsts = [
        (index, point.trading_day)
        for index, point in enumerate(points)
        if index == 0 or points[index - 1].trading_day.month != point.trading_day.month
    ]
    every = max(1, len(firsts) // 8)
    return [
        f'<text x="{x_of(index)}" y="{_HEIGHT - 6}">{day:%Y-%m}</text>'
        for index, day in firsts[::every]
    ]


def _table(points: Sequence[NavPoint], words: Words) -> str:
    """Return the same figures as a table, one row a month end."""
    ends = [
        point
        for index, point in enumerate(points)
        if index == len(points) - 1
        or points[index + 1].trading_day.month != point.trading_day.month
    ]
    rows = "".join(
        f"<tr><td>{point.trading_day}</td><td>{point.nav / UNITS_PER_YUAN:,.2f}</td>"
        f"<td>{_money(point.benchmark)}</td></tr>"
        for point in ends
    )
    return (
        f"<table><tr><th>{escape(words.month)}</th><th>{escape(words.nav)}</th>"
        f"<th>{escape(words.hold)}</th></tr>{rows}</table>"
    )


def _money(value: int | None) -> str:
    return "–" if value is None else f"{value / UNITS_PER_YUAN:,.2f}"
