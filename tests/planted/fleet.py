"""Faults of workers that share the ranges of subscriptions."""

from typing import Final

from tests.planted.mutant import Mutant

__all__ = ["FAULTS"]

JOINING: Final = (
    "tests/subscriptions/test_fleet.py::test_workers_join_and_leave_and_every_event_is_handled_in_order[sqlite]"
)
OBSERVER: Final = "tests/subscriptions/test_worker_observer.py::test_"
PLANS: Final = "tests/property/test_fleet.py::test_"

FAULTS: Final = (
    Mutant(
        "an opening that is refused has changed registrations",
        "_subscriptions/registration.py",
        "changes-made-although-the-app-cannot-be-opened",
        "return",
        "tests/subscriptions/test_definition_changes.py::test_opening_that_is_refused_changes_nothing[sqlite-forget]",
    ),
    Mutant(
        "a worker whose subscription was renamed is shown as standby",
        "_subscriptions/processor_group.py",
        "renamed-subscription-shown-as-standby",
        "pass",
        "tests/subscriptions/test_processor.py::test_worker_of_a_subscription_that_is_not_registered_is_no_standby",
    ),
    Mutant(
        "old code is called for events that follow one of a type that was added",
        "_subscriptions/event_source.py",
        "added-type-noticed-by-a-record",
        "if False:",
        "tests/subscriptions/test_deploys.py"
        "::test_running_worker_calls_no_handler_for_what_follows_an_event_of_an_added_type[sqlite-8-new]",
    ),
    Mutant(
        "old code is called for events that follow one of an added type that its own process has appended",
        "_store/postgres/high_water_mark.py",
        "older-revisions-for-an-appended-event",
        "pass",
        "tests/store/test_high_water_mark.py::test_mark_knows_the_revisions_of_registrations_before_an_appended_event",
    ),
    Mutant(
        "a page of PostgreSQL counts the changes of registrations before earlier events",
        "_store/postgres/high_water_mark.py",
        "older-revisions-for-later-events",
        "return self._revisions",
        "tests/contract/test_stores.py"
        "::TestPostgresPorts::test_page_counts_the_changes_of_registrations_before_its_events[18]",
    ),
    Mutant(
        "consumers are not measured",
        "_system.py",
        "consumers-not-measured",
        "groups = self._log_groups.values()",
        "tests/test_telemetry.py::test_outage_of_a_consumer_is_measured_and_its_lag_is_not",
    ),
    Mutant(
        "fait doctor advises only to start a worker, although its code cannot handle the event",
        "_store/health.py",
        "same-code-advised-for-a-too-new-event",
        "if True:",
        "tests/tools/test_doctor.py"
        "::test_start_of_the_same_code_is_not_the_only_advice_for_an_event_that_needs_newer_code",
    ),
    Mutant(
        "fait definition accept says that old code stops running a handler that handles fewer types",
        "_tools/cli/definition.py",
        "old-code-said-to-stop",
        'consequence = "handles only the event types of this code. Processes with other code stop running it."',
        "tests/tools/test_run.py::test_definition_accept_of_a_handler_asks_to_end_old_code_before",
    ),
    Mutant(
        "fait doctor advises to make a service available, although a broker has lost messages",
        "_store/health.py",
        "lost-messages-called-an-outage-of-a-service",
        'return "Make the service available that the error names"',
        "tests/tools/test_doctor.py::test_advice_for_a_subscription_that_waits_fits_the_error",
    ),
    Mutant(
        "the lag of a consumer that no worker tells is 0",
        "_store/overview.py",
        "consumer-without-lag",
        "if False:",
        "tests/tools/test_status.py::test_lag_of_a_consumer_is_unknown",
    ),
    Mutant(
        "a worker does not tell that a call hangs",
        "_subscriptions/subscription_run.py",
        "hung-call-not-told",
        "self._began[number] = self.clock.monotonic() + 3600",
        "tests/tools/test_long_calls.py::test_hung_call_of_a_handler_is_named_before_its_timeout[sqlite-consumer]",
    ),
    Mutant(
        "a call that hangs is no problem",
        "_store/health.py",
        "hung-call-is-no-problem",
        "if True:",
        "tests/tools/test_long_calls.py::test_hung_call_of_a_handler_is_named_before_its_timeout[sqlite-reactor]",
    ),
    Mutant(
        "a range handles the events of another one",
        "_subscriptions/page_reader.py",
        "range-handles-keys-of-another",
        "numbers = [number for number, _ in slots]",
        JOINING,
    ),
    Mutant(
        "a range folds events into rows of another one",
        "_subscriptions/lane.py",
        "keys-of-other-ranges-folded",
        "return True",
        JOINING,
    ),
    Mutant(
        "a worker that was stopped for longer than a lease starts calls before its next heartbeat",
        "_subscriptions/lane_worker.py",
        "stopped-worker-starts-calls",
        "return not self.stopping",
        "tests/subscriptions/test_fleet.py::test_worker_without_a_recent_heartbeat_starts_no_call",
    ),
    Mutant(
        "time that a manual clock passes during a heartbeat leads to no other one",
        "_subscriptions/runner.py",
        "time-that-passes-during-a-heartbeat-forgotten",
        "await self._send_heartbeat()\nself._time_passed.clear()",
        "tests/subscriptions/test_fleet.py::test_time_that_passes_during_a_heartbeat_leads_to_another_one",
    ),
    Mutant(
        "a worker is expired although its heartbeat changes",
        "_subscriptions/worker_observer.py",
        "worker-of-live-heartbeat-expired",
        "self._since[id] = (heartbeat, since)",
        OBSERVER + "worker_is_expired_when_its_heartbeat_has_stood_still",
    ),
    Mutant(
        "a crashed worker is never expired",
        "_subscriptions/worker_observer.py",
        "crashed-worker-never-expires",
        "return []",
        OBSERVER + "worker_is_expired_when_its_heartbeat_has_stood_still",
    ),
    Mutant(
        "a worker whose heartbeats are late is expired as soon as before, each time",
        "_subscriptions/worker_observer.py",
        "late-worker-expired-again-and-again",
        "if False:",
        OBSERVER + "worker_that_was_expired_and_lives_has_twice_as_much_time_and_at_most_four_times",
    ),
    Mutant(
        "each worker that ever ran is remembered",
        "_subscriptions/worker_observer.py",
        "gone-workers-remembered",
        "for id in []:",
        OBSERVER + "worker_that_is_gone_is_forgotten_after_an_hour",
    ),
    Mutant(
        "a worker of other subscriptions is expired after the lease of this one",
        "_subscriptions/worker_observer.py",
        "worker-of-other-subscriptions-expired-early",
        "timeout_s = self._lease_s",
        OBSERVER + "worker_of_other_subscriptions_is_expired_after_a_minute",
    ),
    Mutant(
        "rows of other code are read",
        "_subscriptions/registration.py",
        "changed-read-model-is-read",
        "pass",
        "tests/subscriptions/test_deploys.py::test_read_model_can_be_read_when_it_is_rebuilt_elsewhere[sqlite]",
    ),
    Mutant(
        "a worker keeps ranges that are above its share",
        "_subscriptions/fleet.py",
        "worker-keeps-its-surplus",
        "if False:",
        PLANS + "workers_that_join_and_crash_agree_within_a_few_looks",
    ),
    Mutant(
        "halves of a range that two workers have are never merged",
        "_subscriptions/fleet.py",
        "halves-stay-with-two-workers",
        "units = _units(workers, ranges, MAX_RANGES)",
        PLANS + "workers_that_join_and_crash_agree_within_a_few_looks",
    ),
    Mutant(
        "a look at the ranges that has failed is repeated at once while a worker cannot be expired",
        "_subscriptions/runner.py",
        "failed-look-repeated-at-once",
        "await self._pause(HEARTBEAT_SHARE * self._lease_s, self._observer.expires_at)",
        "tests/subscriptions/test_failing.py::test_look_that_fails_is_repeated_at_intervals_and_logged_once",
    ),
    Mutant(
        "a SystemExit that the code of the app raises ends the worker",
        "_subscriptions/lane_worker.py",
        "exit-of-the-app-s-code-ends-the-worker",
        "if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):",
        "tests/subscriptions/test_processor.py::test_any_error_of_a_fold_is_a_failure_of_its_row",
    ),
    Mutant(
        "failed keys are not measured",
        "_observation.py",
        "failed-keys-not-measured",
        "for state, is_parked in ():",
        "tests/test_telemetry.py::test_failed_keys_are_measured_by_their_state",
    ),
    Mutant(
        "ranges are split before a crashed worker is expired",
        "_subscriptions/fleet.py",
        "ranges-split-at-once",
        "return _wanted_ranges(counts[-1])",
        PLANS + "ranges_are_split_soon_and_merged_late",
    ),
)
"""Each must make its test fail."""
