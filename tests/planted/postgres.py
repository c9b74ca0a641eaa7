"""Faults in PostgreSQL and in the outbox."""

from tests.planted.mutant import APPENDS, ASYNCPG, DETAILS, ORDERS, POSTGRES, SCHEMA, WATCHER, Mutant

FAULTS = [
    Mutant(
        "what separates values may be in one of them",
        "store/postgres/call.py",
        "if all(text.count(separator)",
        "if True or all(text.count(separator)",
        APPENDS + "values_that_look_like_what_separates_them_come_back[called-of one append]",
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
