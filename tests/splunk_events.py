"""Records of a schema as Splunk would hold them: fields as its JSON extraction names them, tags, sourcetype, time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from imdswatch.siem.content import Source


def event(record: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return the event of a record. `table` of the source says by which tags or sourcetype Splunk knows it.

    Splunk's JSON extraction (`KV_MODE = json`, spath) puts dots between objects and `{}` after arrays; a CIM event is
    no JSON, and a field with several values there is just that.
    """
    table, settings = source.naming.table, source.naming.settings
    out = dict(_flat(record, "", "" if settings.get("extraction") != "json" else "{}"))
    # `Schema.write` puts an array at the end of a path (`a.b: [..]`), where the tool may have one in the middle.
    columns = {column.name for several in source.naming.columns.values() for column in several}
    real = {name.replace("{}", ""): name for name in sorted(columns)}
    out = {name if name in columns else real.get(name.replace("{}", ""), name): out[name] for name in out}
    if tags := re.findall(r"tag=(\w+)", table):
        out["tag"] = tags
    if model := settings.get("datamodel"):
        out["tag"] = {"Network_Traffic": ["network", "communicate"], "Web": ["web"]}[model.partition(".")[0]]
    if sourcetype := re.search(r'sourcetype(?: IN \(|=)"?([^",) ]+)', table):
        out["sourcetype"] = sourcetype[1]
    moment = out.pop(source.schema.bases[0].form.fields.fields[0].sources[0], out.get("_time"))
    if isinstance(moment, str) and not re.fullmatch(r"[0-9.]+", moment):
        moment = datetime.fromisoformat(moment).timestamp()
    out["_time"] = float(moment)
    return out


def _flat(value: Any, name: str, array: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else key, array)
        return
    if not isinstance(value, list):
        yield name, value
        return
    found: dict[str, list[Any]] = {}
    for one in value:
        for below, inner in _flat(one, name + array, array):
            found.setdefault(below, []).extend(inner if isinstance(inner, list) else [inner])
    yield from found.items()
