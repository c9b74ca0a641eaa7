"""Faults in subscriptions and tools."""

from tests.planted.mutant import BATCHES, RUNNING, Mutant

FAULTS = [
    Mutant(
        "find does not see that the table was built anew meanwhile",
        "_subscriptions/read_your_writes.py",
        "if lease.fence == fence",
        "if True",
        RUNNING + "a_read_model_that_is_built_anew_while_it_is_asked_is_asked_again",
    ),
    Mutant(
        "who keeps failing keeps its lease",
        "_subscriptions/processor.py",
        "if failures >= FAILURES or isinstance(problem, EventFromTheFuture):",
        "if failures < 0:",
        "tests/subscriptions/test_failing.py"
        "::test_an_event_of_newer_code_is_handled_by_the_newer_process_and_once[sqlite]",
    ),
    Mutant(
        "what was done of a batch is done again",
        "_subscriptions/reactor.py",
        "            if done:\n                await",
        "            if problem is not None:\n                return 0\n            if done:\n                await",
        BATCHES + "one_that_fails_in_a_batch_holds_up_what_comes_after_it_and_repeats_nothing_else[sqlite]",
    ),
    Mutant(
        "a late subscription starts silently",
        "_app.py",
        "(expired := await self.store.log.expired()) > position",
        "(expired := await self.store.log.expired()) < position",
        "tests/subscriptions/test_retention.py::"
        "test_a_new_subscription_of_messages_that_are_gone_does_not_start[sqlite]",
    ),
    Mutant(
        "a reactor gives up",
        "_subscriptions/reactor.py",
        "while not desk.stopping:",
        "while not desk.stopping and self._failures(stored) < 5:",
        RUNNING + "a_reactor_tries_until_it_succeeds_and_goes_on_only_then",
    ),
    Mutant(
        "a lease is stolen from a living owner",
        "_subscriptions/processor.py",
        "time.monotonic() - since > self._lease_s",
        "time.monotonic() - since >= 0",
        RUNNING + "an_owner_who_shows_life_is_not_replaced",
    ),
    Mutant(
        "a silent owner keeps its lease for ever",
        "_subscriptions/processor.py",
        'seen.owner in ("", self._owner) or time.monotonic() - since > self._lease_s',
        'seen.owner in ("", self._owner)',
        RUNNING + "an_owner_who_falls_silent_is_replaced_and_its_work_refused",
    ),
    Mutant(
        "a projection folds a batch from nothing",
        "_subscriptions/projection.py",
        "shape.from_row(stored[key]) if key in stored else None",
        "None",
        RUNNING + "rows_are_the_fold_of_the_log",
    ),
    Mutant(
        "`fait db migrate` creates a store",
        "_tools/cli/db.py",
        "    if not any(each.applied_at for each in await schema.steps()):\n        raise",
        "    if not await schema.steps():\n        raise",
        "tests/tools/test_db.py::test_nothing_is_created_by_migrating[postgresql]",
    ),
    Mutant(
        "verify-store looks for order in each stream alone",
        "_tools/verify/order.py",
        "if behind or event.version <= known:",
        "if event.version <= known:",
        "tests/tools/test_verify.py::test_events_of_several_streams_are_in_order_too",
    ),
    Mutant(
        "old rows are refused only once",
        "_app.py",
        "                await self.store.ledger.forget(projection.name)\n                raise",
        "                raise",
        "tests/test_app.py::test_a_read_model_that_was_forgotten_is_not_folded_on_top_of_its_old_rows",
    ),
]
