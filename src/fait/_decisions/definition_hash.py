"""The definition hash of a fold: it changes when the same events might be folded into another state.

Aggregates and deciders save it with their snapshots, read models with their checkpoint.

The hash covers the bytecode of the running process rather than source files: a file may have been replaced while the
process runs, and a console or a frozen program has none. Line numbers, docstrings and padding are excluded, so comments
and formatting do not change the hash, and neither does the place of the code: a class may be moved, and a module may be
the main program of one process and imported by another.

Covered, within the top-level package of `evolve`: `evolve` itself, and `initial` or `key_of`; the functions, classes,
constants and closures they name, and those that these name in turn; methods of the fold's own class that they call; the
upcasters of the events. Covered in every package: the stored names, former names and schema versions of the events; the
fields, types and defaults of the state and of the events, and of the classes in these types.

Not covered: names computed at run time (`getattr(self, "on_" + kind)`), data files, the environment, the code of other
packages. After such a change, delete the snapshots, which is safe at any time, and rebuild the read model, or increase
its `version`.

Another minor version of Python compiles to other bytecode and changes the hash. A constant that the program changes
while it runs, such as a dict used as a cache, changes it too.

`walk_fold` also returns what was walked by name, as `DefinitionParts`: they tell which of it differs.
"""

import dis
import re
import sys
import typing
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache, partial
from importlib import import_module
from types import CodeType, FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, cast
from uuid import UUID

from msgspec import Meta

from fait._events.envelope import Untyped
from fait._events.event import EventType, event_type
from fait._events.record import fields_of, is_record, json_form_of, types_of
from fait._events.registry import Registry, declaration_of

if TYPE_CHECKING:
    from fait._decisions.definition_parts import DefinitionParts

__all__ = ["CodeWalk", "walk_fold"]

_FORMAT_VERSION: Final = 3
"""Version of the hashed content. Increment it when this module hashes other content than before."""

_PLAIN_TYPES: Final = (
    type(None), type(...), bool, int, float, complex, str, bytes, range, Decimal, date, time, timedelta, tzinfo, UUID
)  # fmt: skip
_CONTAINERS: Final = (tuple, list, set, frozenset, dict, MappingProxyType)
_AWARE_DATETIME: Final[object] = Annotated[datetime, Meta(tz=True)]
"""What `datetime` in an event class becomes when the class is first used, which may be before or after the hash."""

_PADDING: Final = {"NOP", "CACHE", "EXTENDED_ARG"}
_FUSED: Final = re.compile(r"((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)")
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")
_Section = tuple[str, str]
_REST: Final[_Section] = ("", "")
_NUMBER: Final = re.compile(r"object (\d+)")


def walk_fold(
    evolve: Callable[..., Any],
    state: object,
    events: Iterable[type],
    registry: Registry,
    *,
    initial: Callable[..., Any] | None = None,
    key_of: Callable[..., Any] | None = None,
    options: object = (),
    local_names: Mapping[str, Any] = {},
) -> "CodeWalk":
    """Walk all that the state of a fold depends on. Its digest is the definition hash.

    Args:
        evolve: the function that returns the state after an event.
        state: the type of the state: the class of an aggregate or a read model; None if it is not known.
        events: the event classes that `evolve` handles.
        registry: holds the events' upcasters.
        initial: the function that returns the initial state; the class of an aggregate.
        key_of: the function that returns the keys of a read model's rows.
        options: further values that a stored state depends on.
        local_names: names of local classes where the state was declared, to resolve its annotations.
    """
    owner = state if isinstance(state, type) and hasattr(state, "evolve") else None
    walk = CodeWalk(evolve.__module__, owner, local_names)
    # fault: hash-without-code
    walk.add((_FORMAT_VERSION, sys.implementation.cache_tag, options, evolve, initial, key_of))
    # fault: hash-without-types-of-state
    walk.add_type(state)
    for cls in sorted((cls for cls in events if cls is not Untyped), key=lambda cls: declaration_of(cls).name):
        declared = declaration_of(cls)
        steps = [
            (each.name, each.from_version, each.target, each.into, each.function)
            for each in registry.steps_to(declared.name)
        ]
        with walk.section("event", declared.name):
            walk.add((declared.name, declared.was, declared.schema_version, steps))
            walk.add_type(cls)
        walk.events[cls] = declared
    walk.add(Untyped in events)
    return walk


class _Instruction(NamedTuple):
    offset: int
    name: str
    argument: Any
    jumps: bool


class CodeWalk:
    """Walks the objects that code refers to and collects text for the hash, once for each object.

    Attributes:
        events: declarations of the events whose types were added, by class.
    """

    def __init__(self, module: str, owner: type | None, local_names: Mapping[str, Any]) -> None:
        self.events: dict[type, EventType] = {}
        self._module = module
        self._package = _package(module)
        self._owner = owner  # only the members that the fold refers to are hashed; the others are commands
        self._local_names = local_names
        self._parts: list[str] = []
        self._constants = set[str]()  # names of those that have a section
        self._marks: list[tuple[int, _Section | None]] = []  # where a section begins, or the last one ends
        self._open_containers: list[object] = []
        self._seen: dict[int, tuple[int, object]] = {}  # holds the objects, so that their ids are not reused
        self._stored_forms: set[type] = set()

    def digest(self) -> str:
        import hashlib  # here, as it is slow to import and `import fait` does not need it

        return hashlib.sha256("\0".join(self._parts).encode(errors="surrogatepass")).hexdigest()[:32]

    def parts(self) -> "DefinitionParts":
        """Return what was walked, by name, each with a hash of its own content: not of what it refers to."""
        from fait._decisions.definition_parts import (  # slow to import
            FIELDS,
            FORMAT,
            PYTHON,
            DefinitionParts,
            bounded,
            event_part,
            short_hash,
        )

        contents = self._contents()
        settings = {FORMAT: str(_FORMAT_VERSION), PYTHON: sys.implementation.cache_tag or "unknown"}
        events = {
            each.name: event_part(
                each.schema_version, [*contents["event", each.name], *contents.pop(self._section_of(cls), ())]
            )
            for cls, each in self.events.items()
        }
        if self._owner is not None:
            settings[FIELDS] = short_hash(contents.pop(self._section_of(self._owner), ()))
        code = {name: short_hash(content) for (kind, name), content in contents.items() if kind == "code"}
        return DefinitionParts(settings, {}, bounded(events), bounded(code))

    def _contents(self) -> dict[_Section, list[str]]:
        """Return the text of each section, without the sections inside of it."""
        contents = defaultdict[_Section, list[str]](list)
        named = partial(self._without_number, [thing for _, thing in self._seen.values()])
        open_sections, begin = list[_Section]([_REST]), 0
        for end, section in (*self._marks, (len(self._parts), None)):
            contents[open_sections[-1]] += filter(None, map(named, self._parts[begin:end]))
            begin = end
            if section is None:
                open_sections.pop()
            else:
                open_sections.append(section)
        return contents

    def _without_number(self, things: Sequence[object], part: str) -> str:
        """Return a part of the text, with the name of an object in place of its number, which depends on the walk."""
        # fault: content-depends-on-the-walk
        if (number := _NUMBER.fullmatch(part)) is None:
            return part
        thing = things[int(number[1])]
        return "" if self._has_section(thing) else self._label(thing)

    @contextmanager
    def section(self, kind: str, name: str) -> Generator[None]:
        """Let what is added inside of the block belong to a section."""
        self._marks.append((len(self._parts), (kind, name)))
        yield
        self._marks.append((len(self._parts), None))

    def _name(self, module: str, name: str) -> str:
        """Return a name as people see it: without the module, if that is the one of the fold."""
        name = name.rpartition("<locals>.")[2]
        return name if module == self._module else f"{module}.{name}"

    def _has_section(self, thing: Any) -> bool:
        """Whether a thing is a function or class whose content has a name. Special methods belong to their class."""
        is_special = isinstance(thing, FunctionType) and thing.__name__.startswith("__")
        return isinstance(thing, FunctionType | type) and not is_special and self._is_own_package(thing)

    def _section_of(self, thing: Any) -> _Section:
        """Return the section of a function or class."""
        return "code", self._name(thing.__module__, thing.__qualname__)

    def add(self, thing: Any) -> None:
        """Add a value, function, class or type, with everything it refers to."""
        if isinstance(thing, _PLAIN_TYPES) and not isinstance(thing, Enum):
            self._parts.append(repr(thing))
        elif isinstance(thing, _CONTAINERS):
            self._container(thing)
        elif isinstance(thing, CodeType):
            self._code(thing)
        elif typing.get_args(thing):
            self.add_type(thing)
        elif id(thing) in self._seen:
            self._parts.append(f"object {self._seen[id(thing)][0]}")
        else:
            self._seen[id(thing)] = len(self._seen), thing
            self._add_new(thing)

    def add_type(self, kind: Any) -> None:
        """Add the type of a value that is stored: its structure, and the fields of the classes in it."""
        if kind == _AWARE_DATETIME:
            self.add(datetime)
        elif parts := typing.get_args(kind):
            origin = typing.get_origin(kind)
            is_annotated = origin is Annotated
            for part in (origin, *(parts[:1] if is_annotated else parts)):
                self.add_type(part)
            self._parts += [_stable_repr(mark) for mark in parts[1:] if is_annotated]
            self._parts.append("end")
        else:
            self.add(kind)
            if isinstance(kind, type) and not self._is_own_package(kind):
                self._stored_form(kind)

    def _stored_form(self, cls: type) -> None:
        """Add what a class of another package is stored as; its code is not covered."""
        if cls not in self._stored_forms:
            self._stored_forms.add(cls)
            if issubclass(cls, Enum):
                self.add([(member.name, member.value) for member in cls])
            elif is_record(cls):
                self._fields(cls)

    def _add_all(self, *things: Any) -> None:
        for thing in things:
            self.add(thing)

    def _container(self, thing: Any) -> None:
        # Equal constants may or may not be the same object. So containers are not deduplicated; only recursion stops.
        self._parts.append(type(thing).__name__)
        if any(each is thing for each in self._open_containers):
            return
        self._open_containers.append(thing)
        if isinstance(thing, set | frozenset):
            self._add_all(*sorted(cast("Iterable[Any]", thing), key=_stable_repr))
        else:
            self._add_all(*(thing.items() if isinstance(thing, dict | MappingProxyType) else thing))
        self._open_containers.pop()
        self._parts.append("end")

    def _add_new(self, thing: Any) -> None:
        match thing:
            case FunctionType() | type() if self._has_section(thing):
                with self.section(*self._section_of(thing)):
                    self._class(thing) if isinstance(thing, type) else self._function(thing)
            case FunctionType():
                self._function(thing)
            case type():
                self._parts.append(self._label(thing))
            case Enum():
                self._add_all("member", thing.name, type(thing))
            case MethodType():
                self._add_all("method", thing.__func__)
            case property():
                self._add_all("property", thing.fget)
            case partial():
                self._add_all("partial", thing.func, thing.args, thing.keywords)
            case cached_property():
                self._add_all("property", thing.func)
            case re.Pattern():
                self._add_all("pattern", cast("Any", thing).pattern, thing.flags)
            case _:
                self._add_other(thing)

    def _add_other(self, thing: Any) -> None:
        """Add a type alias, a wrapper of a function, or a constant that is an instance of a record class."""
        self._parts.append(self._label(thing))
        for attribute in ("__value__", "__supertype__", "__wrapped__"):
            if (inner := getattr(thing, attribute, None)) is not None:
                self.add_type(inner)
                return
        if self._is_own_package(type(thing)):
            self._add_all(type(thing), *(getattr(thing, field.name, None) for field in fields_of(type(thing))))

    def _label(self, thing: Any) -> str:
        """Return the name of a thing of another package; of an own one, whose content is added, only what it is."""
        if isinstance(thing, ModuleType):
            return "module" if _package(thing.__name__) == self._package else thing.__name__
        named: Any = thing if hasattr(thing, "__qualname__") else thing.__class__
        is_own = self._is_own_package(named) or isinstance(thing, MemberDescriptorType)
        return str(thing.__class__.__name__) if is_own else f"{getattr(named, '__module__', '')}.{named.__qualname__}"

    def _is_own_package(self, thing: Any) -> bool:
        return _package(getattr(thing, "__module__", None) or "") == self._package

    def _scope(self, cls: type) -> Mapping[str, Any] | None:
        if self._owner is not None and issubclass(self._owner, cls):
            return self._local_names
        declared = event_type(cls)
        return None if declared is None else declared.scope

    def _fields(self, cls: Any) -> None:
        for name, kind in types_of(cls, self._scope).items():
            self._parts.append(name)
            self.add_type(kind)
        for field in fields_of(cls):
            self._add_all(*field)
        self.add(json_form_of(cls))

    def _class(self, cls: type) -> None:
        self._parts.append(self._label(cls))
        self._fields(cls)
        self._add_all(*(base for base in cls.__mro__[1:] if self._is_own_package(base)))
        if self._owner is None or not issubclass(self._owner, cls):
            for name, member in sorted(vars(cls).items()):
                if not name.startswith("__") or (_is_code(member) and not name.startswith("__annotate")):
                    self._add_all(name, member)

    def _function(self, function: FunctionType) -> None:
        self._parts.append(self._label(function))
        if not self._is_own_package(function):
            return
        self._add_all(function.__code__, function.__defaults__, function.__kwdefaults__)
        self._add_all(*(_cell_contents(cell) for cell in function.__closure__ or ()))
        codes = list(_nested_code(function.__code__))
        names = {name for code in codes for name in code.co_names}
        namespace = function.__globals__
        for name in sorted({name for code in codes for name in _globals(code)} & namespace.keys()):
            self._add_named(function.__module__, name, namespace[name])
            self._add_module_members(namespace[name], names, set())
        for code in codes:
            for module in self._imported_modules(code, namespace.get("__package__") or ""):
                self._add_module_members(module, names, set())
        for cls in self._owner.__mro__ if self._owner else ():
            if self._is_own_package(cls):
                for name in sorted(names & vars(cls).keys()):
                    self._add_named(cls.__module__, f"{cls.__qualname__}.{name}", vars(cls)[name])

    def _add_named(self, module: str, name: str, thing: Any) -> None:
        """Add what a name of a module means. A constant has a section of its own, when it is added first."""
        self.add(name.rpartition(".")[2])
        section: _Section | None = None
        if isinstance(thing, _PLAIN_TYPES + _CONTAINERS) or self._is_instance_of_own_class(thing):
            full = self._name(module, name)
            section = _REST if full in self._constants else ("code", full)
            self._constants.add(full)
        with self.section(*section) if section else nullcontext():
            self.add(thing)

    def _is_instance_of_own_class(self, thing: Any) -> bool:
        return not isinstance(thing, type) and self._is_own_package(type(thing))

    def _add_module_members(self, module: Any, names: set[str], visited: set[ModuleType]) -> None:
        """Add the named members of a module, and of the modules reached through it."""
        if not isinstance(module, ModuleType) or _package(module.__name__) != self._package or module in visited:
            return
        visited.add(module)
        for name in sorted(names & vars(module).keys()):
            self._add_named(module.__name__, name, vars(module)[name])
            self._add_module_members(vars(module)[name], names, visited)

    def _imported_modules(self, code: CodeType, package: str) -> Iterator[ModuleType]:
        """Yield the modules that a function imports when it runs. The import level is loaded two steps before."""
        steps = _instructions(code)
        for index, step in enumerate(steps):
            if step.name == "IMPORT_NAME":
                level = steps[index - 2].argument
                if level or _package(step.argument) == self._package:
                    with suppress(ImportError):  # the fold itself will raise it
                        yield import_module("." * level + step.argument, package)

    def _code(self, code: CodeType) -> None:
        steps = _instructions(code)
        offsets = [step.offset for step in steps]

        def index_of(offset: int) -> int:
            return bisect_left(offsets, offset)

        self._add_all(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xFF)
        for step in steps:
            self._add_all(step.name, index_of(step.argument) if step.jumps else step.argument)
        for entry in cast("Any", dis.Bytecode(code)).exception_entries:
            self._add_all(index_of(entry.start), index_of(entry.end), index_of(entry.target), entry.depth)


def _package(module: str) -> str:
    """Return the top-level package of a module; with `python -m`, also that of the main program."""
    if module == "__main__" and (spec := getattr(sys.modules.get(module), "__spec__", None)):
        module = spec.name
    return module.partition(".")[0]


def _stable_repr(thing: object) -> str:
    return _ADDRESS.sub("", repr(thing))


def _is_code(member: Any) -> bool:
    return isinstance(member, FunctionType | classmethod | staticmethod | property)


def _cell_contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None


def _nested_code(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions, classes and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested_code(constant)


@lru_cache(maxsize=128)  # the walk needs the instructions of each function three times
def _instructions(code: CodeType) -> list[_Instruction]:
    """Return the instructions, with fused ones split: the compiler fuses only instructions of the same source line."""
    instructions: list[_Instruction] = []
    for step in dis.get_instructions(code):
        if fused := _FUSED.fullmatch(step.opname):
            pairs = zip(fused.groups(), step.argval, strict=True)
            instructions += [_Instruction(step.offset, name, argument, jumps=False) for name, argument in pairs]
        elif step.opname not in _PADDING:
            jumps = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
            instructions.append(_Instruction(step.offset, step.opname, step.argval, jumps))
    return instructions


def _globals(code: CodeType) -> Iterator[str]:
    return (step.argument for step in _instructions(code) if step.name in ("LOAD_GLOBAL", "LOAD_NAME"))
