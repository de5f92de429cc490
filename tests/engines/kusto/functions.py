"""Kusto functions that `duckdb-kql` has not, after Microsoft's reference pages ("KQL scalar functions").

What the pages leave open is a `Reading`; a query whose answer depends on one is refused by the tests:

- `ipv6_is_in_any_range`: "null if conversion of one of the two IPv6 strings wasn't successful". Whether an IPv4 text
  converts (to its mapped form, as `ipv6_compare` says for its arguments) is not said for this one.
- `url_decode`: whether `+` is a space is not said; nor what becomes of `%` without two digits (it stays, here).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote, unquote_plus

import duckdb
from duckdb_kql.translate import functions as registry

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of what the reference leaves open."""

    mapped: bool = False
    """An IPv4 text is its IPv4-mapped address to the functions of IPv6."""
    plus_is_space: bool = False


READINGS = (Reading(), Reading(mapped=True), Reading(plus_is_space=True))
"""The first takes the reference by the letter; a query must have the same answer under all of them."""


def register(connection: duckdb.DuckDBPyConnection, reading: Reading) -> None:
    """Give a connection the functions, and `duckdb-kql` their names."""
    for version in (4, 6):
        connection.create_function(
            f"kusto_in_range{version}",
            _in_range(version, reading),
            ["VARCHAR", "VARCHAR"],  # type: ignore[list-item]
            "BOOLEAN",  # type: ignore[arg-type]
            null_handling="special",  # type: ignore[arg-type]
        )
        for name in ("is_in_any_range", "is_in_range", "is_match"):
            _declare(
                f"ipv{version}_{name}", f"kusto_in_range{version}({{0}}, CAST(to_json({{1}}) AS VARCHAR))", 2
            )

    def decode(text: str) -> str:
        return unquote_plus(text) if reading.plus_is_space else unquote(text)

    connection.create_function("kusto_url_decode", decode, ["VARCHAR"], "VARCHAR")  # type: ignore[list-item, arg-type]
    _declare("url_decode", "kusto_url_decode({0})", 1)


def _declare(name: str, template: str, arity: int) -> None:
    registry.SCALAR_FUNCTIONS[name] = registry.FunctionSpec(name, "udf", template, (arity,))


def _in_range(version: int, reading: Reading) -> Callable[[str | None, str | None], bool | None]:
    @cache
    def holds(text: str | None, ranges: str | None) -> bool | None:
        mine = _network(text, version, reading)
        if mine is None:
            return None
        found = [_network(one, version, reading) for one in _texts(json.loads(ranges or "null"))]
        if any(one is not None and mine.subnet_of(one) for one in found):  # type: ignore[arg-type]
            return True
        return None if None in found else False

    return holds


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _network(text: str | None, version: int, reading: Reading) -> Network | None:
    try:
        found = ipaddress.ip_network((text or "").strip(), strict=False)
    except ValueError:
        return None
    if version == 6 and found.version == 4 and reading.mapped:
        return ipaddress.ip_network(f"::ffff:{found.network_address}/{96 + found.prefixlen}", strict=False)
    return found if found.version == version else None
