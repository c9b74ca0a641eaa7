"""The rules for hops without an upcaster: the next version must read every event of the one before, without loss."""

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from fait._evolution.history import TypeHistory
from fait._evolution.hops import Hop
from fait._evolution.members import members_of
from fait._evolution.rules import make_violation
from fait._evolution.versions import field_path
from fait._evolution.violation import RuleViolation
from fait._schema.compare import compare, in_words
from fait._schema.description import Description, resolve
from fait._schema.difference import Difference, Verdict

__all__ = ["check_automatic", "removed_advice"]


def check_automatic(hop: Hop, history: TypeHistory) -> list[RuleViolation]:
    """Return the violations of a hop without an upcaster; empty if one of its versions has no description."""
    old, new = history.description(hop.version), history.description(hop.version + 1)
    if old is None or new is None:
        return []
    differences = [each for each in compare(old, new) if each.verdict is not Verdict.READABLE]
    # fault: removed-optional-member
    removed = [each for each in differences if each.rule == "member-removed" and _is_named(each)]
    unknown = [each for each in differences if each.verdict is Verdict.UNKNOWN]
    others = [each for each in differences if each not in removed and each not in unknown]
    found: list[RuleViolation] = []
    if removed:
        found.append(_removed(hop, removed, old, new))
    if others:
        found.append(_needs_upcaster(hop, others))
    if unknown:
        found.append(_not_understood(hop, unknown))
    return found


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
    member = members_of(described).get(path)
    return f" ({in_words(resolve(described, member.type))})" if member else ""


def removed_advice(hop: Hop, paths: Sequence[str], old: Description, new: Description) -> list[str]:
    """Return how to declare that members were renamed or dropped, with new members of the same type first."""
    before, after = members_of(old), members_of(new)
    renamed: list[str] = []
    for path in paths:
        parent = path.rpartition(".")[0]
        for candidate, member in after.items():
            same_parent = candidate.rpartition(".")[0] == parent and candidate not in before
            if path in before and same_parent and member.type == before[path].type:
                renamed.append(f'fait.renamed("{path}", "{candidate.rpartition(".")[2]}")')
                break
    dropped = ", ".join(f'fait.dropped("{path}")' for path in paths)
    advice = [f"Renamed: {hop.call}{', '.join(renamed)})"] if renamed else []
    return [*advice, f"Dropped: {hop.call}{dropped})"]


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
