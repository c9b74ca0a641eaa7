"""Draws a bar chart of a run as SVG: the rate relative to a peer, by workload."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from goals import GOALS, PEERS, SUBJECTS, WORKLOADS

__all__ = ["Bar", "bars_drawn", "drawn", "faster"]

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 860, 330, 80, 56, 30, 16
GRID = (1, 2, 5, 10, 20, 50, 100, 200)


class Bar(NamedTuple):
    """A ratio and its goals."""

    title: str
    ratio: float
    goals: Sequence[float]


def drawn(result: dict[str, Any]) -> str:
    """Draw the chart of a run on SQLite."""
    peer = PEERS[0]
    bars = [
        Bar(
            next(f"{each.key}  {each.title}" for each in WORKLOADS if each.key == row["workload"]),
            faster(row["ops_s_ratio"], row["p50_us_ratio"]),
            [
                each.limit if each.figure == "ops_s" else 1 / each.limit
                for each in GOALS
                if each.key == row["workload"] and each.against in PEERS
            ],
        )
        for row in result["rows"]
        if row["subject"] == peer
    ]
    return bars_drawn(f"How many times as fast as {SUBJECTS[peer]}, SQLite, {result['date']}", bars)


def bars_drawn(heading: str, bars: Sequence[Bar]) -> str:
    """Draw bars on a logarithmic scale; a tick marks a goal."""
    height = TOP + ROW * len(bars) + 40
    longest = max([10.0, *(2 * bar.ratio for bar in bars)])
    font = 'font-family="system-ui, sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {font}>',
        f"<title>{escape(heading)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="#1f2933">{escape(heading)}</text>',
    ]
    for mark in (each for each in GRID if each <= longest):
        x = _x(mark, longest)
        parts.append(f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - 36}" stroke="#d5dbe1"/>')
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="middle" fill="#52606d">{mark}×</text>')
    for place, bar in enumerate(bars):
        parts += _bar(TOP + place * ROW, bar, longest)
    return "\n".join([*parts, "</svg>"]) + "\n"


def faster(rate_ratio: float | None, time_ratio: float) -> float:
    """Return the relative speed: the ratio of rates, or the inverse ratio of times if there is no rate."""
    return rate_ratio if rate_ratio is not None else 1 / time_ratio


def _bar(y: int, bar: Bar, longest: float) -> list[str]:
    title, ratio, goals = bar
    start, end = sorted((_x(1, longest), _x(ratio, longest)))
    color = "#2f6fde" if ratio >= 1 else "#c2410c"
    parts = [
        f'<text x="{LEFT - 12}" y="{y + 13}" text-anchor="end" fill="#1f2933">{escape(title)}</text>',
        f'<rect x="{start}" y="{y}" width="{max(1.0, round(end - start, 1))}" height="{BAR}" rx="2" fill="{color}"/>',
    ]
    for goal in goals:
        x = _x(goal, longest)
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x}" y2="{y + BAR + 4}" stroke="#1f2933" stroke-width="2"/>')
    parts.append(f'<text x="{max(end, LEFT) + 8}" y="{y + 13}" fill="#1f2933">{ratio:.1f}×</text>')
    return parts


def _x(ratio: float, longest: float) -> float:
    """Return the x coordinate of a ratio: 0.5 is at the left edge, `longest` at the right edge."""
    share = (math.log10(max(ratio, 0.5)) - math.log10(0.5)) / (math.log10(longest) - math.log10(0.5))
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)
