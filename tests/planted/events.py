"""Faults in events and decisions."""

from tests.planted.mutant import MEMORY, RUNNING, Mutant

FAULTS = [
    Mutant(
        "`exists` matches a missing stream, in the reference",
        "_events/version.py",
        "exists-as-any-in-reference",
        "return number in (actual, ANY) or (number == EXISTS and actual >= 0)",
        MEMORY + "append_is_stored_only_if_its_expected_version_holds[0-exists]",
    ),
    Mutant(
        "a snapshot of another fold is used",
        "_decisions/snapshot.py",
        "snapshot-of-another-fold",
        "key = policy.evolve",
        "tests/decisions/test_decider_snapshots.py::"
        "test_deciders_with_one_evolve_and_different_initial_states_have_their_own_snapshots",
    ),
    Mutant(
        "a read model's definition hash does not cover its fold",
        "_decisions/definition_hash.py",
        "hash-without-code",
        "walk.add((_FORMAT_VERSION, sys.implementation.cache_tag, options))",
        "tests/subscriptions/test_read_model_hash.py"
        "::test_open_after_changed_evolve_raises_and_rebuild_folds_with_new_code",
    ),
    Mutant(
        "a read model's definition hash does not cover what its JSON columns decode to",
        "_decisions/definition_hash.py",
        "hash-without-types-of-state",
        "walk.add(None)",
        "tests/subscriptions/test_read_model_hash.py"
        "::test_change_that_may_affect_rows_changes_the_hash[a JSON column's type of another package]",
    ),
    Mutant(
        "idempotency keys of a handler's calls depend on their order alone",
        "_decisions/client.py",
        "key-by-order-alone",
        'return msgspec.structs.replace(options, key=self._next_key(""))',
        "tests/subscriptions/test_reactor.py::test_calls_in_other_order_at_retry_take_effect_once",
    ),
    Mutant(
        "events published by a handler have random ids",
        "_decisions/client.py",
        "random-ids-in-handler",
        "return options",
        RUNNING + "events_of_retried_handler_are_appended_once",
    ),
]
