"""What a scan costs on a cluster of this machine: CPU of all its processes, beside the same scan here.

    .cache/sail/bin/python bench/cluster.py sail PATH…        four workers of Sail
    .cache/spark/bin/python bench/cluster.py classic PATH…    a master and two workers of classic Spark, Java included

CPU is that of the scan and of every process of the cluster, from before the first task to after the last; what it took
to start the cluster is told apart. Run it in the environment of the cluster (`make sail`, `make spark`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import clusters  # noqa: E402  a module of the tests

GB = 10**9


def main() -> int:
    """Measure and print."""
    kind, paths = sys.argv[1], sys.argv[2:]
    here = _scan(paths, (), dict(os.environ))
    with tempfile.TemporaryDirectory() as folder, _cluster(kind, Path(folder)) as running:
        started = clusters.cpu(running.pids)
        there = _scan(paths, ("--engine", "spark", *running.options), dict(running.env))
        used = clusters.cpu(running.pids) - started
    size = here[2]["bytes"]
    same = {key: value for key, value in here[2].items() if key != "seconds"} == {
        key: value for key, value in there[2].items() if key != "seconds"
    }
    print(
        f"{kind}: {size / GB:.2f} GB, {here[2]['findings']} findings, {'the same' if same else 'NOT the same'}"
    )
    print(f"  here    {here[0]:.1f} s CPU, {here[1]:.1f} s wall")
    both = f"{there[0]:.1f} of the scan, {used:.1f} of the cluster"
    print(f"  there   {there[0] + used:.1f} s CPU ({both}), {there[1]:.1f} s wall")
    print(f"  to start the cluster {started:.1f} s CPU")
    return 0 if same else 1


def _cluster(kind: str, folder: Path) -> AbstractContextManager[clusters.Running]:
    return clusters.sail() if kind == "sail" else clusters.classic(folder)


def _scan(
    paths: list[str], options: tuple[str, ...], env: dict[str, str]
) -> tuple[float, float, dict[str, object]]:
    """Return CPU and wall time of a scan, its children included, and its summary."""
    words = [
        sys.executable,
        "-m",
        "imdswatch",
        "scan",
        *paths,
        "--jobs",
        "1",
        "--format",
        "ndjson",
        "-q",
        *options,
    ]
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        words,
        env={**env, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        check=False,
    )
    after = os.times()
    assert done.returncode in (0, 1), done.stderr.decode()[-2000:]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.monotonic() - began, json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
