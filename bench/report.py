"""Formats the result of a run: as a table, and as the figures of docs/performance.md and of the README.

`bench/report.py run.json` publishes a run as published/sqlite.json. `bench/report.py` writes its figures to the pages.
`bench/report.py --check` fails if a page or the chart differs from them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import chart
import published
from goals import GOALS, LIMITS, PEERS, PROPERTIES, SUBJECTS, WORKLOADS

__all__ = ["MUST_BE_ZERO", "judged", "page", "summary", "text"]

LATEST = published.FOLDER / "sqlite.json"
CHART = published.FOLDER / "sqlite.svg"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
README = published.README
BEGIN = "<!-- figures: bench/report.py writes what is between these lines -->"
BEGIN_README = "<!-- figures of SQLite: bench/report.py writes what is between these lines -->"
MUST_BE_ZERO = ("missed", "repeated", "reordered", "phantom", "lost")

NAMES = {"ops_s": "rate", "p50_us": "p50", "p99_us": "p99"}
FIGURES = tuple(NAMES)
TITLES = {each.key: each.title for each in WORKLOADS} | PROPERTIES
Result = dict[str, Any]


def judged(result: Result) -> list[dict[str, Any]]:
    """Return each measured goal with its ratio and whether it is met, and the minimum of each row."""
    rows = {(row["workload"], row["subject"]): row for row in result["rows"]}
    verdicts = list[dict[str, Any]]()
    for goal in GOALS:
        ratio = _property(result, goal.key) if goal.key in PROPERTIES else None
        if row := rows.get((goal.key, goal.against)):
            ratio = row[f"{goal.figure}_ratio"]
        if ratio is not None:
            more = goal.figure == "ops_s"
            met = ratio >= goal.limit if more else ratio <= goal.limit
            sign = "≥" if more else "≤"
            verdicts.append(_verdict(goal.key, goal.against, goal.figure, sign, goal.limit, ratio, met))
    for (workload, subject), row in rows.items():
        for figure in FIGURES if subject in PEERS else ():
            if (ratio := row[f"{figure}_ratio"]) is not None:
                met, sign = (ratio >= 1, "≥") if figure == "ops_s" else (ratio <= 1, "≤")
                verdicts.append(_verdict(workload, subject, figure, sign, 1, ratio, met) | {"floor": True})
    return verdicts


def _verdict(key: str, against: str, figure: str, sign: str, limit: float, ratio: float, met: bool) -> dict[str, Any]:
    return {
        "key": key, "against": against, "figure": figure, "sign": sign, "limit": limit, "ratio": ratio, "met": met,
        "floor": False,
    }  # fmt: skip


def _property(result: Result, key: str) -> float | None:
    found = result["properties"]
    if key.startswith("growth-"):
        sizes = found.get("growth")
        return round(sizes[-1][f"{key.removeprefix('growth-')}_ratio"], 3) if sizes else None
    return found[key]["ratio"] if key in found else None


def text(result: Result) -> str:
    """Format a run for a terminal."""
    lines = [f"{'':14}{'':18}{'rate':>18}{'p50 µs':>12}{'p99 µs':>12}   fait to subject: rate, p50, p99"]
    for row in result["rows"]:
        rate = "" if row["ops_s"] is None else f"{row['ops_s']:,.0f} {row['unit']}"
        ratios = "" if row["subject"] == "fait_system" else "   ".join(_times(row, figure) for figure in FIGURES)
        lines.append(
            f"{row['workload']:14}{SUBJECTS[row['subject']]:18}{rate:>18}{_us(row['p50_us']):>12}{_us(row['p99_us']):>12}"
            f"   {ratios}"
        )
    lines += ["", *(f"{name}: {json.dumps(found)}" for name, found in result["properties"].items()), ""]
    for goal in result["goals"]:
        kind = "floor" if goal["floor"] else "goal"
        if not goal["met"] or not goal["floor"]:
            lines.append(f"{'met' if goal['met'] else 'MISSED':8}{kind:7}{_goal(goal)}")
    lines += ["", f"lost events: {json.dumps(result['lost_events'])}"]
    return "\n".join(lines)


def _goal(goal: dict[str, Any]) -> str:
    to = f" {NAMES[goal['figure']]} to {SUBJECTS[goal['against']]}" if goal["key"] not in PROPERTIES else ""
    return f"{goal['key']}{to}: {goal['ratio']:.2f}, {goal['sign']} {goal['limit']:g}"


def _times(row: dict[str, Any], figure: str) -> str:
    ratio = row[f"{figure}_ratio"]
    return "–" if ratio is None else f"{ratio:.2f}"


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def page(result: Result) -> str:
    """Format the figures as Markdown."""
    return "\n".join(
        [
            *_about(result),
            "",
            "![fait to eventsourcing, by workload](../bench/published/sqlite.svg)",
            "",
            *_workload_table(result),
            "",
            *_property_table(result),
            "",
            *_probe(result["lost_events"]),
        ]
    )


def _about(result: Result) -> list[str]:
    where, with_ = result["machine"], result["versions"]
    box = published.box(where)
    return [
        *published.wrap(
            f"Measured on {result['date']}: {box}, {where['system']}, {where['file_system']}. {result['durability']}."
        ),
        "",
        *published.wrap(", ".join(f"{name} {number}" for name, number in with_.items()) + "."),
    ]


def _workload_table(result: Result) -> list[str]:
    lines = [
        "| workload | subject | rate | p50 µs | p99 µs | fait to subject: rate | p50 | p99 | goal |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in result["rows"]:
        key, subject = row["workload"], row["subject"]
        ours = subject == "fait_system"
        rate = "–" if row["ops_s"] is None else f"{row['ops_s']:,.0f} {row['unit']}"
        ratios = ["", "", ""] if ours else [_times(row, figure) for figure in FIGURES]
        what = f"{key}: {TITLES[key]}" if ours else ""
        cells = [what, SUBJECTS[subject], rate, _us(row["p50_us"]), _us(row["p99_us"]), *ratios]
        lines.append(f"| {' | '.join([*cells, _goal_cell(result, key, subject)])} |")
    return lines


def _goal_cell(result: Result, key: str, subject: str) -> str:
    """Return the text of a goal cell: the goals, and the minimums that are missed."""
    goals = [goal for goal in result["goals"] if (goal["key"], goal["against"]) == (key, subject)]
    texts = [_met(each) for each in goals if not each["floor"]]
    slower = [f"slower: {NAMES[each['figure']]}" for each in goals if each["floor"] and not each["met"]]
    return "; ".join([*texts, *slower])


def _met(goal: dict[str, Any]) -> str:
    return f"{goal['sign']} {goal['limit']:g}: {'met' if goal['met'] else 'missed'}"


def _property_table(result: Result) -> list[str]:
    rows = [goal for goal in result["goals"] if goal["key"] in PROPERTIES]
    lines = [f"| {TITLES[each['key']]} | {each['ratio']:.2f} | {_met(each)} |" for each in rows]
    return ["| fait relative to itself | ratio | goal |", "|---|--:|---|", *lines]


def _probe(found: dict[str, int]) -> list[str]:
    zeros = ", ".join(f"{name} {found[name]}" for name in MUST_BE_ZERO)
    writers = f"{found['events']:,} events from two writers that were killed and two that were not"
    failures = f"{found['refused']:,} appends rejected, {found['rolled_back']:,} foreign transactions rolled back"
    return published.wrap(f"Lost-events probe of the same build: {writers}, {failures}. Of these events: {zeros}.")


def summary(result: Result) -> str:
    """Format a summary of the figures as Markdown."""
    where = result["machine"]
    heading = f"SQLite, {result['date']}: {published.box(where)}, {where['file_system']}."
    return "\n".join([heading, "", *published.table(_lines(result))])


def _lines(result: Result) -> list[published.Line]:
    return [
        published.Line(
            f"{row['workload']}: {TITLES[row['workload']]}",
            f"p50 {_us(row['p50_us'])} µs" if row["ops_s"] is None else f"{row['ops_s']:,.0f} {row['unit']}",
            _faster(result, row["workload"], PEERS),
            _faster(result, row["workload"], LIMITS),
        )
        for row in result["rows"]
        if row["subject"] == "fait_system"
    ]


def _faster(result: Result, workload: str, subjects: tuple[str, ...]) -> dict[str, float]:
    """Return the speed of fait relative to each subject, by title."""
    rows = [row for row in result["rows"] if row["workload"] == workload and row["subject"] in subjects]
    ratios = {SUBJECTS[row["subject"]]: (row["ops_s_ratio"], row["p50_us_ratio"]) for row in rows}
    return {title: chart.faster(*both) for title, both in ratios.items() if both != (None, None)}


def wanted(result: Result | None) -> dict[Path, str]:
    """Return the expected content of the files for the published run."""
    none = "No run has been published yet. Start one with `make bench`."
    return {
        PAGE: published.between(PAGE, BEGIN, page(result) if result else none),
        README: published.between(README, BEGIN_README, summary(result) if result else f"SQLite. {none}"),
        **({CHART: chart.drawn(result)} if result else {}),
    }


if __name__ == "__main__":
    sys.exit(published.publish(sys.argv[1:], LATEST, wanted))
