"""Settings of all tests: random examples are the same on every run, so that a red test is a change and not a chance.

`make fuzz` and `make conformance` look for what no run has seen yet; IMDSWATCH_HYPOTHESIS=random does so here, too.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("IMDSWATCH_HYPOTHESIS", "fixed"))


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


# The engines of the conformance suite are packages that no lock holds; where one is missing the suite cannot be asked.
_ENGINES = ("duckdb_kql", "eql", "kibana_ql", "osmem_server", "py_mini_racer", "sigma.backends.kusto")
if not all(map(_there, _ENGINES)):
    collect_ignore = ["test_conformance.py", "test_conformance_engines.py", "test_conformance_lucene.py"]
