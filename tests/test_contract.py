"""What a person who knows only the contract writes by hand, and what the command line must make of it.

The records here are shorter than the tools write them: a reader that wants more than it needs fails on them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commandline import Done, run, scan
from imdswatch.cli.options import Duration

_ZEEK = {"ts": 1763773200.5, "id.orig_h": "10.0.1.5", "id.resp_h": "169.254.169.254", "id.resp_p": 80}


def _scan(folder: Path, *records: dict[str, Any] | str) -> Done:
    path = folder / "in.log"
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return scan(folder, path, "--each")


def _stages(done: Done) -> list[str]:
    """Return the stage of each line, in order."""
    found = {int(one["evidence"][0]["position"].split()[1]): one["stage"] for one in done.of("finding")}
    return [found[line] for line in sorted(found)]


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        ({"conn_state": "S0"}, "attempted"),
        ({"uid": "C1", "history": "ShADadFf", "resp_bytes": 344}, "answered"),
        ({"uid": "C1", "method": "GET", "uri": "/latest/meta-data/"}, "requested"),
        ({"method": "GET", "uri": "/latest/meta-data/", "status_code": 404}, "answered"),
    ],
)
def test_a_zeek_record_needs_no_more_than_its_addresses_and_one_field_of_its_log(
    tmp_path: Path, record: dict[str, Any], stage: str
) -> None:
    """Zeek logs are filtered on their way: fields that its own writer always writes may be gone."""
    (finding,) = _scan(tmp_path, _ZEEK | record).of("finding")
    assert (finding["stage"], finding["victim"]["ip"]) == (stage, "10.0.1.5")
    assert finding["confidence"] != "low"


def test_a_suricata_flow_without_tcp_flags_is_answered_by_bytes_above_the_headers(tmp_path: Path) -> None:
    """A handshake of three packets has 206 bytes on the link, an ICMP error 102: neither is an answer."""
    eve = {"timestamp": "2026-11-22T01:00:00.000000+0000", "event_type": "flow", "proto": "TCP"}
    ends = {"src_ip": "10.0.1.5", "src_port": 40112, "dest_ip": "169.254.169.254", "dest_port": 80}
    counts = [(4, 900), (3, 206), (1, 102), (0, 0)]
    flows = [eve | ends | {"flow": {"pkts_toclient": n, "bytes_toclient": size}} for n, size in counts]
    assert _stages(_scan(tmp_path, *flows)) == ["answered", "attempted", "attempted", "attempted"]


def test_a_window_that_ends_before_it_begins_is_wrong_usage(tmp_path: Path) -> None:
    """It would call any log clean."""
    log = tmp_path / "in.log"
    log.write_text("169.254.169.254\n", encoding="utf-8")
    done = scan(tmp_path, log, "--since", "2027-01-01", "--until", "2026-01-01")
    assert (done.code, done.out) == (2, "")
    assert "`--since` is later than `--until`" in done.err


_PROXY = (
    '"2026-03-01 10:00:00","user","10.0.1.5","203.0.113.9","169.254.169.254","","ALLOWED",'
    '"http://169.254.169.254/latest/meta-data/","","Boto3/1.9","200","100","1200","1000",'
    '"","","","","","","","Roaming","","","","GET"'
)
"""Cisco Umbrella names no zone in its times."""


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("UTC", "10"), ("Europe/Berlin", "09"), ("+02:00", "08"), ("-0330", "13"), ("+02", "08")],
)
def test_a_zone_is_a_name_or_an_offset(tmp_path: Path, zone: str, hour: str) -> None:
    log = tmp_path / "in.log"
    log.write_text(_PROXY + "\n", encoding="utf-8")
    (finding,) = scan(tmp_path, log, "--timezone", zone).of("finding")
    assert finding["first_seen"].startswith(f"2026-03-01T{hour}:")


@pytest.mark.parametrize(
    ("since", "code"), [("2026-03-01T10:00:00", 1), ("2026-03-01T10:00:01", 0), ("2026-03-01T10:00:00Z", 0)]
)
def test_a_bound_without_a_zone_is_of_the_zone_that_is_given(tmp_path: Path, since: str, code: int) -> None:
    log = tmp_path / "in.log"
    log.write_text(_PROXY + "\n", encoding="utf-8")
    assert scan(tmp_path, log, "--timezone", "Europe/Berlin", "--since", since).code == code


@pytest.mark.parametrize("mac", ["02:00:00:00:00:66", "02-00-00-00-00-66", "0200.0000.0066", "020000000066"])
def test_a_site_names_a_responder_by_its_mac_as_any_tool_prints_it(tmp_path: Path, mac: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f'[[suppress]]\nname = "ours"\nvlans = [210]\nresponders = ["{mac}"]\n', encoding="utf-8")
    record = _ZEEK | {"conn_state": "SF", "resp_bytes": 300, "vlan": 210, "resp_l2_addr": "02:00:00:00:00:66"}
    log = tmp_path / "in.log"
    log.write_text(json.dumps(record | {"proto": "tcp"}) + "\n", encoding="utf-8")
    done = scan(tmp_path, log, "--site", site, "--show-suppressed")
    assert (done.code, {one["suppressed_by"] for one in done.of("finding")}) == (0, {"ours"})


@pytest.mark.parametrize(
    "line",
    [
        "10:00:00.000000 IP 10.0.1.5.40000 > 169.254.169.254.80: Flags [S], seq 1, win 64240, length 0",
        "10:00:00.000000 IP 169.254.169.254.80 > 10.0.1.5.40000: Flags [R.], seq 0, ack 2, win 0, length 0",
        "10:00:00.000000 IP6 fd12::5.40000 > fd00:ec2::254.80: Flags [S], seq 1, win 64800, length 0",
    ],
)
def test_what_tcpdump_prints_names_the_endpoint(tmp_path: Path, line: str) -> None:
    assert _stages(_scan(tmp_path, line)) == ["attempted"]


@pytest.mark.parametrize(
    "line", ["version 169.254.169.254.80", "169.254.169.254.80.1: x", "1.169.254.169.254: x"]
)
def test_a_longer_number_with_dots_is_no_endpoint(tmp_path: Path, line: str) -> None:
    assert _stages(_scan(tmp_path, line)) == []


def test_a_syslog_stream_with_octet_counts_is_read(tmp_path: Path) -> None:
    message = (
        f"<134>1 2026-03-01T10:00:00.000Z gw zeek 7 - - {json.dumps(_ZEEK | {'uri': '/latest/meta-data/'})}"
    )
    (finding,) = _scan(tmp_path, f"{len(message)} {message}").of("finding")
    assert (finding["victim"]["ip"], finding["stage"]) == ("10.0.1.5", "requested")


@pytest.mark.parametrize("junk", [b"\xff\xfe\xfd", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\n", b"\x80\xff"])
def test_broken_bytes_at_the_start_are_no_mark_of_another_encoding(tmp_path: Path, junk: bytes) -> None:
    log = tmp_path / "in.log"
    log.write_bytes(junk + b"\n" + json.dumps(_ZEEK | {"uri": "/latest/meta-data/"}).encode() + b"\n")
    assert _stages(scan(tmp_path, log, "--each")) == ["requested"]


def test_rules_and_schemas_list_and_show(tmp_path: Path) -> None:
    for what, name in (("rules", "imds-contact"), ("schemas", "zeek_http")):
        short, long = run(tmp_path, what), run(tmp_path, what, "list")
        assert (short.code, long.code, short.out) == (0, 0, long.out)
        shown = run(tmp_path, what, "show", name)
        assert shown.code == 0
        assert name in shown.out
        assert run(tmp_path, what, "show", "nothing").code == 2
    assert run(tmp_path, "rules", "imds-contact").out == run(tmp_path, "rules", "show", "imds-contact").out
    for words in (("show",), ("list", "imds-contact"), ("imds-contact", "imds-request"), ("show", "list")):
        assert run(tmp_path, "rules", *words).code == 2


_ELFF = "date time c-ip cs-method cs-uri sc-status cs(User-Agent)"
_ENDS = "out:169.254.169.254/80 (169.254.169.254/80) to in:10.0.1.5/4 (10.0.1.5/4)"
_ASKED = '10.0.1.5 - - [01/Mar/2026:10:00:00 +0000] "GET http://169.254.169.254/ HTTP/1.1"'


@pytest.mark.parametrize(
    ("lines", "stage"),
    [
        ((f"#Fields: {_ELFF}", '2026-03-01 10:00:00 10.0.1.5 GET http://169.254.169.254/ 404 "x"'), "answered"),
        (
            (f"#Fields: {_ELFF}".replace(" ", "\t"), "2026-03-01\t10:00:00\t10.0.1.5\tGET\thttp://169.254.169.254/\t404\tx"),
            "answered",
        ),
        ((f"%FTD-6-302013: Built outbound TCP connection 7 for {_ENDS}",), "attempted"),
        (
            (f"{_ASKED} 200 5 TCP_MISS:HIER_DIRECT",),
            "answered",
        ),
        (
            (f"{_ASKED} 503 5 TCP_MISS:HIER_NONE",),
            "attempted",
        ),
    ],
    ids=["ELFF, few columns", "ELFF, tabs", "FTD with ASA's message", "Squid common", "Squid common, its own reply"],
)  # fmt: skip
def test_a_layout_is_known_by_what_makes_it_that_layout(
    tmp_path: Path, lines: tuple[str, ...], stage: str
) -> None:
    (finding,) = _scan(tmp_path, *lines).of("finding")
    assert (finding["stage"], finding["victim"]["ip"]) == (stage, "10.0.1.5")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("%ASA-6-305011: Built dynamic TCP translation from in:10.0.1.5/4 to out:169.254.169.254/80", True),
        ("%ASA-2-106001: TCP denied from 10.0.1.5/4 to 169.254.169.254/80 flags SYN", True),
        ("dst:169.254.169.254", True),
        ("route 169.254.169.254/32 via 10.0.0.1", False),
        ("route fd00:ec2::254/128 via fe80::1", False),
        ("net 1:2:3:169.254.169.254", False),
    ],
)
def test_an_address_with_a_port_is_a_token_and_a_network_is_none(
    tmp_path: Path, text: str, seen: bool
) -> None:
    assert _stages(_scan(tmp_path, text)) == (["attempted"] if seen else [])


@pytest.mark.parametrize("what", ["rules", "schemas"])
def test_a_pipe_among_rules_or_schemas_is_refused_and_not_waited_for(tmp_path: Path, what: str) -> None:
    (tmp_path / what).mkdir()
    os.mkfifo(tmp_path / what / "mine.yml")
    done = run(tmp_path, "scan", f"--{what}", tmp_path / what, tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "is no file" in done.err
    assert "mine.yml" in done.err


def test_a_site_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('\ufeff[site]\non_premises = ["192.0.2.0/24"]\n', encoding="utf-8")
    (tmp_path / "in.log").write_text(
        json.dumps(_ZEEK | {"uri": "/latest/meta-data/"}) + "\n", encoding="utf-8"
    )
    assert scan(tmp_path, tmp_path / "in.log", "--site", tmp_path / "site.toml").code == 0


def test_a_defender_record_is_known_by_the_name_of_its_device_too(tmp_path: Path) -> None:
    seen = {"Timestamp": "2026-03-01T10:00:00Z", "DeviceName": "h1", "ActionType": "ConnectionFailed"}
    (finding,) = _scan(
        tmp_path, seen | {"LocalIP": "10.0.1.5", "RemoteIP": "169.254.169.254", "RemotePort": 80}
    ).of("finding")
    assert (finding["stage"], finding["victim"]["ip"], finding["confidence"]) == (
        "attempted",
        "10.0.1.5",
        "medium",
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("1.5", 1.5), ("60s", 60), ("5m", 300), ("1h", 3600), ("30d", 2592000)],
)
def test_a_duration_is_written_as_people_do(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


_ROLE = "/latest/meta-data/iam/security-credentials/role"
_EMPTY = {
    "nginx": '10.0.1.5 - - [22/Nov/2026:01:00:00 +0000] "GET {role} HTTP/1.1" 200 {size} "-" "Boto3/1.44.5"',
    "umbrella": '"2026-11-22 01:00:00","build-01","10.0.1.5","203.0.113.1","169.254.169.254","text/plain","ALLOWED",'
    '"http://169.254.169.254{role}","","Boto3/1.34.46","200","230","1610","{size}","","Uncategorized"',
    "suricata": '{{"timestamp":"2026-11-22T01:00:00.000000+0000","event_type":"http","src_ip":"10.0.1.5",'
    '"dest_ip":"169.254.169.254","http":{{"hostname":"169.254.169.254","url":"{role}","http_method":"GET",'
    '"http_user_agent":"Boto3/1","status":200,"length":{size}}}}}',
    "zeek": '{{"ts":1763773200.5,"id.orig_h":"10.0.1.5","id.resp_h":"169.254.169.254","method":"GET","uri":"{role}",'
    '"status_code":200,"response_body_len":{size}}}',
}


@pytest.mark.parametrize("kind", _EMPTY)
def test_a_success_without_a_body_served_no_credentials(tmp_path: Path, kind: str) -> None:
    """It is an answer all the same. Where the size counts headers too, or is not logged, a success may have served."""
    lines = [_EMPTY[kind].format(role=_ROLE, size=size) for size in (0, 1250)]
    assert _stages(_scan(tmp_path, *lines)) == ["answered", "credentials-served"]


def test_a_size_that_counts_headers_says_nothing_of_the_body(tmp_path: Path) -> None:
    asked = f"GET http://169.254.169.254{_ROLE}"
    squid = f"1795309331.250 12 10.0.1.5 TCP_MISS/200 0 {asked} - HIER_DIRECT/169.254.169.254 -"
    assert _stages(_scan(tmp_path, squid)) == ["credentials-served"]
