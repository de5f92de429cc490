"""The checks beside the matrix: what is wrong with a host whichever tool runs, each once for a place in a file.

Pure. What each says stands in `data/host/checks.yml`. On an EC2 instance the service is genuine, and only what names
another address is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from imdswatch.finding import Evidence
from imdswatch.host.change import Change
from imdswatch.host.facts import Context, Facts
from imdswatch.host.families import changes, families
from imdswatch.host.judge import is_loopback, proxied
from imdswatch.host.setting import SWITCH, Setting, first
from imdswatch.host.shown import evidence
from imdswatch.matrix import Check
from imdswatch.yamlfile import load

_LIKE = re.compile(r"(?i)(?=.*META)(?=.*DISABLE)(?=.*EC2|.*IMDS)AWS_\w+")
_KNOWN = frozenset({SWITCH, "AWS_EC2_METADATA_V1_DISABLED"})
_ENDPOINTS = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint")


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    level: str
    why: str
    change: str


def checks(facts: Facts) -> Iterator[Check]:
    """Yield every check that a host does not meet, each once for each place."""
    seen: set[tuple[str, str, int]] = set()
    for slug, setting in (*_of_settings(facts), *_of_network(facts)):
        if (slug, setting.path, setting.line) not in seen:
            seen.add((slug, setting.path, setting.line))
            yield check(slug, setting)


def check(slug: str, *settings: Setting, path: str = "") -> Check:
    """Return one check with what it rests on; `path` is the file to change where it is another."""
    text = _texts()[slug]
    change = None
    if text.change:
        where = path or (settings[0].path if settings else "")
        change = Change(text.change, where, changes()[text.change].replace("{place}", where or "its place"))
    shown: tuple[Evidence, ...] = tuple(evidence(setting) for setting in settings if setting.name)
    return Check(slug, text.title, text.level, text.why, shown, change)


def _of_settings(facts: Facts) -> Iterator[tuple[str, Setting]]:
    for context in facts.contexts:
        for environment in (context.environment, *(other.environment for other in context.others)):
            for setting in environment.values():
                yield from ((slug, setting) for slug in _of_variable(setting))
        for keys in _profiles(context):
            yield from ((slug, setting) for setting in keys.values() for slug in _of_key(setting))
        if facts.machine != "ec2":
            proxy = proxied(families()["botocore"], context.environment, "169.254.169.254")
            if proxy is not None:
                yield "proxy-without-no-proxy", proxy
        chosen = first(context.environment, "AWS_PROFILE")
        named = context.profiles.profile(chosen.value or "") if chosen is not None else None
        empty = named is not None and not set(named) & _CREDENTIALS
        if chosen is not None and empty and facts.machine != "ec2":
            yield "profile-without-credentials", chosen


_CREDENTIALS = frozenset(
    {
        *("aws_access_key_id", "credential_process", "role_arn", "sso_session", "sso_start_url"),
        *("login_session", "web_identity_token_file", "credential_source"),
    }
)


def _profiles(context: Context) -> Iterator[Mapping[str, Setting]]:
    yield from context.profiles.config.values()
    yield from context.profiles.credentials.values()


def _of_variable(setting: Setting) -> Iterator[str]:
    value = setting.value or ""
    if setting.name == SWITCH and value and value != "true":
        yield "value-not-honoured"
    elif setting.name not in _KNOWN and _LIKE.fullmatch(setting.name):
        yield "switch-misspelt"
    elif setting.name in _ENDPOINTS and _is_elsewhere(value):
        yield "custom-endpoint"


def _of_key(setting: Setting) -> Iterator[str]:
    value = (setting.value or "").lower()
    if setting.name == "credential_source" and value == "ec2instancemetadata":
        yield "credential-source-imds"
    elif setting.name in _ENDPOINTS and _is_elsewhere(value):
        yield "custom-endpoint"


def _is_elsewhere(url: str) -> bool:
    """Say whether a custom endpoint is neither the genuine address nor this host itself."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return True
    return bool(host) and host not in ("169.254.169.254", "fd00:ec2::254") and not is_loopback(host)


def _of_network(facts: Facts) -> Iterator[tuple[str, Setting]]:
    network = facts.network
    if facts.machine == "ec2" or facts.system != "linux" or not (facts.tools or facts.agents):
        return
    blocked = {block.family for block in network.blocks}
    if not blocked >= {4, 6}:
        yield "no-network-block", Setting("", "", "")
    if 4 not in blocked:
        yield from (("on-link-route", setting) for setting in network.on_link)
    yield from (("endpoint-answered", setting) for setting in network.neighbours)
    yield from (("endpoint-is-local", setting) for setting in network.listeners)


@cache
def _texts() -> Mapping[str, _Text]:
    text = files("imdswatch").joinpath("data/host/checks.yml").read_text(encoding="utf-8")
    table, found = load(text, "data/host/checks.yml"), {}
    for name in table.names():
        one = table.table(name)
        level = one.choice("level", ("error", "warning", "note"))
        found[name] = _Text(one.text("title"), level, one.text("why"), one.text("change", ""))
        one.done()
    return found
