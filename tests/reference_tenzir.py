"""Reference: the `sigma` operator of Tenzir 6.20.0 (PyPI `tenzir`, BSD-3-Clause, test only).

It shares nothing with imdswatch: a YAML reader, a parser of conditions and modifiers and an evaluator of its own, in
C++. The package is 1.1 GB installed, so `make conformance` installs it into an environment of its own;
`IMDSWATCH_TENZIR` names its program. One process judges all rules of a folder over all events.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reference_rules import Event

NAME = "tenzir 6.20.0"
_OWN = Path(__file__).parents[1] / ".cache" / "references" / "bin" / "tenzir"
_IGNORED = re.compile(r"ignores rule '[^']*?r(\d+)\.yml'")


def program() -> str | None:
    """Return the path of Tenzir's program, or None where it is not installed."""
    named = os.environ.get("IMDSWATCH_TENZIR") or str(_OWN)
    return shutil.which(named)


class TenzirReference:
    """Events in a file; asked about rules, all in one process."""

    name = NAME

    def __init__(self, events: Iterable[Event]) -> None:
        found = program()
        assert found is not None
        self._program = found
        self._folder = Path(tempfile.mkdtemp(prefix="imdswatch-tenzir-"))
        with (self._folder / "events.ndjson").open("w", encoding="utf-8") as file:
            for row, event in enumerate(events):
                stored = {name: _stored(name, value) for name, value in event.items()}
                file.write(json.dumps({"row": row, **stored}) + "\n")

    def ask(self, documents: Sequence[str]) -> list[set[int] | None]:
        """Return the rows that each rule matches, or None where the reference refuses the rule."""
        rules = self._folder / "rules"
        shutil.rmtree(rules, ignore_errors=True)
        rules.mkdir()
        for number, text in enumerate(documents):
            titled = text.replace("title: random", f"title: r{number}", 1)
            (rules / f"r{number}.yml").write_text(titled, encoding="utf-8")
        pipeline = (
            f'from_file "{self._folder}/events.ndjson" {{ read_ndjson }} | sigma path="{rules}"'
            " | this = {rule: finding_info.title, row: evidences[0].data.row} | write_ndjson"
        )
        done = subprocess.run(
            [self._program, "--bare-mode", "--console-verbosity=quiet", pipeline],
            capture_output=True,
            check=True,
            timeout=300,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "NO_COLOR": "1"},
        )
        out: list[set[int] | None] = [set() for _ in documents]
        for line in done.stdout.splitlines():
            record = json.loads(line)
            found = out[int(record["rule"][1:])]
            assert found is not None
            found.add(record["row"])
        for number in _IGNORED.findall(done.stderr.decode("utf-8", "replace")):
            out[int(number)] = None
        return out

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _stored(name: str, value: Any) -> Any:
    if name == "timestamp":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value
