"""The remedies as lines for a Dockerfile: what an image can carry is the environment of its processes.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from imdswatch.host import export
from imdswatch.host.catalogue import Catalogue, Remedy


def render(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str:
    """Return the lines; a remedy that needs the host is a comment."""
    lines = [f"# {export.HEAD}"]
    for remedy in remedies:
        if any(step.do == "assign" for step in remedy.steps):
            pairs = [f"{name}={value}" for name, value in remedy.variables.items()]
            lines.append("ENV " + " \\\n    ".join(pairs))
        elif any(step.do == "bypass" for step in remedy.steps):
            both = f"no_proxy={remedy.variables['no_proxy']} NO_PROXY={remedy.variables['no_proxy']}"
            lines.append(f"# Where the image sets http_proxy, or a build argument does: ENV {both}")
        else:
            lines.append(f"# For the host, not for the image: {remedy.slug} ({remedy.title})")
    return "\n".join([*lines, ""])
