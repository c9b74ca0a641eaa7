"""Formats the result of a run on PostgreSQL: as a table, a chart, and as the figures of a page and of the README.

`python -m postgres.report RUN.json` publishes a run as published/postgres.json. `python -m postgres.report` writes its
figures to the pages. `--check` fails if a page or the chart differs from them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import published
from chart import Bar, bars_drawn, faster
from postgres.goals import GOALS, LIMITS, OURS, PEERS, PROPERTIES, SUBJECTS, WORKLOADS

__all__ = ["chart_of", "judged", "page", "summary", "text", "wrong"]

LATEST = published.FOLDER / "postgres.json"
CHART = published.FOLDER / "postgres.svg"
PAGE = Path(__file__).parents[2] / "docs" / "performance-postgres.md"
README = published.README
BEGIN = "<!-- figures: bench/postgres/report.py writes what is between these lines -->"
BEGIN_README = "<!-- figures of PostgreSQL: bench/postgres/report.py writes what is between these lines -->"
MUST_BE_ZERO = ("missed", "repeated", "reordered", "phantom", "lost")
NAMES = {"ops_s": "rate", "p50_us": "p50", "p99_us": "p99"}
TITLES = {each.key: each.title for each in WORKLOADS} | PROPERTIES
Result = dict[str, Any]


def wrong(result: Result) -> bool:
    """Return whether fait lost, missed or reordered an event, which invalidates all figures."""
    return any(result["lost_events"].get(ours, {}).get(each) for ours in OURS for each in MUST_BE_ZERO)


def judged(result: Result) -> list[dict[str, Any]]:
    """Return each measured goal, by event loop and latency, with whether it is met, and the minimum of each row."""
    rows = {(row["latency_ms"], row["workload"], row["subject"]): row for row in result["rows"]}
    verdicts = list[dict[str, Any]]()
    for latency in dict.fromkeys(row["latency_ms"] for row in result["rows"]):
        for goal in GOALS:
            for ours in OURS:
                against = SUBJECTS[ours].rival if goal.against == "asyncpg" else goal.against
                row = rows.get((latency, goal.key, against)) or rows.get((latency, goal.key, goal.against))
                if row and (ratio := row["ratios"].get(ours, {}).get(goal.figure)) is not None:
                    verdicts.append(_verdict(latency, ours, goal.key, row["subject"], goal.figure, goal.limit, ratio))
    for (latency, workload, subject), row in rows.items():
        for ours, ratios in row["ratios"].items() if subject in PEERS else ():
            for figure, ratio in ratios.items():
                verdicts.append(_verdict(latency, ours, workload, subject, figure, 1, ratio) | {"floor": True})
    for goal in GOALS:
        if goal.key in PROPERTIES and (ratio := _property(result, goal.key, goal.figure)) is not None:
            verdicts.append(_verdict(0.0, "fait", goal.key, "fait", goal.figure, goal.limit, ratio))
    return verdicts


def _property(result: Result, key: str, figure: str) -> float | None:
    """Return a ratio of fait to itself, or None if it was not measured."""
    if key.startswith("growth-"):
        return result["growth"][-1][f"{key.removeprefix('growth-')}_ratio"] if result["growth"] else None
    found = {row["key"]: row for row in result["stalls"].get("rows", [])}
    return found[key][f"{figure.removesuffix('_us')}_ratio"] if key in found else None


def _verdict(
    latency: float, ours: str, key: str, against: str, figure: str, limit: float, ratio: float
) -> dict[str, Any]:
    more = figure == "ops_s"
    return {
        "latency_ms": latency, "ours": ours, "key": key, "against": against, "figure": figure,
        "sign": "≥" if more else "≤", "limit": limit, "ratio": ratio,
        "met": ratio >= limit if more else ratio <= limit, "floor": False,
    }  # fmt: skip


def text(result: Result) -> str:
    """Format a run for a terminal."""
    lines = [
        f"{'':14}{'':27}{'ms':>4}{'rate':>20}{'p50 µs':>12}{'p99 µs':>12}   fait to subject: rate, p50, p99 (uvloop)"
    ]
    for row in result["rows"]:
        ratios = "   ".join(_times(row, figure) for figure in NAMES) if row["subject"] not in OURS else ""
        lines.append(
            f"{row['workload']:14}{SUBJECTS[row['subject']].title:27}{row['latency_ms']:>4g}{_rate(row):>20}"
            f"{_us(row['p50_us']):>12}{_us(row['p99_us']):>12}   {ratios}"
        )
    lines += ["", *_stalls_text(result["stalls"]), *(json.dumps(row) for row in result["growth"]), ""]
    for goal in result["goals"]:
        kind = "floor" if goal["floor"] else "goal"
        if not goal["met"] or not goal["floor"]:
            lines.append(f"{'met' if goal['met'] else 'MISSED':8}{kind:7}{_goal(goal)}")
    lines += ["", *(f"lost events, {SUBJECTS[name].title}: {json.dumps(each)}" for name, each in _probed(result))]
    lines += [f"LEFT OUT: {SUBJECTS[name].title}: {why}" for name, why in result["left_out"].items()]
    lines += _without_figure(result)
    return "\n".join(lines)


def _stalls_text(stalls: dict[str, Any]) -> list[str]:
    lines = [
        f"{row['key']:25}p50 µs {row['without_p50_us']:,.0f} → {row['with_p50_us']:,.0f} ({row['p50_ratio']:.2f})   "
        f"p99 µs {row['without_p99_us']:,.0f} → {row['with_p99_us']:,.0f} ({row['p99_ratio']:.2f})   "
        f"longest ms {row['longest_ms'][0]:,.0f} → {row['longest_ms'][1]:,.0f}"
        for row in stalls.get("rows", [])
    ]
    return [*lines, *(f"idle: {json.dumps(each)}" for each in stalls.get("idle", []))]


def _without_figure(result: Result) -> list[str]:
    return [
        f"No figure: {each['workload']} of {SUBJECTS[each['subject']].title}, {each['latency_ms']:g} ms: {each['why']}"
        for each in result["failed"]
    ] + [f"Not finished: {why}" for why in result["unfinished"]]


def _probed(result: Result) -> list[tuple[str, dict[str, int]]]:
    return list(result["lost_events"].items())


def _goal(goal: dict[str, Any]) -> str:
    to = f" {NAMES[goal['figure']]}" + ("" if goal["key"] in PROPERTIES else f" to {SUBJECTS[goal['against']].title}")
    where = f" ({SUBJECTS[goal['ours']].title}, {goal['latency_ms']:g} ms)"
    return f"{goal['key']}{to}: {goal['ratio']:.2f}, {goal['sign']} {goal['limit']:g}{where}"


def _times(row: dict[str, Any], figure: str) -> str:
    found = [row["ratios"].get(ours, {}).get(figure) for ours in OURS]
    shown = ["–" if each is None else f"{each:.2f}" for each in found]
    return "–" if found == [None, None] else f"{shown[0]} ({shown[1]})"


def _rate(row: dict[str, Any]) -> str:
    return "–" if row["ops_s"] is None else f"{row['ops_s']:,.0f} {row['unit']}"


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def chart_of(result: Result) -> str:
    """Draw the rate relative to the peer, by workload, without latency; a tick marks the goal."""
    peer = "eventsourcing"
    bars = list[Bar]()
    for row in result["rows"]:
        ratios = row["ratios"].get("fait", {})
        if row["subject"] == peer and not row["latency_ms"] and ratios:
            goals = [each for each in GOALS if (each.key, each.against) == (row["workload"], peer)]
            ticks = [
                each.limit if each.figure == "ops_s" else 1 / each.limit for each in goals if each.figure != "p99_us"
            ]
            title = f"{row['workload']}  {TITLES[row['workload']]}"
            bars.append(Bar(title, faster(ratios.get("ops_s"), ratios.get("p50_us", 1.0)), ticks))
    return bars_drawn(f"How many times as fast as {SUBJECTS[peer].title}, PostgreSQL, {result['date']}", bars)


def page(result: Result) -> str:
    """Format the figures as Markdown."""
    parts = [_about(result), ["![fait to eventsourcing, by workload](../bench/published/postgres.svg)"]]
    for latency in dict.fromkeys(row["latency_ms"] for row in result["rows"]):
        parts.append([f"### {f'With a network of {latency:g} ms' if latency else 'On one machine'}"])
        parts.append(_workload_table(result, latency))
    parts += [["### Lost events"], _probe_table(result)]
    if result["stalls"]:
        parts += [["### Stalls"], _stalls_table(result), _idle_table(result["stalls"]["idle"])]
    if result["growth"]:
        parts += [["### As the log grows"], _growth_table(result)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _about(result: Result) -> list[str]:
    where = result["machine"]
    box = published.box(where)
    trips = ", ".join(f"{us:,.0f} µs at {ms} ms" for ms, us in result["round_trip_us"].items())
    left_out = [f"Left out: {SUBJECTS[name].title} ({why})." for name, why in result["left_out"].items()]
    left_out += _without_figure(result)
    return [
        f"Measured on {result['date']}: {box}, {where['system']}, {where['file_system']}.",
        f"Round trip to the server (`SELECT 1`): {trips}.",
        "",
        *published.wrap(", ".join(f"{name} {value}" for name, value in result["settings"].items()) + "."),
        "",
        *published.wrap(", ".join(f"{name} {number}" for name, number in result["versions"].items()) + "."),
        *(["", *left_out] if left_out else []),
    ]


def _workload_table(result: Result, latency: float) -> list[str]:
    lines = [
        "| workload | subject | rate | p50 µs | p99 µs | fait (with uvloop) to subject: rate | p50 | p99 | goal |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    last = ""
    for row in result["rows"]:
        if row["latency_ms"] != latency:
            continue
        key, subject = row["workload"], row["subject"]
        ratios = ["", "", ""] if subject in OURS else [_times(row, figure) for figure in NAMES]
        what, last = (f"{key}: {TITLES[key]}" if key != last else ""), key
        cells = [what, SUBJECTS[subject].title, _rate(row), _us(row["p50_us"]), _us(row["p99_us"]), *ratios]
        lines.append(f"| {' | '.join([*cells, _goal_cell(result, latency, key, subject)])} |")
    return lines


def _goal_cell(result: Result, latency: float, key: str, subject: str) -> str:
    """Return the text of a goal cell: the goals, and the minimums that are missed."""
    texts = list[str]()
    for goal in result["goals"]:
        if (goal["latency_ms"], goal["key"], goal["against"]) == (latency, key, subject):
            loop = " (uvloop)" if SUBJECTS[goal["ours"]].loop == "uvloop" else ""
            if not goal["floor"]:
                texts.append(f"{NAMES[goal['figure']]} {_met(goal)}{loop}")
            elif not goal["met"]:
                texts.append(f"slower: {NAMES[goal['figure']]}{loop}")
    return "; ".join(texts)


def _met(goal: dict[str, Any]) -> str:
    return f"{goal['sign']} {goal['limit']:g}: {'met' if goal['met'] else 'missed'}"


def _probe_table(result: Result) -> list[str]:
    names = ("events", *MUST_BE_ZERO)
    lines = [f"| subject | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    for name, found in _probed(result):
        lines.append(f"| {SUBJECTS[name].title} | {' | '.join(f'{found[each]:,}' for each in names)} |")
    return lines


def _stalls_table(result: Result) -> list[str]:
    names = "p50 µs without | with | ratio | p99 µs without | with | ratio | longest ms without | with"
    lines = [f"| | {names} | goal |", f"|---|{'--:|' * 8}---|"]
    for row in result["stalls"]["rows"]:
        cells = [TITLES[row["key"]]]
        for name in ("p50", "p99"):
            cells += [_us(row[f"without_{name}_us"]), _us(row[f"with_{name}_us"]), f"{row[f'{name}_ratio']:.2f}"]
        cells += [f"{each:,.0f}" for each in row["longest_ms"]]
        texts = [f"{NAMES[each['figure']]} {_met(each)}" for each in result["goals"] if each["key"] == row["key"]]
        lines.append(f"| {' | '.join([*cells, '; '.join(texts)])} |")
    return lines


def _idle_table(idle: list[dict[str, Any]]) -> list[str]:
    lines = ["| idle system | statements per second | CPU time of its process, ms per second |", "|---|--:|--:|"]
    for each in idle:
        what = f"{each['subscriptions']} subscriptions, {'with' if each['hears'] else 'without'} LISTEN"
        lines.append(f"| {what} | {each['statements_s']:.1f} | {each['cpu_ms_s']:.1f} |")
    return lines


def _growth_table(result: Result) -> list[str]:
    figures = {
        "append, p50 µs": "append_p50_us",
        "append with a condition, p50 µs": "conditional_p50_us",
        "read-stream, p50 µs": "read_p50_us",
        "feed, events/s": "feed_events_s",
        "catch-up of a read model, events/s": "catch_up_events_s",
        "import, events/s": "import_events_s",
        "bytes of disk per event": "bytes_per_event",
        "first read after a cold start, p50 µs": "cold_read_p50_us",
        "first appends after a cold start, p50 µs": "cold_append_p50_us",
    }
    sizes = result["growth"]
    lines = [f"| events | {' | '.join(format(each['events'], ',') for each in sizes)} |", f"|---|{'--:|' * len(sizes)}"]
    lines += [f"| {title} | {' | '.join(f'{each[name]:,.0f}' for each in sizes)} |" for title, name in figures.items()]
    goals = [goal for goal in result["goals"] if goal["key"].startswith("growth-")]
    texts = [f"{TITLES[each['key']]}: {each['ratio']:.2f}, {_met(each)}." for each in goals]
    return [*lines, "", *texts]


def summary(result: Result) -> str:
    """Format a summary of the figures as Markdown: without network latency, on asyncio's event loop."""
    where, version = result["machine"], result["versions"]["postgresql"]
    heading = f"PostgreSQL {version}, {result['date']}: {published.box(where)}, {where['file_system']}."
    return "\n".join([heading, "", *published.table(_lines(result))])


def _lines(result: Result) -> list[published.Line]:
    return [
        published.Line(
            f"{row['workload']}: {TITLES[row['workload']]}",
            f"p50 {_us(row['p50_us'])} µs" if row["ops_s"] is None else _rate(row),
            _faster(result, row["workload"], PEERS),
            _faster(result, row["workload"], LIMITS),
        )
        for row in result["rows"]
        if row["subject"] == "fait" and not row["latency_ms"]
    ]


def _faster(result: Result, workload: str, subjects: tuple[str, ...]) -> dict[str, float]:
    """Return the speed of fait relative to each subject, by title."""
    found = dict[str, float]()
    for row in result["rows"]:
        ratios = row["ratios"].get("fait")
        if (row["workload"], row["latency_ms"]) == (workload, 0) and row["subject"] in subjects and ratios:
            found[SUBJECTS[row["subject"]].title] = faster(ratios.get("ops_s"), ratios.get("p50_us", 1.0))
    return found


def wanted(result: Result | None) -> dict[Path, str]:
    """Return the expected content of the files for the published run."""
    none = "No run has been published yet. Start one with `make bench-postgres`."
    return {
        PAGE: published.between(PAGE, BEGIN, page(result) if result else none),
        README: published.between(README, BEGIN_README, summary(result) if result else f"PostgreSQL. {none}"),
        **({CHART: chart_of(result)} if result else {}),
    }


if __name__ == "__main__":
    sys.exit(published.publish(sys.argv[1:], LATEST, wanted))
