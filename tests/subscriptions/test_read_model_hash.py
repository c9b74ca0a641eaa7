"""A read model's definition hash changes with all that its rows depend on, and with nothing else."""

import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._decisions.definition_parts import DefinitionParts, find_differences
from fait._events.registry import Registry, build_registry
from fait._subscriptions.read_model import ReadModelDefinition, definition_of

SOURCE = '''
import fait
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self
from foreign import Money

@fait.event("till.sold", version=2)
class Sold:
    """A sale."""
    amount: Decimal
    shop: str

@fait.event("till.closed")
class Closed:
    shop: str

@fait.upcast("till.sold", 1)
def with_shop(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "shop": "main"}

@dataclass
class Line:
    amount: Decimal
    pieces: int = 1

SHARE = Decimal("0.25")

def key(event: Sold | Closed) -> str:
    return event.shop

class Shops(fait.ReadModel, key="shop", table="shops", indexes=[("total",)], version=1):
    shop: str
    total: Decimal = Decimal(0)
    lines: list[Line] = []
    limit_: Money | None = None

    @classmethod
    def key_of(cls, event: Sold | Closed, envelope: fait.Envelope) -> str:
        return key(event)

    @classmethod
    def evolve(cls, row: Self | None, event: Sold | Closed, envelope: fait.Envelope) -> Self | None:
        """The fold."""
        if isinstance(event, Closed):
            return None
        row = row or cls(shop=event.shop)
        row.total += event.amount * SHARE
        return row

if __name__ == "__main__":
    from fait._events.registry import Registry
    from fait._subscriptions.read_model import definition_of
    registry = Registry(upcasters={("till.sold", 1): with_shop})
    print(definition_of(Shops).definition_hash(registry))
'''

FOREIGN = """
import msgspec

class Money(msgspec.Struct):
    cents: int

    def half(self) -> int:
        return self.cents // 2
"""

Declared = tuple[ReadModelDefinition, Registry]
PartsOf = Callable[..., DefinitionParts]
SOLD_FIELDS = "event till.sold (its fields or upcasters)"
CLOSED_AS_CODE = "the code of Closed (new)"
CLOSED = "event till.closed (no longer handled)"
FIELDS = "the types or defaults of its fields"
HashOf = Callable[..., str]


def unload_modules() -> None:
    for name in ("shops", "foreign"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Declared]]:
    """A function that returns the read model `Shops`, after a replacement in one of its two modules."""
    folders = (tmp_path / str(number) for number in itertools.count())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def declare(old: str = "", new: str = "", *, cls: str = "Shops") -> Declared:
        assert not old or (SOURCE + FOREIGN).count(old) == 1
        folder = next(folders)
        folder.mkdir()
        (folder / "shops.py").write_text(SOURCE.replace(old, new) if old else SOURCE)
        (folder / "foreign.py").write_text(FOREIGN.replace(old, new) if old else FOREIGN)
        unload_modules()
        monkeypatch.syspath_prepend(folder)
        module = importlib.import_module("shops")
        registry = Registry(upcasters={("till.sold", 1): module.with_shop})
        return definition_of(getattr(module, cls)), registry

    yield declare
    unload_modules()


@pytest.fixture
def hash_of(declared: Callable[..., Declared]) -> HashOf:
    """A function that returns the hash of `Shops`, after a replacement in one of its two modules."""

    def compute(*replacement: str, cls: str = "Shops") -> str:
        model, registry = declared(*replacement, cls=cls)
        return model.definition_hash(registry)

    return compute


@pytest.fixture
def parts_of(declared: Callable[..., Declared]) -> PartsOf:
    """A function that returns the parts of the definition of `Shops`, after a replacement."""

    def compute(*replacement: str) -> DefinitionParts:
        model, registry = declared(*replacement)
        return model.definition_parts(registry)

    return compute


CHANGES = pytest.mark.parametrize(
    ("old", "new", "differences"),
    [
        ("row.total += event.amount * SHARE", "row.total -= event.amount * SHARE", ["the code of Shops.evolve"]),
        ('Decimal("0.25")', 'Decimal("0.5")', ["the code of SHARE"]),
        ("return event.shop", "return event.shop.lower()", ["the code of key"]),
        ("return key(event)", "return key(event).lower()", ["the code of Shops.key_of"]),
        ("version=1", "version=2", ["version (2, was 1)"]),
        ("limit_: Money | None = None", "limit_: Money", ["column limit_ (json, was json, nullable)"]),
        ("total: Decimal = Decimal(0)", "total: Decimal = Decimal(1)", [FIELDS]),
        ("lines: list[Line] = []", "lines: list[Line] = []\n    count: int = 0", ["column count (new)"]),
        ("pieces: int = 1", "pieces: float = 1", ["the code of Line"]),
        ("class Line:\n    amount: Decimal", "class Line:\n    amount: str", ["the code of Line"]),
        ("cents: int", "cents: float", [FIELDS]),
        ("class Money(msgspec.Struct)", 'class Money(msgspec.Struct, rename="upper")', [FIELDS]),
        ("    amount: Decimal\n    shop: str", "    amount: Decimal\n    shop: str | None", [SOLD_FIELDS]),
        ('"till.sold", version=2', '"till.sold", version=3', ["event till.sold (version 3, was version 2)"]),
        ('"shop": "main"}', '"shop": "other"}', ["the code of with_shop"]),
        ("row: Self | None, event: Sold | Closed,", "row: Self | None, event: Sold,", [CLOSED_AS_CODE, CLOSED]),
        ('"till.closed"', '"till.shut"', ["event till.shut (new)", CLOSED]),
    ],
    ids=[
        "evolve", "a constant", "a function that key_of calls", "key_of", "the version", "a column's nullability",
        "a default", "a column", "a field's type in a JSON column", "another field's type in a JSON column",
        "a JSON column's type of another package", "its encoded names", "an event's type",
        "a schema version", "an upcaster", "the handled types", "a stored name",
    ],
)  # fmt: skip


@CHANGES
def test_change_that_may_affect_rows_changes_the_hash(
    hash_of: HashOf, old: str, new: str, differences: list[str]
) -> None:
    assert hash_of(old, new) != hash_of()


@CHANGES
def test_change_that_may_affect_rows_is_named(parts_of: PartsOf, old: str, new: str, differences: list[str]) -> None:
    assert list(find_differences(parts_of(), parts_of(old, new))) == differences


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('indexes=[("total",)], ', ""),
        ('indexes=[("total",)]', 'indexes=[("total",), ("shop", "total")]'),
        ('table="shops"', 'table="stores"'),
        ("version=1)", "version=1, on_failure=fait.FailurePolicy(attempts=2, then='skip'))"),
        ('"""The fold."""', '"""Another text."""'),
        ('"""A sale."""', ""),
        ("row.total += event.amount * SHARE", "# a comment\n        row.total += (\n            event.amount * SHARE)"),
        ("self.cents // 2", "self.cents // 3"),
    ],
    ids=["no index", "another index", "the table", "the policy", "a docstring", "no docstring", "formatting", "code"],
)
def test_change_without_effect_on_rows_keeps_the_hash(hash_of: HashOf, old: str, new: str) -> None:
    assert hash_of(old, new) == hash_of()


def test_read_model_without_key_of_has_another_hash(hash_of: HashOf) -> None:
    assert hash_of("def key_of(", "def other_key(") != hash_of()


def test_main_program_and_imported_module_have_the_same_hash(hash_of: HashOf, tmp_path: Path) -> None:
    imported = hash_of()
    for arguments in (["shops.py"], ["-m", "shops"]):
        program = [sys.executable, *arguments]
        environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run(program, cwd=tmp_path / "0", env=environment, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == imported


def test_moved_and_renamed_class_has_the_same_hash() -> None:
    def declare(name: str) -> Any:
        def evolve(cls: type[Self], row: Any, event: Rang, envelope: fait.Envelope) -> Any:
            return row

        namespace = {"__annotations__": {"id": str}, "__module__": __name__, "evolve": classmethod(evolve)}
        return type(fait.ReadModel)(name, (fait.ReadModel,), namespace, key="id", table="bells")

    first, second = (definition_of(declare(name)).definition_hash(Registry()) for name in ("Bells", "Rings"))
    assert first == second


def test_first_use_of_an_event_that_evolve_names_keeps_the_hash() -> None:
    @fait.event("bell.struck")
    class Struck:
        at: datetime

    class Strikes(fait.ReadModel, key="id"):
        id: str

        @classmethod
        def evolve(cls, row: Self | None, event: Rang, at: fait.Envelope) -> Self | None:
            return None if isinstance(event, Struck) else row

    before = definition_of(Strikes).definition_hash(Registry())
    build_registry([Struck])  # replaces its annotations

    assert definition_of(Strikes).definition_hash(Registry()) == before


def test_undefined_name_in_annotation_raises() -> None:
    class Broken(fait.ReadModel, key="id"):
        id: str
        value: "Missing"  # type: ignore[name-defined]  # noqa: F821

        @classmethod
        def evolve(cls, row: Self | None, event: Rang, at: fait.Envelope) -> Self | None:
            return row

    with pytest.raises(fait.DeclarationError, match="annotation of 'value' refers to Missing, which is not defined"):
        definition_of(Broken)


@fait.event("bell.rang")
class Rang:
    pass


class Bells(fait.ReadModel, key="id"):
    id: str

    @classmethod
    def evolve(cls, row: Self | None, event: Rang, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id)


async def test_open_after_changed_evolve_raises_and_rebuild_folds_with_new_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bells.db"

    def app(step: int, indexes: list[tuple[str, ...]]) -> tuple[fait.App, Any]:
        class Counts(fait.ReadModel, key="id", indexes=indexes):
            id: str
            number: int = 0

            @classmethod
            def evolve(cls, row: Self | None, event: Rang, at: fait.Envelope) -> Self | None:
                return cls(id=at.stream_id, number=(row.number if row else 0) + step)

        app = fait.App("bells")
        app.include(Counts)
        return app, Counts

    first, model = app(1, [])
    async with first.open(url) as s:
        await s.wait(await s.publish(Rang(), stream="bell-1"))
        assert (await s.get(model, "1")).number == 1
    indexed, model = app(1, [("number",)])
    async with indexed.open(url) as s:
        assert (await s.get(model, "1")).number == 1
    changed, model = app(10, [("number",)])
    with pytest.raises(fait.ReadModelChanged, match="fait rebuild counts --app") as error:
        async with changed.open(url):
            pass
    assert error.value.model == "counts"
    async with changed.open(url, rebuild=["counts"]) as s:
        await s.wait(None, model)
        assert (await s.get(model, "1")).number == 10
