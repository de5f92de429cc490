"""Where a client would take its credentials from: the part of its chain that comes before the metadata service.

Pure. What differs between clients stands in `data/host/families.yml`; profiles are as the AWS SDKs and Tools Reference
Guide has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imdswatch.host.awsconfig import Keys, Profiles
from imdswatch.host.families import Family
from imdswatch.host.setting import Environment, Setting, first


class Source(Enum):
    """What the chain ends at."""

    KEYS = "keys"
    OTHER = "other"
    """A process, a token, a container: it may fail, and then the client stops."""
    ERROR = "error"
    IMDS = "imds"
    """A profile names the metadata service itself."""
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Chain:
    """The outcome in words; `when` says when it would ask after all; region and mode come from the profile."""

    source: Source
    why: str
    when: str = ""
    rests_on: tuple[Setting, ...] = ()
    region: Setting | None = None
    mode: Setting | None = None


_TOKEN = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
_OTHERS = (
    ("sso_session", "sso", "signs in by SSO"),
    ("sso_start_url", "sso", "signs in by SSO"),
    ("login_session", "sso", "signs in by aws login"),
    ("web_identity_token_file", "token", "exchanges a web identity token"),
    ("credential_process", "process", "runs a program for its credentials"),
)
FAILS = "that fails, after which it goes on to the metadata service"
"""The condition of a client that does not stop where a source of credentials fails."""
_DEPTH = 8
"""Profiles that may refer to one another; a circle is an error for every client."""


def source(family: Family, environment: Environment, profiles: Profiles) -> Chain:
    """Return where a client of a family gets credentials from with this environment and these profiles."""
    chosen = first(environment, *family.profile) if family.profile else None
    name = (chosen.value or "") if chosen is not None else "default"
    with_config = family.config == "always" or (
        family.config != "never" and first(environment, family.config) is not None
    )
    known = bool(family.profile) and (chosen is not None or not family.named_only)
    keys = profiles.profile(name, config=with_config) if known else None
    found = _found(family, environment, profiles, chosen, name, keys, with_config)
    own: Keys = keys or {}
    return Chain(
        found.source, found.why, found.when, found.rests_on, first(own, "region"), first(own, "defaults_mode")
    )


def _found(
    family: Family,
    environment: Environment,
    profiles: Profiles,
    chosen: Setting | None,
    name: str,
    keys: Mapping[str, Setting] | None,
    with_config: bool,
) -> Chain:
    if chosen is not None and chosen.value is None:
        return Chain(Source.UNKNOWN, f"{chosen.name} is computed where it is set", rests_on=(chosen,))
    if not profiles.readable and family.profile:
        return Chain(
            Source.UNKNOWN, f"{profiles.config_path} or {profiles.credentials_path} could not be read"
        )
    missing = chosen is not None and keys is None
    if missing and family.missing == "error":
        assert chosen is not None
        return Chain(
            Source.ERROR,
            f"there is no profile {name!r}, at which it stops",
            f"a profile {name!r} is made that has no credentials",
            (chosen,),
        )
    if not (family.hidden_keys and chosen is not None):
        variables = _variables(family, environment)
        if variables is not None:
            return variables
    if first(environment, _TOKEN[0]) and first(environment, _TOKEN[1]):
        return _other(family, first(environment, _TOKEN[0]), "token", "exchanges a web identity token")
    if missing and family.missing == "unknown":
        assert chosen is not None
        return Chain(
            Source.UNKNOWN,
            f"there is no profile {name!r}: some versions stop there, others go on to the metadata service",
            rests_on=(chosen,),
        )
    if keys is not None:
        in_profile = _in_profile(family, profiles, name, keys, with_config, 0)
        if in_profile is not None:
            return in_profile
    container = first(environment, *family.containers)
    if container is not None:
        return _other(family, container, "container", "asks the container's credential service")
    return Chain(Source.NONE, _nothing(chosen, name, keys), rests_on=(chosen,) if chosen is not None else ())


def _nothing(chosen: Setting | None, name: str, keys: Keys | None) -> str:
    if chosen is not None and keys is None:
        return f"there is no profile {name!r}, and its chain goes on to the metadata service"
    if keys is not None:
        return f"profile {name!r} has no credentials, and its chain goes on to the metadata service"
    return "it has no credentials, and its chain ends at the metadata service"


def _variables(family: Family, environment: Environment) -> Chain | None:
    for id_name, secret_name in family.keys:
        key_id, secret = first(environment, id_name), first(environment, secret_name)
        if family.empty_keys:
            key_id, secret = environment.get(id_name), environment.get(secret_name)
        if key_id is not None and secret is not None:
            return Chain(
                Source.KEYS,
                "it has keys in its environment",
                f"the keys in {key_id.path or 'its environment'} are taken away",
                (key_id,),
            )
        if key_id is not None and family.half_keys == "error":
            return Chain(
                Source.ERROR,
                f"{id_name} is set without {secret_name}, at which it stops",
                f"{id_name} is taken away",
                (key_id,),
            )
    return None


def _other(family: Family, setting: Setting | None, kind: str, how: str) -> Chain:
    rests_on = (setting,) if setting is not None else ()
    place = setting.path if setting is not None and setting.path else "its environment"
    when = FAILS if kind in family.goes_on else f"what {place} sets up for it is taken away"
    return Chain(Source.OTHER, f"it {how}", when, rests_on)


def _in_profile(
    family: Family, profiles: Profiles, name: str, keys: Keys, with_config: bool, depth: int
) -> Chain | None:
    """Return what a profile says of credentials, None where it says nothing."""
    role = keys.get("role_arn") if family.roles else None
    named = keys.get("credential_source")
    if role is not None and named is not None:
        if (named.value or "").lower() == "ec2instancemetadata":
            return Chain(
                Source.IMDS,
                f"profile {name!r} takes its credentials from the metadata service",
                rests_on=(named,),
            )
        return _other(family, named, "role", "takes credentials from where its profile says")
    base = keys.get("source_profile")
    if role is not None and base is not None:
        below = profiles.profile(base.value or "", config=with_config)
        if below is None or depth >= _DEPTH:
            why = f"profile {name!r} is based on {base.value!r}, which does not exist"
            if family.broken == "imds":
                return Chain(
                    Source.NONE, f"{why}, and its chain goes on to the metadata service", rests_on=(base,)
                )
            return Chain(
                Source.ERROR, f"{why}, at which it stops", "that profile is made without credentials", (base,)
            )
        if (base.value or "") != name:
            found = _in_profile(family, profiles, base.value or "", below, with_config, depth + 1)
            if found is not None and found.source in (Source.KEYS, Source.OTHER):
                return _other(family, base, "role", f"takes on a role with profile {base.value!r}")
            if found is not None:
                return found
            why = f"profile {base.value!r} has no credentials, at which it stops"
            return Chain(Source.ERROR, why, "the role is taken out of the profile", (base,))
    key_id, secret = keys.get("aws_access_key_id"), keys.get("aws_secret_access_key")
    if key_id is not None and key_id.value and secret is not None and secret.value:
        return Chain(
            Source.KEYS, f"profile {name!r} has keys", f"the keys in {key_id.path} are taken away", (key_id,)
        )
    if key_id is not None and key_id.value and family.half_keys == "error":
        why = f"profile {name!r} has a key id without its secret, at which it stops"
        return Chain(Source.ERROR, why, "that key id is taken away", (key_id,))
    for key, kind, how in _OTHERS:
        if keys.get(key) is not None and keys[key].value:
            return _other(family, keys[key], kind, how)
    return None
