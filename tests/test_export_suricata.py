"""The Suricata target: what the real engine made of the rules, compared with what `scan` finds; and the texts.

`suricata_runs` wrote down which rules fired, and for which text of the rules; a changed rules file without a new run is
an error here. With `suricata` installed and IMDSWATCH_SURICATA set (`make conformance`) everything is run anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

import suricata_requests
import suricata_runs as runs
from export_cases import RULES, TODAY, content, same_as_golden, site
from imdswatch.account import account_of
from imdswatch.finding import Finding
from imdswatch.rule import Text, Wild, parse_rule
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import Column, load_schemas
from imdswatch.siem import content_of, tree
from imdswatch.siem import formula as f
from imdswatch.siem import suricata_octets as octets
from imdswatch.siem.content import Request
from imdswatch.siem.suricata import derived, settings
from imdswatch.siem.suricata_site import Groups, without
from imdswatch.siem.terms import Literal, TooMany, terms
from imdswatch.site import Site

DIALOGUE = frozenset(
    f"imds-{name}" for name in ("answered", "credential-request", "credentials-served", "request")
)
ALL = DIALOGUE | {"aws-2025-021", "imds-contact"}
V2 = ALL | {"imds-token-request"}
ARP = frozenset({"aws-2025-021", "imds-contact", "imds-l2-claim"})
LOSSES: dict[str, dict[str, frozenset[str]]] = {
    "Suricata has no rules for ARP": {
        "derived/arp-gratuitous-reply.pcap": ARP,
        "derived/arp-gratuitous-request.pcap": ARP,
        "derived/arp-probe.pcap": frozenset({"imds-contact"}),
        "derived/arp-reply-padded.pcap": ARP - {"aws-2025-021"},
        "derived/arp-reply-vlan.pcap": ARP - {"aws-2025-021"},
        "derived/arp-reply.pcap": ARP,
        "derived/arp-request.pcap": ARP - {"imds-l2-claim"},
        "lab/a5-arp-unresolved.pcap": ARP - {"imds-l2-claim"},
        "lab/j-onlink-arp-rogue.pcap": frozenset({"imds-l2-claim"}),
        "lab/j2-gratuitous-arp.pcap": ARP,
        "recorded/onlink-arp-used.pcap": frozenset({"imds-l2-claim"}),
        "recorded/onlink-arp.pcap": frozenset({"imds-l2-claim"}),
        "recorded/onlink-nobody.pcap": ARP - {"imds-l2-claim"},
    },
    "Suricata 7 does not decode this envelope or link type": {
        "derived/carrier-erspan-3-platform.pcap": V2,
        "derived/carrier-erspan-3.pcap": V2,
        "derived/carrier-ip-in-ip.pcap": V2,
        "derived/carrier-loop.pcap": V2,
        "derived/carrier-null-big-endian.pcap": V2,
        "derived/carrier-sll2.pcap": V2,
        "recorded/dnat-both-sides.pcap": frozenset({"imds-credentials-served"}),  # SLL2, too
    },
    "libpcap stops in this file": {
        "derived/container-two-interfaces.pcapng": V2,
        "derived/container-two-sections.pcapng": frozenset({"imds-credentials-served"}),
        "derived/damaged-unknown-interface.pcapng": ALL,
    },
    "Suricata follows connections from their beginning unless stream.midstream is set": {
        "derived/midstream.pcap": DIALOGUE,
        "derived/server-only.pcap": frozenset({"imds-credentials-served"}),
    },
    "the connection begins within the request, and no HTTP is recognised": {
        "derived/begins-within-request.pcap": frozenset({"imds-credentials-served"}),
    },
    "Suricata does not read data that comes with SYN": {"derived/syn-with-data.pcap": DIALOGUE},
    "the packet with the key id is missing, and a rule cannot tell": {
        "derived/missing-key-id.pcap": frozenset({"imds-credentials-served"}),
    },
    "an option 121 in two parts": {"derived/dhcp-ack-split-option.pcap": frozenset({"imds-route-offered"})},
    "Suricata 7 does not read the last eight octets of a router advertisement": {
        "derived/ra-route-32.pcap": frozenset({"imds-route-offered"}),
    },
}
CURED = {"derived/midstream.pcap", "derived/server-only.pcap"}
"""Captures that lose nothing with the stream settings that the README recommends."""


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(runs.RECORD.read_text("utf-8"))
    return found


# What the real engine said.


def test_the_record_is_of_these_rules() -> None:
    help = "the rules changed since Suricata ran them: run `python tests/suricata_runs.py` and look at the difference"
    assert record()["rules"] == runs.digest(runs.rules()), help
    assert record()["rules_for_site"] == runs.digest(runs.rules(site(runs.SITE))), help
    assert list(record()["captures"]) == runs.names(), "a capture came or went: run tests/suricata_runs.py"


def _lost(name: str, got: list[str]) -> frozenset[str]:
    return runs.wanted(name)[0] - set(got)


def test_no_capture_raises_what_scan_does_not_find() -> None:
    for part in ("captures", "tuned"):
        noise = {name: sorted(set(got) - runs.wanted(name)[1]) for name, got in record()[part].items()}
        assert not {name: slugs for name, slugs in noise.items() if slugs}


def test_nothing_is_lost_but_what_is_named() -> None:
    lost = {name: slugs for name, got in record()["captures"].items() if (slugs := _lost(name, got))}
    named = {name: slugs for losses in LOSSES.values() for name, slugs in losses.items()}
    assert lost == named
    found = sum(len(runs.wanted(name)[0]) for name in record()["captures"])
    assert found > 1500
    assert sum(map(len, lost.values())) < found / 10


def test_the_recommended_stream_settings_cure_what_they_say() -> None:
    cured = {name for name, got in record()["tuned"].items() if not _lost(name, got)}
    assert cured == CURED


def test_every_spelling_of_a_request_raises_what_the_predicate_says() -> None:
    assert record()["requests"] == suricata_requests.expected()
    assert record()["requests"]["/latest/meta-database"] == ["aws-2025-021"]
    assert record()["requests"]["host 169.254.169.25"] == []


def test_the_site_leaves_out_what_scan_leaves_out() -> None:
    where, schemas = site(runs.SITE), load_schemas()
    for name, got in record()["site"].items():
        found = Scan([str(runs.CAPTURES / name)], Options(tuple(RULES), where, schemas)).results()
        shown = [one for one in found if isinstance(one, Finding) and one.suppressed_by is None]
        assert set(got) == {slug for one in shown for slug in one.rules}, name
    assert "imds-unexpected-account" in record()["site"]["recorded/account-zeros.pcap"]
    assert record()["site"]["recorded/dnat-rogue-side.pcap"] == []


@pytest.mark.slow
@pytest.mark.skipif(
    "IMDSWATCH_SURICATA" not in os.environ, reason="needs the real Suricata: make conformance"
)
def test_the_record_is_what_suricata_says(tmp_path: Path) -> None:
    said = runs.record()
    assert {**said, "suricata": ""} == {**record(), "suricata": ""}


@pytest.mark.slow
@pytest.mark.skipif(
    "IMDSWATCH_SURICATA" not in os.environ, reason="needs the real Suricata: make conformance"
)
def test_the_tree_loads_without_a_warning(tmp_path: Path) -> None:
    """The tree for a site, its groups and its event log taken into suricata.yaml as the README says."""
    for path, text in tree(content("suricata", site(runs.SITE))).items():
        (tmp_path / path).write_text(text, "utf-8")
    config = Path("/etc/suricata/suricata.yaml").read_text("utf-8")
    config = config.replace(
        "address-groups:", f"address-groups:\n    include: {tmp_path}/address-groups.yaml", 1
    )
    config = re.sub(
        r"(?m)^outputs:", f"outputs:\n  - eve-log:\n      include: {tmp_path}/imdswatch.yaml", config, count=1
    )
    (tmp_path / "suricata.yaml").write_text(config, "utf-8")
    command = ["suricata", "-T", "-v", "-c", "suricata.yaml", "-S", "imdswatch.rules", "-l", "."]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert not re.search(r"(?mi)^(?:W|E|.*\b(?:warning|error)s?\b):(?! )|^[WE]: ", said), said


# The texts.


@pytest.mark.parametrize("name", ["suricata", "suricata-site"])
def test_golden_tree(name: str) -> None:
    same_as_golden(name, content("suricata", site() if name.endswith("site") else None))


def test_export_again_is_the_same() -> None:
    assert tree(content("suricata", site())) == tree(content("suricata", site()))


LINE = re.compile(r"alert [\w-]+ \S+ \S+ -> \S+ \S+ \((.*) sid:(\d+); rev:\d+;\)\Z")


def _lines(where: Site | None = None) -> list[str]:
    return [line for line in runs.rules(where).splitlines() if line]


def test_each_rule_has_a_number_a_class_a_link_and_a_limit() -> None:
    for line in _lines(site()):
        found = LINE.match(line)
        assert found, line
        if "noalert" in found[1]:
            continue
        for word in (
            "msg:",
            "threshold:type limit",
            "reference:url,",
            "classtype:",
            "priority:",
            "metadata:",
        ):
            assert word in found[1], f"{word} is missing: {line}"


def test_numbers_are_those_of_the_table_and_none_is_used_twice() -> None:
    table = [number for keys in settings()["sids"].values() for number in keys.values()]
    assert len(set(table)) == len(table)
    assert min(table) >= 1_025_100
    assert max(table) < 1_026_000
    everything = site('[accounts]\nexpected = ["123456789012"]')
    used = [int(found[2]) for line in _lines(everything) if (found := LINE.match(line))]
    assert sorted(used) == sorted(table), "a look came or went: add its number at the end of the rule's block"


def test_numbers_of_others_hang_on_their_names() -> None:
    assert derived("site/lab") == derived("site/lab")
    assert 1_500_000 <= derived("site/lab") < 2_000_000
    assert derived("site/lab") != derived("site/lab2")


def test_what_cannot_be_said_is_told() -> None:
    found = content("suricata", site())
    assert [one.rule.slug for one in found.not_applicable] == ["imds-redirected"]
    lost = {
        one.rule.slug: "; ".join(f"{loss.clause}: {loss.why}" for loss in one.lost) for one in found.documents
    }
    assert "no rules for ARP" in lost["imds-l2-claim"]
    assert "`vlan.id`" in lost["imds-contact"]
    assert "cannot compare the key id" in lost["imds-credentials-used"]
    assert "behind a proxy" in lost["imds-answered"]
    mac = site(
        '[[suppress]]\nname = "x"\nsources = ["10.0.0.0/8"]\nresponders = ["10.1.1.1", "02:00:00:00:00:01"]'
    )
    [answered] = [one for one in content("suricata", mac).documents if one.rule.slug == "imds-answered"]
    assert any("keyword for MAC" in loss.why for loss in answered.lost)


def test_the_site_stands_in_address_groups() -> None:
    files = tree(content("suricata", site()))
    groups = yaml.safe_load(files["address-groups.yaml"])
    assert groups["IMDS_ON_PREMISES"] == "[10.0.0.0/8,fd12:3456::/32,2001:db8::/32]"
    assert "until 2027-03-31" in files["address-groups.yaml"]
    used = set(re.findall(r"\$(\w+)", files["imdswatch.rules"]))
    assert used <= set(groups)
    assert "address-groups.yaml" not in tree(content("suricata"))
    inline = Groups(site(), named=False)
    for line in _lines(site()):
        assert "$IMDS" not in line
    assert groups == inline.variables


def test_a_rule_of_the_users_own_becomes_a_rule() -> None:
    text = """
title: An agent
logsource: {category: proxy}
detection:
    agent: {user_agent|startswith: 'evil";agent', uri_path: /latest/meta-data/x}
    elsewhere: {host|endswith: .example.com}
    condition: agent and not elsewhere
level: high
"""
    own = parse_rule("own", text, "own.yml")
    assert own is not None
    [one] = content_of("suricata", Request((own,), Site(), load_schemas(), TODAY)).documents
    assert 'content:"evil|22||3b|agent"; nocase; startswith;' in one.query
    assert r"^(?:[^?]*\.example\.com)" in one.query
    assert re.search(r"sid:1[5-9]\d{5};", one.query)


def test_a_negation_does_not_need_the_header() -> None:
    """Suricata 7.0.10 finds nothing, negated or not, in a buffer that is not there."""
    text = """
title: An agent
logsource: {category: proxy}
detection:
    path: {uri_path: /latest/meta-data/x}
    known: {user_agent|contains: 'curl/'}
    condition: path and not known
"""
    own = parse_rule("own", text, "own.yml")
    assert own is not None
    [one] = content_of("suricata", Request((own,), Site(), load_schemas(), TODAY)).documents
    assert r'http.header; pcre:!"/^user-agent\x3a[ \t]*(?:[^\r\n]*curl\/[^\r\n]*)\r?$/mi"' in one.query


def test_a_rule_that_nothing_is_left_of_says_why() -> None:
    text = """
title: A process
logsource: {category: process_creation}
detection:
    process: {process: curl}
    condition: process
"""
    own = parse_rule("own", text, "own.yml")
    assert own is not None
    [one] = content_of("suricata", Request((own,), Site(), load_schemas(), TODAY)).not_applicable
    assert one.why == settings()["no_keyword"]


# The pieces.


def test_terms_are_the_alternatives() -> None:
    a, b, c = (f.Atom(Column(name, "x"), f.Present()) for name in "abc")
    found = terms(f.All((f.AnyOf((a, b)), f.No(f.All((b, c))))))
    assert [[(one.field, one.holds) for one in term] for term in found] == [
        [("a", True), ("b", False)],
        [("a", True), ("c", False)],
        [("b", True), ("c", False)],
    ]
    assert terms(f.AnyOf((a, f.All((a, b))))) == [(Literal(a, True),)]
    with pytest.raises(TooMany):
        terms(f.All(tuple(f.AnyOf((a, b)) for _ in range(10))))


@pytest.mark.parametrize("key_id", ["ASIARZPUZDIKFAKEFAKE", "ASIAQAAAAAAAFAKEFAKE", "AKIAZWOIXTHEFAKEFAKE"])
def test_key_ids_of_an_account(key_id: str) -> None:
    account = account_of(key_id)
    assert account is not None
    assert re.fullmatch(octets.key_ids(account), key_id)
    assert not re.fullmatch(octets.key_ids(f"{(int(account) + 1) % 10**12:012d}"), key_id)
    assert not re.fullmatch(octets.key_ids(account), "ASIAFAKEFAKEFAKEFAKE")


def test_routes_are_networks_or_the_beginning_of_one() -> None:
    assert octets.routes([Text(("169.254.0.0/16",))]) == (ip_network("169.254.0.0/16"),)
    assert octets.routes([Text(("fd00:ec2:", Wild.ANY))]) == (ip_network("fd00:ec2::/32"),)
    assert octets.routes([Text(("169.254.169.254/", Wild.ANY))]) == (ip_network("169.254.169.254/32"),)
    assert octets.routes([Text((Wild.ANY, "254/32"))]) is None
    assert octets.routes([Text(("default",))]) is None


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        ("20a9fea9fe0a140142", True),  # 169.254.169.254/32
        ("10a9fe0a140142", True),  # /16
        ("13a9fea00a140142", True),  # /19
        ("000a14014220a9fea9fe0a140142", True),  # behind a default route
        ("1f a9fea9ff 0a140142", True),  # /31 with a host bit
        ("20a9fea9fd0a140142", False),
        ("18a9fe2a0a140142", False),
        ("000a140142", False),
    ],
)
def test_dhcp_routes_are_walked(route: str, fits: bool) -> None:
    """Laid out by hand after RFC 2131 and RFC 3442."""
    patterns = [
        Text((text,))
        for text in ("169.254.169.254/32", "169.254.169.254/31", "169.254.160.0/19", "169.254.0.0/16")
    ]
    value = bytes.fromhex(route)
    message = b"\2" + bytes(235) + b"\x63\x82\x53\x63\x35\1\5" + bytes([121, len(value)]) + value + b"\xff"
    assert bool(re.search(octets.dhcp(patterns).encode(), message, re.DOTALL)) is fits


def test_holes_are_cut_out_of_networks() -> None:
    assert without([ip_network("10.0.0.0/31")], [ip_network("10.0.0.1/32")]) == (ip_network("10.0.0.0/32"),)
    assert without([ip_network("169.254.1.0/24")], [ip_network("169.254.0.0/16")]) == ()
    assert without([ip_network("fd00::/8")], [ip_network("10.0.0.0/8")]) == (ip_network("fd00::/8"),)
