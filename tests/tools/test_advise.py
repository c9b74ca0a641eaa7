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


def test_explain_prints_rules_with_weights_and_what_would_change_the_result(run: Run) -> None:
    output = run("advise", LOSS, "--explain").stdout

    assert "(I3-outbox, +0)" in output
    assert "would change this: What if such a message is lost?" in output


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
