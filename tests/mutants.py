"""Proof that the tests can fail: faults are planted one by one, and each must be noticed by the test named for it.

    python tests/mutants.py

Each fault goes into a copy of `src`; only the named test runs, on the copy.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
TIMEOUT_S = 20
HANGS_S = 60

RUN = """
import sys, fait
assert fait.__file__.startswith(sys.argv[1]), f"{fait.__file__} is not the copy"
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""

LOG = "tests/contract/test_stores.py::TestSqliteLog::test_"
LEDGER = "tests/contract/test_stores.py::TestSqliteLedger::test_"
MEMORY = "tests/contract/test_stores.py::TestMemoryLog::test_"
RUNNING = "tests/contract/test_stores.py::TestMemorySubscriptions::test_"
RETENTION = "tests/contract/test_retention.py::TestSqliteRetention::test_"
POSTGRES = "tests/contract/test_stores.py::TestPostgres"
ORDERS = "tests/interleavings/test_interleavings.py::test_no_schedule_breaks_a_promise"
APPENDS = "tests/store/test_postgres_appends.py::test_"
SCHEMA = "tests/store/test_postgres_schema.py::test_"
WATCHER = "tests/store/test_postgres_watcher.py::test_"
IN_PLACE = "tests/store/test_sqlite_in_place.py::test_"
BATCHES = "tests/subscriptions/test_batches.py::test_"
DETAILS = "::TestInPostgres::test_"
ASYNCPG = "tests/outbox/test_asyncpg.py::TestAsyncpg::test_"
PROPERTY = "tests/property/test_log.py::test_a_log_answers_as_the_reference_does[sqlite]"


class Mutant(NamedTuple):
    """A fault: in a file of `src/fait`, the old text becomes the new one, and the test must fail."""

    fault: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = [
    Mutant(
        "a conflict is lost",
        "store/sqlite/batch.py",
        "if not is_expected(write.expected, actual):",
        "if write.expected == -2 and not actual:",
        LOG + "of_64_racers_with_one_expectation_one_wins",
    ),
    Mutant(
        "`exists` means `any`",
        "store/sqlite/batch.py",
        "if not is_expected(write.expected, actual):",
        "if write.expected >= 0 and write.expected != actual:",
        LOG + "an_append_is_stored_if_and_only_if_its_expectation_holds[0-exists]",
    ),
    Mutant(
        "`exists` means `any`, in the reference",
        "events/version.py",
        "number == EXISTS and actual > 0",
        "number == EXISTS and actual >= 0",
        MEMORY + "an_append_is_stored_if_and_only_if_its_expectation_holds[0-exists]",
    ),
    Mutant(
        "events of one append are stored backwards",
        "store/sqlite/batch.py",
        "for event in write.events:\n            position, version",
        "for event in reversed(write.events):\n            position, version",
        LOG + "an_event_is_given_back_as_it_was_stored",
    ),
    Mutant(
        "ids may be taken twice",
        "store/sqlite/migrations/0001_initial.sql",
        "CONSTRAINT fait_events_id UNIQUE (id)",
        "CONSTRAINT fait_events_id CHECK (id <> '')",
        LOG + "an_id_that_is_taken_otherwise_refuses_the_append[asked0-1]",
    ),
    Mutant(
        "a repeated append is not recognised, in the reference",
        "store/memory.py",
        "return self._repeated(writes) or",
        "return",
        MEMORY + "a_stored_append_is_recognised_whatever_it_expects",
    ),
    Mutant(
        "half of an append to several streams stays",
        "store/sqlite/batch.py",
        "            if not is_expected(write.expected, actual):\n",
        "            if is_expected(write.expected, actual):\n                self._gather(write)\n            else:\n",
        LOG + "an_append_to_several_streams_is_stored_whole_or_not_at_all[1]",
    ),
    Mutant(
        "half of a refused append stays",
        "store/sqlite/log.py",
        "one_row = request.events == 1 and not writes[0].events[0].tags",
        "one_row = True",
        LOG + "an_id_that_is_taken_otherwise_refuses_the_append[asked10-x]",
    ),
    Mutant(
        "the log's time goes back with the clock",
        "store/sqlite/batch.py",
        "self._moment = max(now, last_moment)",
        "self._moment = now",
        LOG + "recorded_at_never_goes_back_when_the_clock_does",
    ),
    Mutant(
        "one bad request fails those beside it",
        "store/sqlite/threads.py",
        "return [outcome for request in requests for outcome in self._answer(connection, [request])]",
        "return [known for _ in requests]",
        LEDGER + "work_that_fails_does_not_harm_what_is_written_beside_it",
    ),
    Mutant(
        "the event loop waits for another process's transaction",
        "store/sqlite/threads.py",
        "self._connection.set_busy_handler(None)",
        "pass",
        IN_PLACE + "the_event_loop_never_waits_for_another_process",
    ),
    Mutant(
        "the event loop commits while the thread is at work on the connection",
        "store/sqlite/threads.py",
        "if self._under_way or self._closed:  # the thread",
        "if self._closed:  # the thread",
        IN_PLACE + "the_event_loop_keeps_off_the_connection_while_the_thread_has_it",
    ),
    Mutant(
        "find does not see that the table was built anew meanwhile",
        "subscriptions/passing.py",
        "if lease.fence == fence",
        "if True",
        RUNNING + "a_read_model_that_is_built_anew_while_it_is_asked_is_asked_again",
    ),
    Mutant(
        "who keeps failing keeps its lease",
        "subscriptions/processor.py",
        "if failures >= FAILURES or isinstance(problem, EventFromTheFuture):",
        "if failures < 0:",
        "tests/subscriptions/test_failing.py"
        "::test_an_event_of_newer_code_is_handled_by_the_newer_process_and_once[sqlite]",
    ),
    Mutant(
        "a lease is given back that is somebody else's by now",
        "store/sqlite/sql/give_back_lease.sql",
        " AND fence = ?3",
        "",
        LEDGER + "a_lease_that_is_not_ours_any_more_cannot_be_given_back",
    ),
    Mutant(
        "a batch that failed is not handled one by one",
        "subscriptions/reactor.py",
        "done = await self._one_by_one(batch, desk)",
        "done = len(batch)",
        BATCHES + "one_that_fails_in_a_batch_holds_up_what_comes_after_it_and_repeats_no_statement[sqlite]",
    ),
    Mutant(
        "a bad append fails those it was coalesced with",
        "store/coalescer.py",
        "if (one_is_at_fault or outcome is BUSY) and",
        "if outcome is BUSY and",
        "tests/store/test_coalescer.py::test_a_flush_that_cannot_even_begin_is_an_error_of_each",
    ),
    Mutant(
        "what was checked last holds for all conditions",
        "store/sqlite/batch.py",
        "            found.update((event.position, event) for event in page.events)\n",
        "            found = {event.position: event for event in page.events}\n",
        LOG + "a_condition_fails_if_something_it_depends_on_came_after_its_position",
    ),
    Mutant(
        "neighbours get each other's verdicts",
        "store/sqlite/log.py",
        "return [_append_alone(connection, request, now) for request in requests]",
        "return [_append_alone(connection, request, now) for request in requests][::-1]",
        LOG + "each_of_many_concurrent_appends_gets_its_own_verdict",
    ),
    Mutant(
        "a full page claims to have looked at everything",
        "store/sqlite/rows.py",
        "return Page(events, events[-1].position, more=True)",
        "return Page(events, mark, more=True)",
        LOG + "paging_gives_each_event_exactly_once[3]",
    ),
    Mutant(
        "a position limit excludes the position",
        "store/sqlite/sql/read_stream.sql",
        "position <= ?5",
        "position < ?5",
        LOG + "a_stream_is_read_from_a_version_on_and_not_further_than_asked",
    ),
    Mutant(
        "the mark is read again after the rows",
        "store/sqlite/rows.py",
        "return Page(events, max(after, mark), more=False)",
        'return Page(events, max(after, connection.execute(SQL["head"]).get), more=False)',
        "tests/store/test_sqlite.py::test_a_page_skips_nothing_that_is_appended_while_it_is_read",
    ),
    Mutant(
        "a version limit excludes the version",
        "store/sqlite/sql/read_stream.sql",
        "version <= ?4",
        "version < ?4",
        LOG + "a_stream_is_read_from_a_version_on_and_not_further_than_asked",
    ),
    Mutant(
        "a moment excludes what was recorded at it",
        "store/sqlite/sql/read_stream.sql",
        "recorded_at <= ?6",
        "recorded_at < ?6",
        LOG + "a_moment_means_the_longest_prefix_recorded_by_then",
    ),
    Mutant(
        "a page of streams begins with the last one's end",
        "store/sqlite/sql/list_streams.sql",
        "stream > ?1",
        "stream >= ?1",
        LOG + "streams_are_listed_by_name_with_their_versions",
    ),
    Mutant(
        "a condition does not see those before it in its batch",
        "store/sqlite/batch.py",
        "        self.flush()\n        found: dict",
        "        found: dict",
        "tests/contract/test_conditions.py::TestSqliteConditions::"
        "test_concurrent_verdicts_are_right_about_what_came_before_them[0]",
    ),
    Mutant(
        "a snapshot of another fold is used",
        "decisions/snapshot.py",
        "key = (policy.evolve, policy.initial)",
        "key = policy.evolve",
        "tests/decisions/test_decider_snapshots.py::"
        "test_two_deciders_with_one_fold_and_different_beginnings_keep_their_own",
    ),
    Mutant(
        "calls of a handler are told apart by their order alone",
        "decisions/caller.py",
        "key=self._keys(what)",
        "key=self._keys('')",
        "tests/subscriptions/test_reactor.py::test_calls_made_in_another_order_at_the_second_attempt_still_happen_once",
    ),
    Mutant(
        "a page begins with the last one's end",
        "store/sqlite/sql/read_log.sql",
        "position > ?1",
        "position >= ?1",
        PROPERTY,
    ),
    Mutant(
        "waiting readers are not woken",
        "store/memory.py",
        "        self._bell.ring(self._head)\n",
        "",
        MEMORY + "changed_wakes_everybody_when_something_is_appended",
    ),
    Mutant(
        "other processes' commits are not heard",
        "store/sqlite/log.py",
        "if version == self._watched_version:",
        "if self._watched_version >= 0:",
        LOG + "changed_wakes_other_handles",
    ),
    Mutant(
        "a stream's last event is dropped",
        "store/sqlite/retention.py",
        "if not is_last]",
        "if is_last is not None]",
        RETENTION + "the_last_event_of_each_stream_is_kept",
    ),
    Mutant(
        "messages are dropped before a checkpoint has passed them",
        "store/sqlite/sql/old_messages.sql",
        "min(?3, ifnull((SELECT min(position) FROM fait_checkpoints), ?3))",
        "?3",
        RETENTION + "what_a_checkpoint_has_not_passed_is_kept_whatever_the_caller_believes",
    ),
    Mutant(
        "a message is dropped a moment too early",
        "store/sqlite/retention.py",
        "row[1] < before",
        "row[1] <= before",
        RETENTION + "a_message_younger_than_the_moment_ends_it_and_one_of_that_very_moment_is_young",
    ),
    Mutant(
        "a late subscription starts silently",
        "app.py",
        "(expired := await self.store.log.expired()) > position",
        "(expired := await self.store.log.expired()) < position",
        "tests/subscriptions/test_retention.py::"
        "test_a_new_subscription_of_messages_that_are_gone_does_not_start[sqlite]",
    ),
    Mutant(
        "the checkpoint is committed before the rows",
        "store/sqlite/ledger.py",
        "    for change in work.rows:\n",
        '    connection.execute("COMMIT; BEGIN IMMEDIATE")\n    for change in work.rows:\n',
        LEDGER + "work_that_fails_halfway_is_not_recorded_at_all",
    ),
    Mutant(
        "a former owner's work is taken",
        "store/sqlite/sql/move_checkpoint.sql",
        "WHERE name = ?1 AND fence = ?4)",
        "WHERE name = ?1 AND fence >= ?4)",
        LEDGER + "work_of_a_former_owner_is_refused",
    ),
    Mutant(
        "work from another checkpoint is taken",
        "store/sqlite/sql/move_checkpoint.sql",
        "WHERE subscription = ?1 AND position = ?2",
        "WHERE subscription = ?1",
        LEDGER + "of_racers_with_the_same_work_one_records_it",
    ),
    Mutant(
        "a sign of life does not protect the lease",
        "store/sqlite/sql/take_lease.sql",
        "WHERE owner = ?3 AND fence = ?4 AND beat = ?5",
        "WHERE owner = ?3 AND fence = ?4",
        LEDGER + "an_owner_who_shows_life_keeps_the_lease",
    ),
    Mutant(
        "the last row of a page comes again",
        "store/sqlite/tables.py",
        'later = f"{column} > ?"',
        'later = f"{column} >= ?"',
        LEDGER + "keyset_paging_visits_every_row_once[0]",
    ),
    Mutant(
        "rows with missing values fall out of the pages",
        "store/sqlite/tables.py",
        'later = f"({column} < ? OR {column} IS NULL)"',
        'later = f"{column} < ?"',
        LEDGER + "keyset_paging_visits_every_row_once[2]",
    ),
    Mutant(
        "decimals compare as text",
        "store/sqlite/tables.py",
        '(" COLLATE decimal" if decimal else "")',
        '("" if decimal else "")',
        LEDGER + "a_condition_means_the_same_in_every_store[decimal]",
    ),
    Mutant(
        "a handler's second statement is forgotten",
        "store/sqlite/ledger.py",
        "connection.execute(statement.sql, tuple(statement.values)).fetchall()",
        "connection.execute(statement.sql, tuple(statement.values))",
        "tests/store/test_sqlite.py::test_a_handlers_statement_keeps_its_hands_off_transactions_and_what_is_faits"
        "[SELECT 1; DELETE FROM fait_tags]",
    ),
    Mutant(
        "a reactor gives up",
        "subscriptions/reactor.py",
        "while not desk.stopping:",
        "while not desk.stopping and failures < 5:",
        RUNNING + "a_reactor_tries_until_it_succeeds_and_goes_on_only_then",
    ),
    Mutant(
        "what a handler publishes has chance ids",
        "decisions/caller.py",
        "return msgspec.structs.replace(options, key=self._keys(what))",
        "return options",
        RUNNING + "what_a_handler_publishes_happens_once_however_often_it_is_tried",
    ),
    Mutant(
        "a lease is stolen from a living owner",
        "subscriptions/processor.py",
        "time.monotonic() - since > self._lease_s",
        "time.monotonic() - since >= 0",
        RUNNING + "an_owner_who_shows_life_is_not_replaced",
    ),
    Mutant(
        "a silent owner keeps its lease for ever",
        "subscriptions/processor.py",
        'seen.owner in ("", self._owner) or time.monotonic() - since > self._lease_s',
        'seen.owner in ("", self._owner)',
        RUNNING + "an_owner_who_falls_silent_is_replaced_and_its_work_refused",
    ),
    Mutant(
        "a projection folds a batch from nothing",
        "subscriptions/projection.py",
        "shape.from_row(stored[key]) if key in stored else None",
        "None",
        RUNNING + "rows_are_the_fold_of_the_log",
    ),
    Mutant(
        "the mark does not wait for who still appends",
        "store/postgres/migrations/0003_mark_1.sql",
        "WHERE locktype = 'advisory'",
        "WHERE locktype = 'tuple'",
        ORDERS + "[plain, two streams]",
    ),
    Mutant(
        "the mark lies beyond the last event",
        "store/postgres/migrations/0003_mark_1.sql",
        "(SELECT max(position) FROM {schema}.fait_events WHERE position <= last),",
        "last,",
        "tests/faults/test_postgres_faults.py::test_numbers_that_a_crash_gives_back_are_not_passed_over",
    ),
    Mutant(
        "several events slip past a condition by type",
        "store/postgres/migrations/0004_append_1.sql",
        "SELECT {schema}.fait_type_bucket_1(t), false FROM unnest(e_type) AS t\n            UNION ALL\n",
        "",
        ORDERS + "[condition by type and several without]",
    ),
    Mutant(
        "very many events slip past conditions",
        "store/postgres/migrations/0005_load_1.sql",
        "PERFORM pg_advisory_xact_lock_shared(space | bucket);",
        "NULL;",
        "tests/faults/test_locks.py::test_very_many_events_wait_for_an_open_append_whose_condition_they_may_break",
    ),
    Mutant(
        "beside others, a missing stream `exists`",
        "store/postgres/migrations/0004_append_1.sql",
        "(w.x = -2 AND s.stream IS NOT NULL)",
        "(w.x = -2 AND s.version > 0)",
        APPENDS + "a_stream_that_must_exist_and_does_not_refuses_those_beside_it[called]",
    ),
    Mutant(
        "half of a refused bulk append stays",
        "store/postgres/bulk.py",
        "                raise _Refused\n",
        "                return None\n",
        APPENDS + "what_is_refused_moves_no_stream[copied]",
    ),
    Mutant(
        "what may have been written is denied",
        "store/postgres/appender.py",
        "        if attempt.unsettled:\n            left",
        "        if attempt.look_up:\n            left",
        "tests/faults/test_lost_connection.py::"
        "test_what_was_sent_in_a_batch_and_may_be_written_is_not_denied_when_it_runs_alone",
    ),
    Mutant(
        "a lower mark is taken for a restored database",
        "store/postgres/watcher.py",
        "if end < self._final.position",
        "if mark < self._final.position",
        WATCHER + "a_mark_that_lies_below_an_earlier_one_is_no_restored_database",
    ),
    Mutant(
        "nobody is told of news",
        "store/postgres/announcer.py",
        "        await self._notify(connection, position)\n",
        "",
        WATCHER + "news_of_other_processes_comes_without_being_looked_for",
    ),
    Mutant(
        "a former owner's work is taken, in PostgreSQL",
        "store/postgres/sql/move_checkpoint.sql",
        "AND fence = $4",
        "AND fence >= $4",
        POSTGRES + "Ledger::test_work_of_a_former_owner_is_refused[18]",
    ),
    Mutant(
        "messages go before their checkpoint, in PostgreSQL",
        "store/postgres/migrations/0007_expire_1.sql",
        "least(behind, (SELECT min(c.position) FROM {schema}.fait_checkpoints AS c))",
        "behind",
        "tests/contract/test_retention.py::TestPostgresRetention::"
        "test_what_a_checkpoint_has_not_passed_is_kept_whatever_the_caller_believes[18]",
    ),
    Mutant(
        "two adoptions at once begin two epochs",
        "store/postgres/identity.py",
        '    await connection.execute(database.sql["lock_schema"])  # two at once would each begin an epoch\n',
        "",
        SCHEMA + "of_two_adoptions_at_once_one_begins_an_epoch",
    ),
    Mutant(
        "another timeline is not noticed",
        "store/postgres/identity.py",
        "elif was.timeline != found.timeline:",
        "elif was.timeline < found.timeline:",
        "tests/tools/test_log_adopt.py::"
        "test_a_log_that_was_moved_is_refused_until_it_is_adopted[timeline = timeline + 1]",
    ),
    Mutant(
        "`fait db migrate` creates a store",
        "tools/cli/db.py",
        "    if not any(each.applied_at for each in await schema.steps()):\n        raise",
        "    if not await schema.steps():\n        raise",
        "tests/tools/test_db.py::test_nothing_is_created_by_migrating[postgresql]",
    ),
    Mutant(
        "verify-store looks for order in each stream alone",
        "tools/verify/order.py",
        "if behind or event.version <= known:",
        "if event.version <= known:",
        "tests/tools/test_verify.py::test_events_of_several_streams_are_in_order_too",
    ),
    Mutant(
        "old rows are refused only once",
        "app.py",
        "                await self.store.ledger.forget(projection.name)\n                raise",
        "                raise",
        "tests/test_app.py::test_a_read_model_that_was_forgotten_is_not_folded_on_top_of_its_old_rows",
    ),
    Mutant(
        "the outbox adds outside of a transaction",
        "delivery/adapters/asyncpg.py",
        "if not self._connection.is_in_transaction():",
        "if self._connection.is_closed():",
        ASYNCPG + "outside_of_a_transaction_nothing_can_be_added",
    ),
    Mutant(
        "events of a savepoint outlive it",
        "delivery/connection.py",
        "str(number) in noted",
        "number > 0",
        ASYNCPG + "in_a_block_a_savepoint_takes_back_its_events_only",
    ),
    Mutant(
        "a commit that fails leaves SQLAlchemy's changes",
        "delivery/adapters/sqlalchemy_commit.py",
        "        connection.dialect.do_rollback(connection.connection)\n",
        "        connection.info.clear()\n",
        f"tests/outbox/test_sqlalchemy_details.py{DETAILS}after_an_error_at_the_commit_the_connection_is_as_new",
    ),
    Mutant(
        "Django's handlers are woken before the commit",
        "delivery/adapters/django.py",
        "self._database.on_commit(self._ring)",
        "self._ring()",
        f"tests/outbox/test_django_details.py{DETAILS}the_app_is_told_after_the_commit",
    ),
]


def pytest(source: Path, work: str, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests on the fait that lies in a folder; their files go to `work`, as runs clean up after each other."""
    options = ["-q", "-rf", "-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}", f"--basetemp={work}/tests"]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(source), *options, *tests],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=HANGS_S,
        text=True,
    )


def outcome(mutant: Mutant) -> str:
    """What became of a mutant: "killed", or why not."""
    with tempfile.TemporaryDirectory(prefix="fait-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "fait" / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"the mutant no longer applies: its text stands {text.count(mutant.old)} times in {mutant.file}"
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            done = pytest(source, folder, mutant.test)
        except subprocess.TimeoutExpired:
            return "the test did not end"
    if done.returncode == 1 and f"FAILED {mutant.test}" in done.stdout:
        return "killed"
    return "survived" if done.returncode == 0 else f"the test did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def main() -> int:
    """Plant all faults; 0 if each was noticed."""
    with tempfile.TemporaryDirectory(prefix="fait-mutants-") as folder:
        whole = pytest(ROOT / "src", folder, *sorted({mutant.test for mutant in MUTANTS}))
    if whole.returncode:
        print(whole.stdout[-3000:], whole.stderr[-3000:], "the tests must pass before faults are planted", sep="\n")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(outcome, MUTANTS))
    for mutant, what in zip(MUTANTS, outcomes, strict=True):
        print(f"{mutant.fault:<52}  {what:<8}  {mutant.test.rpartition('::')[2]}")
    killed = outcomes.count("killed")
    print(f"{killed} killed, {len(MUTANTS) - killed} survived")
    return int(killed < len(MUTANTS))


if __name__ == "__main__":
    sys.exit(main())
