"""Recognizes offsets that an adapter cannot have written: those of another broker have no meaning at this one."""

import re
from collections.abc import Mapping

from fait._broker_errors import OffsetLost
from fait._delivery.brokers.port import Lane

__all__ = ["require_form"]


def require_form(form: re.Pattern[str], offsets: Mapping[Lane, str], broker: str, consumer: str) -> None:
    """Raise `OffsetLost` if an offset has another form than those of the adapter.

    Args:
        form: form of the adapter's offsets.
        offsets: the offsets; "": before all messages.
        broker: URL of the broker, without passwords.
        consumer: name of the consumer.
    """
    for lane, offset in offsets.items():
        # fault: offset-of-another-broker-read
        if offset and not form.fullmatch(offset):
            raise OffsetLost(broker, consumer, lane.topic, lane.number, offset, is_foreign=True)
