"""The doctor finds each thing that can be wrong, says what to do, and does not call well what it could not check."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

Run = Callable[..., Any]

LOG = "(SELECT log_id FROM fait_log)"


@pytest.fixture(autouse=True)
def facts(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    lines = [
        {"stream": f"case-{n % 5}", "type": "t", "time": "2024-01-01T00:00:00Z", "tags": [f"n:{n}"], "data": "x" * 500}
        for n in range(500)
    ]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0


def damage(store: str, statements: str) -> None:
    connection = apsw.Connection(store.removeprefix("sqlite:///"))
    connection.execute(statements)
    connection.close()


def verdicts(done: Any) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in json.loads(done.stdout)["findings"]}


def test_a_well_store_is_well(run: Run, store: str) -> None:
    done = run("doctor", "-s", store, "--json")

    assert (done.exit_code, json.loads(done.stdout)["well"], done.stderr) == (0, True, "")
    assert set(verdicts(done).values()) == {"ok"}
    assert {"SQLite", "journal mode", "synchronous", "pages"} < verdicts(done).keys()


@pytest.mark.parametrize(
    ("statements", "found"),
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
        ("INSERT INTO fait_leases VALUES ('gone', 'me', 1, 1)", {"leases"}),
        (f"INSERT INTO fait_checkpoints VALUES ('sub', 'app', 501, {LOG}, 1, '')", {"subscription sub"}),
        (f"INSERT INTO fait_checkpoints VALUES ('sub', 'app', 5, {LOG}, 2, '')", {"subscription sub"}),
        ("INSERT INTO fait_checkpoints VALUES ('sub', 'app', 5, 'other', 1, '')", {"subscription sub"}),
        (f"INSERT INTO fait_checkpoints VALUES ('sub', 'app', 499, {LOG}, 1, '')", {"subscription sub"}),
        (f"INSERT INTO fait_checkpoints VALUES ('sub', 'app', 500, {LOG}, 1, '')", set[str]()),
    ],
)
def test_what_is_wrong_is_found(run: Run, store: str, statements: str, found: set[str]) -> None:
    damage(store, statements)

    done = run("doctor", "-s", store, "--json")

    assert {name for name, verdict in verdicts(done).items() if verdict != "ok"} == found
    assert done.exit_code == (1 if found else 0)
    told = run("doctor", "-s", store)
    assert told.exit_code == done.exit_code
    for each in json.loads(done.stdout)["findings"]:
        assert (f"{each['name']}: {each['advice']}" in told.stderr) == (each["verdict"] == "finding")


def test_messages_that_wait_too_long_for_a_subscription_are_a_finding_with_their_age(run: Run, store: str) -> None:
    message = (
        "INSERT INTO fait_events (position, stream, version, type, schema_version, id, data, metadata, recorded_at, "
        "occurred_at, expires) "
        "SELECT 501 + {0}, 'mail-1', 1 + {0}, 'mail', 1, 'm{0}', '{{}}', '{{}}', moment, moment, 1 "
        "FROM (SELECT strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-{1} hours') AS moment)"
    )
    damage(store, "; ".join(message.format(*each) for each in ((0, 9 * 24 + 1), (1, 6 * 24))))
    damage(store, f"INSERT INTO fait_checkpoints VALUES ('past', 'app', 501, {LOG}, 1, '')")
    damage(store, f"INSERT INTO fait_checkpoints VALUES ('stuck', 'app', 500, {LOG}, 1, '')")
    damage(store, "INSERT INTO fait_leases VALUES ('fait:retention:app', 'me', 1, 1)")

    done = run("doctor", "-s", store, "--json")

    found = {each["name"]: each["detail"] for each in json.loads(done.stdout)["findings"] if each["verdict"] != "ok"}
    assert found.keys() == {"subscription past", "subscription stuck", "messages for stuck"}
    assert found["messages for stuck"].endswith("the oldest message that it has not passed, a 'mail', is 9 days old")


@pytest.mark.parametrize(
    ("gone", "verdict"),
    [
        ("position IN (501, 503)", "ok"),
        ("position = 504", "finding"),
    ],
)
def test_messages_that_were_dropped_are_no_gap_and_others_are(run: Run, store: str, gone: str, verdict: str) -> None:
    message = (
        "INSERT INTO fait_events (position, stream, version, type, schema_version, id, data, metadata, recorded_at, "
        "occurred_at, expires) VALUES ({0}, 'mail-1', {0} - 500, 'mail', 1, {0}, '{{}}', '{{}}', '2024', '2024', 1)"
    )
    damage(store, "; ".join(message.format(position) for position in range(501, 506)))
    damage(store, f"DELETE FROM fait_events WHERE {gone}; UPDATE fait_log SET expired_position = 503")

    assert verdicts(run("doctor", "-s", store, "--json"))["versions"] == verdict


def test_commits_that_power_can_take_are_a_finding(run: Run, store: str) -> None:
    done = run("doctor", "-s", f"{store}?synchronous=NORMAL", "--json")

    assert done.exit_code == 1
    assert verdicts(done)["synchronous"] == "finding"


def test_damaged_pages_are_found(run: Run, store: str) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    damage(store, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes(content)

    done = run("doctor", "-s", store, "--json")

    assert done.exit_code == 1
    assert verdicts(done)["pages"] == "finding"


def test_a_file_that_is_no_database_is_a_finding(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("no database" * 100)

    done = run("doctor", "-s", f"sqlite:///{tmp_path}/other.db", "--json")

    assert done.exit_code == 1
    assert verdicts(done) == {"open": "finding"}


def test_what_cannot_be_checked_is_unknown(run: Run) -> None:
    done = run("doctor", "-s", "memory:", "--json")

    assert done.exit_code == 0
    assert verdicts(done) == {"backend": "unknown"}


def test_an_owner_without_signs_of_life_is_unknown(run: Run, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 0.3)
    damage(store, f"INSERT INTO fait_checkpoints VALUES ('sub', 'app', 9, {LOG}, 1, '')")
    damage(store, "INSERT INTO fait_leases VALUES ('sub', 'somebody', 1, 1)")

    done = run("doctor", "-s", store, "--json")

    assert (done.exit_code, verdicts(done)["subscription sub"], verdicts(done)["lease of sub"]) == (0, "ok", "unknown")
