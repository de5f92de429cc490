"""What is delivered, who speaks to a receiver, and how a delivery fails; pure.

A message is handed on until its receiver has confirmed it. Its id derives from what it says, so a receiver that gets it
twice (after a crash of either side) can tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One result on its way.

    id          `identity` of what it says; equal for equal results of any run
    kind        finding, skipped, verdict or summary
    at          when it was handed over, epoch seconds; stays the same when it is tried again
    body        one JSON document, no new line in it
    labels      short texts that a receiver may route by: fingerprint, rule, stage, severity
    """

    id: str
    kind: str
    at: float
    body: str
    labels: tuple[tuple[str, str], ...] = ()


class Channel(Protocol):
    """Speaks to one receiver. Used by one thread."""

    most: int
    """How many messages it takes at once."""

    def send(self, batch: Sequence[Message]) -> int:
        """Hand on messages and return how many, from the first on, are confirmed; raises Undelivered, Refused."""

    def close(self) -> None:
        """Let go of what is open."""


class Undelivered(Exception):
    """The receiver did not confirm; everything of the batch will be tried again, not before `after` seconds."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Refused(Exception):
    """The receiver will never take the message at `index` of the batch; those before it are confirmed."""

    def __init__(self, why: str, index: int) -> None:
        super().__init__(why)
        self.index = index


def identity(kind: str, exact: str, fingerprint: str = "") -> str:
    """Return the id of a result from its exact ndjson line: the fingerprint of a finding, or its kind, and a digest."""
    digest = hashlib.blake2b(exact.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{fingerprint or kind}-{digest}"


def batch_identity(batch: Sequence[Message]) -> str:
    """Return the id of a batch: equal for equal messages in equal order."""
    text = "\n".join(message.id for message in batch)
    return f"batch-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
