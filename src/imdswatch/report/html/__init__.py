"""The report as one HTML page that needs nothing but itself: no network, no other file, no inline script from data."""

from imdswatch.report.html.sink import Sink

__all__ = ["Sink"]
