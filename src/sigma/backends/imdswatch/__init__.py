"""Backends of imdswatch, where pySigma and `sigma list targets` look for them."""

from imdswatch.siem.eql import EqlBackend
from imdswatch.siem.esql import EsqlBackend
from imdswatch.siem.kuery import KueryBackend
from imdswatch.siem.kusto import KustoBackend

backends = {backend.identifier: backend for backend in (EqlBackend, EsqlBackend, KueryBackend, KustoBackend)}

__all__ = ["EqlBackend", "EsqlBackend", "KueryBackend", "KustoBackend", "backends"]
