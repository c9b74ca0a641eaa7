"""The next version of an event class: one literal of its source changes, or none; the upcaster names what differs."""

from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

import fait
from fait._events.event import EventType, event_type
from fait._evolution.locks.next_version import edit_version, upcaster_stub
from fait.schema import describe
from tests.evolution.lock_examples import declared_as


def load(file: Path, source: str | bytes) -> ModuleType:
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared_in(file: Path, source: str | bytes) -> EventType:
    declared = event_type(load(file, source).Placed)
    assert declared is not None
    return declared


HEADER = "import fait\nfrom fait import event as declare\nNAME = 'shop.placed'\nclass Other: pass\n\n"
FIELDS = "class Placed:\n    n: int\n"


@pytest.mark.parametrize(
    ("declaration", "edited"),
    [
        ('@fait.event("shop.placed")', '@fait.event("shop.placed", version=2)'),
        ('@fait.event("shop.placed",)', '@fait.event("shop.placed", version=2,)'),
        ("@declare('shop.placed', version=1)", "@declare('shop.placed', version=2)"),
        ("@fait.event('shop.placed', version=9)", "@fait.event('shop.placed', version=10)"),
        ("@fait.event('shop.placed', was=('größe',), version = 1 , kw_only=True)", "version = 2 , kw_only=True)"),
        ("@fait.event(\n    'shop.placed',  # the name\n    version=3,\n)", "    version=4,"),
        ("@fait.event('shop' '.placed')", "@fait.event('shop' '.placed', version=2)"),
    ],
)
def test_version_is_increased_by_one_edit(declaration: str, edited: str, tmp_path: Path) -> None:
    source = f"{HEADER}{declaration}\n{FIELDS}"
    declared = declared_in(tmp_path / "shop.py", source)

    edit = edit_version(declared)

    assert edit.new.endswith(edited)
    assert edit.content.decode() == source.replace(edit.old, edit.new)
    again = declared_in(tmp_path / "again.py", edit.content)
    assert again.schema_version == declared.schema_version + 1


def test_line_ends_and_other_declarations_remain(tmp_path: Path) -> None:
    source = f"{HEADER}@fait.event('other')\nclass First:\n    n: int\n\n@fait.event('shop.placed')\n{FIELDS}"
    source = source.replace("\n", "\r\n") + "# größe \f end without a new line"
    declared = declared_in(tmp_path / "shop.py", source)

    content = edit_version(declared).content.decode()

    assert content == source.replace("'shop.placed')", "'shop.placed', version=2)")


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        ("@fait.event(NAME)", "its name is no literal there"),
        ("V = 1\n@fait.event('shop.placed', version=V)", "its version is not given as a number"),
        ("@fait.event('shop.placed', **{'version': 1})", "its version is not given as a number"),
        ("@fait.event('shop.placed', version=1 + 1)", "its version is not given as a number"),
    ],
)
def test_declaration_that_is_not_understood_is_not_edited(declaration: str, reason: str, tmp_path: Path) -> None:
    declared = declared_in(tmp_path / "shop.py", f"{HEADER}{declaration}\n{FIELDS}")

    with pytest.raises(fait.UsageError, match=rf"is not edited: .*{reason}. Nothing was written. .* by hand: version="):
        edit_version(declared)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"\n{HEADER}@fait.event('shop.placed')\n{FIELDS}", "the declaration is not in its line any more"),
        ("class Placed:", "cannot be read as Python"),
        (None, "cannot be read as Python"),
        (f"# coding: latin-1\n{HEADER}", "is encoded as iso-8859-1"),
        (f"{HEADER}@fait.event('shop.placed', version=4)\n{FIELDS}", "its version is not given as a number"),
    ],
)
def test_file_that_was_changed_since_the_import_is_not_edited(source: str | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    declared = declared_in(file, f"{HEADER}@fait.event('shop.placed')\n{FIELDS}")
    file.unlink()
    if source is not None:
        file.write_text(source)

    with pytest.raises(fait.UsageError, match=reason):
        edit_version(declared)


class Line(Struct, frozen=True):
    sku: str


class LineWithCount(Struct, frozen=True):
    number: str
    count: int


def stub(old: dict[str, Any], new: dict[str, Any]) -> str:
    before, after = declared_as("shop.order-placed", 2, **old), declared_as("shop.order-placed", 3, **new)
    return upcaster_stub("shop.order-placed", 2, describe(before), describe(after))


def test_upcaster_declares_renamed_dropped_and_new_fields() -> None:
    text = stub(
        {"customer_name": str, "lines": list[Line], "legacy": int},
        {"customer": str, "lines": list[LineWithCount], "currency": Annotated[str, Meta(max_length=3)]},
    )

    assert text == "\n".join(
        [
            'order_placed_v2 = fait.upcast("shop.order-placed", 2,',
            '    fait.renamed("customer_name", "customer"),  # or fait.dropped("customer_name")',
            '    fait.dropped("legacy"),',
            '    fait.renamed("lines[].sku", "number"),  # or fait.dropped("lines[].sku")',
            '    fait.defaulted("currency", ...),  # its value in older events: text of up to 3 characters',
            '    fait.defaulted("lines[].count", ...),  # its value in older events: integer',
            ")",
        ]
    )


def test_upcaster_for_changed_types_is_a_function() -> None:
    text = stub({"amount": Decimal, "note": str}, {"amount": float})

    assert text == "\n".join(
        [
            '@fait.upcast("shop.order-placed", 2)',
            "def order_placed_v2(data: dict[str, Any]) -> dict[str, Any]:",
            "    # amount: the old version writes a decimal, the new version expects a float",
            '    # fait.dropped("note"),',
            "    return {**data}",
        ]
    )


def test_upcaster_without_differences_says_so() -> None:
    assert "# The fields of the class are still those of version 2." in stub({"n": int}, {"n": int})


def test_optional_field_needs_no_value_in_older_events() -> None:
    before, after = declared_as("shop.paid", n=int), msgspec.defstruct("Paid", [("n", int), ("m", int | None, None)])

    text = upcaster_stub("shop.paid", 1, describe(before), describe(fait.describe("shop.paid", version=2)(after)))

    assert "fait.defaulted" not in text
