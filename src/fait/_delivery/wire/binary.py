"""Binary mode of CloudEvents: attributes in headers, data as the body.

The prefix of the headers is that of the transport: `ce_` for Kafka, `ce-` for NATS, AMQP 0-9-1 and HTTP. Values are
texts without any encoding; adapters encode what their transport cannot carry.
"""

from collections.abc import Mapping

from fait._delivery.wire.cloud_event import JSON, CloudEvent, as_text, checked, is_json
from fait._delivery.wire.json_bounds import check_json

__all__ = ["decode_binary", "encode_binary"]

CONTENT_TYPE = "content-type"


def encode_binary(event: CloudEvent, prefix: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an event.

    Args:
        event: the event.
        prefix: the prefix of the transport.
    """
    headers = {prefix + name: as_text(value) for name, value in event.attributes.items() if name != "datacontenttype"}
    if content_type := event.text("datacontenttype") or (JSON if event.data is not None else None):
        headers[CONTENT_TYPE] = content_type
    return headers, event.data or b""


def decode_binary(headers: Mapping[str, str], body: bytes, prefix: str) -> CloudEvent:
    """Return the event in headers and body. An empty body is no data if the content type is JSON.

    Args:
        headers: the headers; names in lower case. Those without the prefix are ignored.
        body: the body.
        prefix: the prefix of the transport.

    Raises:
        MalformedMessage: the event is not valid, or its data is not the JSON that the content type says.
    """
    attributes = {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix)}
    attributes.pop("datacontenttype", None)  # the header content-type is in its place
    if content_type := headers.get(CONTENT_TYPE):
        attributes["datacontenttype"] = content_type
    valid = checked(attributes)
    if not is_json(content_type):
        return CloudEvent(valid, body)
    if not body:
        return CloudEvent(valid, None)
    if content_type:
        check_json(body)
    return CloudEvent(valid, body)
