"""The rules for hops without an upcaster: the next version must read every event of the one before, without loss."""

from collections.abc import Iterable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from fait._evolution.check.hops import Hop
from fait._evolution.check.type_history import TypeHistory
from fait._evolution.check.versions import field_path
from fait._evolution.locks.members import member_paths
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation
from fait._schema.compare import compare, in_words
from fait._schema.description import Description, resolve
from fait._schema.difference import Difference, Verdict

__all__ = ["check_automatic", "removed_advice", "with_omissions"]


def check_automatic(hop: Hop, history: TypeHistory) -> list[RuleViolation]:
    """Return the violations of a hop without an upcaster; empty if one of its versions has no description."""
    old, new = history.description(hop.version), history.description(hop.version + 1)
    if old is None or new is None:
        return []
    differences = [with_omissions(each, hop, history) for each in compare(old, new)]
    differences = [each for each in differences if each.verdict is not Verdict.READABLE]
    # fault: removed-optional-member
    removed = [each for each in differences if each.rule == "member-removed" and _is_named(each)]
    unknown = [each for each in differences if each.verdict is Verdict.UNKNOWN]
    # A new member that is probably a renamed one is no second finding.
    renamed = {f"$.{path}" for path in _renames([field_path(each.path) for each in removed], old, new).values()}
    handled = [
        *removed,
        *unknown,
        *(each for each in differences if each.rule == "member-added" and each.path in renamed),
    ]
    others = [each for each in differences if each not in handled]
    found: list[RuleViolation] = []
    if removed:
        found.append(_removed(hop, removed, old, new))
    if others:
        found.append(_needs_upcaster(hop, others))
    if unknown:
        found.append(_not_understood(hop, unknown))
    return found


def with_omissions(difference: Difference, hop: Hop, history: TypeHistory) -> Difference:
    """Return a changed default as a change that needs an upcaster, if an earlier version leaves out the old one.

    Its events still do not have the member, although the version before this change always writes it.
    """
    if difference.rule != "default-changed":
        return difference
    path = field_path(difference.path)
    earlier = [
        member_paths(lock.description).get(path) for version, lock in history.locks.items() if version < hop.version
    ]
    # fault: default-omitted-earlier
    is_omitted = any(member is not None and member.may_be_omitted for member in earlier)
    return replace(difference, verdict=Verdict.CONVERT) if is_omitted else difference


def _is_named(difference: Difference) -> bool:
    return not difference.path.endswith(".*")


def _lines(differences: Iterable[Difference]) -> list[str]:
    return [f"{field_path(each.path)}: {each.explanation}" for each in differences]


def _value(differences: Iterable[Difference]) -> object:
    return next((each.value for each in differences if each.value is not UNSET), UNSET)


def _removed(hop: Hop, removed: list[Difference], old: Description, new: Description) -> RuleViolation:
    paths = [field_path(each.path) for each in removed]
    return make_violation(
        "FAIT107",
        hop.name,
        hop.version,
        step=hop.label,
        details=[
            f"{path}{_type_of(path, old)} is not in version {hop.version + 1}: its values would be lost silently"
            for path in paths
        ],
        value=_value(removed),
        advice=removed_advice(hop, paths, old, new),
    )


def _type_of(path: str, described: Description) -> str:
    member = member_paths(described).get(path)
    return f" ({in_words(resolve(described, member.type))})" if member else ""


def removed_advice(hop: Hop, paths: Sequence[str], old: Description, new: Description) -> list[str]:
    """Return how to declare that members were renamed or dropped, with new members of the same type first."""
    names = {path: after.rpartition(".")[2] for path, after in _renames(paths, old, new).items()}
    renamed = [f'fait.renamed("{path}", "{name}")' for path, name in names.items()]
    dropped = ", ".join(f'fait.dropped("{path}")' for path in paths)
    advice = [f"Renamed: {hop.call}{', '.join(renamed)})"] if renamed else []
    return [*advice, f"Dropped: {hop.call}{dropped})"]


def _renames(paths: Iterable[str], old: Description, new: Description) -> dict[str, str]:
    """Return for each vanished member, if there is one, the path of a new member of the same object and type."""
    before, after = member_paths(old), member_paths(new)
    free = [path for path in after if path not in before]
    found: dict[str, str] = {}
    for path in (each for each in paths if each in before):
        parent, kind = path.rpartition(".")[0], before[path].type
        alike = [each for each in free if each.rpartition(".")[0] == parent and after[each].type == kind]
        if alike:
            found[path] = alike[0]
            free.remove(alike[0])
    return found


def _needs_upcaster(hop: Hop, differences: list[Difference]) -> RuleViolation:
    advice = [f'Convert the data: @fait.upcast("{hop.name}", {hop.version})']
    if all(each.verdict is Verdict.TRUST for each in differences):
        advice.append("No stored event violates the limit? Say so in an exemption in pyproject.toml.")
    return make_violation(
        "FAIT115",
        hop.name,
        hop.version,
        step=hop.label,
        details=_lines(differences),
        value=_value(differences),
        advice=advice,
    )


def _not_understood(hop: Hop, differences: list[Difference]) -> RuleViolation:
    return make_violation(
        "FAIT190",
        hop.name,
        hop.version,
        step=hop.label,
        details=_lines(differences),
        advice=("What is not understood counts as incompatible. Write an upcaster, or describe the version again.",),
    )
