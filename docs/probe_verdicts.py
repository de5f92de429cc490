"""Writes docs/probe-verdicts.md: what `imdswatch probe` says of each simulated answerer, and what botocore took.

botocore is a real AWS client, so it must never run where it could reach a real metadata service: the script starts
itself anew in a user and network namespace of its own, which has a loopback device and no way out, and refuses to go
on anywhere else. The two addresses of the service exist nowhere there. Needs Linux with user namespaces, and botocore
and moto[server] on the interpreter that BOTOCORE_PYTHON names (default: this one); imdswatch needs neither.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from answerer_cases import CASES, Case  # noqa: E402
from answerers import LOCAL, Links  # noqa: E402
from imdswatch.probe.certificates import bundle  # noqa: E402
from imdswatch.probe.outcome import Outcome  # noqa: E402
from imdswatch.probe.run import Plan, probe  # noqa: E402
from imdswatch.probe.target import Target  # noqa: E402
from imdswatch.probe.transport import Sockets  # noqa: E402
from imdswatch.rule import load_rules  # noqa: E402
from imdswatch.site import Site  # noqa: E402

INSIDE = "IMDSWATCH_TABLE_NAMESPACE"
PYTHON = os.environ.get("BOTOCORE_PYTHON", sys.executable)
CLIENT = """
import botocore, botocore.session
print(botocore.__version__)
session = botocore.session.Session()
session.set_config_variable("metadata_service_timeout", 1)
session.set_config_variable("metadata_service_num_attempts", 1)
found = session.get_credentials()
print(found.get_frozen_credentials().access_key if found is not None else "")
"""
PAGE = """<!-- Made by docs/probe_verdicts.py (make probe-table). Do not edit: change tests/answerer_cases.py. -->

# What the probe says, and what a client took

Each row is a simulated answerer of `tests/answerers.py`. *Verdict* is what `imdswatch probe` says of it, given the
host and the way named in `tests/answerer_cases.py`; *because* are its reasons for that. *Credentials taken* is what
botocore {version} got from the same answerer, by `AWS_EC2_METADATA_SERVICE_ENDPOINT`, in a network namespace without a
way out. Wherever a client takes credentials, the verdict is never `absent`.

| answerer | verdict | because | credentials taken |
| --- | --- | --- | --- |
{rows}
"""


def main() -> None:
    """Write the page, in a namespace of its own."""
    if os.environ.get(INSIDE) != "1":
        words = ["unshare", "--user", "--map-root-user", "--net", sys.executable, __file__]
        sys.exit(subprocess.run(words, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    routes = subprocess.run(
        ["ip", "-o", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    ).stdout
    if any(" dev lo" not in line for line in routes.splitlines()):
        sys.exit(f"this namespace has a way out:\n{routes}")
    rows, version = [], ""
    cases = (
        *CASES,
        Case("moto's server, on this host", moto, "local-helper", "listener-is-local", link=LOCAL),
    )
    for case in cases:
        with case.serve() as port:
            outcome = judged(case, port)
            version, taken = client(port)
        verdict = " ".join(filter(None, (outcome.verdict.verdict, outcome.verdict.cloud)))
        expected = " ".join(filter(None, (case.verdict, case.cloud)))
        if verdict != expected or (taken and verdict == "absent"):
            sys.exit(f"{case.what}: {verdict}, not {expected}")
        because = ", ".join(dict.fromkeys(f"`{reason.slug}`" for reason in outcome.verdict.pro))
        rows.append(f"| {case.what} | `{verdict}` | {because} | {'yes' if taken else 'no'} |")
    page = PAGE.format(version=version, rows="\n".join(rows))
    (ROOT / "docs" / "probe-verdicts.md").write_text(page, encoding="utf-8")


def judged(case: Case, port: int) -> Outcome:
    """Return what the probe makes of an answerer."""
    plan = Plan(
        (Target("127.0.0.1", port),),
        Sockets(),
        Links(case.link),
        case.machine,
        bundle(),
        load_rules(),
        Site(expected_accounts=case.expected),
    )
    (outcome,) = probe(plan, time.time)
    return outcome


def client(port: int) -> tuple[str, str]:
    """Return botocore's version, and the key id that it took from an answerer (empty: none)."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {
        **kept,
        "HOME": "/nonexistent",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        done = subprocess.run(
            [PYTHON, "-c", CLIENT], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired as expired:
        return str((expired.stdout or b"").decode()).strip(), ""
    version, _, key = done.stdout.partition("\n")
    return version, key.strip()


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """Serve moto's own metadata service; gives the port."""
    code = "from moto.server import main; import sys; main(sys.argv[1:])"
    port = 15123
    words = [PYTHON, "-c", code, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if re.search(r"Running on", line):
                break
        yield port
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
