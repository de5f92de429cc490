"""The dialogue of one victim with one endpoint, as a state machine whose transitions are a table.

An impersonation goes: resolve (ARP, ND) → claim → connect → request → token → roles → credentials → use. `TRANSITIONS`
says, for each state, where each step leads; a step without entry leaves the state as it is. Steps may be missing, since
captures begin late and clients skip some (IMDSv1 asks no token); none leads back but new credentials after use. Contact
with AWS is `use` only after credentials, which is the one thing that no single packet can show.

What hangs on the state: whether contact with AWS is a use, whether an account that is named now is the account of
credentials that were served, and which MAC address claimed the endpoint before. Pure working state, bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from imdswatch.read.recent import Recent


class Step(StrEnum):
    """What one event is in a dialogue; also the state that it leads to."""

    NOTHING = "nothing"
    RESOLVE = "resolve"
    CLAIM = "claim"
    CONNECT = "connect"
    REQUEST = "request"
    TOKEN = "token"
    ROLES = "roles"
    CREDENTIALS = "credentials"
    USE = "use"


def _to(*steps: Step) -> dict[Step, Step]:
    return {step: step for step in steps}


_N, _R, _C, _S, _Q, _T, _L, _K, _U = Step

TRANSITIONS: dict[Step, dict[Step, Step]] = {
    Step.NOTHING: _to(_R, _C, _S, _Q, _T, _L, _K),
    Step.RESOLVE: _to(_C, _S, _Q, _T, _L, _K),
    Step.CLAIM: _to(_S, _Q, _T, _L, _K),
    Step.CONNECT: _to(_Q, _T, _L, _K),
    Step.REQUEST: _to(_T, _L, _K),
    Step.TOKEN: _to(_L, _K),
    Step.ROLES: _to(_K),
    Step.CREDENTIALS: _to(_U),
    Step.USE: _to(_K),
}
"""State → step seen → new state."""

MOST_DIALOGUES = 1 << 12
_MOST_MACS = 4
_MOST_REQUESTS = 8
_MOST_CLAIMS = 16


class Asked(NamedTuple):
    """What a request showed of its client: `imdswatch.clients.kind` tells it by this."""

    path: str
    headers: tuple[tuple[str, str | None], ...]

    @property
    def agent(self) -> str | None:
        """The User-Agent."""
        return next((value for name, value in self.headers if name.lower() == "user-agent"), None)


class Dialogue:
    """How far one victim came with one endpoint, and what was learnt on the way."""

    __slots__ = ("claims", "macs", "requests", "served", "state")

    def __init__(self) -> None:
        self.state = Step.NOTHING
        self.macs: list[str] = []
        """Who claimed the endpoint's address."""
        self.claims: list[str] = []
        """Accounts that answers named, as `source:account`."""
        self.served: list[str] = []
        """Accounts that were told as accounts of served credentials."""
        self.requests: list[Asked] = []

    def take(self, step: Step) -> bool:
        """Go where the step leads; say whether it counts in this state (`use` may not)."""
        target = TRANSITIONS[self.state].get(step)
        if target is not None:
            self.state = target
        return target is not None or step is not Step.USE or self.state is Step.USE

    @property
    def has_credentials(self) -> bool:
        """Whether credentials were served."""
        return self.state in (Step.CREDENTIALS, Step.USE)

    def claimed_by(self, mac: str) -> None:
        """Remember a claim of the endpoint's address."""
        if mac not in self.macs and len(self.macs) < _MOST_MACS:
            self.macs.append(mac)

    @property
    def claimant(self) -> str | None:
        """The MAC address that claimed the endpoint, if it is known and only one did."""
        return self.macs[0] if len(self.macs) == 1 else None

    def asked(self, request: Asked) -> list[Asked]:
        """Remember a request; return those of the dialogue so far that the same client may have sent."""
        if request not in self.requests and len(self.requests) < _MOST_REQUESTS:
            self.requests.append(request)
        return [one for one in self.requests if one.agent == request.agent] or [request]

    def name(self, claims: Iterable[str]) -> None:
        """Remember which accounts an answer named."""
        self.claims += [claim for claim in dict.fromkeys(claims) if claim not in self.claims]
        del self.claims[_MOST_CLAIMS:]


class Steps:
    """All dialogues of a capture: by victim (address, or MAC) and endpoint asked; the oldest are forgotten."""

    def __init__(self) -> None:
        self._dialogues: Recent[tuple[str, str], Dialogue] = Recent(MOST_DIALOGUES)
        self._served: Recent[str, Dialogue] = Recent(MOST_DIALOGUES)

    def of(self, victim: str, endpoint: str) -> Dialogue:
        """Return the dialogue of a victim with an endpoint."""
        found = self._dialogues.get((victim, endpoint))
        if found is None:
            found = Dialogue()
            self._dialogues.put((victim, endpoint), found)
        return found

    def known(self, victim: str, endpoint: str) -> Dialogue | None:
        """Return the dialogue of a victim with an endpoint if there was one."""
        return self._dialogues.get((victim, endpoint))

    def serve(self, victim: str, dialogue: Dialogue) -> None:
        """Remember that this victim has credentials of this dialogue."""
        self._served.put(victim, dialogue)

    def use(self, victim: str) -> bool:
        """Take contact of a host with AWS; say whether it is use of served credentials."""
        dialogue = self._served.get(victim)
        return dialogue is not None and dialogue.take(Step.USE)
