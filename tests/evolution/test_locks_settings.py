"""Settings in pyproject.toml: the nearest table counts, unknown keys are refused, and wrong exemptions are reported."""

from datetime import date
from pathlib import Path

import pytest

import fait
from fait._evolution.locks.settings import DeclaredConsumer, Exemption, Producer, Settings, read_settings
from fait._evolution.locks.violation import RuleViolation

TODAY = date(2026, 11, 29)


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_settings(folder, today=TODAY)


def test_settings_are_read(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        """
        [project]
        name = "shop"
        [tool.fait]
        app = "shop.app:shop"
        locks = "shop/events"
        [[tool.fait.allow]]
        rule = "FAIT103"
        event = "shop.paid"
        version = 1
        reason = "nothing of it is stored"
        until = 2026-11-29
        [[tool.fait.consumers]]
        name = "billing"
        event = "shop.paid"
        version = 2
        [[tool.fait.producers]]
        name = "till"
        event = "shop.paid"
        """,
    )

    exemption = Exemption(
        rule="FAIT103", event="shop.paid", version=1, reason="nothing of it is stored", until=date(2026, 11, 29)
    )
    consumer = DeclaredConsumer(name="billing", event="shop.paid", version=2)
    assert settings == Settings(
        folder=tmp_path,
        app="shop.app:shop",
        locks=tmp_path / "shop" / "events",
        exemptions=(exemption,),
        consumers=(consumer,),
        producers=(Producer(name="till", event="shop.paid"),),
    )


def test_nearest_file_with_the_table_counts(tmp_path: Path) -> None:
    inner = tmp_path / "packages" / "shop"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    (tmp_path / "pyproject.toml").write_text("[tool.fait]\napp = 'shop:shop'\n")

    settings = read_settings(inner, today=TODAY)

    assert (settings.folder, settings.app, settings.locks) == (tmp_path, "shop:shop", tmp_path / "events")


def test_without_a_file_the_folder_is_events(tmp_path: Path) -> None:
    assert read_settings(tmp_path, today=TODAY) == Settings(folder=tmp_path, locks=tmp_path / "events")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tool.fait", "is not valid TOML"),
        ("[tool.fait]\nlock = 'events'", "Object contains unknown field `lock`"),
        ("[tool.fait]\napp = 1", r"Expected `str`, got `int` - at `\$.app`"),
        ("[tool]\nfait = 'shop'", "Expected `object`, got `str`"),
        ("[[tool.fait.consumers]]\nname = 'billing'\nevent = 'shop.paid'", "missing required field `version`"),
        ("[[tool.fait.consumers]]\nname = 'a'\nevent = 'b'\nversion = 1\nowner = 'c'", "unknown field `owner`"),
    ],
)
def test_wrong_settings_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(fait.UsageError, match=reason):
        settings_of(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "Object missing required field `reason`"),
        ("reason = '  '", "the reason or the event is empty"),
        ("reason = 'r'\nuntil = 2026-11-28", "it ended on 2026-11-28"),
        ("reason = 'r'\nuntil = 'tomorrow'", r"Invalid RFC3339 encoded date"),
        ("reason = 'r'\nowner = 'me'", "unknown field `owner`"),
        ("reason = 'r'\nversion = 'one'", "Expected `int`, got `str`"),
    ],
)
def test_wrong_exemption_is_reported_and_accepts_nothing(line: str, reason: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"[[tool.fait.allow]]\nrule = 'FAIT107'\nevent = 'shop.paid'\n{line}")

    (violation,) = settings.violations
    assert (violation.rule, violation.type, settings.exemptions) == ("FAIT140", "shop.paid", ())
    assert reason in violation.details[0]


@pytest.mark.parametrize("rule", ["FAIT140", "FAIT999", "renamed"])
def test_exemption_from_an_unknown_rule_is_reported(rule: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"[[tool.fait.allow]]\nrule = '{rule}'\nevent = 'shop.paid'\nreason = 'r'")

    assert [each.details for each in settings.violations] == [
        (f"[[tool.fait.allow]] for rule {rule!r}: no rule {rule!r} can be exempted",)
    ]


def test_exemption_covers_one_version_or_all() -> None:
    violation = RuleViolation(rule="FAIT107", title="", type="shop.paid", version=2)
    one = Exemption(rule="FAIT107", event="shop.paid", reason="r", version=2)
    all_versions = Exemption(rule="FAIT107", event="shop.paid", reason="r")
    others = [
        Exemption(rule="FAIT107", event="shop.paid", reason="r", version=1),
        Exemption(rule="FAIT108", event="shop.paid", reason="r"),
        Exemption(rule="FAIT107", event="shop.placed", reason="r"),
    ]

    assert [each.covers(violation) for each in (one, all_versions, *others)] == [True, True, False, False, False]
