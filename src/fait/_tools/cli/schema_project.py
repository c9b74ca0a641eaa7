"""What the commands of `fait schema` work on: the settings, the app with its event types, and the folder of locks."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from msgspec.structs import replace

from fait._app import declarations_of
from fait._clock import now
from fait._errors import UsageError
from fait._events.registry import Registry
from fait._evolution.check.render import render
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.lock import Locks
from fait._evolution.locks.settings import Settings, read_settings
from fait._evolution.locks.violation import RuleViolation
from fait._tools.cli.options import load_app
from fait._tools.cli.output import CommandFailed, print_message

__all__ = ["LocksOption", "Project", "SchemaAppOption", "exempted", "open_project", "refuse"]

SchemaAppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help="The application as module:name. Default: app in [tool.fait] of pyproject.toml.",
    ),
]
LocksOption = Annotated[
    Path | None,
    typer.Option(
        "--locks", metavar="DIR", help="Folder of locks. Default: locks in [tool.fait] of pyproject.toml, or events."
    ),
]


class Project(NamedTuple):
    """What a command of `fait schema` works on.

    Attributes:
        settings: the settings in pyproject.toml.
        registry: the event types of the app.
        folder: the folder of locks.
    """

    settings: Settings
    registry: Registry
    folder: LockFolder

    def read_locks(self) -> Locks:
        """Return the locks; an invalid file ends the command."""
        locks, violations = self.folder.read()
        refuse(self.settings, violations, "Nothing was written.")
        return locks


def open_project(app: str | None, locks: Path | None) -> Project:
    """Read the settings of the working directory and import the app.

    Raises:
        UsageError: no app is named, it cannot be imported, or the settings are wrong.
    """
    settings = read_settings(Path.cwd(), today=now().date())
    target = app or settings.app
    if not target:
        raise UsageError(
            'no application: give --app module:name, or set it in pyproject.toml, in [tool.fait]: app = "shop.app:shop"'
        )
    registry = declarations_of(load_app(target, None if app else settings.folder)).registry
    return Project(settings, registry, LockFolder(_relative(locks or settings.locks)))


def _relative(path: Path) -> Path:
    """Return a shorter path for messages, if it is in the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def exempted(settings: Settings, violations: list[RuleViolation]) -> list[RuleViolation]:
    """Return violations with the reasons of the exemptions that accept them."""
    reasons = [settings.exemption_of(each) for each in violations]
    return [
        each if exemption is None else replace(each, exempted=exemption.reason)
        for each, exemption in zip(violations, reasons, strict=True)
    ]


def refuse(settings: Settings, violations: list[RuleViolation], consequence: str) -> None:
    """Print the violations that no exemption accepts.

    Raises:
        CommandFailed: there are such violations.
    """
    remaining = [each for each in exempted(settings, violations) if not each.exempted]
    for each in remaining:
        print_message(f"{render(each)}\n")
    if remaining:
        count = "one violation" if len(remaining) == 1 else f"{len(remaining)} violations"
        raise CommandFailed(f"{count} of the rules for events. {consequence}")
