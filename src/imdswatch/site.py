"""The Site: what this network is. On-premises ranges, suppressions, expected AWS accounts (DESIGN 5).

A site file is TOML; unknown keys are errors with file and line. Suppression is decided for one rule and one event,
is null-safe (a missing VLAN or source never suppresses), and only ever marks: what it marks is counted and can be
listed. Everything here is frozen and pure but for `load_site`, which reads one file.

Longer than most: a reader of the site file needs one message for each mistake, beside the key it is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from imdswatch import address
from imdswatch.errors import SiteError
from imdswatch.event import endpoint, victim_ip
from imdswatch.finding import STAGE_RANK

ON_PREMISES = "on_premises"
"""What `suppressed_by` says of an event whose source is known not to be on premises."""

_KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset({"site", "accounts", "suppress"}),
    "site": frozenset({"name", "on_premises", "on_premises_vlans"}),
    "accounts": frozenset({"expected"}),
    "suppress": frozenset({"name", "reason", "vlans", "sources", "responders", "rules", "owner", "expires"}),
}
_MAC = re.compile(
    r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}", re.I
)
"""Colons or dashes (IEEE 802), three groups with dots (as switches print them), or digits alone."""
_ANSWERED = STAGE_RANK["answered"]


@dataclass(frozen=True, slots=True)
class Suppression:
    """One `[[suppress]]` entry: within one key any of its values, between keys all of them."""

    name: str
    reason: str = ""
    vlans: frozenset[int] = frozenset()
    sources: address.Networks | None = None
    responder_networks: address.Networks | None = None
    responder_macs: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    owner: str = ""
    expires: date | None = None

    @property
    def responder_endpoints(self) -> frozenset[str]:
        """The endpoint addresses that stand in `responders` themselves: whoever answers there."""
        networks = self.responder_networks.networks if self.responder_networks is not None else ()
        single = {str(net.network_address) for net in networks if net.num_addresses == 1}
        return frozenset(single & address.ENDPOINTS)

    @property
    def names_responders(self) -> bool:
        """Whether the entry has a `responders` key."""
        return self.responder_networks is not None or bool(self.responder_macs)

    def covers(self, rule: str, rank: int, fields: Mapping[str, Any]) -> bool:
        """Say whether the entry mutes this rule (of this stage rank) for this event."""
        if self.rules and rule not in self.rules:
            return False
        if self.vlans and not self.vlans.intersection(fields.get("vlan") or ()):
            return False
        if self.sources is not None:
            source = victim_ip(fields)
            if source is None or not address.names_a_host(source) or source not in self.sources:
                return False
        if rank < _ANSWERED:
            return True
        return self.names_responders and self._answerer(fields)

    def _answerer(self, fields: Mapping[str, Any]) -> bool:
        macs, addresses = answerer_names(fields)
        if self.responder_macs & macs:
            return True
        # A network of the site may happen to hold the endpoint (fd00::/8): it does not mean whoever answers there.
        return any(
            name in self.responder_endpoints
            if name in address.ENDPOINTS
            else self.responder_networks is not None and name in self.responder_networks
            for name in addresses
        )


def answerer_names(fields: Mapping[str, Any]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return what names whoever answered: MAC addresses, and IP addresses.

    The endpoint's own address is among them: a site that lists it means whoever answers. What host the client asked
    for says who answered only where the record does not name the other side.
    """
    get = fields.get
    claims = (
        get("src_ip") in address.ENDPOINTS or get("nd_target") in address.ENDPOINTS or get("offered_route")
    )
    mac = get("src_mac") if claims else get("dst_mac")
    sender = get("src_ip") if claims else get("dst_ip")
    asked = endpoint(fields)
    if sender is not None and asked not in address.ENDPOINTS:
        asked = None
    names = [name for name in (get("nat_dst"), sender, asked) if name is not None]
    addresses = [found for name in names if (found := address.parse_host(name)) is not None]
    return frozenset([mac.lower()] if mac else []), tuple(dict.fromkeys(addresses))


@dataclass(frozen=True, slots=True)
class Site:
    """What this network is; the default is a network about which nothing is known."""

    name: str = ""
    on_premises: address.Networks | None = None
    on_premises_vlans: frozenset[int] = frozenset()
    expected_accounts: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def values(self) -> Mapping[str, Sequence[str]]:
        """The values that fill placeholders in rules; a name without values is left out."""
        return {"imds_expected_accounts": self.expected_accounts} if self.expected_accounts else {}

    def suppressed_by(self, rule: str, rank: int, fields: Mapping[str, Any]) -> str | None:
        """Return the name of what mutes this rule (of this stage rank) for this event, or None."""
        if (self.on_premises is not None or self.on_premises_vlans) and self._elsewhere(fields):
            return ON_PREMISES
        for entry in self.suppressions:
            if entry.covers(rule, rank, fields):
                return entry.name
        return None

    def _elsewhere(self, fields: Mapping[str, Any]) -> bool:
        vlans = fields.get("vlan") or ()
        if self.on_premises_vlans.intersection(vlans):
            return False
        if self.on_premises is None:
            return bool(vlans)
        source = victim_ip(fields)
        return source is not None and address.names_a_host(source) and source not in self.on_premises

    @property
    def mutes_nothing(self) -> bool:
        """Whether no event can be suppressed."""
        return self.on_premises is None and not self.on_premises_vlans and not self.suppressions


def load_site(path: Path, rules: Sequence[str], as_of: date) -> Site:
    """Read a site file; raises SiteError. `rules` are the slugs that exist; `as_of` is the day of the run, UTC."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(f"cannot read the site file: {_reason(error)}", file=str(path)) from error
    return parse_site(text, str(path), rules, as_of)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def parse_site(text: str, file: str, rules: Sequence[str], as_of: date) -> Site:
    """Return the Site that TOML text means; raises SiteError with file and line."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        message = re.sub(r" \(at .*\)", "", str(error))
        raise SiteError(
            f"not valid TOML: {message}", file=file, line=int(line[1]) if line else text.count("\n") + 1
        ) from error
    return _Reader(text, file, frozenset(rules), as_of).site(table)


class _Reader:
    """Turns a parsed TOML table into a Site; holds what every error message needs."""

    def __init__(self, text: str, file: str, rules: frozenset[str], as_of: date) -> None:
        self.text, self.file, self.rules, self.as_of = text, file, rules, as_of
        self.warnings: list[str] = []

    def fail(self, what: str, key: str, entry: int = 0, help: str = "") -> SiteError:
        return SiteError(what, file=self.file, line=self.line(key, entry), help=help)

    def line(self, key: str, entry: int = 0) -> int:
        """Return the 1-based line on which a key stands, in the nth `[[suppress]]` table if `entry` is given."""
        start = 0
        for _ in range(entry):
            found = re.compile(r"(?m)^\s*\[\[\s*suppress\s*\]\]").search(self.text, start)
            start = found.end() if found else start
        name = re.escape(key)
        at = re.compile(rf"(?m)^\s*(?:\[+\s*)?['\"]?{name}['\"]?\s*(?:=|\.|\]|$)").search(self.text, start)
        if at is None:
            return self.text.count("\n", 0, start) + 1 if start else 0
        lead = len(at[0]) - len(at[0].lstrip())
        return self.text.count("\n", 0, at.start() + lead) + 1

    def site(self, table: dict[str, Any]) -> Site:
        self.known("", table)
        site, accounts = self.table(table, "site"), self.table(table, "accounts")
        entries = table.get("suppress", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.fail("`suppress` is no list of tables", "suppress", help="write [[suppress]]")
        suppressions = [self.suppression(entry, number) for number, entry in enumerate(entries, 1)]
        names = [entry.name for entry in suppressions]
        for number, name in enumerate(names, 1):
            if names.index(name) != number - 1:
                raise self.fail(f"two suppressions are named `{name}`", "name", number)
        return Site(
            name=self.text_value(site, "name"),
            on_premises=self.networks(site, "on_premises"),
            on_premises_vlans=self.vlans(site, "on_premises_vlans"),
            expected_accounts=self.accounts(accounts),
            suppressions=tuple(entry for entry in suppressions if not self.expired(entry)),
            warnings=tuple(self.warnings),
        )

    def table(self, parent: dict[str, Any], key: str) -> dict[str, Any]:
        table = parent.get(key, {})
        if not isinstance(table, dict):
            raise self.fail(f"`{key}` is no table", key, help=f"write [{key}]")
        self.known(key, table)
        return table

    def known(self, section: str, table: dict[str, Any], entry: int = 0) -> None:
        for key in table:
            if key not in _KEYS[section]:
                place = f" in [{section}]" if section else ""
                allowed = ", ".join(sorted(_KEYS[section]))
                raise self.fail(f"unknown key `{key}`{place}", key, entry, help=f"known keys: {allowed}")

    def suppression(self, table: dict[str, Any], number: int) -> Suppression:
        self.known("suppress", table, number)
        name = self.text_value(table, "name", number)
        if not name:
            raise self.fail("a suppression needs a `name`", "name", number)
        if name == ON_PREMISES:
            raise self.fail(f"a suppression cannot be named `{name}`", "name", number, "that word is taken")
        rules = self.list_of(table, "rules", str, number)
        for rule in rules:
            if rule not in self.rules:
                help = "`imdswatch rules` lists the rules"
                raise self.fail(f"there is no rule `{rule}`", "rules", number, help)
        networks, macs = self.responders(table, number, name)
        expires = table.get("expires")
        if isinstance(expires, datetime) or not isinstance(expires, date | None):
            raise self.fail(
                "`expires` is no date", "expires", number, help="write it as expires = 2027-03-31"
            )
        entry = Suppression(
            name=name,
            reason=self.text_value(table, "reason", number),
            vlans=self.vlans(table, "vlans", number),
            sources=self.networks(table, "sources", number),
            responder_networks=networks,
            responder_macs=macs,
            rules=frozenset(rules),
            owner=self.text_value(table, "owner", number),
            expires=expires,
        )
        if not entry.vlans and entry.sources is None:
            self.warnings.append(
                f"suppression `{name}` has neither vlans nor sources: it mutes attempts of every host"
            )
        return entry

    def expired(self, entry: Suppression) -> bool:
        if entry.expires is None or entry.expires >= self.as_of:
            return False
        owner = f", owner: {entry.owner}" if entry.owner else ""
        self.warnings.append(
            f"suppression `{entry.name}` expired on {entry.expires} and does not apply{owner}"
        )
        return True

    def responders(
        self, table: dict[str, Any], number: int, name: str
    ) -> tuple[address.Networks | None, frozenset[str]]:
        networks, macs = [], set()
        for text in self.list_of(table, "responders", str, number):
            if _MAC.fullmatch(text):
                digits = re.sub("[:.-]", "", text.lower())
                macs.add(":".join(re.findall("..", digits)))
                continue
            networks.append(
                self.network(text, "responders", number, "an address, a network or a MAC address")
            )
            if str(networks[-1].network_address) in address.ENDPOINTS and networks[-1].num_addresses == 1:
                self.warnings.append(
                    f"suppression `{name}` lists the endpoint itself as responder: it mutes whoever answers there"
                )
        return (address.Networks(networks) if networks else None), frozenset(macs)

    def text_value(self, table: dict[str, Any], key: str, entry: int = 0) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            raise self.fail(f"`{key}` is no text", key, entry)
        return value

    def list_of(self, table: dict[str, Any], key: str, kind: type, entry: int = 0) -> list[Any]:
        values = table.get(key, [])
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            word = "numbers" if kind is int else "texts"
            raise self.fail(f"`{key}` is no list of {word}", key, entry)
        if key in table and not values:
            raise self.fail(f"`{key}` is empty", key, entry, help="leave the key out, or list something")
        return values

    def networks(self, table: dict[str, Any], key: str, entry: int = 0) -> address.Networks | None:
        texts = self.list_of(table, key, str, entry)
        found = [self.network(text, key, entry, "a network such as 10.0.0.0/8") for text in texts]
        return address.Networks(found) if found else None

    def network(self, text: str, key: str, entry: int, wanted: str) -> address.Network:
        try:
            return address.network(text)
        except ValueError as error:
            raise self.fail(
                f"`{text}` in `{key}` is no network", key, entry, help=f"give {wanted}"
            ) from error

    def vlans(self, table: dict[str, Any], key: str, entry: int = 0) -> frozenset[int]:
        values = self.list_of(table, key, int, entry)
        for value in values:
            if not 0 <= value <= 4095:
                raise self.fail(f"{value} in `{key}` is no VLAN id", key, entry, help="0 to 4095")
        return frozenset(values)

    def accounts(self, table: dict[str, Any]) -> tuple[str, ...]:
        values = self.list_of(table, "expected", str)
        for value in values:
            if not re.fullmatch(r"[0-9]{12}", value):
                raise self.fail(f"`{value}` is no AWS account id", "expected", help="twelve digits, as text")
        return tuple(values)
