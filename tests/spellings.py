"""Random records of every schema, and every way in which a log may spell what stands in them.

Made for speed: `templates` writes some events with every schema once, `Speller.record` rewrites one of the records in
about 20 µs. Nothing here needs to know whether a spelling keeps the meaning: the tests ask the real reader and the real
predicate. Everything depends on the given `random.Random` only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from random import Random
from typing import Any

from imdswatch.schema import Schemas

V4, V6 = "169.254.169.254", "fd00:ec2::254"
V4_NUMBER = 0xA9FEA9FE
_WIDE = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}
_WIDE_DOTS = "\uff0e\u3002\uff61"
_NEAR = (
    "169.254.169.25", "169.254.169.2544", "169.254.170.2", "168.63.129.16", "1169.254.169.254", "169.254.169.253",
    "2852039167", "fd00:ec2::253", "fd00:ec2::254:1", "fe80::a9fe:a9fe", "10.20.2.66", "metadata.example",
)  # fmt: skip
NAMES = (
    "instance-data", "instance-data.", "instance-data.ec2.internal", "instance-data.eu-west-1.compute.internal",
    "instance-data.compute.internal", "INSTANCE-DATA", "instance-database.example", "instance-data.corp.example",
)  # fmt: skip
ROUTES = ("169.254.169.254/32", "169.254.169.0/24", "169.254.0.0/16", "169.128.0.0/9", "fd00:ec2::254/128",
          "fd00:ec2::/32", "fd00::/16", "10.0.0.0/8")  # fmt: skip
TREES = ("latest", "1.0", "2021-03-23", "2009-04-04", "2016-09-02")
PATHS = (
    "meta-data", "meta-data/", "meta-data/iam/security-credentials/", "meta-data/iam/security-credentials/fake-role",
    "meta-data/identity-credentials/ec2/security-credentials/ec2-instance", "api/token", "api/token/", "user-data",
    "dynamic", "dynamic/instance-identity/document", "meta-data/instance-id", "meta-data/placement/region",
    "meta-data/network/interfaces/macs/", "meta-data/services/domain", "meta-datafoo", "user-data2", "api/tokens",
    "meta-data/iam/security-credentials-extended/x", "static/logo.png",
)  # fmt: skip
HEADERS = (
    ("X-aws-ec2-metadata-token",),
    ("Host", "X-aws-ec2-metadata-token-ttl-seconds"),
    ("X-AWS-EC2-METADATA-TOKEN", "Accept"),
    ("Accept", "X-aws-ec2-metadata-token-ttl-seconds", "User-Agent"),
    ("Host", "Metadata-Flavor"),
)
AGENTS = ("Boto3/1.34.5 md/Botocore#1.34", "aws-cli/2.15", "aws-sdk-go/1.44", "amazon-ssm-agent/3", "curl/8.5.0",
          "Cloud-Init/24.1", "s3fs/1.9 (commit x)", "rclone/v1.65", "object_store/0.9", "Mozilla/5.0")  # fmt: skip


def path(rng: Random) -> str:
    """Return a path, mostly one of the service's."""
    return f"/{rng.choice(TREES)}/{rng.choice(PATHS)}"


def event(rng: Random) -> dict[str, Any]:
    """Return a canonical event that has to do with the endpoint more often than not."""
    six = rng.random() < 0.3
    target = rng.choice((V6 if six else V4, V6 if six else V4, V4, "10.20.2.66"))
    out: dict[str, Any] = {
        "timestamp": 1795309323.0 + rng.randrange(100000),
        "src_ip": "fd12:3456::5" if ":" in target else f"10.20.1.{rng.randrange(1, 250)}",
        "src_port": rng.randrange(1024, 65535),
        "dst_ip": target,
        "dst_port": rng.choice((80, 8080, 443)),
    }
    kind = rng.choice(
        ("http", "http", "single", "single", "single", "url", "flow", "dns", "arp", "nat", "reverse", "route")
    )
    if kind == "single":
        return _single(out, rng)
    if kind in ("http", "url"):
        if rng.random() < 0.6:
            out["dst_ip"] = "10.20.2.66"
        name = rng.choice((V4, V4, f"[{V6}]", *NAMES, "shop.example")) + rng.choice(("", "", ":80", ":8080"))
        query = rng.choice(
            ("", "", "", "a=1", "u=http://169.254.169.254/latest/meta-data/", "x=/latest/api/token")
        )
        if kind == "http":
            out |= {"host": name, "uri_path": path(rng)}
            if query:
                out["uri_query"] = query
        else:
            out["url"] = (
                f"{rng.choice(('http://', 'http://', ''))}{name}{path(rng)}{'?' if query else ''}{query}"
            )
        out |= {"method": rng.choice(("GET", "PUT", "HEAD")), "status": rng.choice((200, 200, 404, 401, 503))}
        if rng.random() < 0.6:
            out["user_agent"] = rng.choice(AGENTS)
        if rng.random() < 0.5:
            out["req_header"] = rng.choice(HEADERS)
        if rng.random() < 0.3:
            out["resp_bytes"] = rng.randrange(2000)
    elif kind == "flow":
        out |= {"proto": "tcp", "conn_state": "SF", "resp_bytes": rng.choice((0, 500)), "resp_packets": 3}
        out |= {"resp_ip_bytes": rng.choice((180, 900)), "action": rng.choice(("allow", "deny"))}
    elif kind == "dns":
        out |= {"dst_ip": "10.20.0.53", "dst_port": 53, "proto": "udp", "dns_query": rng.choice(NAMES)}
        if rng.random() < 0.5:
            out["dns_answer"] = (rng.choice((V4, V6, "10.9.9.9")),)
    elif kind == "arp":
        out |= {"arp_opcode": rng.choice(("request", "reply")), "src_mac": "02:00:00:00:01:10"}
        out |= {"dst_mac": "02:00:00:00:06:66", "proto": "arp"}
        if rng.random() < 0.5:
            out["src_ip"], out["dst_ip"] = out["dst_ip"], out["src_ip"]
    elif kind == "nat":
        out["nat_dst"] = rng.choice(("10.20.2.66", V4))
    elif kind == "reverse":
        out["src_ip"], out["dst_ip"] = out["dst_ip"], out["src_ip"]
        out |= {"resp_bytes": 100, "proto": "tcp"}
    else:
        out["offered_route"] = (rng.choice(ROUTES), "192.0.2.0/24")
    if rng.random() < 0.3:
        out["vlan"] = rng.choice(((42,), (100, 210)))
    return out


def _single(out: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return a request with one single sign of the service, so that nothing else can lead the search to it."""
    out |= {
        "src_ip": "10.20.1.9",
        "dst_ip": "10.20.2.66",
        "method": rng.choice(("GET", "PUT")),
        "status": 404,
    }
    out |= {"host": "shop.example", "uri_path": "/static/logo.png", "user_agent": "curl/8.5.0"}
    sign = rng.choice(("path", "path", "host", "header", "dst", "answer"))
    if sign == "path":
        out["uri_path"] = path(rng)
    elif sign == "host":
        out["host"] = rng.choice((V4, V4, V4, f"[{V6}]", rng.choice(NAMES)))
    elif sign == "header":
        out["req_header"] = rng.choice(HEADERS)
    elif sign == "dst":
        out["dst_ip"] = rng.choice((V4, V6))
    else:
        out |= {"dns_query": "shop.example", "dns_answer": (rng.choice((V4, V6)),)}
    return out


@dataclass(frozen=True)
class Template:
    """A record as a schema writes it, and the header lines it needs."""

    schema: str
    header: tuple[bytes, ...]
    record: str
    is_json: bool


def templates(schemas: Schemas, rng: Random, each: int) -> list[Template]:
    """Write `each` events with every schema."""
    out: dict[tuple[str, str], Template] = {}
    for name, schema in schemas.items():
        if name == "unknown":
            continue
        for _ in range(each):
            lines = schema.write(event(rng))
            if lines:
                record = lines[-1].decode()
                found = Template(name, tuple(lines[:-1]), record, record.startswith("{"))
                out.setdefault((name, record), found)
    return list(out.values())


_SPOTS = re.compile(
    r"(?P<v4>169\.254\.169\.254)|(?P<v6>fd00:ec2::254)|(?P<hex>(?i:a9fea9fe))"
    r"|(?P<path>/(?:latest|1\.0|20\d\d-\d\d-\d\d)/[A-Za-z0-9_./\-]*)"
    r"|(?P<name>(?i:instance-data)[A-Za-z0-9.\-]*)|(?P<header>(?i:x-aws-ec2-[a-z\-]+))"
    r"|(?P<agent>Boto3/|aws-cli/|aws-sdk-|amazon-ssm-agent|Cloud-Init/|s3fs/|rclone/|object_store/)"
)


class Speller:
    """Rewrites records. The rates are per record; most records get one or two changes, some very many."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def record(self, template: Template) -> bytes:
        """Return one spelling of a record."""
        rng = self.rng
        text = _SPOTS.sub(self._spot, template.record) if rng.random() < 0.9 else template.record
        if template.is_json:
            if rng.random() < 0.5:
                text = self._json(text)
        elif rng.random() < 0.12:
            text = self._backslashes(text)
        if rng.random() < 0.12:
            text = self._envelope(text, template.is_json)
        raw = text.encode("utf-8", "surrogatepass")
        if rng.random() < 0.03:
            at = rng.randrange(len(raw))
            raw = raw[:at] + bytes([rng.randrange(128, 256)]) + raw[at + rng.randrange(2) :]
        return raw.replace(b"\n", b" ")

    def _spot(self, found: re.Match[str]) -> str:
        if self.rng.random() < 0.35:
            return found[0]
        kind = found.lastgroup or ""
        made: str = getattr(self, f"_{kind}")(found[0])
        return made

    def _v4(self, text: str) -> str:
        rng = self.rng
        draw = rng.random()
        if draw < 0.07:
            return rng.choice(_NEAR)
        if draw < 0.30:
            return self.v6_of_v4()
        if draw < 0.35:
            return text
        return self.host()

    def host(self) -> str:
        """Return the IPv4 endpoint as a URL may spell it."""
        rng = self.rng
        octets = [169, 254, 169, 254]
        parts = rng.choice((4, 4, 4, 3, 2, 1))
        if rng.random() < 0.15:
            made = ".".join(str(octet + 256 * rng.randrange(0, (999 - octet) // 256 + 1)) for octet in octets)
        else:
            numbers = [*octets[: parts - 1], int.from_bytes(bytes(octets[parts - 1 :]))]
            made = ".".join(self._number(number) for number in numbers)
        if rng.random() < 0.1:
            made += "."
        if rng.random() < 0.12:
            made = "".join(chr(_WIDE[ord(c)]) if ord(c) in _WIDE and rng.random() < 0.5 else c for c in made)
        if rng.random() < 0.12:
            made = "".join(rng.choice(_WIDE_DOTS) if c == "." and rng.random() < 0.6 else c for c in made)
        draw = rng.random()
        if draw < 0.1:
            made = self.percent(made, rng.choice((0.1, 0.5, 1.0)))
        elif draw < 0.2 and not made.isascii():
            made = "".join(c if c.isascii() else self.percent(c, 1.0) for c in made)
        return made

    def _number(self, number: int) -> str:
        rng = self.rng
        draw = rng.random()
        if draw < 0.4:
            return str(number)
        if draw < 0.7:
            return "0" * rng.choice((1, 1, 2, 5)) + f"{number:o}"
        made = "0x" + "0" * rng.choice((0, 0, 1, 4)) + f"{number:x}"
        return self.case(made)

    def v6_of_v4(self) -> str:
        """Return a form of the IPv4 endpoint inside IPv6."""
        rng = self.rng
        value = rng.choice((
            0xFFFF << 32 | V4_NUMBER, 0x64FF9B << 96 | V4_NUMBER, 0xFFFF << 48 | V4_NUMBER, V4_NUMBER,
            (0x2002 << 32 | V4_NUMBER) << 80 | rng.choice((0, 1, 0x1234 << 64)),
        ))  # fmt: skip
        return self.v6(value, dotted=value >> 96 != 0x2002 and rng.random() < 0.5)

    def _v6(self, text: str) -> str:
        if self.rng.random() < 0.07:
            return self.rng.choice(_NEAR)
        return self.v6(int(IPv6Address(text)), dotted=self.rng.random() < 0.25)

    def v6(self, value: int, *, dotted: bool) -> str:
        """Return an IPv6 address in any text of RFC 4291 2.2, a zone or encoded colons included."""
        rng = self.rng
        groups = [value >> 16 * (7 - i) & 0xFFFF for i in range(8)]
        texts = [rng.choice((f"{g:x}", f"{g:x}", f"{g:02x}", f"{g:03x}", f"{g:04x}")) for g in groups]
        tail = ""
        if dotted:
            low = value & 0xFFFFFFFF
            texts, groups = texts[:6], groups[:6]
            tail = ".".join(str(low >> 8 * (3 - i) & 0xFF) for i in range(4))
        runs = [
            (i, j) for i in range(len(groups)) for j in range(i + 1, len(groups) + 1) if not any(groups[i:j])
        ]
        if runs and rng.random() < 0.8:
            i, j = max(runs, key=lambda r: r[1] - r[0]) if rng.random() < 0.6 else rng.choice(runs)
            left, right = ":".join(texts[:i]), ":".join(texts[j:])
            made = f"{left}::{right}" + (f"{':' if right else ''}{tail}" if tail else "")
        else:
            made = ":".join(texts + ([tail] if tail else []))
        made = self.case(made)
        if rng.random() < 0.05:
            made += "%eth0"
        if rng.random() < 0.05:
            made = made.replace(":", "%3A") if rng.random() < 0.7 else made.replace(":", "%253a")
        return f"[{made}]" if rng.random() < 0.15 else made

    def _hex(self, text: str) -> str:
        return self.case(text)

    def _path(self, text: str) -> str:
        rng = self.rng
        out: list[str] = []
        rate = rng.choice((0.05, 0.3, 0.8))
        for segment in text.split("/")[1:]:
            slash = "/"
            if rng.random() < rate:
                slash = "".join(
                    rng.choice(("/", "/", "%2f", "%2F", "%252f", "/./", "/", "/%2e/", "/.%2f"))
                    for _ in range(rng.choice((1, 1, 2, 3)))
                )
                if rng.random() < 0.15:
                    slash += rng.choice(("x/../", "a/b/../../", "%2e%2e/", "../", "./../"))
            if rng.random() < rate * 0.4:
                segment = self.percent(segment, rng.choice((0.1, 0.4, 1.0)))
            if rng.random() < rate * 0.5:
                segment = self.case(segment)
            if rng.random() < 0.01:
                segment = segment.replace("k", "\u212a").replace("i", "\u0130", 1)
            out += [slash, segment]
        made = "".join(out)
        if made.startswith("/20") and rng.random() < 0.05:
            made = made.replace(
                "23", rng.choice(("2\u00e9", "%f0%9f%98%801", "%25e4%25ba%25ba3", "\U0001f6001")), 1
            )
        return made

    def percent(self, text: str, rate: float) -> str:
        """Return the text with characters percent-encoded, once or twice."""
        rng = self.rng
        twice = rng.random() < 0.4
        out = ""
        for char in text:
            if char not in "/?%&=" and rng.random() < rate:
                coded = "".join(f"%{byte:02{rng.choice('xX')}}" for byte in char.encode())
                out += coded.replace("%", "%25") if twice else coded
            else:
                out += char
        return out

    def case(self, text: str) -> str:
        """Return the text in some mix of cases."""
        draw = self.rng.random()
        if draw < 0.3:
            return text.upper()
        if draw < 0.5:
            return text.lower()
        return "".join(c.upper() if self.rng.random() < 0.5 else c.lower() for c in text)

    def _name(self, text: str) -> str:
        text = self.rng.choice((text, *NAMES)) if self.rng.random() < 0.3 else text
        return self.case(text)

    def _header(self, text: str) -> str:
        return self.case(text)

    _agent = _header

    def _json(self, text: str) -> str:
        """Return the JSON text with strings escaped in some of the many ways that mean the same."""
        rng = self.rng
        style = rng.random()
        rate = rng.choice((0.003, 0.02, 0.3, 1.0))
        slash = rng.random() < 0.5

        def escaped(found: re.Match[str]) -> str:
            out = ""
            body = found[0][1:-1]
            pieces = re.findall(r"\\u[0-9a-fA-F]{4}|\\.|.", body, re.DOTALL) if "\\" in body else body
            for char in pieces:
                if len(char) == 1 and char == "/" and slash:
                    out += "\\/"
                elif len(char) == 1 and (style < 0.6 or char.isascii()) and rng.random() < rate:
                    units = char.encode("utf-16-be", "surrogatepass")
                    form = rng.choice(("04x", "04X"))
                    out += "".join(
                        f"\\u{int.from_bytes(units[i : i + 2]):{form}}" for i in range(0, len(units), 2)
                    )
                else:
                    out += char
            return f'"{out}"'

        text = re.sub(r'"(?:[^"\\]|\\.)*"', escaped, text)
        if rng.random() < 0.1:
            text = json.dumps(json.loads(text), ensure_ascii=rng.random() < 0.5, indent=None)
        return text

    def _backslashes(self, text: str) -> str:
        """Put escapes of text formats: `\\x2f`, or `\\/` (no writer escapes a letter or digit so)."""
        rng = self.rng
        rate = rng.choice((0.005, 0.05))
        every = rng.random() < 0.5
        out = ""
        for char in text:
            if every and rng.random() < rate and char not in ' "\\\t':
                out += "".join(f"\\x{byte:02{rng.choice('xX')}}" for byte in char.encode())
            elif not every and char in "/.:-_=,;[]|" and rng.random() < rate * 4:
                out += "\\" + char
            else:
                out += char
        return out

    def _envelope(self, text: str, is_json: bool) -> str:
        rng = self.rng
        wraps: list[Callable[[str], str]] = [
            lambda t: json.dumps({"log": t + "\n", "stream": "stdout", "time": "2026-11-22T01:00:00.0Z"}),
            lambda t: json.dumps({"message": t, "@timestamp": "2026-11-22T01:00:00Z"}, ensure_ascii=False),
            lambda t: json.dumps({"MESSAGE": t, "_HOSTNAME": "h", "SYSLOG_IDENTIFIER": "x"}),
            lambda t: json.dumps({"MESSAGE": list(t.encode("utf-8", "replace")), "_HOSTNAME": "h"}),
            lambda t: f"<134>Nov 22 01:02:03 host app: {t}",
            lambda t: f"<134>1 2026-11-22T01:02:03Z host app - - - {t}",
            lambda t: json.dumps({"_raw": t}).replace("/", "\\/"),
            lambda t: json.dumps({"event": {"original": t}}).replace("/", "\\/"),
        ]
        if is_json:
            wraps += [
                lambda t: f'{{"_index":"x","_source":{t}}}',
                lambda t: f'{{"result":{t}}}',
                lambda t: f"[{t}]",
            ]
        text = rng.choice(wraps)(text)
        return rng.choice(wraps[:8])(text) if rng.random() < 0.25 else text


def records(schemas: Schemas, rng: Random, each: int = 32) -> Iterator[tuple[Template, bytes]]:
    """Yield records without end, of every schema equally often."""
    by_schema: dict[str, list[Template]] = {}
    for template in templates(schemas, rng, each):
        by_schema.setdefault(template.schema, []).append(template)
    names = sorted(by_schema)
    speller = Speller(rng)
    while True:
        for name in names:
            template = rng.choice(by_schema[name])
            yield template, speller.record(template)
