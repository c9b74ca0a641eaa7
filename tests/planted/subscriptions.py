"""Faults in subscriptions and tools."""

from tests.planted.mutant import BATCHES, RUNNING, Mutant

FAULTS = [
    Mutant(
        "find() does not notice a rebuild of its table",
        "_subscriptions/read_your_writes.py",
        "rebuild-during-find",
        "if True:",
        RUNNING + "a_read_model_that_is_built_anew_while_it_is_asked_is_asked_again",
    ),
    Mutant(
        "a worker that fails repeatedly does not release its lease",
        "_subscriptions/processor.py",
        "failing-worker-keeps-lease",
        "if failures < 0:",
        "tests/subscriptions/test_failing.py"
        "::test_an_event_of_newer_code_is_handled_by_the_newer_process_and_once[sqlite]",
    ),
    Mutant(
        "the recorded part of a failed batch is repeated",
        "_subscriptions/reactor.py",
        "recorded-part-repeated",
        "if problem is not None:\n    return 0\nif done:",
        BATCHES + "one_that_fails_in_a_batch_holds_up_what_comes_after_it_and_repeats_nothing_else[sqlite]",
    ),
    Mutant(
        "a new subscription starts although its events have expired",
        "_subscriptions/start.py",
        "start-below-expired-position",
        "if subscription.may_expire and (expired := await self._log.expired_position()) < position:",
        "tests/subscriptions/test_retention.py::"
        "test_a_new_subscription_of_messages_that_are_gone_does_not_start[sqlite]",
    ),
    Mutant(
        "a reactor stops after five attempts",
        "_subscriptions/reactor.py",
        "reactor-stops-retrying",
        "while not desk.stopping and self._failures(stored) < 5:",
        RUNNING + "a_reactor_tries_until_it_succeeds_and_goes_on_only_then",
    ),
    Mutant(
        "a worker acquires the lease of a live owner",
        "_subscriptions/processor.py",
        "lease-of-live-owner-acquired",
        'if seen.owner in ("", self._owner) or time.monotonic() - since >= 0:',
        RUNNING + "an_owner_who_shows_life_is_not_replaced",
    ),
    Mutant(
        "the lease of a crashed owner never expires",
        "_subscriptions/processor.py",
        "lease-never-expires",
        'if seen.owner in ("", self._owner):',
        RUNNING + "an_owner_who_falls_silent_is_replaced_and_its_work_refused",
    ),
    Mutant(
        "a projection folds a batch without its stored rows",
        "_subscriptions/projection.py",
        "fold-without-stored-rows",
        "rows: dict[Any, Any] = {key: None for key in keys}",
        RUNNING + "rows_are_the_fold_of_the_log",
    ),
    Mutant(
        "`fait db migrate` creates a store",
        "_tools/cli/db.py",
        "migrate-creates-store",
        "if not await admin.migrations():",
        "tests/tools/test_db.py::test_migrate_without_store_creates_nothing[postgresql]",
    ),
    Mutant(
        "verify-store checks the order in each stream alone",
        "_tools/verify/order.py",
        "order-checked-by-stream-alone",
        "if event.version <= last_version:",
        "tests/tools/test_verify.py::test_order_check_compares_positions_across_streams",
    ),
    Mutant(
        "rows of a forgotten read model are rejected only once",
        "_subscriptions/start.py",
        "old-rows-rejected-once",
        "pass",
        "tests/test_app.py::test_open_with_forgotten_read_model_and_old_rows_raises_until_rebuilt",
    ),
]
