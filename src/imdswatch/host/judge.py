"""Would this client, started like this, ask the metadata service? One cell of the matrix.

Pure. It follows the clients' own order: a profile or key that comes before the service in the chain, a region or mode
that is looked up all the same, the switch in the spelling that this client honours, a proxy, a block on the host. What
each client does with what stands in `families.yml`; docs/audit-truth.md compares the result with real clients.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from imdswatch.address import ENDPOINTS
from imdswatch.host.chain import Chain, Source, source
from imdswatch.host.facts import Context, Network
from imdswatch.host.families import Family
from imdswatch.host.setting import SWITCH, Environment, Setting, address_shown, first, value_of
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, PROTECTED, UNKNOWN

_URI = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
_MODE = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state, the reasons in words, and the settings that they rest on; `repair` is the slug of what closes it."""

    state: str
    why: str
    when: str = ""
    rests_on: tuple[Setting, ...] = ()
    repair: str = ""
    """"" where the variable closes it; else the slug of another change."""
    repair_at: str = ""


@dataclass(frozen=True, slots=True)
class _Want:
    """One reason to ask; `switch` is how the variable is read on that way."""

    why: str
    switch: str
    rests_on: tuple[Setting, ...] = ()
    sure: bool = True


def judge(family: Family, context: Context, network: Network) -> Judgement:
    """Judge the client in a context, and in the other ways in which the same may be started."""
    here = _judge(family, context, network)
    if here.state == PROTECTED and context.meddles:
        without = {name: one for name, one in context.environment.items() if name != SWITCH}
        if _judge(family, replace(context, environment=without), network).state != PROTECTED:
            why = "its command, or a script that it starts, changes the switch by itself: look there"
            return Judgement(UNKNOWN, why, rests_on=here.rests_on)
    if here.state in (ASKS, UNKNOWN):
        return here
    for other in context.others:
        there = _judge(family, replace(context, environment=other.environment, others=()), network)
        if there.state == ASKS:
            return replace(there, state=ASKS_ONLY_WHEN, when=other.when, why=f"then {there.why}")
        if there.state == UNKNOWN:
            return there
    return here


def _judge(family: Family, context: Context, network: Network) -> Judgement:
    environment = context.environment
    off = _switched_off(family, context)
    files = context.profiles
    if family.paths and not first(environment, family.paths):
        files = files.usual or files
    chain = source(family, environment, files)
    wants = list(_wants(family, environment, chain))
    open_ = [want for want in wants if off is None and _switch(want.switch, environment) != "off"]
    switch = environment.get(SWITCH)
    unclear = [want for want in open_ if not want.sure or _switch(want.switch, environment) == "unclear"]
    if not context.whole and open_:
        return Judgement(
            UNKNOWN, "a file that may set its variables could not be read", rests_on=chain.rests_on
        )
    if open_ and len(unclear) == len(open_):
        rests_on = tuple(dict.fromkeys((*_present(switch), *unclear[0].rests_on)))
        wrong = switch if switch is not None and switch.value else None
        return Judgement(
            UNKNOWN,
            _unclear(family, unclear[0], switch),
            rests_on=rests_on,
            repair="correct-value" if wrong else "",
            repair_at=wrong.path if wrong else "",
        )
    if open_:
        return _asked(family, context, network, open_[0])
    if wants:
        rests_on = _present(off if off is not None else switch)
        return Judgement(PROTECTED, _closed(off or switch), rests_on=rests_on)
    if off is not None or _switch(family.switch, environment) == "off":
        return Judgement(PROTECTED, _closed(off or switch), rests_on=_present(off or switch))
    reached = _reach(family, context, network)
    if isinstance(reached, Judgement):
        return reached
    return Judgement(ASKS_ONLY_WHEN, chain.why, when=chain.when, rests_on=chain.rests_on)


def _wants(family: Family, environment: Environment, chain: Chain) -> Iterator[_Want]:
    """Yield every reason for which this client would ask, the switch left aside."""
    if family.always:
        yield _Want("it asks whenever it runs", family.switch)
        return
    if chain.source in (Source.NONE, Source.IMDS):
        switch = family.source_switch if chain.source is Source.IMDS else family.switch
        yield _Want(chain.why, switch, chain.rests_on)
    elif chain.source is Source.UNKNOWN:
        yield _Want(chain.why, family.switch, chain.rests_on, sure=False)
    if chain.source is Source.ERROR:
        return
    if family.region and not (first(environment, *family.region) or chain.region):
        yield _Want("no region is set, and it looks one up", family.lookup_switch)
    if family.modes:
        mode = first(environment, "AWS_DEFAULTS_MODE") or chain.mode
        if mode is not None and (mode.value or "").lower() == "auto" and not _tells_region(environment):
            yield _Want("its defaults mode is auto, which looks the region up", family.lookup_switch, (mode,))


def _tells_region(environment: Environment) -> bool:
    """botocore and JavaScript ask nothing where the execution environment and the region are variables."""
    return bool(
        first(environment, "AWS_EXECUTION_ENV") and first(environment, "AWS_REGION", "AWS_DEFAULT_REGION")
    )


# The switch


def _switch(kind: str, environment: Environment) -> str:
    """Say what the variable does on a way that reads it like this: off, on, or unclear."""
    setting = environment.get(SWITCH)
    if kind == "set" and setting is not None and setting.value is not None:
        return "on" if setting.value.lower() == "false" else "off"
    if kind == "never" or setting is None or setting.value == "":
        return "on"
    if setting.value is None:
        return "unclear"
    lowered = setting.value.lower()
    if kind == "any":
        return "off"
    if kind in ("not-false", "set"):
        return "on" if setting.value == "false" else "off"
    if kind == "boolean" and lowered not in ("true", "false"):
        return "unclear"
    return "off" if lowered == "true" else "on"


def _switched_off(family: Family, context: Context) -> Setting | None:
    """Return what else switches it off: a Java property, or a key of its profile."""
    if family.properties:
        wanted = "|".join(map(re.escape, family.properties))
        for name in _OPTIONS:
            setting = context.environment.get(name)
            found = re.search(rf"-D(?:{wanted})=(\S+)", (setting.value or "") if setting else "")
            if setting is not None and found and found[1].strip("\"'").lower() == "true":
                return Setting(found[0][2:].partition("=")[0], "true", setting.path, setting.line)
        found = re.search(rf"-D({wanted})=true\b", context.command, re.IGNORECASE)
        if found:
            return Setting(found[1], "true", context.edit)
    if family.profile_off:
        chosen = first(context.environment, *family.profile)
        keys = context.profiles.profile((chosen.value or "") if chosen else "default") or {}
        for name in family.profile_off:
            if name in keys and (keys[name].value or "").lower() == "true":
                return keys[name]
    return None


def _unclear(family: Family, want: _Want, switch: Setting | None) -> str:
    if switch is not None and switch.value is None:
        return f"{SWITCH} is computed where it is set, and {want.why}"
    if switch is not None and family.switch == "boolean" and switch.value:
        return f"{family.title} raises an error for this value of {SWITCH}, and {want.why}"
    return want.why


def _closed(setting: Setting | None) -> str:
    name = setting.name if setting is not None else SWITCH
    return f"{name} is set in a spelling that it honours"


def _present(setting: Setting | None) -> tuple[Setting, ...]:
    return (setting,) if setting is not None else ()


# The way to the endpoint


def _asked(family: Family, context: Context, network: Network, want: _Want) -> Judgement:
    """Return the judgement of a client that wants to ask and is not switched off."""
    reached = _reach(family, context, network)
    if isinstance(reached, Judgement):
        return replace(reached, rests_on=(*reached.rests_on, *want.rests_on))
    way, rests_on, repair = reached
    switch = context.environment.get(SWITCH)
    why = want.why
    if want.switch == "never":
        why += f"; it does not read {SWITCH}"
    elif switch is not None and switch.value:
        why += f"; it does not take this value of {SWITCH} for true"
        repair = "correct-value"
        rests_on = (switch, *rests_on)
    if want.switch == "never":
        repair = repair or "block-endpoint"
    at = rests_on[0].path if repair in ("correct-value", "no-proxy", "remove-endpoint") and rests_on else ""
    return Judgement(ASKS, why + way, rests_on=(*rests_on, *want.rests_on), repair=repair, repair_at=at)


def _reach(
    family: Family, context: Context, network: Network
) -> Judgement | tuple[str, tuple[Setting, ...], str]:
    """Return by what way a request would go, or the judgement where it goes nowhere."""
    environment = context.environment
    endpoint = _endpoint(family, context)
    host = ""
    rests_on: tuple[Setting, ...] = ()
    way = ""
    if endpoint is not None:
        host = re.sub(r"^\w+://", "", address_shown(endpoint.value or "")).rsplit(":", 1)[0].strip("[]")
        rests_on, way = (endpoint,), f", at {address_shown(endpoint.value or '')}"
        if is_loopback(host):
            return Judgement(PROTECTED, "its metadata endpoint is this host itself", rests_on=rests_on)
    proxy = proxied(family, environment, host or "169.254.169.254")
    if proxy is not None:
        ends = family.switch == "never"
        return (
            f"{way}, through the proxy {address_shown(proxy.value or '')}",
            (*rests_on, proxy),
            "no-proxy" if ends else "",
        )
    if host and host not in ENDPOINTS:
        return way, rests_on, ""
    blocks = {block.family: block.setting for block in network.blocks}
    version = 6 if host == "fd00:ec2::254" or _six(family, context) else 4
    if version in blocks:
        return Judgement(PROTECTED, "this host sends nothing to the endpoint", rests_on=(blocks[version],))
    return way, rests_on, ""


def _endpoint(family: Family, context: Context) -> Setting | None:
    """Return the custom endpoint that the client would ask, from the variable or its profile."""
    if family.endpoint == "none":
        return None
    chosen = first(context.environment, *family.profile)
    keys = context.profiles.profile((chosen.value or "") if chosen else "default") or {}
    found = first(context.environment, _URI)
    if family.endpoint == "both":
        found = found or first(keys, "ec2_metadata_service_endpoint")
    if found is not None and any(
        address in (found.value or "") for address in ("169.254.169.254", "fd00:ec2::254")
    ):
        return None
    return found


def _six(family: Family, context: Context) -> bool:
    mode = value_of(context.environment, _MODE)
    six = value_of(context.environment, "AWS_IMDS_USE_IPV6")
    return mode.lower() == "ipv6" or (
        family.name in ("botocore", "aws-cli-1", "aws-cli-2") and six.lower() == "true"
    )


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this host itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "ip6-localhost")


def proxied(family: Family, environment: Environment, host: str) -> Setting | None:
    """Return the proxy that gets the requests, None where there is none or NO_PROXY keeps them from it."""
    proxy = first(environment, *family.proxy) if family.proxy else None
    if proxy is None:
        return None
    bypass = value_of(environment, "no_proxy", "NO_PROXY")
    return None if any(_bypasses(entry.strip(), host, family) for entry in bypass.split(",")) else proxy


def _bypasses(entry: str, host: str, family: Family) -> bool:
    entry = entry.strip("[]")
    if entry == "*" or entry == host or (entry.startswith(".") and host.endswith(entry)):
        return True
    if family.networks and "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    return False
