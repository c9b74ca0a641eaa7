"""What a planted fault is, and how the tests that notice them begin."""

from typing import NamedTuple

LOG = "tests/contract/test_stores.py::TestSqliteLog::test_"
LEDGER = "tests/contract/test_stores.py::TestSqliteLedger::test_"
MEMORY = "tests/contract/test_stores.py::TestMemoryLog::test_"
RUNNING = "tests/contract/test_stores.py::TestMemorySubscriptions::test_"
RETENTION = "tests/contract/test_retention.py::TestSqliteRetention::test_"
POSTGRES = "tests/contract/test_stores.py::TestPostgres"
ORDERS = "tests/interleavings/test_interleavings.py::test_no_schedule_breaks_a_promise"
APPENDS = "tests/store/test_postgres_appends.py::test_"
SCHEMA = "tests/store/test_postgres_schema.py::test_"
COALESCER = "tests/store/test_group_commit.py::test_"
WATCHER = "tests/store/test_high_water_mark.py::test_"
IN_PLACE = "tests/store/test_sqlite_inline.py::test_"
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
