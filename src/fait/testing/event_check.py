"""The check of event types in the tests of an application; see `check_events`."""

from pathlib import Path

from fait._app import App, declarations_of
from fait._clock import now
from fait._evolution.check.proof import SAMPLES
from fait._evolution.check.render import render
from fait._evolution.check.report import Report, run_check
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.settings import read_settings

__all__ = ["check_events", "report_of"]


def check_events(
    app: App, locks: str | Path | None = None, *, drafts_allowed: bool = True, samples: int = SAMPLES, seed: int = 0
) -> None:
    """Check the event types of an app against their locks, as `fait schema check` does.

        def test_published_events_are_readable() -> None:
            check_events(app, "events")

    Args:
        app: the app.
        locks: the folder of locks; None: the one that `[tool.fait]` in pyproject.toml of the working directory names,
            or `events`.
        drafts_allowed: whether the version of a class may have no lock.
        samples: the number of events of each version that are converted: those of its lock, and generated ones.
        seed: chooses the samples; the same seed gives the same ones.

    Raises:
        AssertionError: there are violations that pyproject.toml does not exempt; the text lists them.
        UsageError: there is no folder of locks, or the settings are wrong.
    """
    report = report_of(app, locks, drafts_allowed=drafts_allowed, samples=samples, seed=seed)
    if report.failures:
        raise AssertionError("\n\n".join(["violations of the rules for events:", *map(render, report.failures)]))


def report_of(
    app: App, locks: str | Path | None = None, *, drafts_allowed: bool = True, samples: int = SAMPLES, seed: int = 0
) -> Report:
    """Return the report of the check; the arguments are those of `check_events`."""
    settings = read_settings(Path.cwd(), today=now().date())
    folder = LockFolder(settings.locks if locks is None else Path(locks))
    registry = declarations_of(app).registry
    return run_check(settings, registry, folder, drafts_allowed=drafts_allowed, samples=samples, seed=seed)
