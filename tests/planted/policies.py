"""Faults in what follows an event that cannot be handled."""

from tests.planted.mutant import RUNNING, Mutant

LIFECYCLE = "tests/subscriptions/test_lifecycle.py::test_"
KEYS = "tests/subscriptions/test_keys.py::test_"
LANE_WORKER = "tests/subscriptions/test_lane_worker.py::test_"
BROKERS = "tests/relay/test_brokers.py::test_"

FAULTS = [
    Mutant(
        "events of a read model that were discarded are folded, as they were taken up before",
        "_subscriptions/lane_worker.py",
        "discarded-events-in-the-lane-handled",
        "reached = self.lane.cursor",
        LANE_WORKER + "discarded_event_is_not_folded_although_it_was_taken_up_before[sqlite]",
    ),
    Mutant(
        "a worker that cannot begin looks at a key to retry again and again",
        "_subscriptions/lane_worker.py",
        "retry-due-before-work-begins",
        "if self._run.is_alive():",
        LANE_WORKER + "worker_that_cannot_begin_waits_although_a_key_is_to_be_retried[sqlite]",
    ),
    Mutant(
        "calls continue after their worker was canceled while it recorded",
        "_subscriptions/lane_worker.py",
        "calls-continue-after-cancellation",
        "for task in list[asyncio.Task[None]]():",
        LANE_WORKER + "call_is_canceled_with_its_worker_while_that_records",
    ),
    Mutant(
        "the error of a key that was handled is shown as long as another key is parked",
        "_subscriptions/lane_worker.py",
        "error-of-a-handled-key-shown",
        "if not self.lane.failures:",
        LANE_WORKER + "error_of_a_key_that_was_handled_is_not_shown_while_another_is_parked",
    ),
    Mutant(
        "an event in conflict is repeated as long as others are recorded",
        "_subscriptions/conflicts.py",
        "conflicts-forgotten-by-other-keys",
        "if self._numbers.clear():",
        LANE_WORKER + "conflict_of_one_key_is_remembered_while_others_are_recorded",
    ),
    Mutant(
        "a full disk is no finding",
        "_store/sqlite/health.py",
        "full-disk-not-found",
        "if free:",
        "tests/tools/test_doctor.py::test_disk_that_is_almost_full_is_a_finding",
    ),
    Mutant(
        "the list of failed keys does not tell that their subscription is paused",
        "_tools/cli/parked.py",
        "pause-not-told-by-parked-list",
        "paused = set[str]()",
        "tests/tools/test_parked.py::test_list_says_that_nothing_is_retried_during_a_pause",
    ),
    Mutant(
        "a rebuild ends while a key is retried",
        "_tools/cli/rebuild.py",
        "rebuild-ends-before-the-last-attempt",
        "if position >= head:",
        "tests/tools/test_rebuild.py::test_rebuild_waits_for_the_last_attempt_and_succeeds_without_what_is_skipped",
    ),
    Mutant(
        "a rebuild waits forever when its policy pauses the read model",
        "_tools/cli/rebuild.py",
        "paused-rebuild-waits",
        "if group.run.error is not None:",
        "tests/tools/test_rebuild.py::test_rebuild_whose_policy_pauses_the_read_model_is_an_error",
    ),
    Mutant(
        "an error of a handler's statement is its failure, although the policy names it as an outage",
        "_subscriptions/lane_worker.py",
        "outage-of-a-statement-is-a-failure",
        "return await self._apply(events, Outcome(0, error=RuntimeError(str(type(result)))))",
        "tests/subscriptions/test_failing.py::"
        "test_error_of_a_statement_that_the_policy_names_as_an_outage_counts_no_attempt[sqlite]",
    ),
    Mutant(
        "an event whose key is found at last is published by each range",
        "_delivery/relay/relay.py",
        "event-without-key-published-by-each-range",
        "if context.failed_key not in (None, key):",
        "tests/relay/test_failing_functions.py::"
        "test_event_whose_key_is_found_at_last_is_published_by_the_range_of_the_key[False]",
    ),
    Mutant(
        "a read that depends on a parked key says that it has waited",
        "_errors.py",
        "parked-read-says-that-it-has-waited",
        "if False:",
        KEYS + "order_of_a_key_is_kept_while_it_is_retried_parked_and_redriven[memory-1]",
    ),
    Mutant(
        "a worker in an outage is shown as live",
        "_tools/cli/run.py",
        "outage-of-a-worker-shown-as-live",
        "if False:",
        "tests/tools/test_run.py::test_worker_prints_states_in_the_words_of_fait_status",
    ),
    Mutant(
        "a read model ignores its failure policy",
        "_subscriptions/projection.py",
        "policy-of-read-model-ignored",
        "policy = type(model.policy)(attempts=1)",
        RUNNING + "row_lacks_the_events_that_its_policy_skips_until_a_rebuild[1-True]",
    ),
    Mutant(
        "an outage that the policy names is a failure of one key of an event with several",
        "_subscriptions/projection.py",
        "outage-of-a-key-is-its-failure",
        "if False:",
        RUNNING + "outage_at_one_row_of_an_event_fails_no_other_row",
    ),
    Mutant(
        "an event whose key is unknown makes the subscription wait forever, whatever the policy is",
        "_subscriptions/retry_plan.py",
        "event-without-key-never-skipped",
        "if True:",
        RUNNING + "event_whose_rows_cannot_be_found_is_skipped_for_all[1]",
    ),
    Mutant(
        "a key that is redriven is parked at an event whose key is unknown",
        "_subscriptions/lane_worker.py",
        "event-without-key-parks-another",
        "if True:",
        RUNNING + "redriven_row_waits_at_an_event_whose_rows_cannot_be_found",
    ),
    Mutant(
        "an unavailable store counts as an attempt at an event",
        "_subscriptions/failure.py",
        "outage-counts-as-attempt",
        'return isinstance(error, EventTooNew) and policy.too_new == "wait"',
        LIFECYCLE + "unavailable_store_counts_no_attempt[memory]",
    ),
    Mutant(
        "a redriven event is parked, and the later ones of other keys are handled, although the policy is to stop",
        "_subscriptions/retry_plan.py",
        "redriven-key-parked-against-the-policy",
        "if is_redriven:",
        "tests/subscriptions/test_lifecycle.py::test_"
        "redriven_event_that_fails_pauses_again_if_the_policy_is_to_stop[memory]",
    ),
    Mutant(
        "a redriven event is retried and not parked",
        "_subscriptions/retry_plan.py",
        "redriven-key-retried",
        "if False:",
        KEYS + "redriven_key_that_fails_is_parked_without_retries[memory]",
    ),
    Mutant(
        "a subscription whose policy is to stop is not paused",
        "_subscriptions/retry_plan.py",
        "failed-subscription-keeps-lease",
        "pass",
        LIFECYCLE + "stop_after_last_attempt_pauses_the_subscription_until_it_is_resumed[memory]",
    ),
    Mutant(
        "a refused message makes the whole relay wait, if outages= names its type",
        "_subscriptions/failure.py",
        "refused-message-is-an-outage",
        "if isinstance(error, MalformedMessage):",
        RUNNING + "refused_message_is_no_outage_whatever_the_policy_names",
    ),
    Mutant(
        "a message that a broker can never accept is tried again",
        "_subscriptions/retry_plan.py",
        "refused-message-retried",
        "if False:",
        RUNNING + "message_that_a_broker_refuses_follows_the_policy_at_once[stop]",
    ),
    Mutant(
        "a relay ignores its failure policy",
        "_delivery/relay/relay.py",
        "policy-of-relay-ignored",
        "policy = type(relay.policy)(attempts=1)",
        RUNNING + "key_is_published_in_order_while_its_topic_function_fails",
    ),
    Mutant(
        "an outage counts as an attempt",
        "_subscriptions/retry_plan.py",
        "outage-of-broker-counts-as-attempt",
        "is_of_all = False",
        f"{BROKERS}relay_of_an_unavailable_broker_waits_without_attempts_and_appends_continue[memory]",
    ),
    Mutant(
        "a key whose later events follow a retry is shown as requested by an operator",
        "_store/ports/failures.py",
        "retried-key-shown-as-requested",
        "return self.state",
        "tests/tools/test_status.py::test_key_whose_later_events_follow_a_retry_is_shown_as_retrying[sqlite]",
    ),
    Mutant(
        "the keys of a paused subscription are reported as retried",
        "_store/health.py",
        "paused-keys-reported-as-retried",
        "if (failure := next(iter(()), None)) is not None:",
        "tests/tools/test_doctor_workers.py::test_key_at_which_the_policy_paused_is_named_with_what_to_do[sqlite]",
    ),
    Mutant(
        "a traceback contains the passwords in lines of code",
        "_subscriptions/error_text.py",
        "secrets-in-code-stored",
        'return "".join(lines)',
        "tests/subscriptions/test_error_text.py::test_chain_of_causes_is_part_of_the_traceback_without_secrets",
    ),
    Mutant(
        "a definition that does not differ is accepted without a record of the action",
        "_tools/cli/definition.py",
        "equal-definition-accepted",
        "if False:",
        "tests/tools/test_run.py::test_definition_accept_keeps_rows_and_is_recorded[sqlite]",
    ),
]
