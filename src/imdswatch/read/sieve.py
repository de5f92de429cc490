"""What the kernel hands to a sensor that watches for the endpoint only: the filter of an interface, as classic BPF.

It may only ever be too generous: what it cannot look into is handed on, and user space decides. Handed on are

- IPv4 and IPv6 from or to the endpoint, ARP and neighbour discovery about it, ICMP errors that quote it,
- DHCP, router advertisements and redirects, whatever they say,
- lookups of `instance-data…`,
- TCP segments that begin with a request in absolute form, or a CONNECT, for a host that is a number or begins with
  `i` (`instance-data`), or with a request for `/latest`, `/1.0` or `/20…` of any host,
- TCP segments that begin with an answer's status line, or as a JSON document of credentials may begin: which request it
  answers, if it is one of those above, is for user space to say,
- TLS hellos and requests of `hosts` (who was served credentials), to whomever,
- all that goes on in `pairs`: two hosts of which one asked the other for metadata, which is no endpoint (a proxy, a
  DNAT target), so that what they say next is seen whole,
- what carries packets in packets: VXLAN, Geneve, GRE with ERSPAN, IP in IP, MPLS, PPPoE, 802.3 with SNAP, EtherIP,
  AH, IPv6 with extension headers.

Up to two VLAN tags that the kernel left in the frame are passed over; a third is handed on. Not seen: the rest of an
answer through a proxy, at a DNAT target and at custom endpoints, until their pair is known; requests that are cut
before the words above; fragments that do not begin a datagram, but for those of the endpoint and of tunnels over IP.
All of it needs every packet (`watch --all-http`). Pure. tests/test_sieve.py runs it beside what tcpdump makes of the
same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from struct import unpack

from imdswatch.address import ENDPOINT_V4, ENDPOINT_V6
from imdswatch.read.bpf import Instruction, Program
from imdswatch.wire import nd
from imdswatch.wire.links import ARP, IPV4, IPV6, MPLS, PLAIN_TAGS, PPPOE, VLAN_TAGS
from imdswatch.wire.tunnels import UDP_PORTS

ETHERNET, RAW = 1, 101
"""Link types of interfaces: with an Ethernet header, and without any."""

_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_CARRIERS = (4, 41, 47, 51, 97, 137)  # IP, IPv6, GRE, AH, EtherIP and MPLS in IP (IANA protocol-numbers)
_EXTENSIONS = (0, 43, 44, 60, 135, 139, 140)
_DHCP_PORTS = (67, 68, 546, 547)
_DNS_PORTS = (53, 5353, 5355)
_REQUESTS = {b"GET ": 4, b"PUT ": 4, b"HEAD": 5, b"POST": 5, b"PATC": 6, b"DELE": 7, b"OPTI": 8}
"""How requests begin, and where the target stands."""
_ANSWERS = (b"HTTP/1.0", b"HTTP/1.1")
_DOCUMENTS = tuple(f'{{"{name}'.encode() for name in ("Co", "La", "Ty", "Ac", "Se", "To", "Ex"))
"""How a credential document begins that is one line: by whichever of its members."""
_INDENTED = (b"{\n", b"{\r", b"{ ")
_CONNECT = int.from_bytes(b"CONN")
_SMALL = 0x20202020
_TAGS = 2  # that are passed over
_PROTOCOL, _THEIRS = 0, 1
"""Cells of memory: the protocol of the IP packet, and whether it comes from one of the hosts."""
_ICMP_REDIRECT, _ICMP_ERRORS, _ICMP6_ERRORS = 5, (3, 4, 11, 12), (1, 2, 3, 4)  # RFC 792, RFC 4443


Pair = tuple[str, str]


def sieve(linktype: int, hosts: Sequence[str] = (), pairs: Sequence[Pair] = ()) -> tuple[Instruction, ...]:
    """Return the filter for an interface of a link type; names of hosts that are no addresses are passed over."""
    program = Program()
    watched = sorted({ip_address(host) for host in hosts if _is_address(host)}, key=str)
    known = [
        (ip_address(one).packed, ip_address(other).packed)
        for one, other in pairs
        if _is_address(one) and _is_address(other)
    ]
    v4 = [int(host) for host in watched if host.version == 4]
    v6 = [host.packed for host in watched if host.version == 6]
    if watched:
        program.number(0)
        program.keep(_THEIRS)
    if linktype == ETHERNET:
        start = _ethernet(program)
    else:
        start = 0
        program.begin_at(0)
        program.load(1, 0)
        program.shift(-4)
        program.goto_if("ipv4", 4)
        program.goto_unless("nothing", 6)
        program.goto("ipv6")
    _ipv4(program, start, v4, [pair for pair in known if len(pair[0]) == len(pair[1]) == 4])
    _ipv6(program, start, v6, [pair for pair in known if len(pair[0]) == len(pair[1]) == 16])
    _transport(program, bool(watched))
    program.label("nothing")
    program.reject()
    return program.assemble()


def everything() -> tuple[Instruction, ...]:
    """Return the filter that hands on every packet."""
    program = Program()
    program.accept()
    return program.assemble()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _number(octets: bytes) -> int:
    return int.from_bytes(octets)


def _ethernet(program: Program) -> int:
    """Pass over the header and tags; X is what the tags take, and 14 what stands before the network header."""
    kinds = tuple(sorted(VLAN_TAGS))
    for tags in range(_TAGS):
        program.begin_at(4 * tags)
        program.load(2, 12)
        program.goto_if(f"tag {tags + 1}", *kinds)
        program.goto("protocol")
        program.label(f"tag {tags + 1}")
    program.begin_at(4 * _TAGS)
    program.load(2, 12)
    program.accept_if(*kinds)
    program.label("protocol")
    program.goto_if("ipv4", IPV4)
    program.goto_if("ipv6", IPV6)
    program.accept_if(*sorted(MPLS), PPPOE, *sorted(PLAIN_TAGS))
    program.goto_if("arp", ARP)
    program.goto_above("nothing", 1500)
    program.load(2, 14)  # 802.3: its LLC header, which leads to IP by SNAP or by IP's own number
    program.accept_if(0xAAAA)
    program.shift(-8)
    program.accept_if(0x06)
    program.reject()
    program.label("arp")
    for place in (14 + 14, 14 + 24):
        program.load(4, place)
        program.accept_if(int(ip_address(ENDPOINT_V4)))
    program.reject()
    return 14


_Octets = tuple[bytes, bytes]


def _ipv4(program: Program, start: int, hosts: Sequence[int], pairs: Sequence[_Octets]) -> None:
    program.label("ipv4")
    for place in (start + 12, start + 16):
        program.load(4, place)
        program.accept_if(int(ip_address(ENDPOINT_V4)))
    if pairs:  # the destination is what was loaded last, and most packets go to somebody else
        program.goto_if("of a pair", *sorted({_number(host) for pair in pairs for host in pair}))
        program.goto("of no pair")
        program.label("of a pair")
        for one, other in sorted({*pairs, *((other, one) for one, other in pairs)}):
            program.load(4, start + 12)
            program.goto_unless(f"not {one.hex()} {other.hex()}", _number(one))
            program.load(4, start + 16)
            program.accept_if(_number(other))
            program.label(f"not {one.hex()} {other.hex()}")
        program.label("of no pair")
    program.load(1, start + 9)
    program.keep(_PROTOCOL)
    program.accept_if(*_CARRIERS)
    program.load(2, start + 6)
    program.reject_if_any(0x1FFF)
    if hosts:
        program.load(4, start + 12)
        program.goto_if("theirs 4", *hosts)
        program.goto("to transport 4")
        program.label("theirs 4")
        program.number(1)
        program.keep(_THEIRS)
        program.label("to transport 4")
    program.load(1, start)
    program.mask(0x0F)
    program.shift(2)
    program.add_x()
    program.add(start)
    program.go()
    program.goto("transport")


def _ipv6(program: Program, start: int, hosts: Sequence[bytes], pairs: Sequence[_Octets]) -> None:
    program.label("ipv6")
    endpoint = ip_address(ENDPOINT_V6).packed
    for place in (start + 8, start + 24):
        _skip_unless_address(program, place, endpoint, f"not {place}")
        program.accept()
        program.label(f"not {place}")
    for one, other in sorted({*pairs, *((other, one) for one, other in pairs)}):
        _skip_unless_address(program, start + 8, one, f"not {one.hex()} {other.hex()}")
        _skip_unless_address(program, start + 24, other, f"not {one.hex()} {other.hex()}")
        program.accept()
        program.label(f"not {one.hex()} {other.hex()}")
    program.load(1, start + 6)
    program.keep(_PROTOCOL)
    program.accept_if(*_CARRIERS, *_EXTENSIONS)
    for number, host in enumerate(hosts):
        _skip_unless_address(program, start + 8, host, f"not host {number}")
        program.number(1)
        program.keep(_THEIRS)
        program.label(f"not host {number}")
    program.move(start + 40)
    program.goto("transport")


def _skip_unless_address(program: Program, place: int, address: bytes, label: str) -> None:
    """Go on at the label unless this IPv6 address stands at the place."""
    for word, number in enumerate(unpack(">4I", address)):
        program.load(4, place + 4 * word)
        program.goto_unless(label, number)


def _accept_address(program: Program, place: int, address: bytes) -> None:
    """Take the packet if an IPv6 address stands at a place of its transport."""
    _skip_unless_address(program, place, address, f"not at {place}")
    program.accept()
    program.label(f"not at {place}")


def _transport(program: Program, hosts: bool) -> None:
    """Look into the packet whose transport header stands at X."""
    program.label("transport")
    program.recall(_PROTOCOL)
    program.goto_if("tcp", _TCP)
    program.goto_if("udp", _UDP)
    program.goto_if("icmp", _ICMP)
    program.goto_if("icmp6", _ICMP6)
    program.reject()
    _udp(program)
    _icmp(program)
    _tcp(program, hosts)


def _udp(program: Program) -> None:
    program.label("udp")
    program.load(2, 0)
    program.accept_if(*_DHCP_PORTS)
    program.goto_if("dns", *_DNS_PORTS)
    program.load(2, 2)
    program.accept_if(*_DHCP_PORTS, *sorted(UDP_PORTS))
    program.goto_if("dns", *_DNS_PORTS)
    program.reject()
    program.label("dns")
    program.load(1, 8 + 12)  # the first label of the first question (RFC 1035 4.1)
    program.goto_unless("nothing", len("instance-data"))
    program.load(4, 8 + 13)
    program.set_bits(_SMALL)
    program.accept_if(_number(b"inst"))
    program.reject()


def _icmp(program: Program) -> None:
    program.label("icmp")
    program.load(1, 0)
    program.accept_if(_ICMP_REDIRECT)
    program.goto_if("quoted", *_ICMP_ERRORS)
    program.reject()
    program.label("quoted")
    for place in (8 + 12, 8 + 16):
        program.load(4, place)
        program.accept_if(int(ip_address(ENDPOINT_V4)))
    program.reject()

    endpoint = ip_address(ENDPOINT_V6).packed
    program.label("icmp6")
    program.load(1, 0)
    program.accept_if(nd.ROUTER_ADVERTISEMENT, nd.REDIRECT)
    program.goto_if("neighbour", nd.SOLICITATION, nd.ADVERTISEMENT)
    program.goto_if("quoted 6", *_ICMP6_ERRORS)
    program.reject()
    program.label("neighbour")
    _accept_address(program, 8, endpoint)
    program.reject()
    program.label("quoted 6")
    for place in (8 + 8, 8 + 24):
        _accept_address(program, place, endpoint)
    program.reject()


def _tcp(program: Program, hosts: bool) -> None:
    program.label("tcp")
    program.load(1, 12)
    program.mask(0xF0)
    program.shift(-2)
    program.add_x()
    program.go()
    if hosts:
        program.recall(_THEIRS)
        program.goto_if("theirs", 1)
        program.goto("request")
        program.label("theirs")
        program.load(1, 0)
        program.accept_if(0x16)  # a TLS handshake (RFC 8446 5.1)
        program.load(4, 0)
        program.accept_if(*map(_number, _REQUESTS), _CONNECT)
        program.label("request")
    program.load(4, 0)
    for words in _REQUESTS:
        program.goto_if(words.decode(), _number(words))
    program.goto_if("authority", _CONNECT)
    program.goto_if("answer", _number(_ANSWERS[0][:4]))
    program.accept_if(*map(_number, _DOCUMENTS))
    program.shift(-16)
    program.accept_if(*map(_number, _INDENTED))
    program.reject()
    program.label("answer")
    program.load(4, 4)
    program.accept_if(*(_number(words[4:]) for words in _ANSWERS))
    program.reject()
    for words, place in _REQUESTS.items():
        program.label(words.decode())
        program.move(place)
        program.goto("target")
    program.label("target")
    program.load(4, 0)
    program.accept_if(_number(b"/lat"), _number(b"/1.0"), _number(b"//la"), _number(b"//20"))
    program.mask(0xFFFFFF00)
    program.accept_if(_number(b"/20\x00"))
    program.load(4, 0)
    program.set_bits(_SMALL)
    program.goto_unless("nothing", _number(b"http"))
    program.load(4, 3)
    program.set_bits(_SMALL)
    program.goto_unless("nothing", _number(b"p://"))
    program.load(1, 7)
    program.goto("host")
    program.label("authority")
    program.load(1, 8)
    program.label("host")
    program.accept_if(*b"0123456789[iI")
    program.reject()
