"""imdswatch finds IMDS impersonation outside AWS (bulletin AWS-2025-021)."""

__version__ = "0.1.0"
