"""The tables and functions of a Sentinel workspace that our queries may name, with all their columns.

Columns and types come from what Microsoft documents (Azure Monitor Logs reference; ASIM schema reference), as
pySigma-backend-kusto carries it, generated from those pages: a source that knows nothing of our schema files. ASIM's
unifying parsers return the columns of their log table and those of the schema page that are aliases there.
Parameters of the parsers: Microsoft, "ASIM parsers list" and the schema pages, "Filtering parser parameters".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sigma.pipelines.azuremonitor.tables import AZURE_MONITOR_TABLES
from sigma.pipelines.sentinelasim.tables import SENTINEL_ASIM_TABLES

PLAIN = ("CommonSecurityLog", "DeviceNetworkEvents")
PARSERS = {
    # parser → log table, schema page, parameters
    "_Im_NetworkSession": (
        "ASimNetworkSessionLogs",
        "imNetworkSession",
        "starttime:datetime=datetime(null), endtime:datetime=datetime(null), srcipaddr_has_any_prefix:dynamic=dynamic([]), "
        "dstipaddr_has_any_prefix:dynamic=dynamic([]), ipaddr_has_any_prefix:dynamic=dynamic([]), "
        "dstportnumber:int=int(null), hostname_has_any:dynamic=dynamic([]), dvcaction:dynamic=dynamic([]), "
        "eventresult:string='*'",
    ),
    "_Im_WebSession": (
        "ASimWebSessionLogs",
        "imWebSession",
        "starttime:datetime=datetime(null), endtime:datetime=datetime(null), srcipaddr_has_any_prefix:dynamic=dynamic([]), "
        "ipaddr_has_any_prefix:dynamic=dynamic([]), url_has_any:dynamic=dynamic([]), "
        "httpuseragent_has_any:dynamic=dynamic([]), eventresultdetails_in:dynamic=dynamic([]), eventresult:string='*'",
    ),
}
_TYPES = {"long": "long", "int": "int", "integer": "int", "real": "real", "double": "real", "bool": "bool", "boolean": "bool", "datetime": "datetime", "date/time": "datetime", "dynamic": "dynamic"}  # fmt: skip


@cache
def columns(table: str) -> Mapping[str, str]:
    """Return the columns of a table, or of what a parser returns: name → Kusto type."""
    if table not in PARSERS:
        return _typed(AZURE_MONITOR_TABLES[table])
    log, page, _ = PARSERS[table]
    return {**_typed(SENTINEL_ASIM_TABLES[page]), **_typed(AZURE_MONITOR_TABLES[log])}


def _typed(said: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        name: _TYPES.get(one["data_type"].lower(), "string")
        for name, one in said.items()
        if name.isidentifier()
    }


WATCHLIST = {"List": "string", "Family": "string", "Value": "string", "Expires": "string", "Reason": "string", "Owner": "string", "SearchKey": "string", "LastUpdatedTimeUTC": "datetime", "_DTItemId": "string"}  # fmt: skip
"""What `_GetWatchlist` returns: the columns of the uploaded file, and its own (Microsoft, "Build queries with watchlists")."""
