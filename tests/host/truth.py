"""What real clients do, and what the audit says they would: one table of host situations by clients.

`python tests/host/truth.py CLIENTS` runs every client in every situation (`make truth`) and writes truth.json and
docs/audit-truth.md; with names of tools behind it only these, and what was recorded of the others stays. The audit's
side is computed from a root built for the situation; it never sees what was recorded.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "src")]

from rooting import build  # noqa: E402

from imdswatch.host.audit import audit  # noqa: E402
from imdswatch.host.chain import FAILS  # noqa: E402
from imdswatch.lab.clients import Client, Command, Missing, command, inventory, version_command  # noqa: E402
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, Cell  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "audit-truth.md"
RECORD = HERE / "truth.json"
JOBS = 4

BOTO = """
import boto3
session = boto3.Session()
found = session.get_credentials()
if found: found.get_frozen_credentials()
session.client("s3")
"""
NODE = """
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";
try { await defaultProvider()(); } catch (e) { console.log(e.message); }
const client = new STSClient({ maxAttempts: 1 });
try { await client.send(new GetCallerIdentityCommand({})); } catch (e) { console.log(e.name); }
"""
RUBY = (
    "require 'aws-sdk-core'; c = Aws::STS::Client.new(region: 'eu-west-1', retry_limit: 0);"
    " c.config.credentials&.credentials"
)
RUST = """
from deltalake import DeltaTable
DeltaTable("s3://imdswatch-truth-bucket/t")
"""
CPP = """
import pyarrow.fs
files = pyarrow.fs.S3FileSystem(connect_timeout=1, request_timeout=1)
files.get_file_info("imdswatch-truth-bucket/x")
"""
IDENTITY = ("sts", "get-caller-identity", "--cli-connect-timeout", "2", "--cli-read-timeout", "2")

# The tool as the audit names it, the client of the lab's inventory, and how it is made to use whatever it finds.
USES: Mapping[str, tuple[str, str | tuple[str, ...] | None]] = {
    "botocore": ("boto3", BOTO),
    "aws-cli-1": ("awscli1", ("-m", "awscli", *IDENTITY)),
    "aws-cli-2": ("awscli2", ("/usr/bin/aws", *IDENTITY)),  # not another one on PATH
    "js-3": ("js3", NODE),
    "js-2": ("js2", None),
    "crt": ("awscrt", None),
    "cpp-pyarrow": ("pyarrow", CPP),
    "rust-deltalake": ("deltalake", RUST),
    "object-store": ("obstore", None),
    "ruby": ("ruby3", ("ruby", "-e", RUBY)),
    "rclone": ("rclone", None),
    "s3cmd": ("s3cmd", None),
    "restic": ("restic", None),
    "java-1": ("", None),  # none of the lab's: it comes in an archive of 260 MB (tools/java_client.sh)
}
PROGRAMS = {
    "java-1": "/usr/bin/java",
    "js-3": "/usr/bin/node",
    "js-2": "/usr/bin/node",
    "ruby": "/usr/bin/ruby",
    "aws-cli-1": "/usr/bin/aws",
    "aws-cli-2": "/usr/local/bin/aws",
    "rclone": "/usr/bin/rclone",
    "s3cmd": "/usr/bin/s3cmd",
    "restic": "/usr/bin/restic",
}
INSTALLED = {
    "java-1": "/usr/share/java/aws-java-sdk-core-1.12.500.jar",
    "cpp-pyarrow": "/usr/lib/python3/dist-packages/pyarrow-26.0.0.dist-info/METADATA",
    "rust-deltalake": "/usr/lib/python3/dist-packages/deltalake-1.6.0.dist-info/METADATA",
    "object-store": "/usr/lib/python3/dist-packages/obstore-0.12.0.dist-info/METADATA",
    "rclone": "/usr/local/bin/rclone",
    "restic": "/usr/local/bin/restic",
    "s3cmd": "/usr/local/bin/s3cmd",
}


@cache
def situations() -> Mapping[str, Mapping[str, Any]]:
    """Return every situation by its name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "situations.yml").read_text(encoding="utf-8"))
    return found


# The audit's side


@cache
def audited(name: str) -> Mapping[str, Cell]:
    """Return the cell of each tool that the audit gives for a situation."""
    situation = situations()[name]
    home = "/home/alice"
    lines = [
        'Environment="{}={}"'.format(
            key, re.sub(r'([\\"])', r"\\\1", value.replace("@", home)).replace("%", "%%")
        )
        for key, value in situation.get("env", {}).items()
    ]
    files = {f"{home}/{path}": text.replace("@", home) for path, text in situation.get("home", {}).items()}
    for tool in USES:
        program = PROGRAMS.get(tool, "/usr/bin/python3")
        files[f"/etc/systemd/system/{tool}.service"] = "\n".join(
            ["[Service]", "User=alice", f"ExecStart={program} /opt/app/x", *lines, ""]
        )
        if tool in INSTALLED:
            files[INSTALLED[tool]] = ""
    with tempfile.TemporaryDirectory() as folder:
        build({"tools": [tool for tool in USES if tool not in INSTALLED], "files": files}, Path(folder))
        cells = [one for one in audit(Path(folder), "alice") if isinstance(one, Cell)]
    return {cell.tool: cell for cell in cells if cell.context == f"unit {cell.tool}.service"}


# The clients' side


def way(tool: str, clients: Path, operation: str = "use") -> Command | Missing:
    """Return how a tool is made to use whatever it finds, or to say its version."""
    if tool != "java-1":
        known = client(tool)
        return (
            version_command(known, clients) if operation == "version" else command(known, operation, clients)
        )
    folder, java = clients.resolve() / "java", shutil.which("java")
    if java is None or not (folder / "Ask.class").is_file():
        return Missing("no Java, or no archive of its SDK (make truth-java)")
    # Java takes the home of the account for that of the user, whatever HOME says.
    words = f'exec {java} -XX:TieredStopAtLevel=1 -Duser.home="$HOME" -cp {folder}/h2o.jar:{folder} Ask'
    return Command(("/bin/sh", "-c", words if operation == "use" else f"{words} {operation}"))


def client(tool: str) -> Client:
    """Return the client of a tool, made to use its credentials."""
    name, use = USES[tool]
    known = inventory()[name]
    return Client(
        known.id, known.name, known.run, {"use": use or known.operations["credentials"]}, known.version
    )


def observed(
    clients: Path, names: Iterable[str], tools: Iterable[str]
) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Run clients in situations, in namespaces without a way out; return what each asked, missing ones left out."""
    runs: list[tuple[tuple[str, str], dict[str, Any]]] = []
    for tool in tools:
        how = way(tool, clients)
        if isinstance(how, Missing):
            continue
        for name in names:
            situation = situations()[name]
            runs.append(
                (
                    (name, tool),
                    {
                        "words": list(how.words),
                        "folder": str(how.folder) if how.folder else "",
                        "needs": dict(how.environment),
                        "env": situation.get("env", {}),
                        "home": situation.get("home", {}),
                    },
                )
            )
    parts = [runs[at::JOBS] for at in range(JOBS)]
    with ThreadPoolExecutor(JOBS) as pool:
        answers = list(pool.map(_in_namespace, [[one for _, one in part] for part in parts]))
    return {
        key: answer
        for part, got in zip(parts, answers, strict=True)
        for (key, _), answer in zip(part, got, strict=True)
    }


def versions(clients: Path, tools: Iterable[str]) -> Mapping[str, str]:
    """Return what each client says is its version, asked in a namespace, too."""
    named = [(tool, way(tool, clients, "version")) for tool in tools]
    known = [(tool, how) for tool, how in named if not isinstance(how, Missing)]
    runs = [
        {
            "words": list(how.words),
            "folder": str(how.folder) if how.folder else "",
            "needs": dict(how.environment),
            "env": {},
            "home": {},
        }
        for _, how in known
    ]
    return {
        tool: answer["said"].strip().splitlines()[0] if answer["said"].strip() else "?"
        for (tool, _), answer in zip(known, _in_namespace(runs), strict=True)
    }


def _in_namespace(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not runs:
        return []
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        done = subprocess.run(
            [
                *("unshare", "--net", "--mount", "sh", "-c"),
                'mount --bind "$0" /etc/resolv.conf && exec "$@"',
                resolver.name,
                sys.executable,
                str(HERE / "inside.py"),
            ],
            input=json.dumps(runs),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


# Both


def agrees(name: str, cell: Cell, asked: bool) -> bool:
    """Say whether a cell is what was seen; a condition counts as met where the situation says that a source fails."""
    met = situations()[name].get("fails", False) and FAILS in cell.when
    return asked == (cell.state == ASKS or (cell.state == ASKS_ONLY_WHEN and met))


def recorded() -> Mapping[str, Any]:
    """Return what the last run of all clients saw: versions, and the first request of each run ("" for none)."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def page(record: Mapping[str, Any]) -> str:
    """Return docs/audit-truth.md."""
    tools = [tool for tool in USES if tool in record["versions"]]
    rows, right, total = [], 0, 0
    for name, situation in situations().items():
        cells, said = audited(name), record["asked"][name]
        row = []
        for tool in tools:
            if tool not in said:
                row.append("")
                continue
            agreed = agrees(name, cells[tool], bool(said[tool]))
            right, total = right + agreed, total + 1
            row.append(
                ("asks" if said[tool] else "–") + ("" if agreed else f" **audit: {cells[tool].state}**")
            )
        given = [f"`{key}={value}`" for key, value in situation.get("env", {}).items()]
        given += [f"`{path}`" for path in situation.get("home", {})]
        rows.append(f"| {name} | {', '.join(given)} | {' | '.join(row)} |")
    head = HEAD.format(
        date=record["date"],
        commit=record["commit"],
        right=right,
        total=total,
        situations=len(rows),
        clients=len(tools),
        versions="\n".join(f"| {tool} | {record['versions'][tool]} |" for tool in tools),
    )
    lines = [
        head,
        f"| situation | given | {' | '.join(tools)} |",
        "| --- " * (len(tools) + 2) + "|",
        *rows,
        "",
    ]
    return "\n".join(lines)


HEAD = """\
<!-- Made by tests/host/truth.py (make truth). Do not edit: change tests/host/situations.yml. -->

# What real clients do, and what the audit says

Each client was run in each situation, in a network namespace without a way out, in which a recorder stood at both
endpoints and as a proxy; *asks* means that at least one request for metadata reached it. The audit saw a root with
the same settings and never the recording. A cell of the audit counts as *asks* if it says so, or if it says *asks only
when that fails* of a source of credentials that does fail there. `@` is the home folder; keys are fake. Clients bear
the names of the audit's tools.

`make truth` on {date}, commit {commit}: **{right} of {total} cells agree**, {situations} situations, {clients} clients.

| client | version |
| --- | --- |
{versions}
"""


def main(clients: Path, tools: Sequence[str] = ()) -> None:
    """Run all, or only these tools; write the record and the page."""
    before = recorded() if tools else {"versions": {}, "asked": {}}
    seen = observed(clients, list(situations()), tools or list(USES))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    asked: dict[str, dict[str, str]] = {name: dict(before["asked"].get(name, {})) for name in situations()}
    for (name, tool), got in seen.items():
        asked[name][tool] = got["asked"][0] if got["asked"] else ""
    record = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit.stdout.strip(),
        "versions": {**before["versions"], **versions(clients, {tool for _, tool in seen})},
        "asked": asked,
    }
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        PAGE.write_text(page(recorded()), encoding="utf-8")
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
