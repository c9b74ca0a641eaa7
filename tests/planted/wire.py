"""Faults in what a relay writes for its consumers: signatures, floors, and older schema versions."""

from tests.planted.mutant import Mutant

SIGNATURE = "tests/brokers/test_signature.py::test_"
SOURCE = "tests/inbox/test_source.py::test_"
FOLDED = (
    "tests/contract/test_stores.py::Test{}Ports::test_marks_are_folded_up_to_the_floor_of_their_source_bucket_and_lane"
)
VERSIONS = "tests/relay/test_published_versions.py::test_"

FAULTS = [
    Mutant(
        "a relay signs nothing",
        "_delivery/relay/range_publisher.py",
        "message-not-signed",
        "if False:",
        f"{SIGNATURE}relay_with_a_key_signs_each_message",
    ),
    Mutant(
        "a consumer with keys handles messages without a signature",
        "_delivery/inbox/received_event.py",
        "signature-not-required",
        "if False:",
        f"{SIGNATURE}event_that_was_changed_is_malformed_and_moves_no_mark[no signature-ce-]",
    ),
    Mutant(
        "every signature is accepted",
        "_delivery/wire/signature.py",
        "signature-not-compared",
        "return _ATTRIBUTE in event.attributes",
        f"{SIGNATURE}event_that_was_changed_is_malformed_and_moves_no_mark[signature-ce-]",
    ),
    Mutant(
        "the position is not signed",
        "_delivery/wire/signature.py",
        "attribute-not-signed",
        "signed = sorted((name, as_text(value)) for name, value in event.attributes.items() if name not in "
        "(_ATTRIBUTE, 'sequence'))",
        f"{SIGNATURE}event_that_was_changed_is_malformed_and_moves_no_mark[sequence-ce-]",
    ),
    Mutant(
        "a part of a signed value can be moved to the next one",
        "_delivery/wire/signature.py",
        "signed-parts-without-length",
        "return b':'.join(parts)",
        f"{SIGNATURE}parts_cannot_be_moved_between_attributes",
    ),
    Mutant(
        "a short or missing key is used",
        "_delivery/wire/signature.py",
        "short-key-accepted",
        "if False:",
        f"{SIGNATURE}short_or_missing_key_is_refused_and_not_shown[]",
    ),
    Mutant(
        "a missing downcaster is noticed when an event is published",
        "_delivery/relay/published_versions.py",
        "missing-downcaster-accepted",
        "if missing := []:",
        f"{VERSIONS}version_that_cannot_be_published_is_refused[no downcaster]",
    ),
    Mutant(
        "events are published in the version in which they are stored",
        "_delivery/relay/published_versions.py",
        "undeclared-version-published",
        "if True:",
        f"{VERSIONS}event_of_each_stored_version_is_published_in_the_declared_one[1-data0-2]",
    ),
    Mutant(
        "a version that is not locked is published by an app that requires locks",
        "_evolution/locks/require_locks.py",
        "unlocked-version-published",
        "pass",
        f"{VERSIONS}published_version_must_be_locked_if_the_app_requires_locks",
    ),
    Mutant(
        "a floor that is not below the position of its message is believed",
        "_delivery/inbox/received_event.py",
        "floor-at-own-position-accepted",
        "if False:",
        f"{SOURCE}floor_that_is_not_below_the_position_makes_an_event_malformed[5]",
    ),
    Mutant(
        "floors are never raised",
        "_delivery/inbox/progress.py",
        "floor-not-raised",
        "if False:",
        f"{SOURCE}floor_counts_only_when_all_messages_before_it_in_the_lane_are_recorded",
    ),
    Mutant(
        "the floor of a message counts before earlier messages of its lane are recorded",
        "_delivery/inbox/progress.py",
        "floor-of-unfinished-lane",
        "self._floors[event.floor_key] = max(self._floors.get(event.floor_key, 0), event.floor)",
        f"{SOURCE}floor_counts_only_when_all_messages_before_it_in_the_lane_are_recorded",
    ),
    Mutant(
        "marks are never folded",
        "_delivery/inbox/source.py",
        "marks-not-folded",
        "if True:",
        f"{SOURCE}old_mark_below_the_floor_is_folded_and_its_event_is_still_recognized",
    ),
    Mutant(
        "an event whose mark is folded is handled again",
        "_delivery/inbox/source.py",
        "folded-message-handled-again",
        "if True:",
        "tests/property/test_inbox_marks.py::test_marks_for_each_source_and_key_lose_double_and_reorder_nothing[False]",
    ),
    Mutant(
        "a mark above its floor is folded",
        "_store/memory/inbox.py",
        "mark-above-floor-folded",
        "folded = old[:MAX_FOLDED_MARKS]",
        f"{FOLDED.format('Memory')}",
    ),
    Mutant(
        "a mark above its floor is folded",
        "_store/sqlite/sql/fold_marks.sql",
        "mark-above-floor-folded-in-sqlite",
        "",
        f"{FOLDED.format('Sqlite')}",
    ),
    Mutant(
        "a mark above its floor is folded",
        "_store/postgres/sql/fold_marks.sql",
        "mark-above-floor-folded-in-postgres",
        "",
        f"{FOLDED.format('Postgres')}[18]",
    ),
    Mutant(
        "fait doctor does not see a position that jumps",
        "_store/health.py",
        "jump-not-found",
        "pass",
        "tests/inbox/test_operators.py::test_mark_far_above_all_others_of_its_source_is_a_problem",
    ),
    Mutant(
        "attributes of a structured event are not bounded",
        "_delivery/wire/received.py",
        "attributes-not-bounded",
        "if False:",
        "tests/brokers/test_wire_events.py::test_structured_event_with_too_many_attributes_is_refused[headers1]",
    ),
    Mutant(
        "data without a content type may be nested without a bound",
        "_delivery/inbox/consumer.py",
        "depth-of-data-not-bounded",
        'return decoder.decode(received.data or b"null")',
        f"{SOURCE}data_without_a_content_type_that_is_nested_too_deeply_is_malformed[101-<class 'list'>]",
    ),
]
