"""An index on `osmem-server`, which speaks OpenSearch's REST API (it calls itself OpenSearch 3.8 with Lucene 10.5)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from osmem_server import OsmemServer


@cache
def field_types() -> Mapping[str, str]:
    """Return the types of the index template."""
    found: dict[str, str] = yaml.safe_load((Path(__file__).parent / "fields.yml").read_text(encoding="utf-8"))
    return found


class SearchError(Exception):
    """A query that the server refuses."""


class Index:
    """One index of documents, numbered as they come; a context manager that ends the server."""

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self._server = OsmemServer.start()
        fields = {name: {"type": kind} for name, kind in field_types().items()}
        self._ask("PUT", "/events", {"mappings": {"dynamic": False, "properties": fields}})
        lines: list[str] = []
        for number, document in enumerate(documents):
            lines += [json.dumps({"index": {"_index": "events", "_id": str(number)}}), json.dumps(document)]
        done = self._ask("POST", "/_bulk?refresh=true", "\n".join(lines) + "\n")
        refused = [one["index"]["error"] for one in done["items"] if "error" in one["index"]]
        assert not refused, refused[:3]

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._server.close()
        if self._server.process.stdout is not None:
            self._server.process.stdout.close()  # `close` leaves the pipe open

    def search(self, query: Mapping[str, Any]) -> list[int]:
        """Return the numbers of the documents that match; raises SearchError."""
        found = self._ask("POST", "/events/_search", {"query": query, "size": 10_000, "_source": False})
        return sorted(int(hit["_id"]) for hit in found["hits"]["hits"])

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        asked = urllib.request.Request(
            self._server.url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SearchError(error.read().decode("utf-8", "replace")[:500]) from error
