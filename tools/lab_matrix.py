"""Plays every scenario with every client that is here, twice, and writes the table of docs/lab.md.

    python tools/lab_matrix.py .cache/clients [ROUNDS]

Exits with 1 where an alarm was missing or false, or where the two rounds differ. Each client has a rehearsal of its
own; a few run side by side, since each has its own namespaces.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imdswatch.lab.clients import Client, inventory
from imdswatch.lab.scenario import scenarios

PAGE = Path(__file__).parent.parent / "docs" / "lab.md"
BEGIN, END = "<!-- made by make lab -->\n", "<!-- end of what make lab made -->\n"
_SIDE_BY_SIDE = 6  # they mostly wait
_MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}

Played = Mapping[str, Any]


def play(client: Client, folder: str) -> list[Played]:
    """Return what `imdswatch lab run` says of a client, an object a line."""
    words = [sys.executable, "-m", "imdswatch", "lab", "run", "--client", client.id, "--clients", folder]
    done = subprocess.run([*words, "--format", "ndjson"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3) or not done.stdout:
        raise SystemExit(f"{client.id}: exit {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    """Play, print what failed, write the page."""
    folder, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
    clients = list(inventory().values())
    played: list[list[list[Played]]] = []
    tables: list[list[str]] = []
    for number in range(rounds):
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            played.append(list(pool.map(lambda client: play(client, folder), clients)))
        results = [one for lines in played[-1] for one in lines if one["type"] == "performance"]
        counted = {kind: sum(one["result"] == kind for one in results) for kind in _MARKS}
        print(f"round {number + 1}: {counted}", flush=True)
        for one in results:
            if one["result"] == "failed":
                wrong = [f"{alarm['victim']} {alarm['wrong']}" for alarm in one["alarms"] if alarm["wrong"]]
                print(f"  {one['scenario']} with {one['client']}: {wrong} {one['wrong']} {one['said']}")
        tables.append(list(table(clients, played[-1])))
        write(tables[-1])
    same = all(one == tables[0] for one in tables)
    print("the rounds agree" if same else "the rounds differ")
    failed = any(one.get("result") == "failed" for lines in played for some in lines for one in some)
    return int(failed or not same)


def write(lines: list[str]) -> None:
    """Put a table in the place of the last."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    text = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}{text}\n{END}{after}", encoding="utf-8")


def table(clients: list[Client], played: list[list[Played]]) -> Iterator[str]:
    """Yield the lines of the page: the scenarios by number, then a row for each client."""
    names = list(scenarios())
    for number, scenario in enumerate(scenarios().values(), 1):
        yield f"{number}. `{scenario.id}`: {scenario.text}"
    yield ""
    yield f"| client | version | {' | '.join(str(number) for number in range(1, len(names) + 1))} |"
    yield f"| --- | --- | {' | '.join('---' for _ in names)} |"
    for client, lines in zip(clients, played, strict=True):
        results = {one["scenario"]: one for one in lines if one["type"] == "performance"}
        version = next((one["version"] for one in results.values()), "not here")
        cells = (_MARKS[results[name]["result"]] if name in results else "" for name in names)
        yield f"| {client.name} | {version} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
