"""`fait schema lock`, `new-version`, `show` and `export`, on the versions of an app as its developers change it."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

Run = Callable[..., Any]

FIRST = """
@fait.event("shop.order-placed")
class OrderPlaced:
    customer_name: str
    lines: list[Line]
    note: str | None = None

@fait.event("shop.paid")
class Paid:
    amount: Decimal
"""
SECOND = """
@fait.event("shop.order-placed", version=2)
class OrderPlaced:
    customer: str
    lines: list[Line]
    currency: str = "EUR"

to_customer = fait.upcast("shop.order-placed", 1, fait.renamed("customer_name", "customer"), fait.dropped("note"))

@fait.event("shop.paid")
class Paid:
    amount: Decimal
"""
HEADER = """
import sys
from decimal import Decimal
from typing import Annotated
import msgspec
import fait

class Line(msgspec.Struct, frozen=True):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
"""
FOOTER = """
shop = fait.App("shop")
shop.include(sys.modules[__name__])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes pyproject.toml and the module of the app: under a new name, as if a new process imported it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = list(sys.path)

    def write(source: str, settings: str = "") -> Path:
        module = tmp_path / f"shop_{uuid4().hex}.py"
        module.write_text(HEADER + source + FOOTER)
        (tmp_path / "pyproject.toml").write_text(f'[tool.fait]\napp = "{module.stem}:shop"\n{settings}')
        return module

    yield write
    sys.path[:] = path


def content(folder: Path) -> dict[str, Any]:
    files = sorted(each for each in (folder / "events").rglob("*") if each.is_file())
    return {str(each.relative_to(folder / "events")): json.loads(each.read_text()) for each in files}


def test_drafts_are_locked_once(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)

    planned = run("schema", "lock", "--dry-run")
    nothing = content(tmp_path)
    locked = run("schema", "lock", "--json")
    before = content(tmp_path)
    again = run("schema", "lock")

    assert [each.exit_code for each in (planned, locked, again)] == [0, 0, 0]
    assert nothing == {}
    assert list(before) == ["shop.order-placed/v1.json", "shop.paid/v1.json"]
    assert "2 versions would be locked. Nothing was written." in planned.stderr
    assert json.loads(locked.stdout)["locked"][1] == {
        "type": "shop.paid", "version": 1, "path": "events/shop.paid/v1.json",
        "fingerprint": before["shop.paid/v1.json"]["fingerprint"],
    }  # fmt: skip
    assert "There is no draft: nothing was locked." in again.stderr
    assert content(tmp_path) == before


def test_one_type_is_locked_with_a_sample_by_hand(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)
    (tmp_path / "paid.json").write_text('{"amount": "12.50"}')

    without_type = run("schema", "lock", "--sample", "paid.json")
    wrong = run("schema", "lock", "shop.order-placed", "--sample", "paid.json")
    locked = run("schema", "lock", "shop.paid@1", "--sample", "paid.json")

    assert [each.exit_code for each in (without_type, wrong, locked)] == [2, 2, 0]
    assert "--sample belongs to one version, but 2 versions would be locked" in without_type.stderr
    assert "its description does not allow it. Nothing was written." in wrong.stderr
    assert list(content(tmp_path)) == ["shop.paid/v1.json"]
    assert content(tmp_path)["shop.paid/v1.json"]["samples"][0] == {"amount": "12.50"}


def test_second_version_reserves_what_is_gone(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)
    run("schema", "lock")
    project(SECOND)

    assert run("schema", "lock").exit_code == 0
    assert content(tmp_path)["shop.order-placed/v2.json"]["reserved"] == ["customer_name", "note"]


def test_broken_history_is_not_locked_over(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)
    run("schema", "lock")
    (tmp_path / "events" / "shop.order-placed" / "v1.json").unlink()
    project(SECOND)

    missing = run("schema", "lock")
    (tmp_path / "events" / "shop.paid" / "v1.json").write_text("{}")
    edited = run("schema", "lock")

    assert (missing.exit_code, edited.exit_code) == (1, 1)
    assert "FAIT103 a version is missing in the history" in missing.stderr
    assert "FAIT102 lock file was edited or cannot be read\n  shop.paid  1 " in edited.stderr
    assert "git restore --source=HEAD -- events/shop.paid/v1.json" in edited.stderr
    assert "Nothing was written." in edited.stderr
    assert list(content(tmp_path)) == ["shop.paid/v1.json"]


def test_app_that_is_older_than_its_locks_can_begin_with_an_exemption(
    run: Run, project: Callable[..., Path], tmp_path: Path
) -> None:
    exemption = '[[tool.fait.allow]]\nrule = "FAIT103"\nevent = "shop.order-placed"\nversion = 1\n'
    project(SECOND, exemption)
    without_reason = run("schema", "lock")
    project(SECOND, f'{exemption}reason = "older than the locks; nothing of it is stored"\n')
    with_reason = run("schema", "lock")

    assert (without_reason.exit_code, with_reason.exit_code) == (1, 0)
    assert "FAIT140 exemption is wrong" in without_reason.stderr
    assert list(content(tmp_path)) == ["shop.order-placed/v2.json", "shop.paid/v1.json"]


def test_changed_version_is_refused_and_can_be_replaced(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)
    run("schema", "lock")
    old = content(tmp_path)["shop.paid/v1.json"]
    project(FIRST.replace("amount: Decimal", "amount: Decimal\n    currency: str"))

    refused = run("schema", "lock", "shop.paid")
    no_reason = run("schema", "lock", "--replace", "shop.paid@1")
    replaced = run("schema", "lock", "--replace", "shop.paid@1", "--reason", "never deployed")

    assert [each.exit_code for each in (refused, no_reason, replaced)] == [2, 2, 0]
    assert "Make it the next version: fait schema new-version shop.paid" in refused.stderr
    new = content(tmp_path)["shop.paid/v1.json"]
    assert new["replacements"] == [f"{new['locked_on']} {old['fingerprint']}: never deployed"]
    assert new["fingerprint"] != old["fingerprint"]


def test_new_version_is_prepared_from_the_changed_class(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)
    run("schema", "lock")
    module = project(FIRST.replace("amount: Decimal", "total: Decimal"))
    source = module.read_text()

    shown = run("schema", "new-version", "shop.paid")
    unchanged = module.read_text()
    written = run("schema", "new-version", "shop.paid", "--write", "--json")

    assert (shown.exit_code, unchanged, written.exit_code) == (0, source, 0)
    assert '- @fait.event("shop.paid")\n+ @fait.event("shop.paid", version=2)' in shown.stdout
    assert 'fait.renamed("amount", "total"),  # or fait.dropped("amount")' in shown.stdout
    assert module.read_text() == source.replace('"shop.paid")', '"shop.paid", version=2)')
    assert json.loads(written.stdout)["edit"]["written"] is True
    assert json.loads(written.stdout)["upcaster"].startswith('paid_v1 = fait.upcast("shop.paid", 1,')


def test_upcaster_is_shown_although_the_class_cannot_be_edited(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)
    run("schema", "lock")
    module = project(
        FIRST.replace("amount: Decimal", "total: Decimal").replace('"shop.paid"', '"shop.paid", version=ONE')
    )
    module.write_text(f"ONE = 1{module.read_text()}")

    shown = run("schema", "new-version", "shop.paid")
    refused = run("schema", "new-version", "shop.paid", "--write")

    assert (shown.exit_code, refused.exit_code, refused.stdout) == (0, 2, "")
    assert 'fait.renamed("amount", "total")' in shown.stdout
    assert "its version is not given as a number. Nothing was written. Change it by hand: version=2" in shown.stderr


def test_class_that_has_the_next_version_already_gets_only_an_upcaster(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)
    run("schema", "lock")
    module = project(SECOND.replace("to_customer = ", "# "))
    source = module.read_text()

    result = json.loads(run("schema", "new-version", "shop.order-placed", "--write", "--json").stdout)

    assert (result["version"], result["edit"], module.read_text()) == (2, None, source)
    assert result["upcaster"] == (
        'order_placed_v1 = fait.upcast("shop.order-placed", 1,\n'
        '    fait.renamed("customer_name", "customer"),  # or fait.dropped("customer_name")\n'
        '    fait.dropped("note"),\n'
        ")"
    )


def test_draft_needs_no_new_version(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)

    result = run("schema", "new-version", "shop.paid")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "version 1 of 'shop.paid' is a draft: change its fields freely" in result.stderr


def test_version_is_shown_with_fields_samples_and_path(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)
    run("schema", "lock")
    module = project(SECOND)

    draft = json.loads(run("schema", "show", "shop.order-placed", "--json").stdout)
    first = json.loads(run("schema", "show", "shop.order-placed@1", "--json").stdout)
    text = run("schema", "show", "shop.order-placed@1").stdout

    assert (draft["version"], draft["state"], first["version"], first["state"]) == (2, "draft", 1, "locked")
    assert {each["path"]: each["since"] for each in draft["fields"]} == {
        "currency": 2, "customer": 2, "lines": 1, "lines[].count": 1, "lines[].sku": 1
    }  # fmt: skip
    assert draft["fields"][0] == {
        "path": "currency", "type": "text", "since": 2, "required": False, "default": "EUR"
    }  # fmt: skip
    assert first["path"][0].startswith("shop.order-placed 1 -> shop.order-placed 2: ")
    assert first["path"][1].startswith(f"OrderPlaced, version 2: {module.name}:")
    assert "lines[].count\tinteger >= 1 <= 100\tno\t1\tv1\n" in text
    assert "customer_name\ttext\tyes\t\tv1\n" in text


def test_without_locks_a_version_is_not_locked(run: Run, project: Callable[..., Path]) -> None:
    project(FIRST)

    assert json.loads(run("schema", "show", "shop.paid", "--json").stdout)["state"] == "not locked"


def test_schemas_of_all_versions_are_exported(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    project(FIRST)
    run("schema", "lock")
    project(SECOND)

    result = run("schema", "export", "--out", "schemas", "--base-url", "https://example.org/")
    printed = json.loads(run("schema", "export").stdout)

    paths = ["shop.order-placed/v1.json", "shop.order-placed/v2.json", "shop.paid/v1.json"]
    assert (result.exit_code, list(printed)) == (0, paths)
    assert printed[paths[1]]["$id"] == "urn:fait:events:shop.order-placed/v2.json"
    exported = json.loads((tmp_path / "schemas" / paths[0]).read_text())
    locked = content(tmp_path)[paths[0]]["json_schema"]
    assert exported == {**locked, "$id": f"https://example.org/{paths[0]}", "title": "shop.order-placed version 1"}


@pytest.mark.parametrize("command", [["lock"], ["show", "shop.paid"], ["new-version", "shop.paid"], ["export"]])
def test_without_an_app_the_command_says_how_to_name_it(
    command: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run("schema", *command)

    assert result.exit_code == 2
    assert "give --app module:name, or set it in pyproject.toml" in result.stderr


def test_options_precede_settings(run: Run, project: Callable[..., Path], tmp_path: Path) -> None:
    module = project(FIRST)
    (tmp_path / "pyproject.toml").write_text('[tool.fait]\napp = "missing:shop"\nlocks = "missing"\n')

    result = run("schema", "lock", "--app", f"{module.stem}:shop", "--locks", "other/locks")

    assert result.exit_code == 0
    assert (tmp_path / "other" / "locks" / "shop.paid" / "v1.json").is_file()


def test_settings_of_a_parent_directory_are_used(
    run: Run, project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(FIRST)
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "deep")

    assert run("schema", "lock").exit_code == 0
    assert list(content(tmp_path)) == ["shop.order-placed/v1.json", "shop.paid/v1.json"]
