"""`fait doctor` finds each defect, gives advice, and reports what it could not check as unknown."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

import fait
from fait._store.health import _find_held_messages
from fait._store.overview import SubscriptionOverview
from fait._store.ports.leases import Range
from fait._store.ports.log import OldestMessage
from fait._store.ports.registrations import RangeKey, Registration

Run = Callable[..., Any]

LOG = "(SELECT log_id FROM fait_log)"
EPOCH = "(SELECT epoch_id FROM fait_log)"


def registered(name: str, position: int, log_id: str = LOG, epoch_id: str = EPOCH) -> str:
    """Return statements that register a subscription at a position."""
    return (
        "INSERT INTO fait_subscriptions "
        f"VALUES ('{name}', 1, 'app', 'reactor', {log_id}, {epoch_id}, '', '[]', 1, 'live', 0, ''); "
        f"INSERT INTO fait_ranges VALUES ('{name}', 1, 0, 65536, {position}, {position}, '[]', '', '', 0)"
    )


@pytest.fixture(autouse=True)
def stored_events(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    lines = [
        {"stream": f"case-{n % 5}", "type": "t", "time": "2024-01-01T00:00:00Z", "tags": [f"n:{n}"], "data": "x" * 500}
        for n in range(500)
    ]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0


def damage(store: str, statements: str) -> None:
    connection = apsw.Connection(store.removeprefix("sqlite:///"))
    connection.execute(statements)
    connection.close()


def statuses(result: Any) -> dict[str, str]:
    return {each["name"]: each["status"] for each in json.loads(result.stdout)["checks"]}


def test_intact_store_is_healthy(run: Run, store: str) -> None:
    result = run("doctor", "-s", store, "--json")

    assert (result.exit_code, json.loads(result.stdout)["healthy"], result.stderr) == (0, True, "")
    assert set(statuses(result).values()) == {"ok"}
    assert {"SQLite", "journal mode", "synchronous", "pages"} < statuses(result).keys()


async def test_id_of_the_log_is_shown(run: Run, store_url: Callable[[str], str]) -> None:
    url = store_url("sqlite")
    async with fait.App("shop").open(url) as s:
        log_id = s.store.log.identity.log_id
        result = await asyncio.to_thread(run, "doctor", "-s", url, "--json")

    details = {each["name"]: each["detail"] for each in json.loads(result.stdout)["checks"]}
    assert details["log id"] == log_id


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ("DROP TRIGGER fait_events_append_only_update", {"append-only"}),
        (
            "DROP TRIGGER fait_events_append_only_delete; DELETE FROM fait_events WHERE position = 7",
            {"append-only", "versions", "tags"},
        ),
        (
            "DROP TRIGGER fait_events_append_only_delete; DELETE FROM fait_events WHERE position = 497",
            {"append-only", "tags"},
        ),
        ("DELETE FROM fait_tags WHERE position = 3", {"tags"}),
        ("INSERT INTO fait_tags VALUES ('n:77', 3)", {"tags"}),
        (
            "INSERT INTO fait_subscriptions VALUES ('s', 1, 'app', 'reactor', '', '', '', '[]', 1, 'live', 0, '')",
            {"ranges"},
        ),
        (registered("sub", 501, LOG, EPOCH), {"subscription sub"}),
        (registered("sub", 5, LOG, "'other'"), {"subscription sub"}),
        (registered("sub", 5, "'other'", EPOCH), {"subscription sub"}),
        (registered("sub", 499, LOG, EPOCH), {"subscription sub"}),
        (registered("sub", 500, LOG, EPOCH), set[str]()),
    ],
)
def test_damage_is_found(run: Run, store: str, statements: str, expected: set[str]) -> None:
    damage(store, statements)

    result = run("doctor", "-s", store, "--json")

    assert {name for name, status in statuses(result).items() if status != "ok"} == expected
    assert result.exit_code == (1 if expected else 0)
    text = run("doctor", "-s", store)
    assert text.exit_code == result.exit_code
    for each in json.loads(result.stdout)["checks"]:
        assert (f"{each['name']}: {each['advice']}" in text.stderr) == (each["status"] == "problem")


def test_message_held_too_long_by_a_subscription_is_a_finding_with_its_age(run: Run, store: str) -> None:
    message = (
        "INSERT INTO fait_events (position, stream, version, type, schema_version, id, data, metadata, recorded_at, "
        "occurred_at, expires) "
        "SELECT 501 + {0}, 'mail-1', 1 + {0}, 'mail', 1, 'm{0}', '{{}}', '{{}}', time, time, 1 "
        "FROM (SELECT strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-{1} hours') AS time)"
    )
    damage(store, "; ".join(message.format(*each) for each in ((0, 9 * 24 + 1), (1, 6 * 24))))
    damage(store, registered("past", 501, LOG, EPOCH))
    damage(store, registered("stuck", 500, LOG, EPOCH))

    result = run("doctor", "-s", store, "--json")

    details = {each["name"]: each["detail"] for each in json.loads(result.stdout)["checks"] if each["status"] != "ok"}
    assert details.keys() == {"subscription past", "subscription stuck", "messages for stuck"}
    assert details["messages for stuck"].endswith("the oldest message that it has not passed, a 'mail', is 9 days old")


async def advice_for_held_messages(range: Range) -> str:
    """Return the advice for an old message that is after what a subscription with a range has passed."""

    class OldLog:
        async def oldest_messages(self, after: int) -> list[OldestMessage]:
            return [OldestMessage("mail", after + 1, datetime(2020, 1, 1, tzinfo=UTC))]

    log: Any = OldLog()
    registration = Registration("send", "app", "reactor", "", (), "log", "epoch")
    overview = SubscriptionOverview(registration, (range,), (), (), (), 9, None)
    [finding] = await _find_held_messages(log, overview, range, 9, "sqlite:///x.db")
    return finding.advice


async def test_advice_for_messages_behind_a_failed_key_does_not_forget_its_subscription() -> None:
    advice = await advice_for_held_messages(
        Range(RangeKey("send"), 9, "", 1, None, failed_position=5, failed_key="mail-1")
    )

    assert "parked show send" in advice
    assert "--forget" not in advice


async def test_advice_for_messages_after_an_event_that_needs_newer_code_is_to_deploy_it() -> None:
    health = json.dumps(
        {"since": "2024-01-01T00:00:00Z", "error_type": "fait.EventTooNew", "error": "text", "location": ""}
    )
    advice = await advice_for_held_messages(Range(RangeKey("send"), 8, "", 1, None, health=health))

    assert "Deploy the version of the app that has stored the event, or that handles its type" in advice


@pytest.mark.parametrize(
    ("deleted", "status"),
    [
        ("position IN (501, 503)", "ok"),
        ("position = 504", "problem"),
    ],
)
def test_only_missing_events_that_did_not_expire_are_a_gap(run: Run, store: str, deleted: str, status: str) -> None:
    message = (
        "INSERT INTO fait_events (position, stream, version, type, schema_version, id, data, metadata, recorded_at, "
        "occurred_at, expires) VALUES ({0}, 'mail-1', {0} - 500, 'mail', 1, {0}, '{{}}', '{{}}', '2024', '2024', 1)"
    )
    damage(store, "; ".join(message.format(position) for position in range(501, 506)))
    damage(store, f"DELETE FROM fait_events WHERE {deleted}; UPDATE fait_log SET expired_position = 503")

    assert statuses(run("doctor", "-s", store, "--json"))["versions"] == status


def test_disk_that_is_almost_full_is_a_finding(run: Run, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(run("doctor", "-s", store, "--json"))["disk"] == "ok"

    monkeypatch.setattr("fait._store.sqlite.health.MIN_FREE_BYTES", 1 << 60)
    result = run("doctor", "-s", store)

    assert result.exit_code == 1
    assert "MiB free on the disk of the file" in result.stdout
    assert "disk: nothing can be stored on a full disk" in result.stderr


def test_unsafe_synchronous_setting_is_a_finding(run: Run, store: str) -> None:
    result = run("doctor", "-s", f"{store}?synchronous=NORMAL", "--json")

    assert result.exit_code == 1
    assert statuses(result)["synchronous"] == "problem"


def test_damaged_page_is_a_finding(run: Run, store: str) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    damage(store, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes(content)

    result = run("doctor", "-s", store, "--json")

    assert result.exit_code == 1
    assert statuses(result)["pages"] == "problem"


def test_file_that_is_not_a_database_is_a_finding(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("no database" * 100)

    result = run("doctor", "-s", f"sqlite:///{tmp_path}/other.db", "--json")

    assert result.exit_code == 1
    assert statuses(result) == {"open": "problem"}


WITHOUT_CHECKS = """
import fait.store

class Unchecked(fait.store.Backend):
    async def open(self, url, clock, *, create):
        return await fait.store.open_store("memory:", clock=clock)

backend = Unchecked()
"""


def test_backend_without_checks_is_unknown(run: Run, install_backend: Callable[[str, str], Path]) -> None:
    install_backend("unchecked", WITHOUT_CHECKS)

    result = run("doctor", "-s", "unchecked:", "--json")

    assert result.exit_code == 0
    assert statuses(result) == {"log id": "ok", "backend": "unknown"}


def test_lease_without_heartbeat_is_a_problem_while_events_wait(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 0.3)
    damage(store, registered("sub", 9, LOG, EPOCH))
    damage(
        store,
        "INSERT INTO fait_workers VALUES ('owner', 1, '', '', 0, '', '{}', '{}', '{}', '2024-01-01T00:00:00.000000Z')",
    )
    damage(store, "UPDATE fait_ranges SET worker = 'owner'")

    result = run("doctor", "-s", store, "--json")

    assert (result.exit_code, statuses(result)["subscription sub"], statuses(result)["worker owner"]) == (
        1,
        "ok",
        "problem",
    )


@pytest.mark.parametrize(
    ("error", "step"),
    [
        ("fait.EventTooNew", "Deploy the version of the app"),
        ("fait.OffsetLost", "fait rewind sub --app MODULE:APP --dry-run"),
        ("fait.BrokerLostMessages", "fait rewind sub --app MODULE:APP --dry-run"),
        ("fait.TopologyMismatch", "fait broker check URL --topic NAME=LANES --create"),
        ("builtins.ConnectionError", "Make the service available that the error names"),
    ],
)
def test_advice_for_a_subscription_that_waits_fits_the_error(run: Run, store: str, error: str, step: str) -> None:
    damage(store, registered("sub", 9, LOG, EPOCH))
    damage(
        store,
        "INSERT INTO fait_workers VALUES ('owner', 1, '', '', 0, '', '{}', '{}', '{}', '2024-01-01T00:00:00.000000Z')",
    )
    health = json.dumps({"since": "2024-01-01T00:00:00Z", "error_type": error, "error": "text", "location": ""})
    damage(store, f"UPDATE fait_ranges SET worker = 'owner', health = '{health}'")

    findings = json.loads(run("doctor", "-s", store, "--json").stdout)["checks"]

    [advice] = [each["advice"] for each in findings if each["name"] == "subscription sub"]
    assert step in advice


@pytest.mark.parametrize(
    ("error", "has_step"), [("fait.EventTooNew", True), ("builtins.ConnectionError", False)], ids=["newer", "service"]
)
def test_start_of_the_same_code_is_not_the_only_advice_for_an_event_that_needs_newer_code(
    run: Run, store: str, error: str, has_step: bool
) -> None:
    damage(store, registered("sub", 9))
    health = json.dumps({"since": "2024-01-01T00:00:00Z", "error_type": error, "error": "text", "location": ""})
    damage(store, f"UPDATE fait_ranges SET health = '{health}'")

    findings = json.loads(run("doctor", "-s", store, "--json").stdout)["checks"]

    [finding] = [each for each in findings if each["name"] == "subscription sub"]
    assert "no worker runs it; the last one waited since" in finding["detail"]
    assert finding["advice"].startswith("start a worker of the app 'app': fait run")
    step = "With the code of the last worker it waits again. Deploy the version of the app that has stored the event"
    assert (step in finding["advice"]) == has_step
    assert ("fait definition accept sub --app MODULE:APP" in finding["advice"]) == has_step


def test_outage_during_the_checks_is_a_finding_after_those_that_were_made(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(store: Any, url: str) -> Any:
        raise fait.StoreUnavailable("the server did not answer.")

    monkeypatch.setattr("fait._tools.cli.doctor._check_heartbeats", unavailable)

    result = run("doctor", "-s", store, "--json")

    assert result.exit_code == 1
    *checks, last = json.loads(result.stdout)["checks"]
    assert {each["status"] for each in checks} == {"ok"}
    assert (last["name"], last["detail"]) == ("store", "the server did not answer.")
    assert last["advice"] == "the store became unavailable; the checks after this were not made"


def test_doctor_of_an_unreachable_server_prints_one_line(run: Run) -> None:
    result = run("doctor", "-s", "postgresql://ada@127.0.0.1:1/shop?connect_timeout=1")

    assert result.exit_code == 1
    assert result.stderr == "open: the store cannot be opened; no other check was made\n"
    assert "Nothing was written" not in result.stdout
