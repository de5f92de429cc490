"""Writes canonical fields as a record of a schema: the inverse of reading, for the lab and for tests.

Reading loses things (a match keeps a part, a map merges values), so the inverse is found by trying: every field
proposes what its source fields could say, each layout and variant writes it, the result is read back by the real
reader, and the record from which most of the event comes back is the answer. Slow and safe by construction: what
`write` returns is recognised by its own schema. No I/O.
One file of this length because the proposals of one event share what is known of its source fields so far.

Longer than most: every layout kind has its inverse here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imdswatch import address
from imdswatch.layouts import conversions, times
from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.fieldmap import Field
from imdswatch.layouts.json import Json
from imdswatch.layouts.keyvalue import KeyValue
from imdswatch.layouts.logformat import LogFormat
from imdswatch.layouts.pattern import Pattern
from imdswatch.layouts.plain import to_plain
from imdswatch.layouts.result import Record, Sources
from imdswatch.layouts.times import Clock

if TYPE_CHECKING:
    from imdswatch.schema import Base, Form, Schema

_CLOCK = Clock()
_FILLERS = ("1", "x", "DIRECT", "0", "in", "allow")
"""What may stand in the parts of a glued text that the event says nothing about, until the match is content."""

SAMPLE: dict[str, Any] = {
    "timestamp": 1795309323.0, "sensor": "fw1", "session": "4711", "src_ip": "10.20.1.10",
    "dst_ip": "169.254.169.254", "src_port": 40112, "dst_port": 80, "src_mac": "02:00:00:00:01:10",
    "dst_mac": "02:00:00:00:06:66", "src_host": "host-1", "nat_dst": "10.20.2.66", "nat_dst_port": 8080, "vlan": (42,),
    "proto": "tcp", "ttl": 64, "process": "/usr/bin/python3", "process_origin": "pid 4711, user build", "url": "http://169.254.169.254/latest/meta-data/",
    "host": "169.254.169.254", "uri_path": "/latest/meta-data/", "uri_query": "a=1", "method": "GET",
    "user_agent": "Boto3/1.34.5", "req_header": ("X-aws-ec2-metadata-token",), "status": 200, "resp_mime": "text/plain",
    "dns_query": "instance-data.ec2.internal", "dns_answer": ("169.254.169.254",), "tls_sni": "sts.amazonaws.com",
    "arp_opcode": "reply", "nd_target": "fd00:ec2::254", "offered_route": ("169.254.169.254/32",), "action": "allow",
    "conn_state": "SF", "resp_bytes": 1024, "resp_ip_bytes": 1400, "resp_packets": 4, "resp_flags": "SAFP",
    "reply_by": "proxy", "answered": True, "signature": "IMDS", "access_key_id": "ASIAIOSFODNN7EXAMPLE",
    "account_id": "123456789012", "role": "fake-role", "response_code": "Success", "expiration": 1795312923.0,
    "payload": "text",
}  # fmt: skip
"""One value of every canonical field, to ask a schema what it can carry."""


def carries(schema: Schema, name: str) -> bool:
    """Say whether a record can be written from which this canonical field comes back, alone or among others."""
    value = SAMPLE.get(name)
    return any(_score(_best(schema, event)[1], {name: value}) for event in ({name: value}, SAMPLE))


def write(schema: Schema, fields: Mapping[str, Any]) -> list[str]:
    """Return the lines of the record from which most of the fields come back; none if the schema cannot write."""
    return _best(schema, fields)[0]


def header(schema: Schema) -> list[str]:
    """Return the header lines of the schema's first layout, if that has a header."""
    layout = schema.bases[0].form.layout
    if isinstance(layout, Delimited) and layout.header:
        return layout.header_lines(_columns(schema, schema.bases[0]))
    return []


def _best(schema: Schema, fields: Mapping[str, Any], retry: bool = True) -> tuple[list[str], dict[str, Any]]:
    from imdswatch.read.lines import LineReader  # reads back; `read` imports the schema, hence not at the top

    latest = max(float(fields.get("timestamp", 0)), SAMPLE["timestamp"]) + 86400.0
    best: tuple[int, list[str], dict[str, Any]] = (-1, [], {})
    for lines in _proposals(schema, fields):
        reader = LineReader([schema], Clock(latest=latest))
        result = [reader.read(line.encode("utf-8", "replace")) for line in lines][-1]
        if isinstance(result, Record):
            score = _score(result.fields, fields)
            if score > best[0]:
                best = score, lines, result.fields
    if (
        not best[1] and retry
    ):  # one value may spoil the whole record, such as a session where the schema is told by its id
        for name in fields if len(fields) > 1 else ():
            found = _best(schema, {other: value for other, value in fields.items() if other != name}, False)
            if found[0]:
                return found
    return best[1], best[2]


def _score(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> int:
    return sum(name in got and same(got[name], value) for name, value in wanted.items())


def same(one: Any, other: Any) -> bool:
    """Say whether two canonical values are equal; times within a millisecond, lists without case."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) < 1e-3
    if isinstance(one, tuple) and isinstance(other, (tuple, list)):
        return [str(item).lower() for item in one] == [str(item).lower() for item in other]
    return bool(one == other)


def _proposals(schema: Schema, fields: Mapping[str, Any]) -> Iterator[list[str]]:
    for base in schema.bases:
        for form in base.forms:
            sources = _Inverse(schema, form, fields).sources()
            layout = form.layout
            inner = {name: value for name, value in sources.items() if not name.startswith("syslog.")}
            if isinstance(layout, Delimited) and layout.header:
                columns = _columns(schema, base)
                yield [*layout.header_lines(columns), layout.write_row(inner, columns)]
                continue
            if isinstance(layout, (Pattern, LogFormat, KeyValue, Delimited)):
                messages = layout.candidates(inner)
            else:
                messages = [layout.write(inner)]
            for message in messages:
                if not any(name.startswith("syslog.") for name in sources):
                    yield [message]
                yield [_syslog(schema, sources) + message]


def _syslog(schema: Schema, sources: Sources) -> str:
    program = sources.get("syslog.program") or next(iter(schema.recognise.program), "")
    moment = sources.get("syslog.time") or times.iso(SAMPLE["timestamp"])
    host = to_plain(sources.get("syslog.host", "host")).replace(" ", "-")
    return f"{moment} {host} {program}: " if program else f"{moment} {host} "


def _columns(schema: Schema, base: Base) -> tuple[str, ...]:
    columns = dict.fromkeys(column.split("|")[0] for column in schema.recognise.columns)
    for form in base.forms:
        columns.update((source, None) for source, _ in form.when)
        for spec in form.fields.fields:
            several = spec.join or spec.glue is not None
            columns.update(dict.fromkeys(spec.sources if several else spec.sources[:1]))
            if spec.less_of:
                columns[spec.less_of] = None
    return tuple(name for name in columns if not name.startswith("syslog."))


class _Inverse:
    """Collects what the source fields of one form would have to say for an event."""

    def __init__(self, schema: Schema, form: Form, fields: Mapping[str, Any]) -> None:
        self._form, self._fields = form, fields
        self._known: Sources = {}
        self._header: Sources = {}
        self._parts: dict[str, dict[str, Any]] = {}  # source → conversion that reads a part of it → value
        self._defaults: Sources = dict(form.layout.defaults)
        self._defaults.update({source: sorted(values)[0] for source, values in form.when})
        if isinstance(form.layout, Json):
            keys = (key.partition("|")[0] for key in schema.recognise.keys)
            self._required = tuple(keys)
            self._one_of = schema.recognise.any
            for path, values in schema.recognise.equals.items():
                self._defaults.setdefault(path, int(values[0]) if values[0].isdigit() else values[0])
        else:
            self._required, self._one_of = (), ()
        names = form.layout.names()
        if names is not None:
            self._defaults = {name: value for name, value in self._defaults.items() if name in names}
        # Each pattern and each format has its own names for the same thing: give the value to all of them.
        self._everywhere = isinstance(form.layout, (Pattern, LogFormat))

    def sources(self) -> Sources:
        """Return the source fields, the constants of the layout included."""
        specs = [spec for spec in self._form.fields.fields if spec.name in self._fields]
        # Fields that own their source speak first; what shares a source must fit in with them.
        for spec in sorted(
            specs, key=lambda spec: (spec.glue is not None or bool(spec.less_of), bool(spec.match))
        ):
            alternative: Field | None = spec
            while alternative is not None and not self._set(alternative, self._fields[spec.name]):
                alternative = alternative.otherwise
        for source, parts in self._parts.items():
            self._known.setdefault(source, _compose(parts))
        out = {**self._defaults, **self._known}
        if any(source.startswith("syslog.") for source in out):
            out = {**self._header, **out}
        for name in self._required:
            out.setdefault(name, "")
        if not any(name in out for name in self._one_of):
            out.update(dict.fromkeys(self._one_of[:1], ""))
        return out

    def _set(self, spec: Field, value: Any) -> bool:
        if spec.less_of is not None:
            of = self._counted(spec.less_of)
            if of is None:
                return False
            value = value + spec.less_times * of
        if spec.join:
            return self._join(spec, value)
        texts = self._before_map(spec, value)
        if spec.glue is not None:
            return any(self._glue(spec, text, value) for text in texts)
        done = False
        inner = [source for source in spec.sources if not source.startswith("syslog.")] or list(spec.sources)
        if spec.sources[0].startswith("syslog.") and inner[0] != spec.sources[0] and texts:
            self._header[spec.sources[0]] = texts[0]  # would win over the field if there has to be a header
        for source in inner if self._everywhere else inner[:1]:
            done = self._one(spec, source, texts, value) or done
        return done

    def _counted(self, source: str) -> int | None:
        for spec in self._form.fields.fields:
            if (
                source in spec.sources
                and spec.name in self._fields
                and isinstance(self._fields[spec.name], int)
            ):
                return int(self._fields[spec.name])
        return None

    def _before_map(self, spec: Field, value: Any) -> list[Any]:
        """Return the values that `map` and `as` would turn into this value."""
        if spec.map:
            to = {key: spec.read() for key, _ in spec.map}
            keys = [key[:-1] or "x" if key.endswith("*") else key for key, mapped in spec.map]
            plain = Field(spec.name, spec.sources, spec.convert, map=spec.map).read()
            return [key for key in keys if to and same(plain(key, _CLOCK), value)] or keys[:0]
        if spec.formats and isinstance(value, (int, float)):
            return [times.formatted(value, text) for text in spec.formats]
        if spec.convert in conversions.WRITE:
            return [conversions.WRITE[spec.convert](value)]
        return []

    def _one(self, spec: Field, source: str, texts: list[Any], value: Any) -> bool:
        read = spec.read(source)
        if source in self._known:
            return same(read(self._known[source], _CLOCK), value)
        if (
            source in self._defaults
            and (spec.map or spec.match)
            and same(read(self._defaults[source], _CLOCK), value)
        ):
            return True
        if not texts and not spec.map:
            self._parts.setdefault(source, {})[spec.convert] = value
            return True
        wrapped = [
            shape.format(text)
            for text in texts
            if isinstance(text, str)
            for shape in ("[{}]", "{{{}}}", "{} ")
        ]
        for text in [*texts, self._request_line(), *wrapped] if spec.match else texts:
            if text is not None and (not spec.match or same(read(text, _CLOCK), value)):
                self._known[source] = text
                return True
        return False

    def _request_line(self) -> str | None:
        target = self._fields.get("url") or self._fields.get("uri_path")
        query = self._fields.get("uri_query")
        if target and query and "?" not in target:
            target = f"{target}?{query}"
        return f"{self._fields.get('method', 'GET')} {target or '/'} HTTP/1.1"

    def _join(self, spec: Field, values: tuple[Any, ...]) -> bool:
        if spec.convert == "header_name":
            wanted = {str(value).lower() for value in values}
            for source in spec.sources:
                name = conversions.header_name(source)("1", _CLOCK)
                if name is not None and name.lower() in wanted:
                    self._known[source] = "1"
                    wanted.remove(name.lower())
            return True
        if spec.match or spec.map or spec.convert not in conversions.WRITE:
            return all(
                self._one(spec, source, [value], (value,))
                for source, value in zip(spec.sources, values, strict=False)
            )
        if len(spec.sources) == 1 or spec.convert != "vlan":
            self._known[spec.sources[0]] = conversions.WRITE[spec.convert](values)
        else:
            self._known.update(zip(spec.sources, values, strict=False))
        return True

    def _glue(self, spec: Field, text: Any, value: Any) -> bool:
        glue, sources = spec.glue or "", spec.sources
        plain = f"{text:.3f}" if isinstance(text, float) else to_plain(text)
        read = spec.read()
        pieces = plain.split(glue, len(sources) - 1) if glue else [plain]
        if len(pieces) == len(sources) and same(read(glue.join(pieces), _CLOCK), value):
            self._known.update(zip(sources, pieces, strict=True))
            return True
        for place, source in enumerate(sources):
            if source in self._known and to_plain(self._known[source]) != plain:
                continue
            for filler in _FILLERS:
                parts = [
                    to_plain(self._known.get(name, self._defaults.get(name, filler))) for name in sources
                ]
                parts[place] = plain
                if same(read(glue.join(parts), _CLOCK), value):
                    self._known.setdefault(source, plain)
                    for name, part in zip(sources, parts, strict=True):
                        if name not in self._known and not part.isdigit():
                            self._known[name] = part
                    return True
        return False


def _compose(parts: dict[str, Any]) -> str:
    """Build a source value from the parts that several fields read out of it."""
    if "host_port_host" in parts or "host_port_port" in parts:
        host = str(parts.get("host_port_host", "-"))
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{parts['host_port_port']}" if "host_port_port" in parts else host
    if "nlmac_src" in parts or "nlmac_dst" in parts:
        nothing = "00:00:00:00:00:00"
        return f"{parts.get('nlmac_dst', nothing)}:{parts.get('nlmac_src', nothing)}:08:00"
    if "sockaddr_ip" in parts or "sockaddr_port" in parts:
        number = address.number(str(parts.get("sockaddr_ip", "0.0.0.0"))) or (4, 0)
        port = int(parts.get("sockaddr_port", 0))
        if number[0] == 6:
            return f"0A00{port:04X}00000000{number[1]:032X}00000000"
        return f"0200{port:04X}{number[1]:08X}0000000000000000"
    return f"{parts.get('request_method', 'GET')} {parts.get('request_uri', '/')} HTTP/1.1"
