"""Real Lucene 8 (Debian `liblucene8-java`), to check what stands in for Elasticsearch; `make conformance` uses it if there.

Query DSL as `kibana.dsl` writes it becomes Lucene's own query classes, as Elasticsearch's field types do it: terms and
prefixes of addresses by `InetAddressPoint`, wildcards by `WildcardQuery`, `exists` by the names of a document's fields.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.elastic.server import field_types

_JARS = Path("/usr/share/java")
_SOURCE = Path(__file__).parent / "Lucene.java"


def lucene_missing() -> str:
    """Return why Lucene cannot run here; empty if it can."""
    if not list(_JARS.glob("lucene-core-8*.jar")):
        return "Lucene is not installed (Debian package liblucene8-java)"
    return "" if shutil.which("java") else "there is no Java"


def matches(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Say of pairs (expression, text) whether Lucene's RegExp matches the whole text; None where it refuses."""
    answers = _run(f"R\t{expression}\t{text}" for expression, text in pairs)
    return [{"true": True, "false": False}.get(one) for one in answers]


def search(documents: Iterable[Mapping[str, Any]], queries: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the numbers of the documents that each query finds."""
    lines = [f"T\t{name}\t{'long' if kind == 'date' else kind}" for name, kind in field_types().items()]
    for number, document in enumerate(documents):
        pairs = [
            (name, _millis(value) if field_types()[name] == "date" else value)
            for name, several in document.items()
            if name in field_types()
            for value in (several if isinstance(several, list) else [several])
        ]
        lines.append("\t".join(["D", str(number), *(str(part) for pair in pairs for part in pair)]))
    lines += ["\t".join(["Q", *_tokens(one)]) for one in queries]
    return [sorted(map(int, one.split())) for one in _run(lines)]


def _run(lines: Iterable[str]) -> list[str]:
    classpath = ":".join(map(str, sorted(_JARS.glob("lucene-*-8*.jar"))))
    done = subprocess.run(
        ["java", "-cp", classpath, str(_SOURCE)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def _millis(text: Any) -> int:
    return int(datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp() * 1000)


def _tokens(query: Mapping[str, Any]) -> Iterator[str]:
    [(kind, inner)] = query.items()
    match kind:
        case "bool":
            [(occur, parts)] = [(k, v) for k, v in inner.items() if k != "minimum_should_match"]
            parts = parts if isinstance(parts, list) else [parts]
            if occur == "must_not":
                yield from ("NOT", "OR", str(len(parts)))
            else:
                yield from ("OR" if occur == "should" else "AND", str(len(parts)))
            for part in parts:
                yield from _tokens(part)
        case "exists":
            yield from ("EXISTS", inner["field"])
        case "match" | "match_phrase":
            [(field, value)] = inner.items()
            yield from ("TERM", field, str(value))
        case "query_string":
            plain = re.sub(
                r"\\(.)", lambda one: f"\\{one[1]}" if one[1] in "*?\\" else one[1], inner["query"]
            )
            yield from ("WILD", inner["fields"][0], plain)
        case "range":
            [(field, bounds)] = inner.items()
            [(operator, value)] = bounds.items()
            number = _millis(value) if field_types()[field] == "date" else value
            yield from ("RANGE", field, operator, str(number))
        case _:
            raise AssertionError(f"{kind} is not known here")
