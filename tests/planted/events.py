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
        "idempotency keys of a handler's calls depend on their order alone",
        "_decisions/client.py",
        "key-by-order-alone",
        'return msgspec.structs.replace(options, key=self._next_key(""))',
        "tests/subscriptions/test_reactor.py::test_calls_made_in_another_order_at_the_second_attempt_still_happen_once",
    ),
    Mutant(
        "events published by a handler have random ids",
        "_decisions/client.py",
        "random-ids-in-handler",
        "return options",
        RUNNING + "what_a_handler_publishes_happens_once_however_often_it_is_tried",
    ),
]
