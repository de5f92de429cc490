"""Findings of many files and hosts become one for each incident: the same fingerprint, the same suppression.

Counts are added, times span all, the finding of the highest stage speaks for the incident, responders and evidence are
united (bounded), and accounts that differ stand in `account.claims`. What is told again is not counted again: a watch
tells a finding with totals each time it grows, and a file may be given twice; see `_tells_again`. The outcome does not
depend on the order of the files, but for the order of the findings: as they first came.

Memory is bounded: beyond `OPEN` incidents the findings of further ones go to temporary files, parted by fingerprint,
and are merged part by part.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from imdswatch.errors import UsageError
from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, STAGE_RANK, Evidence, Finding
from imdswatch.report.ndjson import line as ndjson_line
from imdswatch.report.readback import result

OPEN = 20_000
"""Incidents merged in memory at a time, about 4 kB each."""
PARTS = 64
EVIDENCE = 20
RESPONDERS = 16
_TOLD = 16
"""Tellings of one incident that are remembered, to know them when they are told again."""
_DEPTH = 4
_ORDINARY = 4096

Order = tuple[int, int, int, float, tuple[tuple[str, str, str], ...]]


class Merging:
    """Takes findings one by one; `findings` yields the incidents. Raises UsageError if no temporary file can be had."""

    def __init__(self, depth: int = 0) -> None:
        self._open: dict[tuple[str, str], _Incident] = {}
        self._parts: list[IO[bytes] | None] = [None] * PARTS
        self._depth, self._weight = depth, 0

    def add(self, finding: Finding) -> None:
        """Take one finding."""
        key = finding.fingerprint, finding.suppressed_by or ""
        incident = self._open.get(key)
        if incident is not None:
            incident.add(finding)
        elif self._weight < OPEN or self._depth == _DEPTH:
            self._open[key] = _Incident(finding)
            self._weight += _weight(finding)
        else:
            self._put_off(key, finding)

    def findings(self) -> Iterator[Finding]:
        """Yield each incident once; nothing may be added any more."""
        for incident in self._open.values():
            yield incident.finding()
        self._open = {}
        for at, part in enumerate(self._parts):
            if part is None:
                continue
            self._parts[at] = None
            inner = Merging(self._depth + 1)
            with part:
                try:
                    part.seek(0)  # what is still buffered is written here
                    for line in part:
                        found = result(line)
                        assert isinstance(found, Finding)
                        inner.add(found)
                except OSError as error:
                    raise _full(error) from error
            yield from inner.findings()

    def _put_off(self, key: tuple[str, str], finding: Finding) -> None:
        # Another part at each depth: what met in one part is told apart in the next.
        digest = hashlib.blake2b("\x00".join(key).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        at = digest[self._depth] % PARTS
        try:
            part = self._parts[at]
            if part is None:
                part = self._parts[at] = tempfile.TemporaryFile(prefix="imdswatch-")  # noqa: SIM115  closed above
            part.write(ndjson_line(finding).encode())
        except OSError as error:
            raise _full(error) from error


def _full(error: OSError) -> UsageError:
    return UsageError(
        f"cannot write temporary files: {(error.strerror or str(error)).lower()}",
        file=tempfile.gettempdir(),
        help="set TMPDIR to a folder with room: as much as the findings take",
    )


class _Incident:
    """What is known of one incident: sums, and for each part of a finding the telling that speaks for it."""

    def __init__(self, finding: Finding) -> None:
        self._count = 0
        self._rules: dict[str, int] = {}
        self._first, self._last = math.inf, -math.inf
        self._lead: tuple[Order, Finding] | None = None
        self._best: dict[str, tuple[Order, Any]] = {}
        self._victim: dict[str, tuple[Order, Any]] = {}
        self._tags: set[tuple[Any, ...]] = set()
        self._account: tuple[tuple[bool, Order], Mapping[str, Any]] | None = None
        self._claims: dict[str, set[str]] = {}
        self._forged = False
        self._responders: dict[bytes, Mapping[str, Any]] = {}
        self._evidence: set[Evidence] = set()
        self._attack: dict[str, None] = {}
        self._told: list[Finding] = []
        self.add(finding)

    def add(self, finding: Finding) -> None:
        """Take one more telling of the incident."""
        self._number(finding)
        order = _order(finding)
        if self._lead is None or order < self._lead[0]:
            self._lead = order, finding
        if finding.first_seen is not None:
            self._first = min(self._first, finding.first_seen)
        if finding.last_seen is not None:
            self._last = max(self._last, finding.last_seen)
        for name in ("responder", "request", "remedy", "verdict", "reasons", "cause"):
            _keep(self._best, name, order, getattr(finding, name))
        for name, value in finding.victim.items():
            _keep(self._victim, name, order, value)
        self._tags.add(tuple(_listed(finding.victim.get("vlan"))))
        self._unite_accounts(order, finding.account)
        for responder in (finding.responder, *finding.responders):
            if responder:
                self._responders[_packed(responder)] = responder
        if len(self._responders) > 4 * RESPONDERS:
            self._responders = {key: self._responders[key] for key in sorted(self._responders)[:RESPONDERS]}
        self._evidence.update(finding.evidence)
        if len(self._evidence) > 4 * EVIDENCE:
            self._evidence = set(sorted(self._evidence, key=_place)[:EVIDENCE])
        self._attack |= dict.fromkeys(finding.attack)

    def _number(self, finding: Finding) -> None:
        """Add the counts of a telling, less those of an earlier one that it repeats."""
        for at, earlier in enumerate(self._told):
            if _tells_again(finding, earlier):
                self._sum(earlier, -1)
                self._told[at] = finding
                break
            if _tells_again(earlier, finding):
                return
        else:
            self._told.append(finding)
            del self._told[:-_TOLD]
        self._sum(finding, 1)

    def _sum(self, finding: Finding, sign: int) -> None:
        self._count += sign * finding.count
        for rule, count in finding.rules.items():
            self._rules[rule] = self._rules.get(rule, 0) + sign * count

    def _unite_accounts(self, order: Order, account: Mapping[str, Any]) -> None:
        if not account:
            return
        rank = account.get("expected") is not False, order  # an account that is not expected is never hidden
        if self._account is None or rank < self._account[0]:
            self._account = rank, account
        self._forged = self._forged or account.get("forged") is True
        claims = account.get("claims")
        if isinstance(claims, Mapping):
            for source, numbers in claims.items():
                self._claims.setdefault(str(source), set()).update(str(numbers).split())
        elif "id" in account:
            self._claims.setdefault(str(account.get("from", "unknown")), set()).add(str(account["id"]))

    def finding(self) -> Finding:
        """Return the incident as one finding."""
        assert self._lead is not None
        lead = self._lead[1]
        best = {name: value for name, (_, value) in self._best.items()}
        victim = {name: value for name, (_, value) in self._victim.items()}
        if any(self._tags):  # outer first, as each finding has them
            stacks = sorted(
                self._tags, key=lambda tags: (-len(tags), [(str(type(tag)), tag) for tag in tags])
            )
            victim["vlan"] = list(dict.fromkeys(tag for stack in stacks for tag in stack))
        responder: Mapping[str, Any] = best.get("responder", {})
        led_by = {_packed(one) for one in lead.responders}
        named = [responder, *lead.responders]
        more = [self._responders[key] for key in sorted(self._responders.keys() - led_by)]
        # A record without MAC or NAT says nothing that a fuller record of the same address does not say.
        more = [
            one
            for one in more
            if not any(_is_part(one, other) for other in named)
            and not any(one != other and _is_part(one, other) for other in more)
        ]
        led = lead.evidence[:EVIDENCE]
        rest = sorted(self._evidence - set(led), key=_place)
        return Finding(
            rule=lead.rule,
            rules=dict(sorted(self._rules.items())),
            title=lead.title,
            stage=lead.stage,
            severity=lead.severity,
            confidence=lead.confidence,
            first_seen=None if self._first == math.inf else self._first,
            last_seen=None if self._last == -math.inf else self._last,
            count=self._count,
            victim=victim,
            responder=responder,
            responders=(*lead.responders, *more)[:RESPONDERS],
            request=best.get("request", {}),
            account=self._united(),
            evidence=(*led, *rest)[:EVIDENCE],
            cause=best.get("cause", ""),
            attack=tuple(dict.fromkeys((*lead.attack, *sorted(self._attack)))),
            suppressed_by=lead.suppressed_by,
            remedy=best.get("remedy", ""),
            fingerprint=lead.fingerprint,
            verdict=best.get("verdict", ""),
            reasons=best.get("reasons", ()),
        )

    def _united(self) -> Mapping[str, Any]:
        if self._account is None:
            return {}
        account = dict(self._account[1])
        if len({number for numbers in self._claims.values() for number in numbers}) > 1:
            account["claims"] = {name: " ".join(sorted(self._claims[name])) for name in sorted(self._claims)}
        if self._forged:
            account["forged"] = True
        return account


def _weight(finding: Finding) -> int:
    """Return as how many ordinary findings one counts: a long one takes the room of several."""
    texts = [text for one in finding.evidence for text in _place(one)]
    texts += [
        value
        for part in (finding.victim, finding.request)
        for value in part.values()
        if isinstance(value, str)
    ]
    return 1 + sum(map(len, texts)) // _ORDINARY


def _order(finding: Finding) -> Order:
    """Return the place among the tellings of one incident: the highest stage first, then the earliest."""
    return (
        -STAGE_RANK[finding.stage],
        -SEVERITY_RANK[finding.severity],
        -CONFIDENCE_RANK[finding.confidence],
        math.inf if finding.first_seen is None else finding.first_seen,
        tuple(map(_place, finding.evidence)),
    )


def _tells_again(later: Finding, earlier: Finding) -> bool:
    """Say whether one telling holds all that another told: its span of time, its counts, and a place of evidence.

    A watch tells totals, and whoever killed it makes it tell the last once more. Two sensors that saw one incident
    differ in their evidence, two runs over different days in their times, so those are added.
    """
    if later.count < earlier.count or earlier.first_seen is None or earlier.last_seen is None:
        return later == earlier
    if later.first_seen is None or later.last_seen is None:
        return False
    return (
        later.first_seen <= earlier.first_seen
        and later.last_seen >= earlier.last_seen
        and all(later.rules.get(rule, 0) >= count for rule, count in earlier.rules.items())
        and (not set(later.evidence).isdisjoint(earlier.evidence) or later.evidence == earlier.evidence)
    )


def _keep(best: dict[str, tuple[Order, Any]], name: str, order: Order, value: Any) -> None:
    if value and (name not in best or order < best[name][0]):
        best[name] = order, value


def _place(evidence: Evidence) -> tuple[str, str, str]:
    return evidence.source, evidence.position, evidence.excerpt


def _is_part(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(other.get(name) == value for name, value in one.items())


def _packed(responder: Mapping[str, Any]) -> bytes:
    return orjson.dumps(responder, option=orjson.OPT_SORT_KEYS)


def _listed(value: Any) -> list[Any]:
    return [one for one in value if isinstance(one, int | str)] if isinstance(value, list | tuple) else []
