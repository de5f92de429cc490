"""Messages to deliver."""

from __future__ import annotations

import json

from imdswatch.delivery.message import Message

AT = 1795309200.25


def message(number: int, **more: object) -> Message:
    """Return the message of a finding."""
    body = json.dumps({"delivery_id": f"f{number:04}-x", "type": "finding", "number": number} | more)
    labels = (("fingerprint", f"f{number:04}"), ("severity", "high"))
    return Message(f"f{number:04}-x", "finding", AT, body, labels)
