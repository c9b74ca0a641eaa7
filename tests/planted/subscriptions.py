"""Faults in subscriptions and tools."""

from tests.planted.mutant import BATCHES, RUNNING, Mutant

HANDLER = "tests/subscriptions/test_handler_appends.py::test_"
LIFECYCLE = "tests/subscriptions/test_lifecycle.py::test_"

FAULTS = [
    Mutant(
        "a read model is renamed without its rows",
        "_subscriptions/registration.py",
        "renamed-without-rows",
        "if False:",
        "tests/test_app.py::test_renamed_read_model_is_refused_because_its_rows_stay_in_the_old_table",
    ),
    Mutant(
        "a misspelled name of a removed subscription is ignored",
        "_subscriptions/registration.py",
        "misspelled-forget",
        "if False:",
        "tests/test_app.py::test_misspelled_name_of_a_removed_subscription_is_refused",
    ),
    Mutant(
        "an import deletes a user's file that has the name of its invalid lines",
        "_tools/cli/import_batches.py",
        "foreign-file-deleted",
        "if False:",
        "tests/tools/test_import.py::test_file_that_no_import_has_written_is_not_replaced_by_invalid_lines[file]",
    ),
    Mutant(
        "a cursor's values are passed to the database without a check",
        "_subscriptions/find.py",
        "cursor-value-unchecked",
        "if False:",
        "tests/subscriptions/test_read_model.py::test_find_with_tampered_cursor_raises_invalid_cursor",
    ),
    Mutant(
        "rows are written without a check of their values",
        "_store/ports/column_values.py",
        "unchecked-rows",
        "if True:",
        "tests/subscriptions/test_row_values.py"
        "::test_invalid_row_stops_the_read_model_with_the_same_error_on_every_backend[sqlite-0]",
    ),
    Mutant(
        "read models of one table in SQLite are accepted, because the case of their names differs",
        "_declarations.py",
        "table-names-by-case",
        "if (other := read_models.setdefault(definition.name, definition)) is not definition:",
        "tests/test_app.py::test_two_read_models_of_one_table_raise_even_if_the_case_differs[COUNTS]",
    ),
    Mutant(
        "streams whose ids are one number are folded into one row",
        "_subscriptions/read_model.py",
        "streams-share-a-key",
        "if key is None:",
        "tests/subscriptions/test_read_model.py"
        "::test_streams_whose_ids_are_one_number_are_not_folded_into_one_row[memory]",
    ),
    Mutant(
        "a handler declared after the first use of an app is left out",
        "_app.py",
        "stale-declarations",
        "if resolved is None:",
        "tests/test_app.py::test_declarations_are_resolved_again_only_after_another_object_was_included",
    ),
    Mutant(
        "find() does not notice a rebuild of its table",
        "_subscriptions/read_your_writes.py",
        "rebuild-during-find",
        "if True:",
        RUNNING + "find_during_rebuild_reads_again",
    ),
    Mutant(
        "a worker that fails repeatedly does not release its lease",
        "_subscriptions/processor.py",
        "failing-worker-keeps-lease",
        "if False:",
        "tests/subscriptions/test_failing.py"
        "::test_event_of_newer_schema_version_is_handled_once_by_newer_process[sqlite]",
    ),
    Mutant(
        "a subscription that has used up its attempts keeps its lease",
        "_subscriptions/processor.py",
        "failed-subscription-keeps-lease",
        "pass",
        LIFECYCLE + "stop_after_last_attempt_keeps_the_checkpoint_and_releases_the_lease[sqlite]",
    ),
    Mutant(
        "a worker passes over event types that only other code handles",
        "_subscriptions/processor.py",
        "worker-reads-its-own-types",
        "types = self.definition.handled_types",
        LIFECYCLE + "added_event_type_waits_for_the_process_that_declares_it[sqlite]",
    ),
    Mutant(
        "further event types of a handler are not registered",
        "_subscriptions/registration.py",
        "further-types-not-registered",
        "if False:",
        LIFECYCLE + "added_event_type_waits_for_the_process_that_declares_it[sqlite]",
    ),
    Mutant(
        "an unavailable store counts as an attempt at an event",
        "_subscriptions/processor.py",
        "outage-counts-as-attempt",
        "if False:",
        LIFECYCLE + "unavailable_store_counts_no_attempt[memory]",
    ),
    Mutant(
        "an app cannot be opened while an open transaction holds back the head",
        "_subscriptions/registration.py",
        "positions-compared-with-head",
        "last = head = await self._log.head()",
        "tests/store/test_postgres_registrations.py::test_app_opens_while_an_open_transaction_holds_back_the_head",
    ),
    Mutant(
        "a handler is called again while a call runs after its timeout",
        "_subscriptions/handler_calls.py",
        "call-during-a-hung-call",
        "return False",
        "tests/subscriptions/test_processor.py::test_handler_is_not_called_again_while_a_call_runs_after_its_timeout",
    ),
    Mutant(
        "the recorded part of a failed batch is repeated",
        "_subscriptions/processor.py",
        "recorded-part-repeated",
        "if outcome.error is not None:\n    return 0, outcome.error\n"
        "if outcome.finished and not await self._record(batch[outcome.finished - 1].position, outcome):",
        BATCHES + "failing_event_in_batch_blocks_later_events_and_repeats_only_itself[sqlite]",
    ),
    Mutant(
        "a new subscription starts although its events have expired",
        "_subscriptions/registration.py",
        "start-below-expired-position",
        "if definition.may_expire and (expired := await self._log.expired_position()) < position:",
        "tests/subscriptions/test_retention.py::"
        "test_new_subscription_to_dropped_messages_raises_position_expired[sqlite]",
    ),
    Mutant(
        "a reactor stops after five attempts",
        "_subscriptions/failure.py",
        "reactor-stops-retrying",
        'return "retry" if failures < 5 else self.then',
        RUNNING + "reactor_retries_failed_event_before_next_event",
    ),
    Mutant(
        "a worker acquires the lease of a live owner",
        "_subscriptions/processor.py",
        "lease-of-live-owner-acquired",
        "stands_still = time.monotonic() - unchanged_since >= 0",
        RUNNING + "owner_with_heartbeat_keeps_lease_of_subscription",
    ),
    Mutant(
        "the lease of a crashed owner never expires",
        "_subscriptions/processor.py",
        "lease-never-expires",
        "stands_still = False",
        RUNNING + "owner_without_heartbeat_loses_lease_and_its_work_is_rejected",
    ),
    Mutant(
        "a worker without a range is removed although it sends heartbeats",
        "_subscriptions/runner.py",
        "idle-worker-expired-at-once",
        "for worker, heartbeat in current.items():",
        "tests/subscriptions/test_lifecycle.py::test_crashed_worker_without_a_range_is_removed_and_a_live_one_is_not",
    ),
    Mutant(
        "a projection folds a batch without its stored rows",
        "_subscriptions/projection.py",
        "fold-without-stored-rows",
        "rows: dict[Any, Any] = {key: None for key in keys}",
        RUNNING + "read_model_rows_equal_fold_of_log",
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
        "_subscriptions/registration.py",
        "old-rows-rejected-once",
        "pass",
        "tests/test_app.py::test_open_with_forgotten_read_model_and_old_rows_raises_until_rebuilt",
    ),
    Mutant(
        "events of a handler are stored in its call instead of its record",
        "_subscriptions/handler_log.py",
        "handler-appends-in-its-call",
        "return await self._log.append(writes)",
        HANDLER + "calls_in_another_order_at_each_attempt_take_effect_once[memory-publish]",
    ),
    Mutant(
        "a handler does not read the buffered events of its stream",
        "_subscriptions/handler_log.py",
        "buffered-events-of-stream-not-read",
        "return stored",
        HANDLER + "later_calls_read_buffered_events[memory]",
    ),
    Mutant(
        "a query of a handler does not find its buffered events",
        "_subscriptions/handler_log.py",
        "buffered-events-not-read",
        "return stored, end",
        HANDLER + "boundary_decides_on_buffered_events[memory]",
    ),
    Mutant(
        "a handler does not recognize a repeated call",
        "_subscriptions/handler_log.py",
        "repeated-call-of-handler-not-recognized",
        "return failed or self._check_versions(writes) or self._add(writes, condition)",
        HANDLER + "repeated_key_or_id_in_one_handler_appends_once[memory]",
    ),
    Mutant(
        "the context accepts calls after its handler has returned",
        "_subscriptions/handler_log.py",
        "late-call-of-handler-accepted",
        "if False:",
        HANDLER + "call_after_the_handler_has_returned_is_refused[publish]",
    ),
    Mutant(
        "a snapshot with buffered events is saved",
        "_subscriptions/handler_log.py",
        "snapshot-of-buffered-events",
        "if True:",
        HANDLER + "snapshot_of_buffered_events_is_not_saved[memory]",
    ),
    Mutant(
        "an event counts as handled although its handler's events are in conflict",
        "_subscriptions/processor.py",
        "conflict-counts-as-recorded",
        "if False:",
        HANDLER + "event_is_handled_again_after_a_conflict_without_a_failed_attempt[memory-transact]",
    ),
    Mutant(
        "events of a handler that failed are stored with those before it",
        "_subscriptions/reactor.py",
        "events-of-failed-handler-stored",
        "append = merge_appends(append for each in contexts for append in each.handler_log.appends)",
        HANDLER + "failing_event_of_a_batch_stores_events_of_those_before_it[memory]",
    ),
    Mutant(
        "a handler does not pass an event of which an upcaster makes no event that it handles",
        "_subscriptions/reactor.py",
        "dropped-event-stops-handler",
        "return Outcome(0, error=undecodable or LookupError())",
        "tests/events/test_upcasting.py::"
        "test_handler_passes_an_event_without_a_handled_result[memory-split without a handled result]",
    ),
    Mutant(
        "what a handler appends for a result of a split names an id that no stored event has as its cause",
        "_subscriptions/handler_calls.py",
        "result-of-split-is-the-cause",
        "return caused_by(\n"
        "    correlation_id=envelope.metadata.correlation_id or envelope.id, causation_id=envelope.id\n"
        ")",
        "tests/events/test_upcasting.py::test_results_of_a_split_have_the_stored_event_as_their_cause[memory]",
    ),
]
