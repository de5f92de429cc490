"""Writes one benign exchange as the line that a tool would log of it: the layouts of tests/schemas, nothing shared.

The scanner's own writers are not used: they would agree with its readers by construction. Pure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

START = 1795309200  # 2026-11-22T01:00:00Z


@dataclass(slots=True)
class Exchange:
    """What happened once; what a log cannot show it leaves out. `status` 0 and `answered` False: nobody replied."""

    number: int = 0
    client: str = "10.20.1.10"
    server: str = "10.20.2.66"
    port: int = 80
    proto: str = "tcp"
    answered: bool = True
    policy: str = "inside-out"
    method: str = "GET"
    host: str = "www.example.com"
    uri: str = "/"
    status: int = 200
    agent: str = "curl/8.5.0"
    referer: str = "-"
    headers: tuple[str, ...] = ("Host", "User-Agent")
    query: str = ""
    answer: str = ""
    text: str = ""

    @property
    def when(self) -> float:
        """Epoch seconds: fifty exchanges a second."""
        return START + self.number * 0.02

    def stamp(self, form: str) -> str:
        """Return the time in a strftime form, UTC."""
        return time.strftime(form, time.gmtime(self.when))

    @property
    def source_port(self) -> int:
        """A client port."""
        return 32768 + self.number % 28000


def _combined(e: Exchange) -> str:
    return (
        f'{e.client} - - [{e.stamp("%d/%b/%Y:%H:%M:%S +0000")}] "{e.method} {e.uri} HTTP/1.1" {e.status} 231 '
        f'"{e.referer}" "{e.agent}"'
    )


def _iis(e: Exchange) -> str:
    stem, _, query = e.uri.partition("?")
    agent, stamp = e.agent.replace(" ", "+"), e.stamp("%Y-%m-%d %H:%M:%S")
    return f"{stamp} {e.server} {e.method} {stem} {query or '-'} 80 - {e.client} {agent} {e.referer} {e.status} 0 0 15"


_IIS_HEAD = (
    "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-11-22 01:00:00\n"
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) "
    "sc-status sc-substatus sc-win32-status time-taken\n"
)


def _haproxy(e: Exchange) -> str:
    return (
        f"{e.client}:{e.source_port} [{e.stamp('%d/%b/%Y:%H:%M:%S')}.363] web web/web1 0/0/0/0/0 {e.status} 231 - - "
        f'---- 1/1/0/0/0 0/0 {{{e.host}|{e.agent}||}} {{}} "{e.method} {e.uri} HTTP/1.1"'
    )


def _zeek_http(e: Exchange) -> str:
    record = {
        "ts": e.when, "uid": f"Ch{e.number:x}", "id.orig_h": e.client, "id.orig_p": e.source_port,
        "id.resp_h": e.server, "id.resp_p": e.port, "trans_depth": 1, "method": e.method, "host": e.host,
        "uri": e.uri, "version": "1.1", "user_agent": e.agent, "request_body_len": 0, "response_body_len": 0,
        "tags": [], "client_header_names": [name.upper() for name in e.headers],
    }  # fmt: skip
    if e.status:
        record |= {"status_code": e.status, "status_msg": "x", "response_body_len": 231}
    return json.dumps(record, separators=(",", ":"))


def _suricata(e: Exchange, kind: str, **more: object) -> str:
    stamp = f"{e.stamp('%Y-%m-%dT%H:%M:%S')}.{e.number % 1000000:06}+0000"
    record = {
        "timestamp": stamp, "flow_id": 1000000 + e.number, "event_type": kind, "src_ip": e.client,
        "src_port": e.source_port, "dest_ip": e.server, "dest_port": e.port, "proto": e.proto.upper(), **more,
    }  # fmt: skip
    return json.dumps(record, separators=(",", ":"))


def _suricata_http(e: Exchange) -> str:
    http: dict[str, object] = {"hostname": e.host, "url": e.uri, "http_user_agent": e.agent}
    http |= {"http_method": e.method, "protocol": "HTTP/1.1"}
    if e.status:
        http |= {"status": e.status, "length": 231, "http_content_type": "text/html"}
    http["request_headers"] = [{"name": name, "value": "x"} for name in e.headers]
    return _suricata(e, "http", tx_id=0, http=http)


def _suricata_flow(e: Exchange) -> str:
    answered = 4 if e.answered else 0
    flow = {
        "pkts_toserver": 5, "pkts_toclient": answered, "bytes_toserver": 370, "bytes_toclient": answered * 400,
        "state": "closed" if answered else "new", "reason": "timeout", "alerted": False,
    }  # fmt: skip
    flags = "1b" if answered else "00"
    tcp = {"tcp_flags": "1b" if answered else "02", "tcp_flags_ts": "02", "tcp_flags_tc": flags}
    return _suricata(e, "flow", flow=flow, **({"tcp": tcp} if e.proto == "tcp" else {}))


def _suricata_dns(e: Exchange) -> str:
    answers = [{"rrname": e.query, "rrtype": "A", "ttl": 60, "rdata": e.answer}] if e.answer else []
    dns: dict[str, object] = {
        "version": 2,
        "type": "answer",
        "id": 9,
        "flags": "8180",
        "qr": True,
        "rrname": e.query,
    }
    dns |= {"rrtype": "A", "rcode": "NOERROR" if answers else "NXDOMAIN"}
    return _suricata(e, "dns", dns=dns | ({"answers": answers} if answers else {}))


def _suricata_arp(e: Exchange) -> str:
    arp = {
        "hw_type": "ethernet", "proto_type": "ipv4", "opcode": "request", "src_mac": "ee:bb:d4:bd:25:ad",
        "src_ip": e.client, "dest_mac": "00:00:00:00:00:00", "dest_ip": e.server,
    }  # fmt: skip
    stamp = f"{e.stamp('%Y-%m-%dT%H:%M:%S')}.{e.number % 1000000:06}+0000"
    ether = {"ether_type": 2054, "src_mac": "ee:bb:d4:bd:25:ad", "dest_mac": "ff:ff:ff:ff:ff:ff"}
    return json.dumps(
        {"timestamp": stamp, "event_type": "arp", "ether": ether, "arp": arp}, separators=(",", ":")
    )


def _squid(e: Exchange) -> str:
    status, hierarchy = (f"TCP_MISS/{e.status}", f"HIER_DIRECT/{e.server}")
    if not e.answered:
        status, hierarchy = f"TCP_DENIED/{e.status}", "HIER_NONE/-"
    return f"{e.when:.3f}     12 {e.client} {status} 254 {e.method} http://{e.host}{e.uri} - {hierarchy} text/html"


def _zeek_conn(e: Exchange) -> str:
    record: dict[str, object] = {
        "ts": e.when, "uid": f"C{e.number:x}", "id.orig_h": e.client, "id.orig_p": e.source_port,
        "id.resp_h": e.server, "id.resp_p": e.port, "proto": e.proto, "conn_state": "SF" if e.answered else "S0",
        "missed_bytes": 0, "history": "ShADadFf" if e.answered else "S", "orig_pkts": 5, "orig_ip_bytes": 370,
        "resp_pkts": 4 if e.answered else 0, "resp_ip_bytes": 1600 if e.answered else 0, "ip_proto": 6,
    }  # fmt: skip
    if e.answered:
        record |= {"duration": 0.1, "orig_bytes": 110, "resp_bytes": 1400}
    return json.dumps(record, separators=(",", ":"))


def _zeek_dns(e: Exchange) -> str:
    record: dict[str, object] = {
        "ts": e.when, "uid": f"Cd{e.number:x}", "id.orig_h": e.client, "id.orig_p": e.source_port,
        "id.resp_h": "10.20.1.53", "id.resp_p": 53, "proto": "udp", "trans_id": 9, "query": e.query, "qclass": 1,
        "qclass_name": "C_INTERNET", "qtype": 1, "qtype_name": "A", "rcode": 0 if e.answer else 3,
        "rcode_name": "NOERROR" if e.answer else "NXDOMAIN", "AA": False, "TC": False, "RD": True, "RA": True,
        "Z": 0, "rejected": False,
    }  # fmt: skip
    if e.answer:
        record |= {"answers": [e.answer], "TTLs": [60.0]}
    return json.dumps(record, separators=(",", ":"))


def _bind(e: Exchange) -> str:
    return (
        f"{e.stamp('%d-%b-%Y %H:%M:%S')}.712 queries: info: client @0x7f7954e6d098 {e.client}#{e.source_port} "
        f"({e.query}): query: {e.query} IN A +E(0)K (10.20.1.53)"
    )


def _dnsmasq(e: Exchange) -> str:
    head = f"{e.stamp('%b %d %H:%M:%S')} dnsmasq[21164]: {e.number} {e.client}/{e.source_port}"
    if e.answer and e.number % 2:
        return f"{head} reply {e.query} is {e.answer}"
    return f"{head} query[A] {e.query} from {e.client}"


def _panos(e: Exchange) -> str:
    stamp, action = e.stamp("%Y/%m/%d %H:%M:%S"), "allow" if e.answered else "deny"
    received, packets, end = (20100, 28, "tcp-fin") if e.answered else (0, 0, "policy-deny")
    return (
        f"{e.stamp('%b %d %H:%M:%S')} pa-hq-1 1,{stamp},012345678901,TRAFFIC,"
        f"{'end' if e.answered else 'drop'},2561,{stamp},{e.client},{e.server},0.0.0.0,0.0.0.0,{e.policy},,,ssl,"
        "vsys1,trust,untrust,ethernet1/2.210,ethernet1/1,"
        f"to-siem,{stamp},{e.number},1,{e.source_port},{e.port},0,0,0x64,{e.proto},{action},{4100 + received},4100,"
        f"{received},{30 + packets},{stamp},1,private-ip-addresses,0,{e.number},0x8000000000000000,"
        f"10.0.0.0-10.255.255.255,US,,30,{packets},{end},0,0,0,0,,pa-hq-1,from-policy,,,0,,0,,N/A,0,0,0,0,"
        "0e8b2d44-1c6a-4f0b-9a3e-5f2a7c9d1b10,0,0"
    )


def _fortigate(e: Exchange) -> str:
    stamp = e.stamp("date=%Y-%m-%d time=%H:%M:%S")
    action, received, packets = ("close", 3138, 5) if e.answered else ("deny", 0, 0)
    protocol = 17 if e.proto == "udp" else 6
    return (
        f'<189>{stamp} devname="fgt-hq-1" devid="FGT60FTK00000001" eventtime={int(e.when)}125000000 tz="+0000" '
        'logid="0000000013" type="traffic" subtype="forward" level="notice" vd="root" '
        f'srcip={e.client} srcport={e.source_port} srcintf="vlan210" srcintfrole="lan" dstip={e.server} '
        f'dstport={e.port} dstintf="wan1" dstintfrole="wan" sessionid={e.number} proto={protocol} action="{action}" '
        f'policyid=7 policytype="policy" policyname="{e.policy}" service="HTTP" trandisp="noop" duration=1 '
        f'sentbyte=736 rcvdbyte={received} sentpkt=9 rcvdpkt={packets} appcat="unscanned"'
    )


def _asa(e: Exchange) -> str:
    head = f"<166>{e.stamp('%b %d %Y %H:%M:%S')} asa-hq-1 : %ASA-"
    if e.answered:
        ends = f"outside:{e.server}/{e.port} ({e.server}/{e.port}) to inside:{e.client}/{e.source_port}"
        return f"{head}6-302013: Built outbound TCP connection {e.number} for {ends} ({e.client}/{e.source_port})"
    ends = f"src inside:{e.client}/{e.source_port} dst outside:{e.server}/{e.port}"
    return f'{head}4-106023: Deny {e.proto} {ends} by access-group "{e.policy}" [0x0, 0x0]'


def _netfilter(e: Exchange) -> str:
    rest = "WINDOW=64240 RES=0x00 SYN URGP=0 " if e.proto == "tcp" else "LEN=56 "
    return (
        f"{e.stamp('%b %d %H:%M:%S')} gw kernel: [ {e.number}.779083] {e.policy} IN=eth1 OUT=eth0 "
        f"MAC=02:00:00:00:06:66:02:00:00:00:01:10:08:00 SRC={e.client} DST={e.server} LEN=60 TOS=0x00 PREC=0x00 "
        f"TTL=64 ID=485 DF PROTO={e.proto.upper()} SPT={e.source_port} DPT={e.port} {rest}"
    )


def _pfsense(e: Exchange) -> str:
    head = f"<134>1 {e.stamp('%Y-%m-%dT%H:%M:%S')}.000000+00:00 pf-hq-1.example.com filterlog 76404 - - 98,,,"
    head += (
        f"1770009028,igb1.120,match,{'pass' if e.answered else 'block'},in,4,0x0,,64,{e.number % 65536},0,DF,"
    )
    if e.proto == "udp":
        return f"{head}17,udp,67,{e.client},{e.server},{e.source_port},{e.port},47"
    ends = f"{e.client},{e.server},{e.source_port},{e.port}"
    return f"{head}6,tcp,60,{ends},0,S,1891286705,,64240,,mss;sackOK;TS;nop;wscale"


def _nfdump(e: Exchange) -> str:
    stamp, number = e.stamp("%Y-%m-%d %H:%M:%S"), 17 if e.proto == "udp" else 6
    return f"{stamp}.465,0.001,{number},{e.client},{e.source_port},{e.server},{e.port},5,260,1"


def _sysmon(e: Exchange) -> str:
    stamp = e.stamp("%Y-%m-%d %H:%M:%S")
    image = "C:\\Program Files\\Agent\\agent.exe"
    record = {
        "EventTime": stamp, "Hostname": "WS-17.corp.example", "EventID": 3, "SourceName": "Microsoft-Windows-Sysmon",
        "Channel": "Microsoft-Windows-Sysmon/Operational", "RuleName": "-", "UtcTime": stamp + ".500",
        "ProcessGuid": "{1C9FDC81-9D71-5CC3-0000-001029C30000}", "ProcessId": "820", "Image": image,
        "User": "NT AUTHORITY\\SYSTEM", "Protocol": e.proto, "Initiated": "true", "SourceIsIpv6": "false",
        "SourceIp": e.client, "SourceHostname": "-", "SourcePort": str(e.source_port), "DestinationIsIpv6": "false",
        "DestinationIp": e.server, "DestinationHostname": "-", "DestinationPort": str(e.port),
    }  # fmt: skip
    return json.dumps(record, separators=(",", ":"))


def _text(e: Exchange) -> str:
    return e.text


LAYOUTS: dict[str, dict[str, Callable[[Exchange], str]]] = {
    "web": {
        "apache_combined": _combined, "nginx_combined": _combined, "iis": _iis, "haproxy": _haproxy,
        "zeek_http": _zeek_http, "suricata_http": _suricata_http,
    },
    "combined": {"apache_combined": _combined, "nginx_combined": _combined},
    "request": {"zeek_http": _zeek_http, "suricata_http": _suricata_http},
    "proxy": {"squid": _squid},
    "flow": {
        "zeek_conn": _zeek_conn, "suricata_flow": _suricata_flow, "panos_traffic": _panos, "fortigate": _fortigate,
        "cisco_asa": _asa, "netfilter": _netfilter, "pfsense": _pfsense, "nfdump_csv": _nfdump, "sysmon_3": _sysmon,
    },
    "policy": {"panos_traffic": _panos, "fortigate": _fortigate, "cisco_asa": _asa, "netfilter": _netfilter},
    "dns": {"zeek_dns": _zeek_dns, "suricata_dns": _suricata_dns, "bind_query": _bind, "dnsmasq": _dnsmasq},
    "lookup": {"zeek_dns": _zeek_dns, "suricata_dns": _suricata_dns},
    "arp": {"suricata_arp": _suricata_arp},
    "text": {"unknown": _text},
}  # fmt: skip
"""What kind of exchange is written by which layouts; the names are those of the schemas."""

HEADS = {
    "iis": _IIS_HEAD,
    "nfdump_csv": "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\n",
}
"""Header lines of the layouts that have some."""
