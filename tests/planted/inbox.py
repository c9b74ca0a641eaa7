"""Faults in consumers: what they recognize, remember and store."""

from tests.planted.mutant import Mutant

CONTRACT = "tests/contract/test_stores.py::TestSqlitePorts::test_"
MEMORY = "tests/contract/test_stores.py::TestMemoryPorts::test_"
POSTGRES = "tests/contract/test_stores.py::TestPostgresPorts::test_"
CONSUMER = "tests/inbox/test_consumer.py::test_"
SOURCE = "tests/inbox/test_source.py::test_"
COMPETING = "tests/inbox/test_competing.py::test_"
START = "tests/inbox/test_start.py::test_"

FAULTS = [
    Mutant(
        "malformed messages make the whole consumer wait, as in an outage",
        "_subscriptions/retry_plan.py",
        "malformed-messages-stop-the-consumer",
        "if False:",
        CONSUMER + "any_number_of_malformed_messages_delays_no_others[sqlite memory]",
    ),
    Mutant(
        "parked malformed messages count towards the number at which a subscription is paused",
        "_subscriptions/retry_plan.py",
        "parked-malformed-messages-pause-the-consumer",
        'return sum(each.state == "parked" for each in failures)',
        CONSUMER + "wrong_handler_is_paused_for_its_own_keys_only[sqlite memory]",
    ),
    Mutant(
        "without order, an event at a lower position than an earlier one counts as handled",
        "_delivery/inbox/source.py",
        "positions-compared-without-order",
        "pass",
        COMPETING + "event_that_is_published_again_takes_effect_once_without_order[sqlite]",
    ),
    Mutant(
        "without order, a failed message has the key of a range of another worker",
        "_delivery/inbox/source.py",
        "failed-message-of-another-range",
        "return next(keys)",
        COMPETING + "each_message_has_an_order_key_of_its_own_in_the_range_that_received_it",
    ),
    Mutant(
        "ranges of a consumer that have received different numbers of messages are never merged",
        "_subscriptions/processor_group.py",
        "received-ranges-not-aligned",
        "if False:",
        COMPETING + "process_that_ends_leaves_its_messages_to_others_and_ranges_are_merged[sqlite]",
    ),
    Mutant(
        "done messages are acknowledged a second later, at a broker that delivers no others before",
        "_delivery/inbox/source.py",
        "done-messages-not-acknowledged-soon",
        "return POLL_S",
        SOURCE + "done_messages_are_acknowledged_soon_at_a_broker_that_waits_for_it",
    ),
    Mutant(
        "a mark moves from another position than the expected one",
        "_store/ports/inbox.py",
        "mark-moved-from-another-position",
        "return all(each.expected < each.position for each in moves)",
        f"{MEMORY}mark_at_another_position_refuses_the_whole_work[4-9]",
    ),
    Mutant(
        "a mark moves from another position than the expected one",
        "_store/postgres/sql/move_marks.sql",
        "mark-moved-from-another-position-in-postgres",
        "",
        f"{POSTGRES}mark_at_another_position_refuses_the_whole_work[18-4-9]",
    ),
    Mutant(
        "marks and ids are not compared",
        "_store/sqlite/recorder.py",
        "inbox-not-compared",
        "if False:",
        f"{CONTRACT}mark_at_another_position_refuses_the_whole_work[4-9]",
    ),
    Mutant(
        "work with an id that is stored is recorded",
        "_store/postgres/recorder.py",
        "inbox-not-compared-in-postgres",
        "if inbox and await change_inbox(self._database, connection, consumer, inbox) is None:",
        f"{POSTGRES}stored_id_refuses_the_whole_work[18]",
    ),
    Mutant(
        "a position that no database stores is accepted",
        "_delivery/inbox/received_event.py",
        "position-out-of-range-accepted",
        "if False:",
        f"{SOURCE}position_that_no_log_has_makes_an_event_malformed[9223372036854775808]",
    ),
    Mutant(
        "positions of logs that are not trusted are believed",
        "_delivery/inbox/received_event.py",
        "foreign-position-believed",
        "if provenance is not None:",
        f"{SOURCE}position_of_another_log_is_not_believed",
    ),
    Mutant(
        "there is one mark for each source",
        "_delivery/inbox/received_event.py",
        "mark-without-key",
        'mark = MarkKey(bounded_text(source_text(provenance.source)), "")',
        "tests/property/test_inbox_marks.py::test_marks_for_each_source_and_key_lose_double_and_reorder_nothing[False]",
    ),
    Mutant(
        "the message at the mark is handled again",
        "_delivery/inbox/source.py",
        "message-at-its-mark-handled",
        "if event.source_position < last:",
        f"{CONSUMER}redelivered_and_repeated_events_are_recognized[memory memory]",
    ),
    Mutant(
        "a message with a known id is handled again",
        "_delivery/inbox/source.py",
        "known-id-handled",
        "if False:",
        f"{CONSUMER}cloud_events_of_other_programs_are_recognized_by_source_and_id[memory memory]",
    ),
    Mutant(
        "a jump of a position is not reported",
        "_delivery/inbox/source.py",
        "jump-not-reported",
        "if False:",
        f"{SOURCE}jump_of_a_position_is_reported",
    ),
    Mutant(
        "a consumer does not read on from its own offsets",
        "_delivery/inbox/source.py",
        "own-offsets-ignored",
        "self._consumer = await self._broker.consumer(wanted, {})",
        f"{SOURCE}own_offsets_count_and_not_what_is_acknowledged",
    ),
    Mutant(
        "what is done when a lease ends is not acknowledged",
        "_delivery/inbox/source.py",
        "done-not-acknowledged-at-end",
        "pass",
        f"{SOURCE}end_of_a_lease_acknowledges_what_is_done",
    ),
    Mutant(
        "marks are not moved",
        "_delivery/inbox/progress.py",
        "mark-not-moved",
        "marks: dict[MarkKey, ReceivedEvent] = {}",
        f"{CONSUMER}redelivered_and_repeated_events_are_recognized[memory memory]",
    ),
    Mutant(
        "ids are not stored",
        "_delivery/inbox/progress.py",
        "id-not-stored",
        "ids: list[MessageId] = []",
        f"{SOURCE}ids_are_forgotten_after_their_window",
    ),
    Mutant(
        "messages of a failed key are not stored",
        "_delivery/inbox/progress.py",
        "message-of-failed-key-not-stored",
        "stored: list[InboxMessage] = []",
        f"{CONSUMER}poisoned_event_parks_its_key_only_and_a_redrive_keeps_the_order[memory memory]",
    ),
    Mutant(
        "the offset of a lane passes a message that is not handled",
        "_delivery/inbox/progress.py",
        "offset-passes-pending-message",
        "if place.number > move.frontier:",
        f"{SOURCE}slow_key_holds_the_offset_of_its_lane_and_no_other_key",
    ),
    Mutant(
        "offsets of another broker are used",
        "_delivery/inbox/consumer.py",
        "other-broker-read-from-old-offsets",
        'definition_hash = ""',
        f"{SOURCE}other_topic_needs_an_accepted_definition",
    ),
    Mutant(
        "a consumer holds expiring events of the log back",
        "_subscriptions/retention.py",
        "consumer-holds-messages-back",
        "return list(last.values())",
        f"{SOURCE}consumer_holds_no_expiring_event_back",
    ),
    Mutant(
        "the end of a broker's outage is seen only when a message arrives",
        "_subscriptions/lane_worker.py",
        "ended-outage-not-recorded",
        "pass",
        f"{SOURCE}unavailable_broker_is_an_outage_that_counts_no_attempt",
    ),
    Mutant(
        "what a consumer remembers is lost when ranges are moved together",
        "_store/postgres/recorder.py",
        "inbox-forgotten-in-a-group",
        "return not (work.rows or work.statements or work.append or work.failures or work.health)",
        "tests/contract/test_stores.py::TestPostgresPorts::test_work_at_the_same_time_is_remembered_for_each_consumer[18]",
    ),
    Mutant(
        "a consumer reads on behind the end of a topic that was created again",
        "_delivery/brokers/memory/broker.py",
        "lost-offset-not-noticed",
        "if False:",
        f"{START}consumer_waits_if_its_topic_was_created_again_and_reads_it_after_a_rewind[memory]",
    ),
    Mutant(
        "another message at the offset of a NATS consumer is not noticed",
        "_delivery/brokers/nats/broker.py",
        "replaced-message-not-noticed",
        "return False",
        f"{START}message_that_replaced_the_last_one_is_noticed",
    ),
    Mutant(
        "a consumer that begins at the end does not store where that was",
        "_delivery/inbox/source.py",
        "end-of-topic-not-recorded",
        "pass",
        f"{START}consumer_that_begins_at_the_end_misses_nothing_after_its_first_start[memory]",
    ),
    Mutant(
        "a message that a function has mapped is recognized by the id of its form only",
        "_delivery/inbox/received_event.py",
        "mapped-id-ignored",
        "if False:",
        f"{SOURCE}id_of_the_mapping_function_replaces_that_of_a_cloud_event_but_no_mark",
    ),
]
