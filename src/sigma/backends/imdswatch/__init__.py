"""Backends of imdswatch, where pySigma and `sigma list targets` look for them."""

from imdswatch.siem.eql import EqlBackend
from imdswatch.siem.esql import EsqlBackend
from imdswatch.siem.kuery import KueryBackend
from imdswatch.siem.kusto import KustoBackend
from imdswatch.siem.spl import SplBackend

backends = {
    backend.identifier: backend
    for backend in (EqlBackend, EsqlBackend, KueryBackend, KustoBackend, SplBackend)
}

__all__ = ["EqlBackend", "EsqlBackend", "KueryBackend", "KustoBackend", "SplBackend", "backends"]
