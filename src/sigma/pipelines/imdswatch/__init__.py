"""Pipeline of imdswatch, where pySigma and `sigma list pipelines` look for it."""

from imdswatch.siem.plugin import imdswatch_fields

pipelines = {"imdswatch_fields": imdswatch_fields}

__all__ = ["imdswatch_fields", "pipelines"]
