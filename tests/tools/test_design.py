"""`fait design` and `fait design check`: files, options, exit codes, and the documents of the examples."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.design.projects import SHOP
from tests.design.test_document import ADVICE

Run = Callable[..., Any]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app, its settings, and an answer of the advisor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    path = list(sys.path)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "pyproject.toml").write_text('[tool.fait]\napp = "shop:shop"\n')
    (tmp_path / "advice.json").write_text(json.dumps(ADVICE))
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("shop", None)


def change_app(project: Path, before: str, after: str) -> None:
    text = (project / "shop.py").read_text()
    assert before in text
    (project / "shop.py").write_text(text.replace(before, after))
    sys.modules.pop("shop", None)


def test_document_is_printed_or_written(run: Run, project: Path) -> None:
    printed = run("design")
    result = run("design", "--out", "DESIGN.md")

    assert (printed.exit_code, result.exit_code) == (0, 0)
    assert (project / "DESIGN.md").read_text("utf-8") == printed.stdout
    assert (result.stdout, result.stderr) == ("", "DESIGN.md written: 3 event types\n")


def test_document_of_app_and_advice_agrees_with_the_app(run: Run, project: Path) -> None:
    assert run("design", "--advice", "advice.json", "--out", "DESIGN.md", "--system", "Tea").exit_code == 0
    assert run("design", "--out", "DESIGN.md").exit_code == 0
    result = run("design", "check", "DESIGN.md")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 discrepancies\n")
    assert "# Event-Driven Design: Tea\n" in (project / "DESIGN.md").read_text("utf-8")


def test_changed_code_fails_the_check_with_a_fix(run: Run, project: Path) -> None:
    run("design", "--out", "DESIGN.md")
    change_app(project, '"shop.order-paid"', '"shop.invoice-paid"')
    result = run("design", "check", "DESIGN.md")

    assert result.exit_code == 1
    assert result.stdout.startswith("DESIGN.md:")
    assert ": event-renamed: the event shop.order-paid of the document is named shop.invoice-paid" in result.stdout
    assert "fait design --out DESIGN.md" in result.stdout


def test_check_prints_json(run: Run, project: Path) -> None:
    run("design", "--out", "DESIGN.md")
    change_app(project, "attempts=3", "attempts=5")
    result = run("design", "check", "DESIGN.md", "--json")
    content = json.loads(result.stdout)

    assert (result.exit_code, content["clean"]) == (1, False)
    assert [each["kind"] for each in content["discrepancies"]] == ["guarantee-changed"]
    assert content["discrepancies"][0].keys() == {"kind", "subject", "where", "what", "fix"}


def test_catalog_is_printed_as_data(run: Run, project: Path) -> None:
    content = json.loads(run("design", "--json", "--advice", "advice.json").stdout)

    assert [each["type"] for each in content["catalog"]["events"]] == [
        "shop.order-paid",
        "shop.order-placed",
        "shop.reminder",
    ]
    assert content["catalog"]["events"][0]["schema"]["$defs"]
    assert content["advice"]["headline"] == "mixed"


def test_plan_gets_a_table_that_belongs_to_the_user(run: Run, project: Path) -> None:
    (project / "pyproject.toml").unlink()
    assert run("design", "--advice", "advice.json", "--out", "plan.md", "--system", "Tea").exit_code == 0
    plan = (project / "plan.md").read_text("utf-8")
    assert "-->\n\n| Event Type | Producer | Consumers | Schema |\n| --- | --- | --- | --- |\n| `OrderPlaced` |" in plan

    (project / "plan.md").write_text(plan.replace("`OrderPlaced` |  |", "`OrderPlaced` | `Order.place` |"))
    result = run("design", "check", "plan.md", "--app", "shop:shop")

    assert result.exit_code == 1
    assert "OrderPlaced" not in result.stdout.replace("shop.order-placed", "")
    assert "the event shop.order-paid is in the code and not in the document" in result.stdout


def test_text_edited_inside_a_part_is_not_overwritten(run: Run, project: Path) -> None:
    run("design", "--out", "DESIGN.md")
    edited = (project / "DESIGN.md").read_text("utf-8").replace("Parking: after", "Parking: of course after")
    (project / "DESIGN.md").write_text(edited)
    result = run("design", "--out", "DESIGN.md")

    assert result.exit_code == 2
    assert "generated parts were edited by hand: delivery (line " in result.stderr
    assert (project / "DESIGN.md").read_text("utf-8") == edited
    assert run("design", "--out", "DESIGN.md", "--force").exit_code == 0
    assert run("design", "check", "DESIGN.md").exit_code == 0


def test_file_that_is_no_design_document_is_not_overwritten(run: Run, project: Path) -> None:
    (project / "README.md").write_text("# Shop\n")
    result = run("design", "--out", "README.md")

    assert result.exit_code == 2
    assert (project / "README.md").read_text() == "# Shop\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["design", "check", "missing.md"], "missing.md: No such file or directory"),
        (["design", "check", "shop.py"], "shop.py has no front matter"),
        (["design", "--advice", "pyproject.toml"], "is not an answer of the advisor"),
        (["design", "--app", "shop:nothing"], "is not a fait.App"),
    ],
)
def test_command_that_cannot_run_exits_with_2(run: Run, project: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_command_without_app_and_advice_says_what_it_needs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("design")

    assert result.exit_code == 2
    assert "give --app module:name, or --advice FILE" in result.stderr


@pytest.mark.parametrize(
    ("folder", "options"),
    [("shop", []), ("outbox", ["--app", "examples.outbox.worker:shop", "--locks", "examples/outbox/events"])],
)
def test_documents_of_the_examples_agree_with_their_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, folder: str, options: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    result = run("design", "check", f"examples/{folder}/DESIGN.md", *options)

    assert (result.exit_code, result.stdout) == (0, "")
