"""Kusto off line: Microsoft's own parser and binder say whether a query is valid, `duckdb-kql` says what it answers.

`Binder` checks syntax, names, types and parameters against whole table schemas and runs nothing. `Kusto` runs a query
on rows; the functions which `duckdb-kql` lacks are ours, after Microsoft's documentation (`functions.py`).
"""

from engines.kusto.binder import Binder, Diagnostic, binder_missing
from engines.kusto.execute import Kusto, KustoError
from engines.kusto.functions import READINGS, Reading

__all__ = ["READINGS", "Binder", "Diagnostic", "Kusto", "KustoError", "Reading", "binder_missing"]
