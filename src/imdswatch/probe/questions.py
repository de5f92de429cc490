"""What is asked, from `data/imds/questions.yml`. Frozen; read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

TOKEN = "token"
ROLE = "role"
"""The question for a role's credentials: its path depends on the answer to `roles`."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and which status the real service gives (none where that tells nothing)."""

    name: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    token: bool = False
    status: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cloud:
    """Another cloud's telling question, what its answer holds, and what its hosts have in DMI."""

    name: str
    question: Question | None
    body: re.Pattern[bytes] | None
    echo: str | None
    dmi: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """All questions."""

    aws: tuple[Question, ...]
    clouds: tuple[Cloud, ...]

    def __getitem__(self, name: str) -> Question:
        return next(question for question in self.aws if question.name == name)


@cache
def questionnaire() -> Questionnaire:
    """Return what `probe` asks."""
    text = files("imdswatch").joinpath("data/imds/questions.yml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return Questionnaire(
        tuple(map(_question, table["aws"])),
        tuple(
            Cloud(
                entry["name"],
                _question({**entry, "name": f"cloud {entry['name']}"}) if "path" in entry else None,
                re.compile(rf"(?s){entry['body']}\Z".encode()) if "body" in entry else None,
                entry.get("echo"),
                tuple(entry["dmi"]),
            )
            for entry in table["clouds"]
        ),
    )


def _question(entry: Mapping[str, Any]) -> Question:
    return Question(
        name=entry["name"],
        path=entry["path"],
        method=entry.get("method", "GET"),
        headers=entry.get("headers", {}),
        token=entry.get("token", False),
        status=tuple(entry.get("status", ())),
    )
