"""`fait parked`, `skip`, `pause`, `resume` and `actions`: an operator sees what failed, and requests what happens."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fait
from fait._store.open import open_store
from fait._store.ports.failures import FailureRequest, KeyFailure
from fait._tools.cli.key_requests import _select
from fait._tools.cli.operator import operator_name
from tests.tools.parked_shop import Paid, park, publish, shop_of, stop, work_until
from tests.tools.processes import interrupt_read

Run = Callable[..., Any]
FAIT = Path(sys.executable).with_name("fait")
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture
def failed(url: str) -> list[KeyFailure]:
    """Three keys are parked: two by ValueError, one by Unreachable; the key `order-d` is handled."""
    return park(url, 3, a=[-1, 5, -2], b=[-3], c=[0, 7], d=[9])


def lines(result: Any) -> list[Any]:
    assert result.exit_code == 0, result.output
    return [json.loads(each) for each in result.stdout.splitlines()]


def actions(run: Run, url: str) -> list[tuple[str, str, str]]:
    return [(each["action"], each["by"], each["reason"]) for each in lines(run("actions", "-s", url, "--json"))]


def handle_rest(url: str, left: int = 0) -> list[int]:
    """Run a repaired shop until as many keys have failed; return the amounts that it handled, in order."""
    handled = list[int]()
    app = shop_of(lambda event: handled.append(event.amount))
    asyncio.run(work_until(url, app, lambda failed: len(failed) == left))
    return handled


def states(url: str) -> dict[str, str]:
    async def read() -> dict[str, str]:
        store = await open_store(url, create=False)
        try:
            return {each.key: each.state for each in await store.failures.failures()}
        finally:
            await store.close()

    return asyncio.run(read())


def test_list_groups_failures_by_error_and_location(run: Run, url: str, failed: list[KeyFailure]) -> None:
    groups = lines(run("parked", "list", "-s", url, "--json"))

    assert [(each["error_type"], each["keys"], each["attempts"], each["key"]) for each in groups] == [
        ("builtins.ValueError", 2, 2, "order-a"),
        ("tests.tools.parked_shop.Unreachable", 1, 2, "order-c"),
    ]
    assert {(each["subscription"], each["state"]) for each in groups} == {("invoice", "parked")}
    assert all("parked_shop.py:" in each["location"] for each in groups)
    assert groups == lines(run("parked", "list", "invoice", "-s", url, "--json"))
    text = run("parked", "list", "-s", url)
    assert "builtins.ValueError" in text.stdout
    assert text.stdout.count("\n") == 3


def test_status_list_and_show_have_the_same_words_for_the_states_of_keys(
    run: Run, url: str, failed: list[KeyFailure]
) -> None:
    assert run("parked", "redrive", "invoice", "--key", "order-b", "-s", url, "--yes").exit_code == 0
    assert run("skip", "invoice", "order-c", "-s", url, "--yes").exit_code == 0
    expected = ["parked", "redriving", "discarding"]

    [status] = lines(run("status", "-s", url, "--json"))

    assert [status[each] for each in ("retrying", *expected)] == [0, 1, 1, 1]
    assert "parked 1 key, redriving 1 key, discarding 1 key" in run("status", "-s", url).stdout
    for command in (("list",), ("show", "invoice")):
        assert {each["state"] for each in lines(run("parked", *command, "-s", url, "--json"))} == {*expected}
        table = run("parked", *command, "-s", url).stdout
        assert all(f"\t{each}\t" in table for each in expected)


def test_times_in_json_have_one_form(run: Run, url: str, failed: list[KeyFailure]) -> None:
    groups, keys, [status] = (
        lines(run(*command, "-s", url, "--json"))
        for command in (("parked", "list"), ("parked", "show", "invoice"), ("status",))
    )
    [shown] = lines(run("parked", "show", "invoice", "order-a", "-s", url, "--json"))

    first = {each["key"]: each["first_failed_at"] for each in keys}
    assert {each["oldest"] for each in groups} == {min(first["order-a"], first["order-b"]), first["order-c"]}
    assert status["failing_since"] == min(first.values())
    assert shown["first_failed_at"] == first["order-a"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first["order-a"])


def test_show_has_error_traceback_and_event_but_no_values(run: Run, url: str, failed: list[KeyFailure]) -> None:
    shown = run("parked", "show", "invoice", "order-a", "-s", url)
    failure = json.loads(run("parked", "show", "invoice", "order-a", "-s", url, "--json").stdout)

    assert shown.exit_code == 0
    for each in ("ValueError", "an amount is negative", "fail_if_negative", "shop.paid", failed[0].event_id, "order-a"):
        assert each in shown.stdout
        assert each in json.dumps(failure)
    assert "hunter2" not in shown.stdout + json.dumps(failure)
    listed = lines(run("parked", "show", "invoice", "-s", url, "--json"))
    assert [each["key"] for each in listed] == ["order-a", "order-b", "order-c"]


def test_unknown_names_are_errors_with_the_next_step(run: Run, url: str, failed: list[KeyFailure]) -> None:
    for arguments in (("parked", "list", "x"), ("pause", "x", "--reason", "r"), ("skip", "x", "k")):
        result = run(*arguments, "-s", url)
        assert result.exit_code == 2
        assert "the store has no subscription 'x'. Nothing was changed. Its subscriptions: invoice" in result.stderr

    result = run("parked", "show", "invoice", "order-d", "-s", url)
    assert result.exit_code == 1
    assert "invoice has no failed key 'order-d'" in result.stderr
    assert "fait parked show invoice --store" in result.stderr
    result = run("parked", "redrive", "invoice", "--key", "order-d", "-s", url, "--yes")
    assert (result.exit_code, "not parked: 'order-d' (no such failure)" in result.stderr) == (1, True)
    result = run("parked", "redrive", "invoice", "--error", "KeyError", "-s", url, "--yes")
    assert (result.exit_code, "no parked key of invoice matches" in result.stderr) == (1, True)
    assert actions(run, url) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("redrive", "invoice"), "which keys? Give --all, or "),
        (("redrive", "invoice", "--all", "--key", "order-a"), "--all excludes --key, --error and --location."),
        (("discard", "invoice", "--all"), "which events? Give --first"),
        (("discard", "invoice", "--all", "--first", "--all-events"), "--first excludes --all-events."),
    ],
)
def test_ambiguous_selection_is_refused(run: Run, url: str, arguments: tuple[str, ...], reason: str) -> None:
    result = run("parked", *arguments, "-s", url)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert "Nothing was changed." in result.stderr


def test_dry_run_lists_the_keys_and_changes_nothing(run: Run, url: str, failed: list[KeyFailure]) -> None:
    result = run("parked", "redrive", "invoice", "--error", "ValueError", "--dry-run", "-s", url, "--json")

    assert [each["key"] for each in lines(result)] == ["order-a", "order-b"]
    assert "redrive: 2 keys. Nothing was changed." in result.stderr
    assert set(states(url).values()) == {"parked"}
    assert actions(run, url) == []


def test_wrong_count_cancels(run: Run, url: str, failed: list[KeyFailure]) -> None:
    result = run("parked", "redrive", "invoice", "--all", "-s", url, input="y\n")

    assert result.exit_code == 1
    assert "Type 3 to redrive 3 keys of invoice:" in result.stderr
    assert "canceled. Nothing was changed." in result.stderr
    assert set(states(url).values()) == {"parked"}


def test_redrive_is_done_in_order_by_a_worker_and_recorded(run: Run, url: str, failed: list[KeyFailure]) -> None:
    result = run(
        "parked", "redrive", "invoice", "--location", "fail_if_negative", "--error", "builtins.ValueError",
        "-s", url, "--by", "ada", "--reason", "repaired", input="2\n",
    )  # fmt: skip

    assert result.exit_code == 0
    assert result.stdout.endswith("requested: redrive 2 keys of invoice\n")
    assert "no process runs invoice: nothing happens before you start a worker of the app 'shop'" in result.stderr
    assert states(url) == {"order-a": "redriving", "order-b": "redriving", "order-c": "parked"}
    handled = handle_rest(url, left=1)
    assert [each for each in handled if each != -3] == [-1, 5, -2]
    assert sorted(handled) == [-3, -2, -1, 5]
    assert actions(run, url) == [("redrive", "ada", "repaired")]


def test_request_of_another_operator_during_the_question_changes_nothing(
    run: Run, url: str, failed: list[KeyFailure], monkeypatch: pytest.MonkeyPatch
) -> None:
    select = _select

    async def select_and_lose(*arguments: Any) -> Any:
        selected = await select(*arguments)
        store = await open_store(url, create=False)
        await store.failures.request(FailureRequest("invoice", ("order-b",), "redriving", "other"))
        await store.close()
        return selected

    monkeypatch.setattr("fait._tools.cli.key_requests._select", select_and_lose)

    result = run("parked", "redrive", "invoice", "--all", "-s", url, "--yes")

    assert result.exit_code == 1
    assert "1 of 3 keys of invoice changed before the request: another operator was faster. Nothing" in result.stderr
    assert states(url) == {"order-a": "parked", "order-b": "redriving", "order-c": "parked"}
    assert [each[:2] for each in actions(run, url)] == [("redrive", "other")]


@pytest.mark.parametrize(
    "arguments", [("skip", "invoice", "order-a"), ("parked", "discard", "invoice", "--first", "--key", "order-a")]
)
def test_discarding_the_first_event_handles_the_later_ones(
    run: Run, url: str, failed: list[KeyFailure], arguments: tuple[str, ...]
) -> None:
    result = run(*arguments, "-s", url, "--yes", "--json")

    assert [(each["subscription"], each["keys"]) for each in lines(result)] == [("invoice", ["order-a"])]
    assert handle_rest(url, left=2) == [5, -2]
    assert [each[0] for each in actions(run, url)] == ["discard"]


def test_event_that_was_not_shown_is_not_discarded(
    run: Run, url: str, failed: list[KeyFailure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another operator has skipped the event that was shown, and the key is parked at a later one."""
    select = _select

    async def select_earlier(*arguments: Any) -> Any:
        await select(*arguments)
        return [each for each in failed if each.key == "order-a"]

    assert run("skip", "invoice", "order-a", "-s", url, "--yes").exit_code == 0
    assert [each.key for each in park(url, 3) if each.next_position > failed[0].next_position]
    monkeypatch.setattr("fait._tools.cli.key_requests._select", select_earlier)

    assert run("skip", "invoice", "order-a", "-s", url, "--yes").exit_code == 0

    assert handle_rest(url, left=2) == [-2]


PAUSED_TABLES = (("show", "invoice"), ("show", "invoice", "order-a"), ("redrive", "invoice", "--all", "--dry-run"))


def test_list_says_that_nothing_is_retried_during_a_pause(run: Run, url: str) -> None:
    stop(url, a=[-1, 5], b=[7])
    shown, listed = run("parked", "list", "-s", url), run("parked", "list", "-s", url, "--json")

    assert "invoice is paused: none of its keys is retried before fait resume invoice --store" in shown.stderr
    assert [(each["state"], each["paused"]) for each in lines(listed)] == [("retrying", True)]
    tables = [shown, *(run("parked", *each, "-s", url) for each in PAUSED_TABLES)]
    assert [bool(re.search(r"\bfailed(\t|\n)", each.stdout)) for each in tables] == [True] * 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("skip", "invoice", "order-a"),
        ("parked", "discard", "invoice", "--first", "--all"),
        ("parked", "redrive", "invoice", "--all"),
    ],
)
def test_event_at_which_the_policy_paused_can_be_given_up(run: Run, url: str, arguments: tuple[str, ...]) -> None:
    stop(url, a=[-1, 5], b=[7])

    result = run(*arguments, "-s", url, "--yes")

    assert "invoice is paused: nothing happens before fait resume invoice --store" in result.stderr
    assert result.stdout.endswith(" 1 key of invoice\n")
    assert run("resume", "invoice", "-s", url).exit_code == 0
    handled = handle_rest(url)
    assert [each for each in handled if each != 7] == ([-1, 5] if "redrive" in arguments else [5])


async def test_key_that_is_retried_can_be_skipped_only_during_a_pause(run: Run, url: str) -> None:
    def fail(event: Paid) -> None:
        raise ValueError("no")

    app = fait.App("shop")
    app.on(Paid, name="invoice", start="beginning", on_failure=fait.FailurePolicy(initial_s=60, max_s=60))(fail)
    async with app.open(url, lease_s=0.4) as s, asyncio.timeout(30):
        await s.publish(Paid(1), stream="order-a")
        while not await s.store.failures.failures():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        skip = "skip", "invoice", "order-a", "-s", url, "--yes"

        refused = await asyncio.to_thread(run, *skip)

        assert refused.exit_code == 1
        assert "not parked: 'order-a' (retrying). Nothing was changed." in refused.stderr
        assert "pause the subscription first: fait pause invoice --reason TEXT --store" in refused.stderr
        for selection in (("--all",), ("--all", "--dry-run"), ("--error", "ValueError")):
            none = await asyncio.to_thread(run, "parked", "redrive", "invoice", *selection, "-s", url, "--yes")
            assert none.exit_code == (0 if "--all" in selection else 1)
            assert ("is parked: retrying 1 key." in none.stderr) == ("--all" in selection)
            assert "pause the subscription first: fait pause invoice --reason TEXT --store" in none.stderr
        assert (await asyncio.to_thread(run, "pause", "invoice", "--reason", "r", "-s", url)).exit_code == 0
        assert (await asyncio.to_thread(run, *skip)).exit_code == 0
        assert (await asyncio.to_thread(run, "resume", "invoice", "-s", url)).exit_code == 0
        while await s.store.failures.failures():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_key_of_a_row_may_be_typed_without_its_quotes(run: Run, url: str) -> None:
    class Orders(fait.ReadModel, key="order"):
        order: str

        @classmethod
        def key_of(cls, event: Paid, envelope: fait.Envelope) -> str:
            return "7:2026-11"

        @classmethod
        def evolve(cls, row: Any, event: Paid, envelope: fait.Envelope) -> Any:
            raise ValueError("no")

    app = fait.App("orders")
    app.include(Orders)
    asyncio.run(publish(url, a=[1]))
    [failed] = asyncio.run(work_until(url, app, lambda failed: len(failed) == 1))
    typed = json.loads(failed.key)

    assert failed.key != typed
    for each in (typed, failed.key):
        assert json.loads(run("parked", "show", "orders", each, "-s", url, "--json").stdout)["key"] == failed.key
        shown = run("parked", "redrive", "orders", "--key", each, "--dry-run", "-s", url, "--json")
        assert [each["key"] for each in lines(shown)] == [failed.key]
    assert run("skip", "orders", typed, "-s", url, "--yes").exit_code == 0


def test_discarding_all_events_handles_only_new_ones(run: Run, url: str, failed: list[KeyFailure]) -> None:
    assert run("parked", "discard", "invoice", "--all-events", "--all", "-s", url, input="3\n").exit_code == 0
    asyncio.run(publish(url, a=[8]))

    assert handle_rest(url) == [8]


@pytest.fixture
def worker(url: str, tmp_path: Path, failed: list[KeyFailure]) -> Iterator[subprocess.Popen[str]]:
    command = [FAIT, "run", "--app", "tests.tools.parked_shop:shop", "--store", url]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "runs invoice" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_waiting_redrive_reports_handled_and_failing_keys(
    run: Run, url: str, tmp_path: Path, worker: subprocess.Popen[str]
) -> None:
    result = run("parked", "redrive", "invoice", "--key", "order-b", "-s", url, "--yes", "--wait")

    assert result.exit_code == 1
    assert f"registered workers that run invoice: {socket.gethostname()}:{worker.pid}" in result.stderr
    assert result.stdout == "0 of 1 key handled\n"
    assert "1 key of invoice failed again: builtins.ValueError at" in result.stderr

    (tmp_path / "repaired").touch()
    result = run("parked", "redrive", "invoice", "--all", "-s", url, "--yes", "--wait", "--json")

    assert (lines(result)[0]["handled"], lines(result)[0]["failed_again"]) == (3, [])
    assert states(url) == {}


@pytest.mark.parametrize("command", [("pause",), ("resume",), ("parked", "redrive"), ("skip",)])
def test_empty_reason_is_refused(run: Run, url: str, command: tuple[str, ...]) -> None:
    result = run(*command, "invoice", *(["order-a"] if "skip" in command else []), "--reason", " ", "-s", url)

    assert (result.exit_code, "the reason is empty" in result.stderr) == (2, True)


def test_pause_and_resume_are_recorded_and_repeatable(run: Run, url: str, failed: list[KeyFailure]) -> None:
    asyncio.run(publish(url, d=[11]))
    results = [run("pause", "invoice", "--reason", "bank is closed", "--by", "ada", "-s", url) for _ in range(2)]
    assert [each.exit_code for each in results] == [0, 0]
    assert [each.stdout for each in results] == ["invoice: paused\n", "invoice: was paused. Nothing was changed.\n"]
    assert ["begin no further call" in each.stderr for each in results] == [True, False]
    assert ["fait resume invoice --store" in each.stderr for each in results] == [True, True]
    result = run("parked", "redrive", "invoice", "--key", "order-b", "-s", url, "--yes")
    assert "invoice is paused: nothing happens before fait resume invoice --store" in result.stderr

    results = [run("resume", "invoice", "-s", url, "--by", "bob", "--json") for _ in range(2)]

    assert [(json.loads(each.stdout)["state"], json.loads(each.stdout)["changed"]) for each in results] == [
        ("resumed", True),
        ("not paused", False),
    ]
    assert run("resume", "invoice", "-s", url).stdout == "invoice: was not paused. Nothing was changed.\n"
    assert [each[:2] for each in actions(run, url)] == [
        ("resume", "bob"),
        ("redrive", operator_name("")),
        ("pause", "ada"),
    ]
    assert sorted(handle_rest(url, left=2)) == [-3, 11]


def test_waiting_without_a_worker_says_so_and_the_request_remains(run: Run, url: str, failed: list[KeyFailure]) -> None:
    command = [FAIT, "parked", "redrive", "invoice", "--key", "order-b", "-y", "--wait", "-s", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        notes = [waiting.stderr.readline() for _ in range(2)]
        waiting.send_signal(signal.SIGINT)
        _, errors = waiting.communicate(timeout=30)

    assert "requested: redrive 1 key of invoice; no process runs invoice" in notes[0]
    assert "no worker of invoice has sent a heartbeat for 5 s. Still waiting." in notes[1]
    assert waiting.returncode == 130
    assert "The request remains" in errors
    assert states(url)["order-b"] == "redriving"


def test_ctrl_c_during_the_question_changes_nothing(run: Run, url: str, failed: list[KeyFailure]) -> None:
    command = [FAIT, "parked", "redrive", "invoice", "--all", "-s", url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as asking:
        assert asking.stderr is not None
        while "Type 3" not in asking.stderr.readline():
            pass
        interrupt_read(asking, signal.SIGINT)
        assert asking.wait(30) == 130
        asking.communicate()

    assert set(states(url).values()) == {"parked"}
