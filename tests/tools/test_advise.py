"""`fait advise`: text, facts, interview, output, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli import interview
from fait._tools.cli.interview import Answers

Run = Callable[..., Any]

LOSS = "A saved order must never be lost on its way to the warehouse: it was stored, but the warehouse was never told."
FACTS = {"consumers": "services", "loss": "must_not_lose", "dual_write": True}


def test_description_is_an_argument_a_file_or_standard_input(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text(LOSS)
    results = [
        run("advise", LOSS, "--json"),
        run("advise", "--text", file, "--json"),
        run("advise", "--text", "-", "--json", input=LOSS),
    ]

    assert len({each.stdout for each in results}) == 1
    data = json.loads(results[0].stdout)
    assert data["headline"] == "outbox"
    assert data["modules"][0]["facts"]["loss"]["quote"] in LOSS
    assert all(each.exit_code == 0 for each in results)


def test_facts_are_read_from_json(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(FACTS))

    assert json.loads(run("advise", "--facts", file, "--json").stdout)["headline"] == "outbox"


def test_facts_are_read_from_yaml(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.yaml"
    file.write_text("consumers: services\nloss: must_not_lose\ndual_write: true\n")

    assert json.loads(run("advise", "--facts", file, "--json").stdout)["headline"] == "outbox"


def test_yaml_that_creates_objects_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.yaml"
    file.write_text("consumers: !!python/object/apply:os.getcwd []\n")

    assert run("advise", "--facts", file).exit_code == 2


def test_plain_tables_are_recommended_in_plain_words(run: Run) -> None:
    assert "You do not need this." in run("advise", "A list of the keys of our club, with a name for each key.").stdout


@pytest.mark.parametrize("text", ["hello", "blorf", "Wir haben eine Datenbank mit vielen Kunden."])
def test_text_that_is_not_understood_gets_questions_instead_of_an_answer(run: Run, text: str) -> None:
    output = run("advise", text).stdout

    assert "Only English is read; nothing in this text speaks for or against anything." in output
    assert "You do not need this" not in output
    assert "What must the system say about the past?" in output


def test_contradictory_facts_get_one_sentence(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({"history_need": "temporal", "intent_matters": True, "domain_complexity": "low"}))
    output = run("advise", "--facts", file).stdout

    assert "crud: Keep the state in plain tables with a history table for now; event sourcing is a candidate" in output
    assert "You do not need this" not in output
    assert output.count("candidate") == 1


def test_headline_of_each_module_is_in_table_and_front_matter(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facts.json").write_text(json.dumps({"modules": [{"name": "orders", **FACTS}, {"name": "list"}]}))
    run("advise", "--facts", "facts.json", "--out", "DESIGN.md")
    document = Path("DESIGN.md").read_text("utf-8")

    assert "| `orders` | a transactional outbox |" in document
    assert document.count('    headline: "') == 2


def test_explain_prints_rules_with_weights_and_what_would_change_the_result(run: Run) -> None:
    output = run("advise", LOSS, "--explain").stdout

    assert "(I3-outbox, +0)" in output
    assert "would change this: What if such a message is lost?" in output


def test_design_document_is_written_and_keeps_text_of_its_readers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("advise", LOSS, "--out", "DESIGN.md", "--system", "Tea shop", "--json")
    document = Path("DESIGN.md").read_text("utf-8")
    Path("DESIGN.md").write_text(document.replace("## Event Catalog", "Ours.\n\n## Event Catalog"), "utf-8")
    again = run("advise", "A list of the keys of our club, with a name for each key.", "--out", "DESIGN.md")
    changed = Path("DESIGN.md").read_text("utf-8")

    assert (result.exit_code, result.stderr) == (0, "DESIGN.md written: 1 module\n")
    assert json.loads(result.stdout)["headline"] == "outbox"
    assert "# Event-Driven Design: Tea shop\n" in document
    assert again.exit_code == 0
    assert "# Event-Driven Design: Tea shop\n" in changed
    assert "\nOurs.\n" in changed
    assert 'headline: "outbox"' in document
    assert 'headline: "crud"' in changed


def test_file_that_is_no_design_document_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.md").write_text("mine")
    result = run("advise", LOSS, "--out", "notes.md")

    assert result.exit_code == 2
    assert "notes.md has no front matter, so it is not a design document" in result.stderr
    assert Path("notes.md").read_text() == "mine"


def test_document_of_code_is_not_overwritten_without_its_app(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("advise", LOSS, "--out", "DESIGN.md")
    document = Path("DESIGN.md").read_text("utf-8").replace("plan: true\n", "")
    Path("DESIGN.md").write_text(document, "utf-8")
    result = run("advise", LOSS, "--out", "DESIGN.md")

    assert result.exit_code == 2
    assert "the document describes code" in result.stderr
    assert Path("DESIGN.md").read_text("utf-8") == document


def test_document_that_cannot_be_written_exits_with_2(run: Run, tmp_path: Path) -> None:
    result = run("advise", LOSS, "--out", tmp_path / "missing" / "DESIGN.md")

    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "describe the system"),
        (("text", "--text", "-"), "pass one of"),
        ((" ",), "the description is empty"),
        (("--text", "missing.txt"), "cannot read missing.txt"),
        (("--facts", "-"), "unknown fact 'a'"),
    ],
)
def test_invalid_usage_exits_with_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run("advise", *arguments, input='{"a": 1}')

    assert result.exit_code == 2
    assert message in result.stderr


def test_broken_facts_file_exits_with_2(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text("{")

    assert run("advise", "--facts", file).exit_code == 2


def replies(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    iterator = iter(given)
    monkeypatch.setattr(interview, "_reply", lambda: next(iterator))


def test_interview_continues_after_quit_and_removes_its_file_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.json"
    replies(monkeypatch, "2", "q")
    assert interview.interview(path) is None
    assert json.loads(path.read_bytes()) == {"record_kind": "measurements"}

    replies(monkeypatch, *["1"] * 20)
    modules = interview.interview(path)

    assert modules is not None
    assert modules[0].facts["record_kind"].value == "measurements"
    assert not path.exists()
    assert "[1 of about " in capsys.readouterr().out


def test_interview_goes_back_skips_and_asks_again_after_an_unknown_reply(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "answers.json"
    replies(monkeypatch, "1", "b", "9", "s", "q")
    interview.interview(path)

    assert json.loads(path.read_bytes()) == {"record_kind": None}


def test_answers_of_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text('{"a": "b"}')

    with pytest.raises(Exception, match="has no answers of an interview"):
        Answers.load(path)
