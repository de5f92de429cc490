"""What is rehearsed, from `data/lab/scenarios.yml`. Frozen; read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from imdswatch.lab.clients import Client

SERVED = "served"
"""A stage in a scenario: credentials-served for who asks for credentials, answered for who asks for something else."""
_PLACES = ("victim", "endpoint", "stage", "rules", "if")
_CREDENTIALS = ("credentials", "direct", "v1", "instance")


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding that must be there. What is not in `values` is not compared; `rules` must be among its rules.

    `both`: only if the client asks both endpoints by itself.
    """

    victim: str | None
    endpoint: str
    stage: str
    rules: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    both: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario; its file says what each part means. `steps` are moves and their values."""

    id: str
    text: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    asks: tuple[str, ...]
    expect: tuple[Expected, ...]
    needs: Mapping[str, Any]
    vlan: int | None = None
    silent: bool = False

    def operation(self, client: Client) -> str:
        """Return what a client does in it; empty if nothing, or if the scenario says nothing about this client."""
        return (
            "" if self.why_not(client) else next((one for one in self.asks if one in client.operations), "")
        )

    def why_not(self, client: Client) -> str:
        """Return why the scenario says nothing about a client, or nothing."""
        for number in self.needs.get("imds", ()):
            if number not in client.imds:
                return f"it does not speak IMDSv{number}"
        if self.needs.get("ipv6") and not client.ipv6:
            return "it does not use IPv6"
        if self.needs.get("proxy") and not client.proxy:
            return "it uses no proxy for the endpoint"
        if self.asks and not set(self.asks) & set(client.operations):
            return f"it cannot ask for {' or '.join(self.asks)}"
        return ""

    def expected(self, client: Client, operation: str) -> tuple[Expected, ...]:
        """Return the findings that must be there if a client does this."""
        return tuple(_for(one, operation) for one in self.expect if client.both or not one.both)


@cache
def scenarios() -> Mapping[str, Scenario]:
    """Return all scenarios by their id, in the order of the file."""
    text = files("imdswatch").joinpath("data/lab/scenarios.yml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = yaml.safe_load(text)["scenarios"]
    return {
        name: Scenario(
            id=name,
            text=entry["text"],
            steps=tuple((move, values) for step in entry["steps"] for move, values in step.items()),
            asks=tuple(entry["asks"]),
            expect=tuple(_expected(one) for one in entry["expect"]),
            needs=entry.get("needs", {}),
            vlan=entry.get("vlan"),
            silent=entry.get("silent", False),
        )
        for name, entry in table.items()
    }


def _expected(entry: Mapping[str, Any]) -> Expected:
    rest = {key: value for key, value in entry.items() if key not in _PLACES}
    rules, both = tuple(entry.get("rules", ())), entry.get("if") == "both"
    return Expected(entry["victim"], entry["endpoint"], entry["stage"], rules, rest, both)


def _for(one: Expected, operation: str) -> Expected:
    """Return what is expected of an operation: see `stage` and `forged` in the file."""
    values, stage = dict(one.values), one.stage
    forged = values.pop("forged", {}).get(operation)
    if forged is not None:
        values["forged"] = forged
    if stage == SERVED:
        stage = "credentials-served" if operation in _CREDENTIALS else "answered"
        if stage == "answered":
            values.pop("account", None)
    return replace(one, stage=stage, values=values)
