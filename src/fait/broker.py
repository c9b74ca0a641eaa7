"""Extension point for brokers: the port and the values that it exchanges.

An adapter implements `Broker`, `Publisher` and `Consumer`. Applications do not need this module.

To write an adapter:

1. Implement these protocols; no base class is needed. Their docstrings are the specification. Say in `BrokerFeatures`
   what the broker promises.
2. Write a coroutine function that opens a broker for a `Destination`, and declare it as an entry point of your package,
   named like the scheme of its URLs. `open_broker("mybroker:...")` then finds it:

       [project.entry-points."fait.brokers"]
       mybroker = "mypackage.broker:open_broker"

3. Run `BrokerContract` of `fait.testing.contract` against it. A broker that passes can be used by any app.

Let no client library send, connect or retry by itself. Raise `fait.BrokerUnavailable` for each outage, also if the
library reports it with `asyncio.CancelledError` although the task was not canceled. `check_call` and
`outcomes_with_refused` are for publishers, `encode_token` and `encode_header` for what a transport cannot carry.
"""

from types import FunctionType

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.open import OpenBroker, broker_schemes, open_broker
from fait._delivery.brokers.outcomes import check_call, outcomes_with_refused
from fait._delivery.brokers.port import (
    BUCKETS,
    CLOSE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    Accepted,
    Broker,
    BrokerFeatures,
    ConsumedBatch,
    ConsumedMessage,
    Consumer,
    ConsumerSpec,
    Lane,
    LaneRevoked,
    Message,
    Progress,
    Publisher,
    PublishOutcome,
    Refused,
    Source,
    Topology,
    Unsent,
    lane_of,
    lowest_progress,
)
from fait._delivery.text_codes import decode_header, decode_token, encode_header, encode_token
from fait.store import Finding

__all__ = [
    "BUCKETS",
    "CLOSE_TIMEOUT_S",
    "MAX_MESSAGE_BYTES",
    "Accepted",
    "Broker",
    "BrokerFeatures",
    "ConsumedBatch",
    "ConsumedMessage",
    "Consumer",
    "ConsumerSpec",
    "Destination",
    "Finding",
    "Lane",
    "LaneRevoked",
    "Message",
    "OpenBroker",
    "Progress",
    "PublishOutcome",
    "Publisher",
    "Refused",
    "Source",
    "Topology",
    "Unsent",
    "broker_schemes",
    "check_call",
    "decode_header",
    "decode_token",
    "encode_header",
    "encode_token",
    "lane_of",
    "lowest_progress",
    "open_broker",
    "outcomes_with_refused",
]

# Names that `fait` or `fait.store` exports as well report that module, which has been imported before this one.
for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType) and _exported.__module__.startswith("fait._"):
        _exported.__module__ = "fait.broker"
