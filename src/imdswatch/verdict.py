"""What stands at one endpoint, and why: the shared noun between `probe`, which finds it, and `report`, which shows it.

Frozen. Texts may hold what the other side said: every sink escapes them for its own medium. Empty means unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VERDICTS = ("absent", "genuine", "other-cloud", "local-helper", "impostor", "undecided")
FACT = "fact"
"""What a reason speaks for that speaks for no verdict."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that was seen, as a slug and a sentence, and the verdict that it speaks for, or FACT."""

    slug: str
    speaks_for: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands at one endpoint, asked by one way.

    endpoint        its address, or its URL where it is no plain address
    interface       the one that was asked through; "" where the routing table chose
    verdict         one of VERDICTS; `cloud` names the other cloud
    reasons         all of them, in the order of judging; `pro`, `contra` and `facts` part them
    responder       ip, mac, gateway, ttl, vendor: who answered, as far as it is known
    account         id, expected, from, access_key_id, role: as in a Finding
    advice          what to do next; empty where there is nothing to do
    notes           what could not be found out besides
    """

    endpoint: str
    interface: str
    verdict: str
    reasons: tuple[Reason, ...]
    cloud: str = ""
    responder: Mapping[str, object] = field(default_factory=dict)
    account: Mapping[str, object] = field(default_factory=dict)
    advice: str = ""
    notes: tuple[str, ...] = ()

    @property
    def pro(self) -> tuple[Reason, ...]:
        """The reasons for the verdict."""
        return tuple(reason for reason in self.reasons if reason.speaks_for == self.verdict)

    @property
    def contra(self) -> tuple[Reason, ...]:
        """The reasons against it."""
        return tuple(reason for reason in self.reasons if reason.speaks_for not in (self.verdict, FACT))

    @property
    def facts(self) -> tuple[Reason, ...]:
        """What was seen besides, and speaks for no verdict."""
        return tuple(reason for reason in self.reasons if reason.speaks_for == FACT)

    @property
    def state(self) -> tuple[object, ...]:
        """What a repeated probe compares: verdict, who, whose, and why; not how long it took, nor which key id."""
        who = tuple(self.responder.get(name) for name in ("mac", "gateway"))
        slugs = frozenset(reason.slug for reason in self.reasons)
        return self.verdict, self.cloud, who, self.account.get("id"), slugs
