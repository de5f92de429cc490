"""The agents of AWS on a host, SSM, CloudWatch, CodeDeploy, ECS, cloud-init, s3fs: how they are set up and registered.

Reads only; what a vault holds is never read, only which keys are there. Nothing raises: a file that is no JSON gives a
setting without a value. Sources: aws/amazon-ssm-agent, aws/amazon-cloudwatch-agent, aws/amazon-ecs-agent,
aws/aws-codedeploy-agent, canonical/cloud-init, s3fs-fuse (docs/audit.md names what each says).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from imdswatch.host import cloudinit, syntax
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree

Settings = dict[str, Setting]

SSM = "amazon-ssm-agent"
CLOUDWATCH = "amazon-cloudwatch-agent"
CODEDEPLOY = "codedeploy-agent"
ECS = "ecs-agent"
CLOUD_INIT = "cloud-init"
S3FS = "s3fs"

_SSM_ETC = ("/etc/amazon/ssm", "/var/snap/amazon-ssm-agent/current/etc/amazon/ssm", "/opt/aws/ssm")
_SSM_SIGNS = (
    *("/usr/bin/amazon-ssm-agent", "/snap/amazon-ssm-agent", "/var/lib/amazon/ssm", "/opt/aws/ssm"),
    "/etc/amazon/ssm/amazon-ssm-agent.json.template",
)
_SSM_VAR = "/var/lib/amazon/ssm"
_CLOUDWATCH = "/opt/aws/amazon-cloudwatch-agent"
_CODEDEPLOY = "/etc/codedeploy-agent/conf/codedeploy.onpremises.yml"


def found(tree: Tree) -> Iterator[tuple[str, str, Settings]]:
    """Yield name, configuration file and settings of each agent that is there."""
    for read in (_ssm, _cloudwatch, _codedeploy, _ecs, _cloud_init):
        settings = read(tree)
        if settings is not None:
            yield settings
    yield from _s3fs(tree)


def _ssm(tree: Tree) -> tuple[str, str, Settings] | None:
    folder = next((path for path in _SSM_ETC if tree.is_folder(path)), _SSM_ETC[0])
    config = f"{folder}/amazon-ssm-agent.json"
    if not tree.is_file(config) and not any(tree.meta(path) for path in _SSM_SIGNS):
        return None
    return SSM, config, ssm_settings(tree, config, _SSM_VAR)


def ssm_settings(tree: Tree, config: str, state: str) -> Settings:
    """Return what the SSM Agent's configuration and state say; `state` is its folder, on Windows another."""
    settings: Settings = {}
    if tree.is_file(config):
        document = _json(tree, config)
        order = _at(document, "Identity", "ConsumptionOrder")
        if document is None or (order is not None and not _texts(order)):
            settings["order"] = Setting("Identity.ConsumptionOrder", None, config)
        elif order:
            line = _line(tree, config, "ConsumptionOrder")
            settings["order"] = Setting("Identity.ConsumptionOrder", ", ".join(order), config, line)
    registration = f"{state}/registration"
    if tree.is_file(registration):
        identity = _at(_json(tree, registration), "ManagedInstanceID")
        told = identity if isinstance(identity, str) and re.fullmatch(r"mi-[0-9a-f]{8,32}", identity) else ""
        settings["registration"] = Setting("ManagedInstanceID", told, registration)
    for vault in (f"{state}/Vault", f"{state}/InstanceData/Vault"):
        for name in ("RegistrationKey", "EC2RegistrationKey"):
            if tree.is_file(f"{vault}/Store/{name}"):
                settings[name] = Setting(name, "present", f"{vault}/Store/{name}")
        if "EC2RegistrationKey" in (tree.read_text(f"{vault}/Manifest") or ""):
            settings.setdefault(
                "EC2RegistrationKey", Setting("EC2RegistrationKey", "present", f"{vault}/Manifest")
            )
    identity_config = f"{state}/runtimeconfig/identity_config.json"
    said = re.search(r"\"IdentityType\"\s*:\s*\"(\w{1,40})\"", tree.read_text(identity_config) or "")
    if said:
        settings["in-force"] = Setting("IdentityType", said[1], identity_config)
    return settings


def _cloudwatch(tree: Tree) -> tuple[str, str, Settings] | None:
    config = f"{_CLOUDWATCH}/etc/common-config.toml"
    if not tree.is_folder(f"{_CLOUDWATCH}/bin") and not tree.is_file(config):
        return None
    settings: Settings = {}
    given = _json(tree, f"{_CLOUDWATCH}/etc/env-config.json")
    if isinstance(given, dict):
        path = f"{_CLOUDWATCH}/etc/env-config.json"
        settings |= {
            n: Setting(n, v, path) for n, v in given.items() if isinstance(v, str) and isinstance(n, str)
        }
    profile = re.search(
        r"(?m)^\s*shared_credential_(?:profile|file)\s*=\s*\"([^\"]+)\"", tree.read_text(config) or ""
    )
    if profile:
        settings["credentials"] = Setting("shared_credential_profile", profile[1], config)
    return CLOUDWATCH, config, settings


def _codedeploy(tree: Tree) -> tuple[str, str, Settings] | None:
    if not tree.is_folder("/opt/codedeploy-agent") and not tree.is_folder("/etc/codedeploy-agent"):
        return None
    text = tree.read_text(_CODEDEPLOY) or ""
    keys = re.search(r"(?m)^\s*:?(aws_access_key_id|aws_credentials_file|iam_session_arn)\s*:\s*\S", text)
    settings = {}
    if keys:
        line = text.count("\n", 0, keys.start()) + 1
        settings["credentials"] = Setting(keys[1], "set", _CODEDEPLOY, line)
    return CODEDEPLOY, _CODEDEPLOY, settings


def _ecs(tree: Tree) -> tuple[str, str, Settings] | None:
    paths = [path for path in ("/etc/ecs/ecs.config", "/var/lib/ecs/ecs.config") if tree.is_file(path)]
    if not paths and not tree.is_folder("/var/lib/ecs"):
        return None
    settings: Settings = {}
    for path in paths:
        for setting in syntax.env_file(tree.read_text(path) or "", path):
            settings[setting.name] = setting
    return ECS, paths[0] if paths else "/etc/ecs/ecs.config", settings


def _cloud_init(tree: Tree) -> tuple[str, str, Settings] | None:
    main = "/etc/cloud/cloud.cfg"
    if not tree.is_file(main) or tree.meta("/etc/cloud/cloud-init.disabled") is not None:
        return None
    settings: Settings = {}
    folder = f"{main}.d"
    for path in (main, *(f"{folder}/{name}" for name in tree.listdir(folder) if name.endswith(".cfg"))):
        text = tree.read_text(path) or ""
        try:
            sources = cloudinit.datasources(text)
        except ValueError as error:
            tree.skip(path, str(error))
            continue
        if sources is not None:
            settings["sources"] = Setting(
                "datasource_list", ", ".join(sources), path, _line(tree, path, "datasource_list")
            )
        strict = re.search(r"(?ms)^\s+Ec2:\s*\n(?:\s+\S.*\n)*?\s+strict_id:\s*(\w+)", text)
        if strict:
            settings["strict"] = Setting("strict_id", strict[1].lower(), path, _line(tree, path, "strict_id"))
    return CLOUD_INIT, f"{folder}/zz-imdswatch.cfg", settings


def _s3fs(tree: Tree) -> Iterator[tuple[str, str, Settings]]:
    for number, line in enumerate((tree.read_text("/etc/fstab") or "").splitlines(), 1):
        words = line.split()
        if (
            len(words) >= 4
            and not words[0].startswith("#")
            and ("s3fs" in words[2] or words[0].startswith("s3fs#"))
        ):
            role = next((one for one in words[3].split(",") if re.match(r"iam_role(?:=|\Z)", one)), None)
            mount = Setting("mount", words[1], "/etc/fstab", number)
            settings = {"mount": mount}
            if role is not None:
                settings["role"] = Setting("iam_role", "set", "/etc/fstab", number)
            yield f"{S3FS} {words[1]}", "/etc/fstab", settings


def _json(tree: Tree, path: str) -> Any:
    text = tree.read_text(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        tree.skip(path, "is no JSON")
        return None


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line(tree: Tree, path: str, word: str) -> int:
    lines = (tree.read_text(path) or "").splitlines()
    return next((number for number, line in enumerate(lines, 1) if word in line), 0)
