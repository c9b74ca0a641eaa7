"""Definition hashes of folds: they change with code that may affect the state, and with nothing else."""

import importlib
import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fait
from fait._decisions.aggregate import fold_definition_of
from fait._decisions.definition_hash import walk_fold
from fait._events.annotation import annotated_events
from fait._events.registry import Registry

EVENTS = '''
import fait
from decimal import Decimal
from typing import Any

@fait.event("till.sold", version=2)
class Sold:
    """A sale."""
    amount: Decimal
    pieces: int = 1

    @property
    def each(self) -> Decimal:
        return self.amount / self.pieces

@fait.upcast("till.sold", 1)
def with_pieces(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "pieces": 1}
'''

RULES = '''
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from other_package import rounded

LIMIT = Decimal(100)
NAMES = frozenset({"alpha", "beta", "gamma"})

class Size(Enum):
    SMALL = "s"
    LARGE = "l"

@dataclass(frozen=True)
class Rate:
    share: Decimal = Decimal("0.25")

    def of(self, amount: Decimal) -> Decimal:
        return amount * self.share

RATES = {"low": Rate(), "high": Rate(Decimal("0.5"))}

def size_of(amount: Decimal) -> Size:
    # large or small
    return Size.LARGE if amount > LIMIT else Size.SMALL

def tax(amount: Decimal, rate: str = "low") -> Decimal:
    """What the state takes."""
    def inner(value: Decimal) -> Decimal:
        """Said inside."""
        return rounded(value)
    return inner(RATES[rate].of(amount))
'''

TILL = '''
import fait
from decimal import Decimal
from shelf.events import Sold
from shelf import rules

def unused() -> int:
    return 1

class Till(fait.Aggregate, category="till", snapshot_every=10):
    total: Decimal = Decimal(0)
    large: int = 0

    def sell(self, amount: Decimal) -> None:
        self.emit(Sold(amount))

    def _grow(self, by: Decimal) -> None:
        from .late import doubled
        self.total += doubled(by)

    def evolve(self, event: Sold) -> None:
        """The fold."""
        try:
            self._grow(rules.tax(event.amount))
        except ArithmeticError:
            pass
        if rules.size_of(event.each) is rules.Size.LARGE and "alpha" in rules.NAMES:
            self.large += 1
'''

LATE = """
def doubled(value):
    return 2 * value
"""

OTHER = """
def rounded(value):
    return round(value, 2)
"""

SOURCES = {
    "shelf/__init__.py": "",
    "shelf/events.py": EVENTS,
    "shelf/rules.py": RULES,
    "shelf/till.py": TILL,
    "shelf/late.py": LATE,
    "other_package.py": OTHER,
}

HashOf = Callable[[dict[str, str]], str]


def write(folder: Path, changed: dict[str, str]) -> None:
    for name, source in {**SOURCES, **changed}.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(source, encoding="utf-8")


def unload_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shelf", "other_package")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def hash_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HashOf]:
    """A function that returns the definition hash of `Till` with some of its files replaced."""
    folders = (tmp_path / str(number) for number in itertools.count())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def compute(changed: dict[str, str]) -> str:
        folder = next(folders)
        write(folder, changed)
        unload_modules()
        monkeypatch.syspath_prepend(folder)
        upcaster = importlib.import_module("shelf.events").with_pieces
        registry = Registry(upcasters={(upcaster.name, upcaster.from_version): upcaster})
        till = importlib.import_module("shelf.till").Till
        return walk_fold(till.evolve, till, fold_definition_of(till).events, registry, initial=till).digest()

    yield compute
    unload_modules()


def changed(file: str, old: str, new: str) -> dict[str, str]:
    assert SOURCES[file].count(old) == 1
    return {file: SOURCES[file].replace(old, new)}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("shelf/rules.py", "# large or small", "# small or large\n    # or neither"),
        ("shelf/till.py", '        """The fold."""\n', ""),
        ("shelf/till.py", '"""The fold."""', '"""Folds,\n        at length."""'),
        ("shelf/rules.py", '        """Said inside."""\n', ""),
        ("shelf/events.py", '    """A sale."""\n', ""),
        ("shelf/till.py", "self.large += 1", "self.large \\\n                += (1)"),
        ("shelf/till.py", "is rules.Size.LARGE and", "is (\n                rules.Size.LARGE\n            ) and"),
        ("shelf/rules.py", '{"alpha", "beta", "gamma"}', '{"gamma", "alpha", "beta"}'),
        ("shelf/till.py", "return 1", "return 2"),
        ("shelf/till.py", "self.emit(Sold(amount))", "self.emit(Sold(amount + 1))"),
        ("other_package.py", "round(value, 2)", "round(value, 3)"),
    ],
    ids=[
        "a comment", "no docstring", "a docstring", "an inner docstring", "a class's docstring", "a broken line",
        "brackets", "the order of a set", "an unused function", "a command", "another package",
    ],
)  # fmt: skip
def test_change_without_effect_keeps_the_hash(hash_of: HashOf, file: str, old: str, new: str) -> None:
    assert hash_of(changed(file, old, new)) == hash_of({})


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("shelf/till.py", "self.large += 1", "self.large += 2"),
        ("shelf/till.py", "is rules.Size.LARGE", "is not rules.Size.LARGE"),
        ("shelf/rules.py", "amount > LIMIT", "amount >= LIMIT"),
        ("shelf/rules.py", "Decimal(100)", "Decimal(101)"),
        ("shelf/rules.py", '"alpha", "beta"', '"alpha", "delta"'),
        ("shelf/rules.py", "amount * self.share", "amount + self.share"),
        ("shelf/rules.py", 'Rate(Decimal("0.5"))', 'Rate(Decimal("0.6"))'),
        ("shelf/rules.py", 'share: Decimal = Decimal("0.25")', 'share: Decimal = Decimal("0.26")'),
        ("shelf/rules.py", 'rate: str = "low"', 'rate: str = "high"'),
        ("shelf/rules.py", "return rounded(value)", "return -rounded(value)"),
        ("shelf/rules.py", 'SMALL = "s"', 'SMALL = "small"'),
        ("shelf/till.py", "self.total += doubled(by)", "self.total -= doubled(by)"),
        ("shelf/late.py", "2 * value", "3 * value"),
        ("shelf/till.py", "total: Decimal = Decimal(0)", "total: Decimal = Decimal(1)"),
        ("shelf/till.py", "large: int = 0", "large: float = 0"),
        ("shelf/till.py", "large: int = 0", "large: int = 0\n    small: int = 0"),
        ("shelf/events.py", "pieces: int = 1", "pieces: float = 1"),
        ("shelf/events.py", "pieces: int = 1", "pieces: int = 2"),
        ("shelf/events.py", "pieces: int = 1", 'pieces: int = 1\n    place: str = ""'),
        ("shelf/events.py", "self.amount / self.pieces", "self.amount // self.pieces"),
        ("shelf/events.py", "version=2", "version=3"),
        ("shelf/events.py", '"pieces": 1}', '"pieces": 2}'),
        (
            "shelf/till.py",
            "            pass\n        if",
            "            self.large = 0\n        if",
        ),
    ],
    ids=[
        "a number", "a condition", "a helper in another module", "a constant", "a set", "a record's method",
        "a constant record", "a record's default", "a parameter's default", "an inner function", "an enum",
        "a method", "a module imported inside", "a default of the state", "a type of the state", "a field of the state",
        "a type of an event", "a default of an event", "a field of an event", "a property of an event",
        "a version", "an upcaster", "a handler of errors",
    ],
)  # fmt: skip
def test_change_that_may_affect_the_state_changes_the_hash(hash_of: HashOf, file: str, old: str, new: str) -> None:
    assert hash_of(changed(file, old, new)) != hash_of({})


def test_moving_a_line_into_a_try_changes_the_hash(hash_of: HashOf) -> None:
    before = TILL.replace("        try:\n", "        self.large += 5\n        try:\n")
    inside = TILL.replace("        try:\n", "        try:\n            self.large += 5\n")

    assert hash_of({"shelf/till.py": before}) != hash_of({"shelf/till.py": inside})


def test_replaced_file_does_not_change_the_hash_of_running_code(hash_of: HashOf, tmp_path: Path) -> None:
    before = hash_of({})
    till = sys.modules["shelf.till"].Till
    write(tmp_path / "0", changed("shelf/till.py", "self.large += 1", "self.large += 2"))

    upcaster = sys.modules["shelf.events"].with_pieces
    registry = Registry(upcasters={(upcaster.name, upcaster.from_version): upcaster})
    assert walk_fold(till.evolve, till, fold_definition_of(till).events, registry, initial=till).digest() == before


def test_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    write(tmp_path, {})
    program = textwrap.dedent("""
        from shelf.till import Till
        from fait._decisions.aggregate import fold_definition_of
        from fait._decisions.definition_hash import walk_fold
        from fait._events.registry import Registry
        print(walk_fold(Till.evolve, Till, fold_definition_of(Till).events, Registry(), initial=Till).digest())
    """)

    def run(seed: str) -> str:
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"}
        process = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
        return process.stdout.decode()

    # The first process compiles the sources, the others read the bytecode.
    assert len({run("1"), run("2"), run("3")}) == 1


def test_recursive_fold_has_a_hash() -> None:
    def evolve(state: int, event: type, depth: int = 0) -> int:
        return evolve(state, event, depth + 1) if depth < 3 else state

    def digest(initial: type) -> str:
        return walk_fold(evolve, int, (), Registry(), initial=initial).digest()

    assert digest(int) == digest(int)
    assert digest(int) != digest(float)


@dataclass
class Count:
    number: int = 0


@dataclass
class Total:
    number: int = 0
    of: int = 0


@fait.event("count.raised")
class Raised:
    by: int


@fait.event("count.lowered")
class Lowered:
    by: int


def raise_count(state: Count, event: Raised) -> Count:
    return Count(state.number + event.by)


def raise_twice(state: Count, event: Raised) -> Count:
    return Count(state.number + 2 * event.by)


def change_count(state: Count, event: Raised | Lowered) -> Count:
    return Count(state.number + event.by)


def start_at_one() -> Count:
    return Count(1)


def decider(initial: Any = Count, evolve: Any = raise_count) -> fait.Decider[Any, Any, Any]:
    return fait.Decider(category="count", initial=initial, decide=lambda c, s: (), evolve=evolve)


def boundary(initial: Any = Count, evolve: Any = raise_count) -> fait.Boundary[Any, Any, Any]:
    return fait.Boundary(name="count", depends_on=lambda c: (), initial=initial, decide=lambda c, s: (), evolve=evolve)


@pytest.mark.parametrize("declare", [decider, boundary])
@pytest.mark.parametrize(
    "options", [{"initial": start_at_one}, {"initial": Total}, {"evolve": raise_twice}, {"evolve": change_count}]
)
def test_changed_function_changes_the_hash_of_deciders_and_boundaries(
    declare: Callable[..., Any], options: dict[str, Any]
) -> None:
    def hash_of(fold: Any) -> str:
        events = annotated_events(fold.evolve, ("state", "event"), {})
        return walk_fold(fold.evolve, None, events, Registry(), initial=fold.initial).digest()

    assert hash_of(declare()) == hash_of(declare())
    assert hash_of(declare(**options)) != hash_of(declare())


def test_decider_and_boundary_of_the_same_functions_have_the_same_hash() -> None:
    hashes = {
        walk_fold(fold.evolve, Count, (Raised,), Registry(), initial=fold.initial).digest()
        for fold in (decider(), boundary())
    }

    assert len(hashes) == 1
