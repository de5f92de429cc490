"""Backends of imdswatch, where pySigma and `sigma list targets` look for them."""

from imdswatch.siem.kusto import KustoBackend

backends = {"imdswatch_sentinel": KustoBackend}

__all__ = ["KustoBackend", "backends"]
