"""cloud-init's list of data sources, and the file that takes Ec2 off it.

Pure. Source: canonical/cloud-init, `settings.py`, `sources/DataSourceEc2.py` and `tools/ds-identify` (which reads the
list only where it stands on one line).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from imdswatch.errors import RuleError
from imdswatch.sigma_yaml import bound_depth

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAME = re.compile(r"[A-Za-z0-9_.]+")


def datasources(text: str) -> tuple[str, ...] | None:
    """Return the list that a configuration file sets, None where it sets none; raises ValueError."""
    try:
        clean = text.encode("utf-8", "replace").decode()
        bound_depth(clean, "")
        top = yaml.compose(clean, Loader=_LOADER)
    except RuleError:
        raise ValueError("nested too deep") from None
    except yaml.YAMLError:
        raise ValueError("no YAML") from None
    if not isinstance(top, yaml.MappingNode):
        return None
    found = None
    for key, value in top.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "datasource_list":
            items = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if not all(isinstance(one, yaml.ScalarNode) and _NAME.fullmatch(one.value) for one in items):
                raise ValueError("datasource_list is no list of names")
            found = tuple(str(one.value) for one in items)
    return found


def refusal(listed: Sequence[str] | None) -> str:
    """Return the file that keeps cloud-init from an EC2 metadata service; `listed` is the list in force."""
    lines = [
        "# Written by imdswatch harden: user-data of an EC2 metadata service must not run here (AWS-2025-021)."
    ]
    if listed is not None:
        kept = [name for name in listed if name != "Ec2"] or ["None"]
        lines.append(f"datasource_list: [ {', '.join(kept)} ]")
    return "\n".join([*lines, "datasource:", "  Ec2:", "    strict_id: true", ""])
