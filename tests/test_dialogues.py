"""How far it got, who answered, whose account: every stage of DESIGN 3 from frames built by hand."""

from __future__ import annotations

import pytest

from dialogue_cases import (
    KEY,
    OLD_KEY,
    ROLES,
    TOKEN_HEADERS,
    credentials,
    events_of,
    finding_of,
    findings_of,
    observed_of,
    request,
    response,
)
from frames import (
    ACK,
    ARP,
    ENDPOINT,
    ENDPOINT6,
    FIN,
    IPV6,
    PSH,
    RESPONDER_MAC,
    ROUTER_MAC,
    RST,
    SYN,
    VICTIM,
    VICTIM6,
    VICTIM_MAC,
    Talk,
    arp,
    ethernet,
    frame,
    frames,
    icmp,
    ip4,
    ip6,
    udp,
)
from imdswatch.wire.frame import Frame

TOKEN = request("PUT", "/latest/api/token", *TOKEN_HEADERS)
LIST = request("GET", ROLES, "X-aws-ec2-metadata-token: AQAAAFAKE")
ROLE = request("GET", ROLES + "app", "X-aws-ec2-metadata-token: AQAAAFAKE")
BROADCAST = "ff:ff:ff:ff:ff:ff"


def who_has() -> bytes:
    body = arp(1, (VICTIM_MAC, VICTIM), ("00:00:00:00:00:00", ENDPOINT))
    return ethernet(body, ARP, VICTIM_MAC, BROADCAST)


def is_at(mac: str = RESPONDER_MAC) -> bytes:
    return ethernet(arp(2, (mac, ENDPOINT), (VICTIM_MAC, VICTIM)), ARP, mac, VICTIM_MAC)


def dialogue(talk: Talk | None = None, key: str = KEY, **more: str) -> Talk:
    return (
        (talk or Talk())
        .handshake()
        .ask(TOKEN, response("AQAAAFAKE"))
        .ask(LIST, response("app"))
        .ask(ROLE, response(credentials(key, **more)))
        .close()
    )


# Stages without an answer


def test_arp_alone_is_an_attempt() -> None:
    found = finding_of(frames([who_has(), who_has()], step=1))
    assert (found.stage, found.severity, found.victim["ip"], found.victim["mac"]) == (
        "attempted", "low", VICTIM, VICTIM_MAC,
    )  # fmt: skip
    assert not found.responder
    assert found.count == 2
    assert found.confidence == "high"


@pytest.mark.parametrize(
    "answer",
    [
        lambda talk: talk,
        lambda talk: talk.send(1, flags=RST | ACK),
        lambda talk: talk.send(1, b"administratively closed", flags=RST | ACK),
        lambda talk: talk.send(1, flags=SYN | ACK).send(0),
        lambda talk: talk.send(1, flags=SYN | ACK).send(0).close(),
        lambda talk: talk.send(1, flags=SYN | ACK).send(0).send(0, b"\x00\x01", ACK | PSH).send(1),
    ],
    ids=["silence", "reset", "reset with text", "handshake", "handshake and goodbye", "acknowledged only"],
)
def test_no_payload_is_no_answer(answer) -> None:  # type: ignore[no-untyped-def]
    talk = answer(Talk().send(0, flags=SYN))
    found = finding_of(talk.frames())
    assert (found.stage, found.cause, found.count) == ("attempted", "misconfiguration", 1)
    assert not found.responder
    assert found.evidence[0].position == "packet 1"


def test_syn_sent_again_is_one_attempt() -> None:
    talk = Talk().send(0, flags=SYN)
    assert finding_of(frames(talk.sent * 4, step=1)).count == 1


def test_a_last_acknowledged_fin_is_no_payload() -> None:
    """The server's FIN was not captured; the client acknowledges its one number."""
    talk = Talk().handshake()
    talk.seq[1] += 1
    talk.send(0, flags=FIN | ACK)
    assert finding_of(talk.frames()).stage == "attempted"


@pytest.mark.parametrize(("kind", "code", "action"), [(3, 1, None), (3, 13, "deny"), (11, 0, None)])
def test_an_icmp_error_is_no_answer(kind: int, code: int, action: str | None) -> None:
    syn = Talk().send(0, flags=SYN).sent[0]
    quoted = syn[14:42]
    error = ethernet(
        ip4(icmp(kind, code, body=quoted), 1, "10.0.1.1", VICTIM), src=ROUTER_MAC, dst=VICTIM_MAC
    )
    for sent in ([syn, error], [error]):
        (event,) = events_of(frames(sent))
        assert event.get("action") == action
        assert event["answered"] is False
        assert (event["src_ip"], event["dst_ip"], event["dst_port"]) == (VICTIM, ENDPOINT, 80)
        assert finding_of(frames(sent)).stage == "attempted"


def test_an_icmp_error_does_not_hide_an_answer() -> None:
    talk = Talk().handshake().send(1, b"220 hello\r\n", ACK | PSH)
    quoted = talk.sent[0][14:42]
    error = ethernet(ip4(icmp(3, 13, body=quoted), 1, "10.0.1.1", VICTIM))
    assert finding_of(frames([*talk.sent, error])).stage == "answered"


@pytest.mark.parametrize(
    ("reply", "stage"),
    [
        (response("", 503), "requested"),
        (response("", 504), "requested"),
        (response("", 407), "requested"),
        (response("no", 403, "X-Squid-Error: ERR_ACCESS_DENIED 0"), "requested"),
        (response("no", 500, "Server: tinyproxy/1.11.1"), "requested"),
        (response("no", 403), "answered"),
        (response("no", 404), "answered"),
        (response("no", 401), "answered"),
        (response("yes", 200, "X-Squid-Error: ERR_NONE 0"), "answered"),  # an impostor's disguise
        (b"", "requested"),
    ],
)
def test_what_a_proxy_made_itself_is_no_answer(reply: bytes, stage: str) -> None:
    asked = request("PUT", "http://169.254.169.254/latest/api/token", *TOKEN_HEADERS)
    talk = Talk(server="10.0.1.20", dport=3128).handshake().ask(asked, reply).close()
    found = finding_of(talk.frames())
    assert (found.stage, found.request["path"], found.request["method"]) == (
        stage,
        "/latest/api/token",
        "PUT",
    )
    if stage == "answered":
        assert found.responder["nat_ip"] == "10.0.1.20"


# Answers


def test_payload_that_is_not_http_is_an_answer() -> None:
    found = finding_of(Talk(dport=22).handshake().send(1, b"SSH-2.0-x\r\n", ACK | PSH).send(0).frames())
    assert (found.stage, found.responder) == (
        "answered", {"ip": ENDPOINT, "mac": RESPONDER_MAC, "ttl": 63},
    )  # fmt: skip


def test_what_the_snapshot_length_cut_is_an_answer() -> None:
    talk = Talk().handshake().ask(TOKEN, response("AQAAAFAKE"))
    cut = [frame(data[:66], n, 1.79e9 + n, len(data)) for n, data in enumerate(talk.sent, 1)]
    assert finding_of(cut).stage == "answered"


def test_one_direction_tells_an_answer_by_what_it_acknowledges() -> None:
    talk = dialogue()
    client = [data for data in talk.sent if data[6:12] == bytes.fromhex(VICTIM_MAC.replace(":", ""))]
    found = finding_of(frames(client))
    assert (found.stage, found.count) == ("answered", 3)
    silent = Talk().handshake().send(0, LIST, ACK | PSH)
    alone = [data for data in silent.sent if data[6:12] == bytes.fromhex(VICTIM_MAC.replace(":", ""))]
    assert finding_of(frames(alone)).stage == "requested"


def test_one_direction_of_answers_alone_still_shows_credentials() -> None:
    talk = dialogue()
    served = [data for data in talk.sent if data[6:12] == bytes.fromhex(RESPONDER_MAC.replace(":", ""))]
    found = finding_of(frames(served))
    assert (found.stage, found.account["access_key_id"], found.victim["ip"]) == (
        "credentials-served", KEY, VICTIM,
    )  # fmt: skip
    assert found.request == {"host": "169.254.169.254", "status": 200}


def test_a_ping_that_is_answered() -> None:
    ping = ethernet(ip4(icmp(8, 0, b"\0\1\0\1", b"abc"), 1), src=VICTIM_MAC, dst=RESPONDER_MAC)
    pong = ethernet(
        ip4(icmp(0, 0, b"\0\1\0\1", b"abc"), 1, ENDPOINT, VICTIM, 63), src=RESPONDER_MAC, dst=VICTIM_MAC
    )
    assert finding_of(frames([ping, ping], step=1)).count == 1
    found = finding_of(frames([ping, pong, ping, pong], step=1))
    assert (found.stage, found.count, found.responder) == (
        "answered", 2, {"ip": ENDPOINT, "mac": RESPONDER_MAC, "ttl": 63},
    )  # fmt: skip


def test_a_datagram_that_is_answered() -> None:
    asked = ethernet(ip4(udp(b"x" * 48, 40000, 123), 17))
    answer = ethernet(
        ip4(udp(b"y" * 48, 123, 40000), 17, ENDPOINT, VICTIM), src=RESPONDER_MAC, dst=VICTIM_MAC
    )
    assert finding_of(frames([asked])).stage == "attempted"
    assert finding_of(frames([asked, answer])).stage == "answered"


# Credentials


@pytest.mark.parametrize("v6", [False, True])
def test_the_whole_dialogue(v6: bool) -> None:
    talk = Talk(VICTIM6, ENDPOINT6) if v6 else Talk()
    found = finding_of(dialogue(talk).frames())
    assert (found.stage, found.severity, found.confidence, found.cause) == (
        "credentials-served", "critical", "high", "impersonation",
    )  # fmt: skip
    assert found.count == 3
    assert found.victim["ip"] == talk.client
    assert found.victim["port"] == 40112
    assert found.responder == {"ip": talk.server, "mac": RESPONDER_MAC, "ttl": 63}
    assert found.account == {
        "id": "000000000000", "from": "access-key-id", "access_key_id": KEY, "role": "app",
    }  # fmt: skip
    assert "AQAAAFAKE" not in repr(found)
    assert "fake/fake" not in repr(found)


def test_events_carry_the_steps_in_order() -> None:
    seen = observed_of(frames([who_has(), is_at(), *dialogue().sent]))
    assert [str(one.fields["step"]) for one in seen] == ["resolve", "claim", "token", "roles", "credentials"]
    assert [one.number for one in seen] == [1, 2, 6, 10, 14]


def test_an_old_key_id_names_no_account() -> None:
    found = finding_of(dialogue(key=OLD_KEY).frames())
    assert found.account == {"access_key_id": OLD_KEY, "role": "app"}


@pytest.mark.parametrize(
    ("body", "mime", "stage"),
    [
        ('{"Code":"AssumeRoleUnauthorizedAccess","Message":"no"}', "text/plain", "answered"),
        ("<html>Please log in</html>", "text/html", "answered"),
        ("Please log in", None, "answered"),
        ("", "text/plain", "answered"),
    ],
)
def test_a_success_without_credentials_is_an_answer(body: str, mime: str | None, stage: str) -> None:
    talk = Talk().handshake().ask(ROLE, response(body, mime=mime)).close()
    assert finding_of(talk.frames()).stage == stage


def test_a_success_whose_body_nobody_saw_is_less_certain() -> None:
    """The head of the answer was captured, the body was not."""
    answer = response(credentials(), mime="application/json")
    head = answer.index(b"\r\n\r\n") + 4
    talk = Talk().handshake().ask(ROLE, answer).close()
    at = next(n for n, data in enumerate(talk.sent) if b"Content-Length" in data)
    cut = [
        frame(data[: 54 + head] if n == at else data, n + 1, 1.79e9 + n, len(data))
        for n, data in enumerate(talk.sent)
    ]
    found = finding_of(cut)
    assert (found.stage, found.confidence) == ("credentials-served", "medium")


@pytest.mark.parametrize("target", ["/latest/meta-data/anything", "/x", "/"])
def test_credentials_of_the_endpoint_count_on_any_path(target: str) -> None:
    talk = Talk().handshake().ask(request("GET", target), response(credentials())).close()
    assert finding_of(talk.frames()).stage == "credentials-served"


def test_key_ids_of_other_services_are_no_incident() -> None:
    asked = request("GET", "/v2/credentials/x", host="10.0.9.9")
    talk = Talk(server="10.0.9.9").handshake().ask(asked, response(credentials())).close()
    assert findings_of(talk.frames()) == []


def test_a_request_in_the_text_of_another_protocol_is_none() -> None:
    """A mail about IMDS. To the endpoint itself any reply is an answer, whatever it speaks."""
    for server, stages in (("10.0.0.25", []), (ENDPOINT, ["answered"])):
        talk = Talk(server=server, dport=25).handshake().send(1, b"220 mail ESMTP\r\n", ACK | PSH)
        talk.send(0, b"DATA\r\n", ACK | PSH).send(1, b"354 go on\r\n", ACK | PSH)
        talk.send(0, b"see:\r\n" + ROLE + b".\r\n", ACK | PSH).send(1, b"250 ok\r\n", ACK | PSH).close()
        assert [one.stage for one in findings_of(talk.frames())] == stages


# Who


def test_a_claim_and_the_dialogue_are_one_finding() -> None:
    found = finding_of(frames([who_has(), is_at(), *dialogue().sent]))
    assert found.responder == {"ip": ENDPOINT, "mac": RESPONDER_MAC, "ttl": 63}
    assert found.responders == ()
    assert found.rules["imds-l2-claim"] == 1


def test_another_claimant_stands_beside() -> None:
    found = finding_of(frames([who_has(), is_at("02:00:00:00:66:66"), *dialogue().sent]))
    assert found.responder["mac"] == RESPONDER_MAC
    assert found.responders == ({"ip": ENDPOINT, "mac": "02:00:00:00:66:66"},)


def test_a_claim_names_the_responder_where_the_link_layer_does_not() -> None:
    """Raw IP carries no MAC addresses (LINKTYPE_RAW); the claim was seen on another interface of the capture."""
    raw = [Frame(n, 1.79e9 + n, data[14:], len(data) - 14, 101) for n, data in enumerate(dialogue().sent, 3)]
    assert "mac" not in finding_of(raw).responder
    assert finding_of([*frames([who_has(), is_at()]), *raw]).responder["mac"] == RESPONDER_MAC
    two = frames([is_at(), is_at("02:00:00:00:66:66")])
    assert not any("dst_mac" in event for event in events_of([*two, *raw]) if "status" in event), (
        "of two, neither"
    )


def test_a_gratuitous_claim_has_no_victim() -> None:
    for operation in (1, 2):
        body = arp(operation, (RESPONDER_MAC, ENDPOINT), (BROADCAST, ENDPOINT))
        found = finding_of(frames([ethernet(body, ARP, RESPONDER_MAC, BROADCAST)]))
        assert (found.stage, found.rule, found.victim) == ("answered", "imds-l2-claim", {})
        assert found.responder["mac"] == RESPONDER_MAC


def test_the_maker_of_the_responder_is_named() -> None:
    talk = Talk(server_mac="00:0c:29:12:34:56")
    assert finding_of(dialogue(talk).frames()).responder["vendor"] == "VMware, Inc."
    assert "vendor" not in finding_of(dialogue(Talk()).frames()).responder, "locally administered"


def test_the_vlan_is_told() -> None:
    talk = Talk(vlans=((0x88A8, 100), (0x8100, 42)))
    assert finding_of(dialogue(talk).frames()).victim["vlan"] == [100, 42], "outer first"


@pytest.mark.parametrize("vlan", [100, 42])
def test_either_tag_of_two_suppresses(vlan: int) -> None:
    talk = Talk(vlans=((0x88A8, 100), (0x8100, 42))).handshake()
    site = f'[[suppress]]\nname = "lab"\nreason = "x"\nvlans = [{vlan}]\n'
    finding = finding_of(talk.frames(), site)
    assert finding.suppressed_by == "lab"
    assert finding.victim["vlan"] == [100, 42]


def test_the_client_is_told_by_how_it_asks() -> None:
    agent = "User-Agent: Boto3/1.44.5 Python/3.11 Botocore/1.44.5"
    ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600"
    asked = request("PUT", "/latest/api/token", "Accept-Encoding: identity", ttl, agent)
    found = finding_of(Talk().handshake().ask(asked, response("", 404)).frames())
    assert "boto" in str(found.victim["client"]).lower()


def test_neighbour_discovery() -> None:
    target = bytes.fromhex("fd000ec2000000000000000000000254")
    ask = bytes((135, 0, 0, 0, 0, 0, 0, 0)) + target + bytes.fromhex("0101020000000005")
    say = bytes((136, 0, 0, 0, 0x60, 0, 0, 0)) + target + bytes.fromhex("02010200000000fe")
    asked = ethernet(ip6(ask, 58, VICTIM6, "ff02::1:ff00:254", 255), IPV6)
    said = ethernet(ip6(say, 58, ENDPOINT6, VICTIM6, 255), IPV6, RESPONDER_MAC, VICTIM_MAC)
    assert finding_of(frames([asked])).stage == "attempted"
    found = finding_of(frames([asked, said]))
    assert (found.stage, found.rule, found.victim["ip"]) == ("answered", "imds-l2-claim", VICTIM6)
    assert found.responder == {"ip": ENDPOINT6, "mac": RESPONDER_MAC}
    whole = finding_of(frames([asked, said, *dialogue(Talk(VICTIM6, ENDPOINT6)).sent]))
    assert (whole.stage, whole.responders) == ("credentials-served", ())


# Not twice


def test_copies_of_frames_are_counted_once() -> None:
    sent = [who_has(), is_at(), *dialogue().sent]
    once = finding_of(frames(sent))
    twice = finding_of(frames([data for data in sent for _ in range(2)]))
    assert (once.stage, once.count, once.rules) == (twice.stage, twice.count, twice.rules)


def test_retransmissions_are_counted_once() -> None:
    talk = Talk().handshake().ask(LIST, response("app"))
    again = [*talk.sent, talk.sent[3], talk.sent[5], talk.sent[3]]
    assert finding_of(frames(again, step=0.3)).count == 1


def test_both_readings_of_an_overlap_are_judged_and_what_is_the_same_counts_once() -> None:
    evil, good = request("GET", ROLES + "app"), request("GET", "/y".ljust(len(ROLES + "app"), "z"))
    talk = Talk().handshake()
    seq = talk.seq[0]
    talk.send(0, good, ACK | PSH)
    talk.sent.append(talk.packet(0, evil, ACK | PSH, seq=seq))
    talk.send(1).send(1, response(credentials()), ACK | PSH).send(0).close()
    found = finding_of(talk.frames())
    assert found.stage == "credentials-served"
    assert any("/latest/meta-data/iam" in one.excerpt for one in found.evidence)
    same = Talk().handshake()
    same.send(0, evil, ACK | PSH)
    same.sent.append(same.packet(0, evil, ACK | PSH, seq=seq))
    same.send(1).send(1, response(credentials()), ACK | PSH).send(0).close()
    assert finding_of(same.frames()).count == 1


def test_who_answers_counts_not_who_accepted_the_connection() -> None:
    talk = Talk(vlans=((0x8100, 210),)).handshake()
    talk.server_mac, talk.server_ttl = "02:00:00:00:66:66", 255
    found = finding_of(
        talk.ask(request("GET", ROLES + "role"), response(credentials())).close().frames(), _ALLOWED
    )
    assert found.suppressed_by is None
    assert (found.responder["mac"], found.responder["ttl"]) == ("02:00:00:00:66:66", 255)


_ALLOWED = f"""
[[suppress]]
name = "lab"
reason = "its metadata service"
vlans = [210]
rules = ["imds-answered", "imds-credentials-served"]
responders = ["{RESPONDER_MAC}"]
"""
