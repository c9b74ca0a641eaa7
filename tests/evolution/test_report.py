"""Reports of the check: exemptions, and the formats for programs."""

import json
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

import fait
from fait._events.registry import build_registry
from fait._evolution.check.render import render
from fait._evolution.check.report import Report, run_check
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.settings import Exemption, Settings
from fait._evolution.locks.violation import RuleViolation
from fait._tools.cli.report_formats import FORMATS

GOLDEN = Path(__file__).parent / "golden"

CHANGED = RuleViolation(
    rule="FAIT101",
    title="published event was changed",
    type="shop.order-placed",
    version=2,
    step="2",
    place="shop/events, new.py:41",
    details=("note: <gone> \x1b[31m\x00", "100 % of it"),
    value={"note": "a\nb"},
    advice=("Make it version 3.",),
)
EXEMPTED = RuleViolation(
    rule="FAIT107", title="field disappeared", type="shop.order-paid", version=1, exempted="agreed & so"
)
REPORT = Report(
    violations=(CHANGED, EXEMPTED),
    versions={"shop.order-paid": (1, 2), "shop.order-placed": (1, 2)},
    steps=1,
    samples=40,
)


def test_json_has_violations_and_counts() -> None:
    content = json.loads(FORMATS["json"](REPORT))

    assert (content["clean"], content["types"], content["versions"], content["steps"]) == (False, 2, 4, 1)
    assert [each["rule"] for each in content["violations"]] == ["FAIT101", "FAIT107"]
    assert content["violations"][0]["details"][0] == "note: <gone> \x1b[31m\x00"


def test_junit_is_well_formed_and_counts_cases_of_each_type() -> None:
    suites = ElementTree.fromstring(FORMATS["junit"](REPORT))

    assert [(suite.tag, suite.get("name")) for suite in suites] == [
        ("testsuite", "shop.order-paid"),
        ("testsuite", "shop.order-placed"),
    ]
    for suite in suites:
        assert int(suite.get("tests", 0)) == len(suite.findall("testcase"))
        assert int(suite.get("failures", 0)) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", 0)) == len(suite.findall("testcase/skipped"))
    failure = suites.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("type") == "FAIT101"
    assert r"note: <gone> \u001b[31m\u0000" in (failure.text or "")
    assert [each.get("name") for each in suites[1]] == ["version 1", "FAIT101 published event was changed 2"]


def test_github_annotations_are_one_line_each_and_escaped() -> None:
    error, notice = FORMATS["github"](REPORT).split("\n")

    assert error.startswith(
        "::error file=shop/events%2C new.py,line=41,title=FAIT101 published event was changed::FAIT101 "
    )
    assert "%0A" in error
    assert "100 %25 of it" in error
    assert notice.startswith("::notice title=FAIT107 field disappeared::")


def test_gitlab_report_has_a_place_and_a_stable_fingerprint() -> None:
    (issue,) = json.loads(FORMATS["gitlab"](REPORT))

    assert issue["location"] == {"path": "shop/events, new.py", "lines": {"begin": 41}}
    assert issue["check_name"] == "FAIT101"
    assert json.loads(FORMATS["gitlab"](REPORT))[0]["fingerprint"] == issue["fingerprint"]


def test_text_has_no_control_characters() -> None:
    assert "\x1b" not in FORMATS["text"](REPORT)
    assert "FAIT107" in FORMATS["text"](REPORT)


def test_report_without_violations_is_valid_in_each_format() -> None:
    empty = Report(violations=())

    assert json.loads(FORMATS["json"](empty))["clean"] is True
    assert len(ElementTree.fromstring(FORMATS["junit"](empty))) == 0
    assert (FORMATS["text"](empty), FORMATS["github"](empty), FORMATS["gitlab"](empty)) == ("", "", "[]")


def draft_settings(tmp_path: Path, *exemptions: Exemption) -> Settings:
    return Settings(folder=tmp_path, locks=tmp_path, exemptions=exemptions)


def check(tmp_path: Path, *exemptions: Exemption) -> Report:
    @fait.event("test.draft")
    class Draft:
        a: int

    settings = draft_settings(tmp_path, *exemptions)
    return run_check(settings, build_registry([Draft]), LockFolder(tmp_path), drafts_allowed=False)


def test_exemption_accepts_a_violation_and_shows_its_reason(tmp_path: Path) -> None:
    report = check(tmp_path, Exemption(rule="FAIT130", event="test.draft", reason="not yet", until=date(2999, 1, 1)))

    assert [(each.rule, each.exempted) for each in report.violations] == [("FAIT130", "not yet")]
    assert report.failures == []


def test_exemption_that_accepts_nothing_is_a_violation(tmp_path: Path) -> None:
    report = check(
        tmp_path,
        Exemption(rule="FAIT130", event="test.draft", reason="not yet"),
        Exemption(rule="FAIT101", event="test.draft", reason="once"),
    )

    assert [each.rule for each in report.failures] == ["FAIT140"]
    assert render(report.failures[0]) + "\n" == (GOLDEN / "FAIT140.txt").read_text()


def test_check_without_a_folder_of_locks_says_how_to_make_one(tmp_path: Path) -> None:
    settings = draft_settings(tmp_path)

    with pytest.raises(fait.UsageError, match="fait schema lock"):
        run_check(settings, build_registry([]), LockFolder(tmp_path / "events"))
