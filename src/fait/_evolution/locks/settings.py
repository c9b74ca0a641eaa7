"""The settings of fait in pyproject.toml: the app, its API, the folder of locks, exemptions, consumers and producers.

    [tool.fait]
    app = "shop.app:shop"
    api = "shop.api:web"
    locks = "events"

    [[tool.fait.allow]]
    rule = "FAIT103"
    event = "shop.order-placed"
    version = 1
    reason = "stored before the events were locked; nothing of it is left"
    until = 2027-01-31

    [[tool.fait.consumers]]
    name = "billing"
    event = "shop.order-placed"
    version = 2

    [[tool.fait.producers]]
    name = "web shop"
    event = "shop.order-placed"

Unknown keys are refused: a setting with a typing error would be none.
"""

import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from fait._errors import UsageError
from fait._evolution.locks.rules import TITLES, make_violation
from fait._evolution.locks.violation import RuleViolation

__all__ = ["EXEMPTIBLE_RULES", "DeclaredConsumer", "Exemption", "Producer", "Settings", "read_settings"]

FILE_NAME: Final = "pyproject.toml"

EXEMPTIBLE_RULES: Final = TITLES.keys() - {"FAIT140"}
"""The rules that an exemption may name: all but that of wrong exemptions."""


class DeclaredConsumer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reader of an event type outside of the code of the app.

    Attributes:
        name: name of the program or team.
        event: stored name of the event type.
        version: the schema version that it reads.
    """

    name: str
    event: str
    version: int


class Producer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that makes events of a type, outside of the code of the app or where its code does not show it.

    Attributes:
        name: name of the program or team.
        event: stored name of the event type.
    """

    name: str
    event: str


class Exemption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accepts the violation of a rule by an event type, for a reason.

    Attributes:
        rule: code of the rule.
        event: stored name of the event type.
        reason: the reason, which is shown with the violation.
        version: the schema version; 0: all versions.
        until: the last day on which the exemption is valid; None: it has no end.
    """

    rule: str
    event: str
    reason: str
    version: int = 0
    until: date | None = None

    def covers(self, violation: RuleViolation) -> bool:
        """Return whether it accepts a violation."""
        same = (self.rule, self.event) == (violation.rule, violation.type)
        return same and self.version in (0, violation.version)


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of `fait schema` and `fait dev`.

    Attributes:
        folder: the folder of pyproject.toml, or the working directory if there is none.
        app: the application, as `module:name`; empty if it is not set.
        api: its web application, as `module:name`; empty if it is not set.
        locks: path of the folder of locks.
        exemptions: the valid exemptions.
        consumers: declared consumers.
        producers: declared producers.
        violations: exemptions that are wrong (FAIT140); they accept nothing.
    """

    folder: Path
    app: str = ""
    api: str = ""
    locks: Path
    exemptions: tuple[Exemption, ...] = ()
    consumers: tuple[DeclaredConsumer, ...] = ()
    producers: tuple[Producer, ...] = ()
    violations: tuple[RuleViolation, ...] = ()

    def exemption_of(self, violation: RuleViolation) -> Exemption | None:
        """Return the exemption that accepts a violation; None if there is none."""
        return next((each for each in self.exemptions if each.covers(violation)), None)


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `tool.fait`."""

    app: str = ""
    api: str = ""
    locks: str = "events"
    allow: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    consumers: tuple[DeclaredConsumer, ...] = ()
    producers: tuple[Producer, ...] = ()


def read_settings(directory: Path, *, today: date) -> Settings:
    """Return the settings for a directory: those of the nearest pyproject.toml with a table `tool.fait`.

    Args:
        directory: the directory in which the search begins; it continues with the parents.
        today: the current day. Exemptions that end earlier are wrong.

    Raises:
        UsageError: the file is not valid TOML, or the table has an unknown key or a value of a wrong type.
    """
    for folder in (directory, *directory.parents):
        file = folder / FILE_NAME
        if file.is_file() and (content := _table_of(file)) is not None:
            return _settings(folder, file, content, today)
    return Settings(folder=directory, locks=directory / "events")


def _table_of(file: Path) -> Any:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("fait")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from None


def _settings(folder: Path, file: Path, content: Any, today: date) -> Settings:
    try:
        table = msgspec.convert(content, _Table)
    except msgspec.ValidationError as error:
        raise UsageError(f"{file}: [tool.fait] is wrong: {error}. Correct it; see fait schema --help.") from None
    checked = [_exemption(each, file, today) for each in table.allow]
    return Settings(
        folder=folder,
        app=table.app,
        api=table.api,
        locks=folder / table.locks,
        exemptions=tuple(each for each in checked if isinstance(each, Exemption)),
        consumers=table.consumers,
        producers=table.producers,
        violations=tuple(each for each in checked if isinstance(each, RuleViolation)),
    )


def _exemption(entry: dict[str, Any], file: Path, today: date) -> Exemption | RuleViolation:
    try:
        exemption = msgspec.convert(entry, Exemption)
    except msgspec.ValidationError as error:
        return _wrong_exemption(entry, file, str(error))
    if exemption.rule not in EXEMPTIBLE_RULES:
        return _wrong_exemption(entry, file, f"no rule {exemption.rule!r} can be exempted")
    if not (exemption.reason.strip() and exemption.event):
        return _wrong_exemption(entry, file, "the reason or the event is empty")
    # fault: expired-exemption
    if exemption.until is not None and exemption.until < today:
        return _wrong_exemption(entry, file, f"it ended on {exemption.until}")
    return exemption


def _wrong_exemption(entry: dict[str, Any], file: Path, reason: str) -> RuleViolation:
    event, version = entry.get("event"), entry.get("version")
    return make_violation(
        "FAIT140",
        event if isinstance(event, str) else "",
        version if isinstance(version, int) else 0,
        place=str(file),
        details=(f"[[tool.fait.allow]] for rule {entry.get('rule')!r}: {reason}",),
        advice=(f"Correct the exemption, or remove it from {file.name}. It accepts nothing as it is.",),
    )
