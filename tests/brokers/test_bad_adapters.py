"""Each adapter that breaks a rule of the port fails the test of the contract for that rule."""

import inspect
from typing import Any

import pytest

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.memory.broker import MemoryBroker
from fait._delivery.brokers.memory.server import MemoryServer
from fait.testing.contract import BrokerContract, BrokerUnderTest, broker_under_test
from tests.brokers import bad_adapters as bad
from tests.brokers.test_contract import MemoryControl

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.05

PUBLISHERS = {
    bad.AcceptsLaterMessageOfKey: "refused_message_holds_back_later_ones_of_its_key",
    bad.ReturnsOutcomesInAnotherOrder: "outcomes_are_in_the_order_of_the_batch",
    bad.SendsAgain: "each_message_is_stored_once",
    bad.ConnectsAgain: "publisher_accepts_nothing_after_an_outage",
    bad.RaisesAfterPartOfBatch: "call_to_a_frozen_server_is_an_outage_within_the_timeout",
    bad.PublishesAfterFenced: "fenced_publisher_accepts_nothing_more",
    bad.HangsInOutage: "call_to_a_frozen_server_is_an_outage_within_the_timeout",
    bad.RaisesIfMessageIsRefused: "outcomes_are_in_the_order_of_the_batch",
    bad.MovesPositionWithoutMessages: "position_remains_if_nothing_of_an_atomic_batch_is_accepted",
    bad.MergesPositionsOfBuckets: "positions_are_those_of_the_buckets",
    bad.ForgetsEventId: "event_id_of_the_position_is_that_of_the_last_message",
    bad.ChangesHeaders: "header_values_arrive_unchanged",
    bad.ChangesKeys: "keys_arrive_unchanged",
    bad.ChoosesLaneByKey: "message_is_in_the_lane_of_its_bucket",
}
CONSUMERS = {
    bad.AcknowledgesAllDelivered: "only_messages_up_to_the_acknowledged_offset_are_not_delivered_again",
    bad.AcknowledgesByReceiving: "only_messages_up_to_the_acknowledged_offset_are_not_delivered_again",
    bad.PrefersAcknowledgedOffset: "own_offset_counts_although_later_messages_were_acknowledged",
    bad.DeliversAgain: "canceled_receive_loses_no_message",
    bad.LosesMessagesOfCanceledCall: "canceled_receive_loses_no_message",
    bad.IgnoresPause: "paused_lane_delivers_nothing_and_others_continue",
    bad.IgnoresMaximumBatch: "batch_has_messages_of_one_lane_and_at_most_the_maximum",
    bad.EndsInNothing: "waiting_consumer_receives_a_new_message",
    bad.CountsReceivedMessages: "backlog_is_the_number_of_messages_that_were_not_received",
    bad.CountsMessagesOfOneLane: "backlog_is_that_of_all_lanes_after_their_own_offsets",
    bad.RemembersTheBacklog: "backlog_is_unknown_while_the_server_is_frozen_and_that_is_no_outage",
}
BROKERS: list[tuple[str, type[MemoryBroker], str]] = [
    *((each.__name__, bad.with_publisher(each), test) for each, test in PUBLISHERS.items()),
    *((each.__name__, bad.with_consumer(each), test) for each, test in CONSUMERS.items()),
]


async def run(broker: type[MemoryBroker], test: str) -> None:
    server = MemoryServer()

    async def open_another() -> MemoryBroker:
        return broker("memory:", server, TIMEOUT_S)

    async with BrokerUnderTest(open_another, MemoryControl(server)) as tested:
        function = getattr(BrokerContract(), f"test_{test}")
        arguments: dict[str, Any] = {"tested": tested, "timeout_s": TIMEOUT_S}
        await function(**{name: arguments[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize(("broker", "test"), [each[1:] for each in BROKERS], ids=[each[0] for each in BROKERS])
async def test_contract_finds_a_broken_rule(
    broker: type[MemoryBroker], test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_under_test, "SOON_S", 0.5)

    with pytest.raises((AssertionError, TimeoutError, BrokerUnavailable, pytest.fail.Exception)):
        await run(broker, test)


@pytest.mark.parametrize("test", sorted({test for _, _, test in BROKERS}))
async def test_contract_accepts_the_broker_without_a_broken_rule(test: str) -> None:
    await run(MemoryBroker, test)
