"""Finds uses of the clock and of the environment in the code of an upcaster.

Two runs in one process seldom differ in the date or in an environment variable, so running does not find these.
"""

from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, Final

__all__ = ["clock_uses"]


def clock_uses(function: Callable[..., Any]) -> list[str]:
    """Return the uses of clock and environment in a function and in functions of its package that it calls, sorted.

    Args:
        function: the function; what is not written in Python has none.
    """
    return sorted(set(_uses(function, set())))


def _uses(function: object, seen: set[CodeType]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function.__code__ in seen:
        return
    seen.add(function.__code__)
    package = function.__module__.partition(".")[0]
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        for attribute in _ATTRIBUTES.get(_full_name(value), ()):
            if attribute in names:
                yield f"{name}.{attribute}"
        if _full_name(value) in _FUNCTIONS:
            yield name
        if isinstance(value, FunctionType) and value.__module__.partition(".")[0] == package:
            yield from _uses(value, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _full_name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""


_CLOCK: Final = ("time", "time_ns", "monotonic", "localtime", "gmtime", "ctime", "perf_counter")
_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "datetime": ("now", "utcnow", "today"),
        "datetime.datetime": ("now", "utcnow", "today"),
        "datetime.date": ("today",),
        "time": _CLOCK,
        "os": ("environ", "getenv", "getpid", "urandom"),
    }
)
_FUNCTIONS: Final = frozenset({*(f"time.{name}" for name in _CLOCK), "os.getenv", "os.getpid"})
