"""Faults in events and decisions."""

from tests.planted.mutant import MEMORY, Mutant

READERS = "tests/events/test_readers.py::test_"
UPCASTING = "tests/events/test_upcasting.py::test_"

SHARED = "tests/decisions/test_shared_values.py::test_"

KEYS = "tests/decisions/test_keys.py::test_"
INTENTION = KEYS + "key_is_answered_for_the_same_intention_and_refused_for_every_other"

CHANGES = "tests/subscriptions/test_definition_changes.py::test_"
PARTS = "tests/decisions/test_definition_parts.py::test_"

FAULTS = [
    Mutant(
        "the error of an undecodable event quotes a value of it",
        "_events/codec.py",
        "value-in-the-error-of-an-undecodable-event",
        'path, reason = "$", str(error)',
        "tests/events/test_stored_forms.py::test_error_of_an_undecodable_event_quotes_no_value",
    ),
    Mutant(
        "a key is valid for each stream, so that one key stores two intentions",
        "_decisions/idempotency.py",
        "key-scoped-by-stream",
        "return map(partial(_event_id_for_key, self.options.scope + self.stream, self.options.key), count())",
        INTENTION + "[memory-command]",
    ),
    Mutant(
        "the scope of a missing key is ignored",
        "_decisions/calls.py",
        "scope-without-key",
        "if False:",
        "tests/test_ignored_arguments.py::test_option_that_would_be_ignored_or_changed_is_refused_by_using",
    ),
    Mutant(
        "a call that only reads ignores an expected version",
        "_decisions/client.py",
        "expected-version-of-read-ignored",
        "if False:",
        "tests/test_ignored_arguments.py::test_expected_version_of_a_call_that_only_reads_is_refused",
    ),
    Mutant(
        "an argument of which only the type is recorded is compared under a key, so that another one is acknowledged",
        "_decisions/idempotency.py",
        "unrecorded-argument-under-key",
        "return _command_record(name, arguments, _encode_argument)",
        KEYS + "argument_that_cannot_be_compared_is_refused_under_a_key[memory-PosixPath('a')]",
    ),
    Mutant(
        "an event that the app does not include is appended, and is read as untyped",
        "_events/codec.py",
        "event-not-included",
        "if (declared := declared or event_type(type(event))) is not None:",
        "tests/test_app.py::test_append_of_an_event_that_is_not_included_writes_nothing[publish-system]",
    ),
    Mutant(
        "an append of the first of several events under a key counts as a repetition",
        "_decisions/idempotency.py",
        "key-of-more-events-accepted",
        "if isinstance(result, IdConflict) or original is not None:",
        INTENTION + "[memory-append of three]",
    ),
    Mutant(
        "the ids of a key depend on the order in which an append names its streams",
        "_decisions/new_events.py",
        "ids-in-order-of-arguments",
        "in_order = new_events",
        INTENTION + "[memory-append to two streams]",
    ),
    Mutant(
        "an argument that is omitted differs from its default",
        "_decisions/aggregate.py",
        "defaults-not-recorded",
        "return given",
        INTENTION + "[memory-no events]",
    ),
    Mutant(
        "true and 1 are the same argument",
        "_events/json_equality.py",
        "true-is-one",
        "return one == other",
        INTENTION + "[memory-true]",
    ),
    Mutant(
        "an argument of the same instant in another time zone is another argument",
        "_events/json_equality.py",
        "instants-compared-as-text",
        "return False",
        "tests/decisions/test_keys.py::test_arguments_under_a_key_are_compared_as_values[memory-instant]",
    ),
    Mutant(
        "an untyped event that its class cannot decode is stored, and blocks every reader",
        "_events/codec.py",
        "undecodable-untyped-appended",
        "pass",
        "tests/contract/test_values.py::test_untyped_event_that_its_class_cannot_decode_is_refused[memory-raw]",
    ),
    Mutant(
        "the key of a decision without events is forgotten",
        "_decisions/decision_loop.py",
        "nothing-decided-not-remembered",
        "if not writes:",
        KEYS + "repeated_decision_without_events_returns_the_value_of_then[memory]",
    ),
    Mutant(
        "a subscription to all types handles the reserved event of a key",
        "_events/registry.py",
        "subscriptions-see-nothing-decided",
        "return frozenset(self.types.keys() - handled.types.keys())",
        KEYS + "reserved_event_is_not_handled_by_subscriptions_to_all_types",
    ),
    Mutant(
        "the text of an event with a set differs in each process",
        "_events/json_equality.py",
        "sets-in-any-order",
        "return ordered",
        KEYS + "event_with_a_set_is_the_same_in_a_process_with_other_hashes",
    ),
    Mutant(
        "the state shares lists with the caller's arguments",
        "_decisions/aggregate.py",
        "event-shared-with-state",
        "self.evolve(event)",
        SHARED + "emitted_event_is_stored_as_it_was_emitted[memory]",
    ),
    Mutant(
        "a retried decision gets arguments that its first attempt has changed",
        "_decisions/idempotency.py",
        "changed-arguments-used-again",
        "if False:",
        SHARED + "decision_that_changed_its_arguments_is_not_repeated[memory-command]",
    ),
    Mutant(
        "a retried decision gets an iterator that its first attempt has read",
        "_decisions/idempotency.py",
        "arguments-read-once",
        "if False:",
        SHARED + "argument_that_can_be_read_only_once_is_refused[memory-iterator-argument]",
    ),
    Mutant(
        "rows that one event changes share its lists",
        "_subscriptions/projection.py",
        "rows-share-an-event",
        "yield key, envelope",
        SHARED + "rows_that_one_event_changes_share_none_of_its_lists",
    ),
    Mutant(
        "`exists` matches a missing stream, in the reference",
        "_events/version.py",
        "exists-as-any-in-reference",
        "return number in (actual, ANY) or (number == EXISTS and actual >= 0)",
        MEMORY + "append_is_stored_only_if_its_expected_version_holds[0-exists]",
    ),
    Mutant(
        "a query for classes instead of stored names is accepted; in memory no event matches it",
        "_events/query.py",
        "query-types-unchecked",
        "if False:",
        "tests/test_arguments.py::test_query_for_classes_is_refused_with_the_correct_call",
    ),
    Mutant(
        "a bound without time zone is compared with recorded times as if it were local time",
        "_events/append.py",
        "naive-bound",
        "if False:",
        "tests/test_arguments.py::test_time_without_time_zone_or_outside_of_the_calendar_is_refused"
        "[sqlite-read until recorded_at-naive]",
    ),
    Mutant(
        "an import stores a time that PostgreSQL takes for infinity, so that the stream cannot be read",
        "_tools/cli/lines.py",
        "infinite-time-imported",
        "pass",
        "tests/tools/test_lines.py::test_line_with_a_time_that_a_database_would_store_as_infinity_is_invalid"
        "[0001-01-01T00:00:00Z]",
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
        "an error about a changed definition says only what may differ",
        "_subscriptions/definition_change.py",
        "stored-parts-not-compared",
        "stored = None",
        CHANGES + "changed_read_model_names_code_columns_and_options[sqlite]",
    ),
    Mutant(
        "an accepted definition is stored without its parts",
        "_subscriptions/registration.py",
        "accepted-without-parts",
        "await self._registrations.accept(self._registration(self._definitions[name]))",
        CHANGES + "accepted_or_rebuilt_definition_is_compared_from_then_on[sqlite-accept]",
    ),
    Mutant(
        "a rebuilt definition is stored without its parts",
        "_subscriptions/registration.py",
        "rebuilt-without-parts",
        "await self._registrations.reset(self._registration(definition), definition.table, 0)",
        CHANGES + "accepted_or_rebuilt_definition_is_compared_from_then_on[sqlite-rebuild]",
    ),
    Mutant(
        "a renamed subscription forgets the parts of its definition",
        "_store/sqlite/registrations.py",
        "renamed-without-parts",
        'definition = ""',
        CHANGES + "renamed_handler_keeps_its_definition[sqlite]",
    ),
    Mutant(
        "the parts of a large definition are stored without a bound",
        "_decisions/definition_parts.py",
        "parts-without-bound",
        "result = dict(items)",
        PARTS + "parts_of_a_large_definition_are_bounded_and_the_others_share_a_hash",
    ),
    Mutant(
        "code is said to differ because other code refers to it, too",
        "_decisions/definition_hash.py",
        "content-depends-on-the-walk",
        "if True:",
        PARTS + "content_of_a_function_does_not_depend_on_what_else_is_walked",
    ),
    Mutant(
        "the second attempt of a boundary reads the log, although the conflict returned the latest events",
        "_decisions/decision_loop.py",
        "second-attempt-reads",
        "if True:",
        "tests/decisions/test_boundary.py::test_conflicting_events_are_folded_without_reading_again[memory]",
    ),
    Mutant(
        "an idempotency key is not compared with the command that used it",
        "_decisions/idempotency.py",
        "key-reuse-unchecked",
        "if False:",
        "tests/decisions/test_transact.py::test_key_of_another_command_raises_key_reused[memory]",
    ),
    Mutant(
        "an append whose outcome is unknown is not sent again",
        "_decisions/idempotency.py",
        "unknown-outcome-raised",
        "if True:",
        "tests/decisions/test_boundary.py::test_append_condition_with_unknown_outcome_is_retried_with_the_same_ids"
        "[memory-True]",
    ),
    Mutant(
        "an append whose outcome is unknown is reported as not written, because its repetition was not",
        "_decisions/idempotency.py",
        "outcome-forgotten-by-repetition",
        "raise",
        "tests/decisions/test_transact.py::test_outcome_that_was_unknown_once_stays_unknown"
        "[memory-transact-True-not_written]",
    ),
    Mutant(
        "a query for an event type does not find the events that are stored under a former name",
        "_events/stored_names.py",
        "alias-ignored-in-query",
        "types = frozenset(query.types)",
        UPCASTING + "append_condition_fails_for_an_event_stored_under_another_name[memory-former name]",
    ),
    Mutant(
        "the results of a split are read in another order",
        "_events/registry.py",
        "split-loses-order",
        "for part in reversed(conversion.split.split(data, envelope)):",
        READERS + "every_reader_sees_the_current_events_that_a_stored_event_is_read_as[memory-split]",
    ),
    Mutant(
        "a query for a type selects what its events of an older version were split into",
        "_events/codec.py",
        "split-selected-as-stored",
        "types = {envelope.type if declared is None else declared.name, recorded.type}",
        UPCASTING + "query_selects_by_the_type_that_events_are_read_as[memory]",
    ),
    Mutant(
        "a load fails if an event expires before it is read with its envelope",
        "_decisions/load.py",
        "event-expires-before-conversion",
        "for each in self.codec.convert(handled, [recorded]):",
        UPCASTING + "event_that_expires_while_a_state_is_loaded_is_left_out[memory]",
    ),
]
