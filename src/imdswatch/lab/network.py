"""The network of a rehearsal: a switch with victim, peer and router, the rogue behind the router, a sensor on the span.

    victim 10.20.1.10 ──┐
    peer   10.20.1.20 ──┤ switch ── router 10.20.1.1 │ 10.20.2.1 ── rogue 10.20.2.66
                        └── span ── sensor

IPv6 likewise (fd20:1::10 …). What enters any port of the switch is mirrored to the sensor: by the kernel (tc, mirred),
or, where it cannot or where the span is a VLAN trunk, by `_relay`. Nothing leads outside; `lab.enclosure` checks that.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from imdswatch.lab.enclosure import Enclosure, Namespace

ENDPOINT, ENDPOINT6 = "169.254.169.254", "fd00:ec2::254"
_INGRESS, _ALL, _OUTGOING = 0xFFFF0000, 0x0003, 4
_JUMBO = 65535
_NODAD = 0x02  # else an IPv6 address is tentative for a second: nobody here has it twice by mistake


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host is: its addresses and its MAC."""

    ip: str
    ip6: str
    mac: str


HOSTS: Mapping[str, Host] = MappingProxyType(
    {
        "victim": Host("10.20.1.10", "fd20:1::10", "02:00:00:00:01:10"),
        "peer": Host("10.20.1.20", "fd20:1::20", "02:00:00:00:01:20"),
        "router": Host("10.20.1.1", "fd20:1::1", "02:00:00:00:01:01"),
        "rogue": Host("10.20.2.66", "fd20:2::66", "02:00:00:00:02:66"),
    }
)
_ROUTER_FAR = Host("10.20.2.1", "fd20:2::1", "02:00:00:00:02:01")


def add_address(space: Namespace, interface: str, address: str, bits: int) -> None:
    """Give an interface an address that is usable at once."""
    space.ip.addr("add", index=space.index(interface), address=address, prefixlen=bits, flags=_NODAD)


class Network:
    """The namespaces by name, wired up; they go with the enclosure. `tag`: the span is a trunk with this VLAN."""

    def __init__(self, enclosure: Enclosure, tag: int | None = None) -> None:
        self.spaces = {name: enclosure.space(name) for name in ("switch", "sensor", *HOSTS)}
        switch = self.spaces["switch"]
        for quiet in (switch, self.spaces["sensor"]):
            with quiet:
                quiet.set(
                    "ipv6/conf/default/disable_ipv6", 1
                )  # a switch and a sensor say nothing by themselves
        switch.ip.link("add", ifname="br0", kind="bridge")
        switch.ip.link("set", index=switch.index("br0"), state="up")
        self._cable("switch", "span", "sensor", "eth0")
        for name in ("victim", "peer", "router"):
            self._cable("switch", f"p-{name}", name, "eth0", HOSTS[name].mac)
            switch.ip.link("set", index=switch.index(f"p-{name}"), master=switch.index("br0"))
        self._cable("router", "eth1", "rogue", "eth0", HOSTS["rogue"].mac, _ROUTER_FAR.mac)
        for name, host in HOSTS.items():
            self._address(name, "eth0", host)
        self._address("router", "eth1", _ROUTER_FAR)
        self._forward()
        for name, gateway in (("victim", HOSTS["router"]), ("peer", HOSTS["router"]), ("rogue", _ROUTER_FAR)):
            self.spaces[name].ip.route("add", dst="0.0.0.0/0", gateway=gateway.ip)
            self.spaces[name].ip.route("add", dst="::/0", gateway=gateway.ip6)
        if tag is not None or not self._mirror():
            self._relay(tag)

    def __getitem__(self, name: str) -> Namespace:
        return self.spaces[name]

    def _cable(self, one: str, here: str, other: str, there: str, mac: str = "", own: str = "") -> None:
        peer = {
            "ifname": there,
            "net_ns_fd": self.spaces[other].descriptor,
            "mtu": _JUMBO if here == "span" else 1500,
        }
        if mac:
            peer["address"] = mac
        more = {"address": own} if own else {}
        space = self.spaces[one]
        space.ip.link("add", ifname=here, kind="veth", peer=peer, mtu=peer["mtu"], **more)
        space.ip.link("set", index=space.index(here), state="up")
        far = self.spaces[other]
        far.ip.link("set", index=far.index(there), state="up")

    def _address(self, name: str, interface: str, host: Host) -> None:
        space = self.spaces[name]
        add_address(space, interface, host.ip, 24)
        add_address(space, interface, host.ip6, 64)

    def _forward(self) -> None:
        router = self.spaces["router"]
        with router:
            router.set("ipv4/ip_forward", 1)
            router.set("ipv6/conf/all/forwarding", 1)
            router.set("ipv4/conf/all/send_redirects", 0)
            router.set("ipv4/conf/eth0/send_redirects", 0)

    def _mirror(self) -> bool:
        """Have the kernel copy what enters the ports of the hosts to the span; say whether it can."""
        switch = self.spaces["switch"]
        copy = {"kind": "mirred", "direction": "egress", "action": "mirror", "ifindex": switch.index("span")}
        try:
            for name in ("victim", "peer", "router"):
                port = switch.index(f"p-{name}")
                switch.ip.tc("add", "ingress", port, _INGRESS)
                switch.ip.tc(
                    "add-filter", "u32", port, parent=_INGRESS, prio=1, protocol=_ALL, target=0, keys=["0x0/0x0+0"],
                    action=copy,
                )  # fmt: skip
        except NetlinkError:
            for name in ("victim", "peer", "router"):  # all or none: else some packets would be seen twice
                with suppress(NetlinkError):
                    switch.ip.tc("del", "ingress", switch.index(f"p-{name}"), _INGRESS)
            return False
        return True

    def _relay(self, tag: int | None) -> None:
        """Copy what enters the ports of the hosts to the span, in its order; with an 802.1Q tag if one is given."""
        with self.spaces["switch"]:
            heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            span = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            span.bind(("span", 0))
        mark = b"" if tag is None else b"\x81\x00" + tag.to_bytes(2)

        def run() -> None:
            with heard, span:
                while True:
                    frame, (interface, _, kind, *_) = heard.recvfrom(_JUMBO)
                    if not interface.startswith("p-") or kind == _OUTGOING:
                        continue
                    try:
                        span.send(frame[:12] + mark + frame[12:])
                    except OSError:
                        return  # the span is gone: the performance is over

        threading.Thread(target=run, daemon=True).start()
