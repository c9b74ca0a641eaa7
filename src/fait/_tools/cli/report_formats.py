"""Formats of the report of `fait schema check` for programs: JSON, JUnit XML, and annotations of GitHub and GitLab."""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from fait._evolution.check.render import render
from fait._evolution.check.report import Report
from fait._evolution.locks.violation import RuleViolation
from fait._tools.cli.output import escape_controls

__all__ = ["FORMATS"]


def as_json(report: Report) -> str:
    """Return the report as JSON: the violations as they are, and the counts."""
    counts = {"types": len(report.versions), "versions": sum(map(len, report.versions.values()))}
    counts |= {"steps": report.steps, "samples": report.samples}
    content = {"clean": not report.failures, "violations": report.violations, **counts}
    return _json(content)


def _json(content: Any) -> str:
    return escape_controls(msgspec.json.format(msgspec.json.encode(content), indent=-1).decode())


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML: a suite for each type, a case for each violation and for each clean version."""
    by_type: dict[str, list[RuleViolation]] = {name: [] for name in report.versions}
    for each in report.violations:
        by_type.setdefault(each.type or "settings", []).append(each)
    suites = "".join(_suite(name, found, report.versions.get(name, ())) for name, found in sorted(by_type.items()))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="fait schema check">\n{suites}</testsuites>'


def _suite(name: str, found: list[RuleViolation], versions: tuple[int, ...]) -> str:
    clean = [each for each in versions if each not in {violation.version for violation in found}]
    cases = "".join(f"    {_case_start(name, f'version {each}')}/>\n" for each in clean)
    cases += "".join(_case(name, each) for each in found)
    skipped = sum(bool(each.exempted) for each in found)
    counts = {"tests": len(clean) + len(found), "failures": len(found) - skipped, "errors": 0, "skipped": skipped}
    attributes = " ".join(f'{key}="{value}"' for key, value in counts.items())
    return f'  <testsuite name={_attribute(name)} {attributes} time="0">\n{cases}  </testsuite>\n'


def _case_start(type: str, name: str) -> str:
    return f'<testcase classname={_attribute(type)} name={_attribute(name)} time="0"'


def _case(type: str, violation: RuleViolation) -> str:
    start = _case_start(type, f"{violation.rule} {violation.title} {violation.step}".rstrip())
    if violation.exempted:
        result = f"<skipped message={_attribute(violation.exempted)}/>"
    else:
        message, rule = _attribute(violation.title), _attribute(violation.rule)
        result = f"<failure message={message} type={rule}>{escape(_text(violation))}</failure>"
    return f"    {start}>\n      {result}\n    </testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(escape_controls(text))


def as_github(report: Report) -> str:
    """Return the report as annotations of GitHub Actions, one line for each violation."""
    return "\n".join(map(_annotation, report.violations))


def _annotation(violation: RuleViolation) -> str:
    file, line = location_of(violation)
    properties = {"file": file, "line": line, "title": f"{violation.rule} {violation.title}"}
    given = ",".join(f"{name}={_escape_property(str(value))}" for name, value in properties.items() if value)
    return f"::{'notice' if violation.exempted else 'error'} {given}::{_escape_message(_text(violation))}"


def _escape_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_message(escape_controls(text)).replace(":", "%3A").replace(",", "%2C")


def as_gitlab(report: Report) -> str:
    """Return the violations that no exemption accepts as a code quality report of GitLab."""
    return _json(list(map(_issue, report.failures)))


def _issue(violation: RuleViolation) -> dict[str, Any]:
    file, line = location_of(violation)
    identity = "\0".join((violation.rule, violation.type, violation.step, str(violation.version), *violation.details))
    return {
        "description": f"{violation.title}: {' '.join((violation.type, violation.step))}".rstrip(": "),
        "check_name": violation.rule,
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
        "severity": "major",
        "location": {"path": file or "pyproject.toml", "lines": {"begin": line or 1}},
    }


def location_of(violation: RuleViolation) -> tuple[str, int]:
    """Return the file of a violation, relative to the working directory if it is in it, and the line; 0 for none."""
    file, _, line = violation.place.rpartition(":")
    number = int(line) if file and line.isdecimal() else 0
    path = file if number else violation.place
    return path.removeprefix(os.path.join(os.getcwd(), "")), number


def as_text(report: Report) -> str:
    """Return the texts of all violations, for a person."""
    return "\n\n".join(map(_text, report.violations))


def _text(violation: RuleViolation) -> str:
    """Return the text of a violation without control characters, which XML cannot contain, apart from ends of lines."""
    return "\n".join(map(escape_controls, render(violation, folder=os.getcwd()).split("\n")))


FORMATS: Final[Mapping[str, Callable[[Report], str]]] = {
    "text": as_text,
    "json": as_json,
    "junit": as_junit,
    "github": as_github,
    "gitlab": as_gitlab,
}
"""The formats by name."""
