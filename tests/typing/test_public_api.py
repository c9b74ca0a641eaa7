"""The public API: which names there are, that each is typed and documented, and that documentation uses only these."""

import ast
import inspect
import json
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import fait
import fait.broker
import fait.fastapi
import fait.opentelemetry
import fait.schema
import fait.store
import fait.testing
from fait._telemetry import METRICS

ROOT = Path(__file__).parents[2]
PUBLIC = ("fait", "fait.broker", "fait.fastapi", "fait.opentelemetry", "fait.schema", "fait.store", "fait.testing")
MODULES = [fait, fait.broker, fait.fastapi, fait.opentelemetry, fait.schema, fait.store, fait.testing]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.py")),
]
MENTION = re.compile(r"(?<![\w/.])fait\.([A-Za-z]\w*)")
FILE_NAMES = {"sql"}
"""Endings of files in the documentation that look like attributes of fait."""


METRIC_NAMES = {metric.name.split(".")[1] for metric in METRICS} | {"stream", "event_count", "outcome"}
"""Second parts of names of metrics and of attributes of spans, as in `fait.append.duration`."""


def exported(module: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in module.__all__}


def classes_and_functions(module: Any) -> dict[str, Any]:
    """Exported objects that fait defines itself; aliases and constants have neither docstring nor module."""
    found = exported(module).items()
    return {name: each for name, each in found if isinstance(each, type | FunctionType) and each is not fait.field}


def test_every_public_module_is_listed() -> None:
    modules = [each.name for each in pkgutil.walk_packages(fait.__path__, "fait.") if "._" not in each.name]

    others = [name for name in modules if not f"{name}.".startswith("fait.testing.")]
    assert sorted(others) == ["fait.broker", "fait.fastapi", "fait.opentelemetry", "fait.schema", "fait.store"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_mention_only_exported_names(path: Path) -> None:
    mentioned = set(MENTION.findall(path.read_text(encoding="utf-8"))) - FILE_NAMES

    assert sorted(mentioned - set(fait.__all__) - {each.removeprefix("fait.") for each in PUBLIC} - METRIC_NAMES) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_exported_name_has_a_docstring(module: Any) -> None:
    names = [name for name, each in classes_and_functions(module).items() if not has_docstring(each)]

    assert names == []


def has_docstring(exported: Any) -> bool:
    """Whether there is a written docstring: dataclasses and NamedTuples generate one from the signature."""
    doc = exported.__doc__ or ""
    return bool(doc.strip()) and not doc.startswith(f"{exported.__name__}(")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_method_of_an_exported_class_has_a_docstring(module: Any) -> None:
    missing = [
        f"{name}.{member}"
        for name, cls in classes_and_functions(module).items()
        if isinstance(cls, type)
        for member, value in vars(cls).items()
        if not member.startswith("_") and isinstance(value, FunctionType | property | classmethod | staticmethod)
        if not inspect.getdoc(getattr(cls, member))
    ]

    assert missing == []


def test_exported_classes_and_functions_report_their_public_module() -> None:
    expected = dict.fromkeys(classes_and_functions(fait), "fait")
    assert {name: each.__module__ for name, each in classes_and_functions(fait).items()} == expected

    of_fastapi = classes_and_functions(fait.fastapi)
    assert {each.__module__ for each in of_fastapi.values()} == {"fait.fastapi"}

    of_schema = classes_and_functions(fait.schema)
    assert {each.__module__ for each in of_schema.values()} == {"fait.schema"}

    of_testing = classes_and_functions(fait.testing)
    assert {each.__module__ for each in of_testing.values()} == {"fait.testing"}

    of_broker = classes_and_functions(fait.broker)
    assert {name: each.__module__ for name, each in of_broker.items()} == {
        name: "fait.store" if name in fait.store.__all__ else "fait.broker" for name in of_broker
    }

    of_store = {name: "fait" if name in fait.__all__ else "fait.store" for name in classes_and_functions(fait.store)}
    assert {name: each.__module__ for name, each in classes_and_functions(fait.store).items()} == of_store


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_exported_objects_are_pickled_by_their_public_module_and_have_resolvable_hints(module: Any) -> None:
    for each in classes_and_functions(module).values():
        assert pickle.loads(pickle.dumps(each)) is each
        typing.get_type_hints(each)


def test_the_names_of_fait_have_one_definition_in_store() -> None:
    common = set(fait.__all__) & set(fait.store.__all__)

    assert {name for name in common if getattr(fait, name) is not getattr(fait.store, name)} == set()


@pytest.mark.parametrize(
    ("file", "name"), [("_decisions/aggregate.py", "Aggregate"), ("_subscriptions/read_model.py", "ReadModel")]
)
def test_type_checkers_and_help_show_the_same_docstring_of_a_base_class(file: str, name: str) -> None:
    module = ast.parse((ROOT / "src" / "fait" / file).read_text(encoding="utf-8"))
    classes = [each for each in ast.walk(module) if isinstance(each, ast.ClassDef) and each.name == name]
    for_checkers, at_run_time = (ast.get_docstring(each) for each in classes)

    assert for_checkers == at_run_time == inspect.getdoc(getattr(fait, name))


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (fait.Aggregate, ["category", "snapshot_every"]),
        (fait.ReadModel, ["key", "table", "indexes", "version", "on_failure"]),
        (fait.Decider, ["category", "initial", "decide", "evolve", "snapshot_every"]),
        (fait.Boundary, ["name", "depends_on", "initial", "decide", "evolve"]),
    ],
)
def test_the_docstring_of_a_base_class_begins_with_its_options(cls: type, options: list[str]) -> None:
    sections = re.split(r"^(?:Class options|Attributes):\n", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    first = textwrap.dedent(sections[1].partition("\n\n")[0])

    assert re.findall(r"^(\w+):", first, re.MULTILINE) == options
    assert "Example" not in sections[0]


def test_pyright_knows_the_types_of_all_public_symbols() -> None:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--verifytypes", "fait", "--ignoreexternal", "--outputjson"]
    # With --verifytypes pyright asks the first python on the PATH for its packages, and ignores --pythonpath.
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)["typeCompleteness"]
    incomplete = {
        symbol["name"]: [each["message"] for each in symbol["diagnostics"] if each["severity"] == "error"]
        for symbol in report["symbols"]
        if symbol["isExported"] and (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
    }

    assert incomplete == {}
    assert report["completenessScore"] == 1
    assert {each["name"] for each in report["modules"]}.issuperset(PUBLIC)


def classes_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, list | tuple):
        parts: Any = annotation
    else:
        parts = typing.get_args(annotation)
        found = typing.get_origin(annotation) or annotation
        if isinstance(found, type):
            yield found
    for part in parts:
        yield from classes_in(part)


def public_functions(name: str, exported_object: Any) -> Iterator[tuple[str, Any]]:
    if inspect.isfunction(exported_object):
        yield name, exported_object
    for attribute in dir(exported_object) if isinstance(exported_object, type) else ():
        member = inspect.getattr_static(exported_object, attribute)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not attribute.startswith("_") and inspect.isfunction(function):
            yield f"{name}.{attribute}", function


def test_every_class_in_a_public_signature_is_exported() -> None:
    private = {
        f"{function}: {cls.__module__}.{cls.__qualname__}"
        for name, exported_object in exported(fait).items()
        for function, implementation in public_functions(name, exported_object)
        for annotation in typing.get_type_hints(implementation).values()
        for cls in classes_in(annotation)
        if cls.__module__.startswith("fait._")
    }

    assert sorted(private) == []
