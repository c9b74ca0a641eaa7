"""`fait schema check` and `fait schema diff`, the pytest plugin and the pre-commit hook, on the app of a project."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fait.testing.event_check import check_events

Run = Callable[..., Any]
Write = Callable[[str], None]

ROOT = Path(__file__).parents[2]

FIRST = """
@fait.event("shop.order-placed")
class OrderPlaced:
    order: str
    amount: int
    note: str = ""
"""
CHANGED = FIRST.replace("int", "float")
SECOND = """
@fait.event("shop.order-placed", version=2)
class OrderPlaced:
    order: str
    amount: int
    remark: str = ""
"""
RENAMED = SECOND + 'to_remark = fait.upcast("shop.order-placed", 1, fait.renamed("note", "remark"))\n'
TWICE = RENAMED + 'again = fait.upcast("shop.order-placed", 1, fait.dropped("note"))\n'


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes the module of the app: under a new name, as if a new process imported it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = list(sys.path)

    def write_module(events: str) -> None:
        name = f"shop_{uuid4().hex}"
        module = f'import sys\nimport fait\n{events}\nshop = fait.App("shop")\nshop.include(sys.modules[__name__])\n'
        (tmp_path / f"{name}.py").write_text(module)
        (tmp_path / "pyproject.toml").write_text(f'[tool.fait]\napp = "{name}:shop"\n')

    yield write_module
    sys.path[:] = path


@pytest.fixture
def locked(run: Run, write: Write) -> None:
    """The first version is locked."""
    write(FIRST)
    assert run("schema", "lock").exit_code == 0


@pytest.mark.usefixtures("locked")
def test_check_of_unchanged_events_is_clean(run: Run) -> None:
    result = run("schema", "check")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("0 violations: 1 event type, 1 version, 0 steps, 3 samples")


@pytest.mark.usefixtures("locked")
def test_check_reports_an_upcaster_whose_result_depends_on_the_hash_seed(run: Run, write: Write) -> None:
    write(
        SECOND.replace("remark: str", "remarks: list[str] | None").replace('= ""', "= None")
        + """
@fait.upcast("shop.order-placed", 1)
def with_remarks(data):
    words = {"a", "b", "c", "d", "e", data["note"]}
    return {"order": data["order"], "amount": data["amount"], "remarks": list(words)}
"""
    )
    result = run("schema", "check")

    assert result.exit_code == 1
    assert "FAIT111 upcaster is not repeatable" in result.stdout
    assert "its results differ in two processes" in result.stdout


@pytest.mark.usefixtures("locked")
def test_check_reports_a_changed_version(run: Run, write: Write) -> None:
    write(CHANGED)
    result = run("schema", "check")

    assert result.exit_code == 1
    assert result.stdout.startswith("FAIT101 published event was changed\n")


@pytest.mark.usefixtures("locked")
def test_check_reports_a_field_that_disappeared_until_it_is_declared(run: Run, write: Write) -> None:
    write(SECOND)
    undeclared = run("schema", "check", "--json")
    write(RENAMED)
    declared = run("schema", "check", "--json")

    assert (undeclared.exit_code, declared.exit_code) == (1, 0)
    assert {each["rule"] for each in json.loads(undeclared.stdout)["violations"]} == {"FAIT107"}


@pytest.mark.usefixtures("locked")
def test_check_without_drafts_reports_a_draft(run: Run, write: Write) -> None:
    write(RENAMED)
    result = run("schema", "check", "--no-drafts", "--format", "github")

    assert result.exit_code == 1
    assert "title=FAIT130" in result.stdout


@pytest.mark.usefixtures("locked")
def test_check_reports_two_upcasters_for_one_step(run: Run, write: Write) -> None:
    write(TWICE)
    result = run("schema", "check")

    assert result.exit_code == 1
    assert result.stdout.startswith("FAIT114 two upcasters for one step\n")


def test_check_that_cannot_run_exits_with_2(run: Run, write: Write) -> None:
    write(FIRST)

    assert run("schema", "check").exit_code == 2
    assert run("schema", "check", "--format", "xml").exit_code == 2
    assert run("schema", "check", "--app", "nowhere:app").exit_code == 2
    write("x = fait.event('a')")
    (Path.cwd() / "events").mkdir()
    write("raise SystemError('broken')")
    with pytest.raises(SystemError):
        run("schema", "check")


@pytest.mark.usefixtures("locked")
def test_check_ends_at_ctrl_c(write: Write) -> None:
    endless = "@fait.upcast('shop.order-placed', 1)\ndef step(data):\n    while True: print('running', flush=True)\n"
    write(SECOND + endless)
    program = [sys.executable, "-c", "from fait._tools.cli.main import run; run()", "schema", "check"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130


@pytest.mark.usefixtures("locked")
def test_diff_compares_the_newest_lock_with_the_class_and_versions_with_each_other(run: Run, write: Write) -> None:
    same = run("schema", "diff", "shop.order-placed")
    write(SECOND)
    changed = run("schema", "diff", "shop.order-placed", "--json")
    numbered = run("schema", "diff", "shop.order-placed", 1, 2, "--json")
    unknown = run("schema", "diff", "shop.order-placed", 1, 3)

    assert (same.exit_code, same.stdout, same.stderr) == (0, "", "no differences\n")
    assert (changed.exit_code, changed.stdout) == (1, numbered.stdout)
    assert json.loads(changed.stdout)["verdict"] == "declare"
    assert (unknown.exit_code, "Versions: 1, 2" in unknown.stderr) == (2, True)


def test_diff_compares_files_and_shows_a_value_that_breaks(run: Run, tmp_path: Path) -> None:
    old, new, foreign = (tmp_path / name for name in ("old.json", "new.json", "foreign.json"))
    old.write_text('{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}')
    new.write_text('{"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}, "required": ["a"]}')
    foreign.write_text('{"type": "object", "if": {}}')
    backward, forward = run("schema", "diff", old, new), run("schema", "diff", old, new, "--direction", "forward")
    unknown = run("schema", "diff", old, foreign)

    assert (backward.exit_code, forward.exit_code, unknown.exit_code) == (1, 0, 1)
    assert backward.stdout.split("\n")[1].split("\t")[:4] == ["$.a", "limit-tightened", "trust", "new version"]
    assert backward.stdout.endswith('\t{"a":9007199254740993}\n')
    assert "FAIT190 cannot compare this: $: the keyword 'if' is not understood" in unknown.stderr


@pytest.mark.usefixtures("locked")
def test_diff_reads_a_lock(run: Run) -> None:
    lock = Path("events/shop.order-placed/v1.json")

    assert run("schema", "diff", lock, lock).exit_code == 0


@pytest.mark.parametrize("content", ["[1]", "{", '{"type": 1, "version": 1, "fingerprint": "", "description": {}}'])
def test_diff_of_an_invalid_file_exits_with_2(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)

    assert run("schema", "diff", tmp_path / "a.json", tmp_path / "a.json").exit_code == 2
    assert run("schema", "diff", tmp_path / "a.json").exit_code == 2
    assert run("schema", "diff", tmp_path / "missing.json", tmp_path / "a.json").exit_code != 0


@pytest.mark.usefixtures("locked")
def test_pytest_plugin_has_a_test_for_each_event_type_if_the_option_is_given(write: Write, tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing() -> None: ...\n")
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}"}

    def test(*options: str) -> tuple[int, str]:
        done = subprocess.run([*arguments, *options], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert "1 passed" in test()[1]
    assert "2 passed" in test("--fait-schema")[1]
    write(CHANGED)
    code, output = test("--fait-schema")
    assert (code, "1 failed, 1 passed" in output, "FAIT101 published event was changed" in output) == (1, True, True)


def test_pytest_plugin_imports_nothing_of_fait() -> None:
    program = "import sys, _fait_pytest; print(any(name.partition('.')[0] == 'fait' for name in sys.modules))"

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


@pytest.mark.usefixtures("locked")
def test_check_events_raises_with_the_text_of_each_violation(write: Write) -> None:
    import fait

    @fait.event("shop.order-placed")
    class OrderPlaced:
        order: str

    app = fait.App("shop")
    app.include(OrderPlaced)
    with pytest.raises(AssertionError, match="FAIT101 published event was changed"):
        check_events(app, "events")


@pytest.mark.usefixtures("locked")
def test_pre_commit_hook_refuses_a_changed_version(write: Write, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    for folder in (hooks, tmp_path):
        git(folder, "init", "-q")
    git(hooks, "add", "-A")
    git(hooks, "commit", "-qm", "hooks")
    revision = git(hooks, "rev-parse", "HEAD").strip()
    (tmp_path / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks}\n  rev: {revision}\n  hooks: [{{id: fait-schema-check}}]\n"
    )
    assert pre_commit(tmp_path).returncode == 0
    write(CHANGED)
    refused = pre_commit(tmp_path)
    assert (refused.returncode, "FAIT101" in refused.stdout) == (1, True)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True)


def pre_commit(folder: Path) -> subprocess.CompletedProcess[str]:
    git(folder, "add", "-A", ":!hooks")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PRE_COMMIT_HOME": str(folder / "hooks" / "home")}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
