"""A bar chart of a run, as SVG written by hand: how many times the peer's rate, by workload."""

import math
from html import escape
from typing import Any

from goals import GOALS, PEERS, SUBJECTS, WORKLOADS

__all__ = ["drawn"]

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 860, 330, 80, 56, 30, 16
GRID = (1, 2, 5, 10, 20, 50, 100, 200)


def drawn(result: dict[str, Any]) -> str:
    """The chart; a tick on a bar is the goal. The scale is logarithmic."""
    peer = PEERS[0]
    bars = [(row["workload"], _faster(row)) for row in result["rows"] if row["subject"] == peer]
    height = TOP + ROW * len(bars) + 40
    longest = max([10.0, *(2 * ratio for _, ratio in bars)])
    heading = f"How many times as fast as {SUBJECTS[peer]}, SQLite, {result['date']}"
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
    for place, (key, ratio) in enumerate(bars):
        parts += _bar(TOP + place * ROW, key, ratio, longest)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _faster(row: dict[str, Any]) -> float:
    rate: float | None = row["ops_s_ratio"]
    return rate if rate is not None else 1 / row["p50_us_ratio"]


def _bar(y: int, key: str, ratio: float, longest: float) -> list[str]:
    title = next(f"{each.key}  {each.title}" for each in WORKLOADS if each.key == key)
    start, end = sorted((_x(1, longest), _x(ratio, longest)))
    colour = "#2f6fde" if ratio >= 1 else "#c2410c"
    parts = [
        f'<text x="{LEFT - 12}" y="{y + 13}" text-anchor="end" fill="#1f2933">{escape(title)}</text>',
        f'<rect x="{start}" y="{y}" width="{max(1.0, round(end - start, 1))}" height="{BAR}" rx="2" fill="{colour}"/>',
    ]
    for goal in GOALS:
        if goal.key == key and goal.against in PEERS:
            x = _x(goal.limit if goal.figure == "ops_s" else 1 / goal.limit, longest)
            parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x}" y2="{y + BAR + 4}" stroke="#1f2933" stroke-width="2"/>')
    parts.append(f'<text x="{max(end, LEFT) + 8}" y="{y + 13}" fill="#1f2933">{ratio:.1f}×</text>')
    return parts


def _x(ratio: float, longest: float) -> float:
    """Where a ratio lies: half as fast is at the left edge, `longest` at the right one."""
    share = (math.log10(max(ratio, 0.5)) - math.log10(0.5)) / (math.log10(longest) - math.log10(0.5))
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)
