"""Was found what the generator planted, no more and no less, and do the line numbers point at it?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE = 12
"""How many lines are fetched with sed; the others are read with Python, as sed needs seconds for each GB."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a findings file says beside what was planted; `lines`: line number in the evidence → victim."""

    found: str
    planted: str
    right: bool
    lines: Mapping[int, str]

    @property
    def figure(self) -> str:
        """Return one word."""
        return "equal" if self.right else "differs"


def findings(path: Path, truth: Mapping[str, Any]) -> Result:
    """Compare the findings with the truth: number of victims; line, victim and stage where they are noted."""
    victims, lines, skipped = set(), {}, 0
    noted = set()
    with path.open("rb") as source:
        for line in source:
            document = json.loads(line)
            skipped += document["type"] == "skipped"
            if document["type"] != "finding":
                continue
            victim = document["victim"]["ip"]
            victims.add((victim, document["fingerprint"]))
            if truth["hits"]:
                for evidence in document["evidence"]:
                    number = int(evidence["position"].removeprefix("line "))
                    lines[number] = victim
                    noted.add((number, victim, document["stage"]))
    planted = {(line, victim, stage) for line, _, victim, stage in truth["hits"]}
    right = len(victims) == truth["victims"] and noted == planted and not skipped
    return Result(f"{len(victims)} findings", f"planted: {truth['victims']}", right, lines)


def wrong_lines(path: Path, lines: Mapping[int, str]) -> int:
    """Return how many of the lines do not hold the victim's address; a sample is fetched with sed itself."""
    wrong, left = 0, dict(lines)
    with path.open("rb") as source:
        for number, text in enumerate(source, 1):
            victim = left.pop(number, None)
            if victim is not None and f'"{victim}"'.encode() not in text:
                wrong += 1
            if not left:
                break
    sample = sorted(lines)[:: max(1, len(lines) // SAMPLE)]
    script = ";".join(f"{number}p" for number in sample) + f";{sample[-1]}q"
    shown = subprocess.run(
        ["sed", "-n", script, str(path)], capture_output=True, text=True, check=True
    ).stdout
    fetched = shown.splitlines()
    if len(fetched) != len(sample):
        return wrong + len(left) + len(sample)
    pairs = zip(sample, fetched, strict=True)
    return wrong + len(left) + sum(f'"{lines[number]}"' not in text for number, text in pairs)
