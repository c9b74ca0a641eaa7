"""Faults in relays."""

from tests.planted.mutant import Mutant

RELAY = "tests/relay/test_relay.py::test_"
LOST = "tests/relay/test_lost_messages.py::test_"
BROKERS = "tests/relay/test_brokers.py::test_"
CHECKPOINTS = "tests/relay/test_checkpoints.py::test_"

FAULTS = [
    Mutant(
        "a relay writes its checkpoint after each page",
        "_subscriptions/lane_worker.py",
        "checkpoint-after-each-page",
        "return 0.0",
        f"{CHECKPOINTS}checkpoint_is_written_once_in_an_interval_and_at_the_end",
    ),
    Mutant(
        "the checkpoint of a relay whose broker stores no position is written later",
        "_delivery/relay/range_publisher.py",
        "checkpoint-of-a-broker-without-positions-waits",
        "if False:",
        f"{CHECKPOINTS}checkpoint_of_a_broker_that_stores_no_position_is_written_at_once",
    ),
    Mutant(
        "messages that move no position at the broker are recorded later, and repeated after a crash",
        "_delivery/relay/range_publisher.py",
        "redriven-key-recorded-later",
        "return True",
        f"{CHECKPOINTS}events_of_a_key_that_had_failed_are_recorded_at_once",
    ),
    Mutant(
        "a key is handed back before what its owner has published is recorded",
        "_subscriptions/lane_worker.py",
        "key-handed-back-below-what-is-finished",
        "if False:",
        f"{CHECKPOINTS}key_that_is_redriven_before_the_checkpoint_is_written_loses_no_later_event",
    ),
    Mutant(
        "what was published is not recorded while the broker is unavailable",
        "_subscriptions/processor.py",
        "published-events-not-recorded-in-an-outage",
        "if False:",
        f"{CHECKPOINTS}checkpoint_is_written_before_an_outage",
    ),
    Mutant(
        "a message that was accepted behind a refused one is sent again",
        "_subscriptions/subscription.py",
        "accepted-event-handled-again",
        "if False:",
        f"{RELAY}messages_accepted_behind_a_refused_one_are_finished_once",
    ),
    Mutant(
        "a message says that parked events before it were confirmed",
        "_subscriptions/call_context.py",
        "floor-above-failed-key",
        "failed = lane.position + 1",
        f"{RELAY}floor_of_a_message_is_below_each_parked_event",
    ),
    Mutant(
        "the source of an event has the current epoch",
        "_delivery/relay/range_publisher.py",
        "source-with-current-epoch",
        "epoch = self._epochs[-1]",
        f"{RELAY}source_of_an_event_has_the_epoch_in_which_it_was_recorded",
    ),
    Mutant(
        "what the broker has is published again after a restart",
        "_delivery/relay/range_publisher.py",
        "published-again-after-restart",
        "if True:",
        f"{BROKERS}relay_with_an_older_checkpoint_repeats_nothing[memory]",
    ),
    Mutant(
        "a relay publishes although the broker has events that the log has lost",
        "_delivery/relay/published_position.py",
        "broker-ahead-not-noticed",
        "if False:",
        f"{RELAY}relay_whose_broker_is_ahead_of_the_log_waits",
    ),
    Mutant(
        "a refused message stops its relay",
        "_delivery/relay/relay.py",
        "refused-message-is-an-outage",
        "return True",
        f"{RELAY}event_whose_topic_is_invalid_is_parked",
    ),
    Mutant(
        "an outage counts as an attempt",
        "_delivery/relay/relay.py",
        "outage-of-broker-counts-as-attempt",
        "return False",
        f"{BROKERS}relay_of_an_unavailable_broker_waits_without_attempts_and_appends_continue[memory]",
    ),
    Mutant(
        "a redriven message is compared with the limit that the broker had before",
        "_delivery/relay/relay.py",
        "raised-limit-not-read",
        "if False:",
        f"{BROKERS}refused_message_parks_its_key_alone_and_is_redriven_in_order[redis]",
    ),
    Mutant(
        "later events of a key that was redriven count as published by a former owner",
        "_delivery/relay/relay.py",
        "key-handed-back-below-published-position",
        "if False:",
        f"{RELAY}failed_key_waits_until_what_a_former_owner_has_published_is_recorded",
    ),
    Mutant(
        "events of other keys are published again with a redriven one",
        "_delivery/relay/relay.py",
        "events-of-other-keys-redriven",
        "if False:",
        f"{RELAY}redriven_key_of_a_function_is_published_without_other_keys",
    ),
    Mutant(
        "a message whose record has failed is published again",
        "_delivery/relay/range_publisher.py",
        "published-again-after-failed-record",
        "pass",
        f"{RELAY}message_is_not_published_again_if_it_could_not_be_recorded",
    ),
    Mutant(
        "a relay publishes behind messages that its broker has lost",
        "_delivery/relay/confirmed.py",
        "lost-messages-not-noticed",
        "return {}",
        f"{LOST}relay_stops_at_lost_messages_and_publishes_them_again_after_a_rewind[memory]",
    ),
    Mutant(
        "a rewind does not set the checkpoint back",
        "_delivery/relay/rewind.py",
        "checkpoint-kept-at-rewind",
        "pass",
        f"{LOST}relay_stops_at_lost_messages_and_publishes_them_again_after_a_rewind[memory]",
    ),
    Mutant(
        "a relay is rewound at a broker that does not fence its former workers",
        "_delivery/relay/rewind.py",
        "rewound-without-a-fence",
        "if False:",
        f"{LOST}rewind_of_a_broker_without_a_fence_is_refused",
    ),
    Mutant(
        "a key that was parked in the lost part stays parked",
        "_delivery/relay/rewind.py",
        "failure-beyond-the-hole-kept",
        "if False:",
        f"{LOST}key_that_was_parked_in_the_lost_part_is_published_with_all_others",
    ),
    Mutant(
        "redriven messages that are lost are not redriven again",
        "_delivery/relay/rewind.py",
        "lost-redrive-forgotten",
        "if False:",
        f"{LOST}parked_and_redriven_events_are_there_again[after the failure]",
    ),
    Mutant(
        "after a restore of the log, reused positions count as published",
        "_delivery/relay/range_publisher.py",
        "stored-position-of-earlier-epoch-kept",
        "upto = after if keeps_position else max(after, batch[-1].position)",
        f"{RELAY}events_with_reused_positions_are_published_after_a_restore",
    ),
    Mutant(
        "a key is parked at a message behind one that was not sent",
        "_delivery/relay/relay.py",
        "key-parked-behind-unsent-message",
        "if isinstance(outcome, Refused):",
        f"{RELAY}refused_message_behind_an_unsent_one_of_its_key_is_no_failure_yet",
    ),
]
