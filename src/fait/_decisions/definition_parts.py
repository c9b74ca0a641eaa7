"""The parts of a definition: what a definition hash covers, by name, with short hashes in place of code.

A store has them as well as the hash, so that a process with another definition can say what differs. The hash alone
decides whether a definition is another one. The parts only explain it: they are bounded, and may be missing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct

__all__ = [
    "FIELDS",
    "FORMAT",
    "PYTHON",
    "DefinitionParts",
    "bounded",
    "event_part",
    "find_differences",
    "parts_from_json",
    "parts_to_json",
    "short_hash",
]

MAX_PARTS: Final = 100
"""Maximum number of columns, of events, and of names of code. What exceeds it shares one hash."""

MAX_NAME_CHARS: Final = 120
"""Maximum length of a stored name."""

MAX_LISTED_NAMES: Final = 10
"""Maximum number of names of code in a text."""

FORMAT: Final = "format"
PYTHON: Final = "Python"
FIELDS: Final = "fields"
OTHERS: Final = "and others"
"""The name of what exceeds the maximum. No name of a column, an event or code has a space."""


class DefinitionParts(Struct, frozen=True, omit_defaults=True):
    """What a definition hash covers.

    Attributes:
        settings: values of options, such as the key and the version, by name.
        columns: kind of each column, and whether it is nullable.
        events: schema version of each event type, and a hash of its fields and the list of its upcasters.
        code: hash of the own content of each function, class and constant, without what it refers to.
    """

    settings: Mapping[str, str] = {}
    columns: Mapping[str, str] = {}
    events: Mapping[str, str] = {}
    code: Mapping[str, str] = {}


def parts_to_json(parts: DefinitionParts) -> str:
    """Return parts as JSON text; "" if there are none."""
    return "" if parts == DefinitionParts() else msgspec.json.encode(parts).decode()


def parts_from_json(text: str) -> DefinitionParts | None:
    """Return the parts in a JSON text; None if they are missing, or another version of fait has written them."""
    try:
        return msgspec.json.decode(text, type=DefinitionParts) if text else None
    except msgspec.DecodeError:
        return None


def short_hash(texts: Iterable[str]) -> str:
    """Return a hash of texts, as 8 hexadecimal digits: it explains and decides nothing."""
    import hashlib  # here, as it is slow to import

    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:8]


def event_part(schema_version: int, texts: Iterable[str]) -> str:
    """Return the part of an event type, with a hash of texts."""
    return f"version {schema_version}, {short_hash(texts)}"


def bounded(parts: Mapping[str, str]) -> dict[str, str]:
    """Return the first parts, with one hash of all others."""
    items = [(name[:MAX_NAME_CHARS], value) for name, value in parts.items()]
    # fault: parts-without-bound
    result = dict(items[:MAX_PARTS])
    if others := items[MAX_PARTS:]:
        result[OTHERS] = short_hash(part for item in sorted(others) for part in item)
    return result


def find_differences(stored: DefinitionParts, declared: DefinitionParts) -> tuple[str, ...]:
    """Return what differs between two definitions whose hashes differ, as texts that a sentence can list."""
    # The same code has other hashes in another version of Python, or of this format.
    comparable = all(stored.settings.get(name) == declared.settings.get(name) for name in (FORMAT, PYTHON))
    code = _code(stored.code, declared.code) if comparable else ()
    columns = [*_columns(stored.columns, declared.columns)]
    events = _events(stored.events, declared.events, with_fields=comparable)
    settings = _settings(stored.settings, declared.settings, with_fields=comparable and not columns)
    found = (*code, *columns, *events, *settings)
    return found or ("code that it uses, although all stored parts of the definition are equal",)


def _code(stored: Mapping[str, str], declared: Mapping[str, str]) -> Iterator[str]:
    removed = {name: part for name, part in stored.items() if name not in declared}
    added = {name: part for name, part in declared.items() if name not in stored}
    moved = {*removed.values()} & {*added.values()}  # or renamed
    changed = [name for name in declared if name in stored and stored[name] != declared[name]]
    if changed:
        yield f"the code of {_listed(changed)}"
    for names, other, note in ((added, stored, "new"), (removed, declared, "no longer used")):
        # Among many names, one that is missing may be one of the others.
        found = [] if OTHERS in other else [name for name, part in names.items() if part not in moved]
        if found := [name for name in found if name != OTHERS]:
            yield f"the code of {_listed(found)} ({note})"


def _listed(names: list[str]) -> str:
    """Return names as a list of a sentence."""
    named = [name for name in names if name != OTHERS]
    count = len(named) - MAX_LISTED_NAMES
    if count > 0:
        return f"{', '.join(named[:MAX_LISTED_NAMES])} and {count} others"
    if len(named) < len(names):
        named.append("others")
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def _columns(stored: Mapping[str, str], declared: Mapping[str, str]) -> Iterator[str]:
    for name, before, now in _changed(stored, declared):
        if name == OTHERS:
            yield "further columns"
        elif before and now:
            yield f"column {name} ({now}, was {before})"
        else:
            yield f"column {name} ({'new' if now else 'removed'})"


def _events(stored: Mapping[str, str], declared: Mapping[str, str], *, with_fields: bool) -> Iterator[str]:
    for name, before, now in _changed(stored, declared):
        version, versions = now.partition(",")[0], {each.partition(",")[0] for each in (before, now)}
        if name == OTHERS:
            yield "further events"
        elif not (before and now):
            yield f"event {name} ({'new' if now else 'no longer handled'})"
        elif len(versions) > 1:
            yield f"event {name} ({version}, was {before.partition(',')[0]})"
        elif with_fields:
            yield f"event {name} (its fields or upcasters)"


def _settings(stored: Mapping[str, str], declared: Mapping[str, str], *, with_fields: bool) -> Iterator[str]:
    for name, before, now in _changed(stored, declared):
        if name == FORMAT:
            yield "how this version of fait computes definition hashes"
        elif name != FIELDS:
            yield f"{name} ({now or 'none'}, was {before or 'none'})"
        elif with_fields:
            yield "the types or defaults of its fields"


def _changed(stored: Mapping[str, str], declared: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, stored and declared part of what differs; "" is a missing one."""
    for name in {**declared, **stored}:
        before, now = stored.get(name, ""), declared.get(name, "")
        if before != now:
            yield name, before, now
