"""What a simulated instance has to tell: the documents below each version, made up from its `Config`.

Pure but for the files of the package; the time comes with the question. What never changes stands in
`data/lab/tree.yml`. Credentials say that they are fake; signed identity documents are published ones, never ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from imdswatch.lab.config import Config

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""When the instance was started."""
_ROLES = re.compile(r"meta-data/iam/security-credentials(?P<extended>-extended)?(?:/(?P<role>[^/]+))?\Z")
_IDENTITY = "dynamic/instance-identity/"


class Tree:
    """All paths of one instance."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._texts = _fixed(config)

    def document(self, path: str, now: float) -> bytes | None:
        """Return what a path holds, or None; `path` has no slash at either end."""
        config = self._config
        if not path:
            return "\n".join(_data()["versions"]).encode()
        version, _, below = path.partition("/")
        if version not in _data()["versions"]:
            return None
        if below == "user-data":
            return config.user_data.encode() or None
        if config.role and (found := _ROLES.match(below)) and (config.extended or not found["extended"]):
            if found["role"] is None:
                return config.role.encode()
            return (
                credentials(config, now, extended=bool(found["extended"]))
                if found["role"] == config.role
                else None
            )
        if below == "meta-data/iam/info" and config.role:
            return _profile(config, now)
        if below in self._texts:
            return self._texts[below].encode()
        return self._listing(below)

    def _listing(self, folder: str) -> bytes | None:
        config = self._config
        if not folder:
            return "\n".join(["dynamic", "meta-data", *(["user-data"] if config.user_data else [])]).encode()
        start = f"{folder}/"
        names = {
            path[len(start) :].partition("/")[0]: path.count("/", len(start)) > 0
            for path in self._texts
            if path.startswith(start)
        }
        if config.role and folder == "meta-data":
            names["iam"] = True
        if config.role and folder == "meta-data/iam":
            names |= {"info": False, "security-credentials": True}
        return "\n".join(name + "/" * below for name, below in sorted(names.items())).encode() or None


def credentials(config: Config, now: float, *, extended: bool = False) -> bytes:
    """Return the document of a role's credentials: fake ones, renewed five minutes before they expire."""
    if config.code != "Success":
        return _json(
            {
                "Code": config.code,
                "Message": "EC2 cannot assume the role (simulated)",
                "LastUpdated": _moment(now),
            }
        )
    period = max(config.lifetime - 300, config.lifetime // 2, 1)
    begun = now if config.lifetime <= 0 else START + (now - START) // period * period
    account = {"AccountId": config.account} if extended else {}
    return _json(
        {
            "Code": "Success",
            "LastUpdated": _moment(begun),
            "Type": "AWS-HMAC",
            "AccessKeyId": config.access_key_id,
            "SecretAccessKey": "FAKE/SECRET/NOT/REAL/FAKE/SECRET/NOT/REAL"[:40],
            "Token": "FAKE-SESSION-TOKEN-NOT-REAL/" * 8,
            "Expiration": _moment(begun + config.lifetime),
            **account,
        }
    )


def _profile(config: Config, now: float) -> bytes:
    arn = f"arn:aws:iam::{config.account}:instance-profile/{config.role}"
    return _json(
        {
            "Code": "Success",
            "LastUpdated": _moment(now),
            "InstanceProfileArn": arn,
            "InstanceProfileId": "AIPAFAKEFAKEFAKEFAKE",
        }
    )


def _fixed(config: Config) -> dict[str, str]:
    """Return all paths below a version that never change, and their texts."""
    texts: dict[str, str] = {}
    values = {name: getattr(config, name) for name in config.__slots__}
    if config.identity == "signed":
        published = files("imdswatch").joinpath("data/lab/identity")
        signed = {
            name: published.joinpath(name).read_text(encoding="utf-8")
            for name in ("document", "signature", "rsa2048")
        }
        document = json.loads(signed["document"])
        texts |= {_IDENTITY + name: text for name, text in signed.items()}
        values |= {
            "region": document["region"],
            "availability_zone": document["availabilityZone"],
            "instance_id": document["instanceId"],
            "private_ip": document["privateIp"],
        }
    elif config.identity == "generated":
        texts[_IDENTITY + "document"] = _json(
            {
                "accountId": config.account,
                "architecture": "x86_64",
                "availabilityZone": config.availability_zone,
                "imageId": "ami-0fa4e0fa4e0fa4e00",
                "instanceId": config.instance_id,
                "instanceType": config.instance_type,
                "pendingTime": _moment(START),
                "privateIp": config.private_ip,
                "region": config.region,
                "version": "2017-09-30",
            }
        ).decode()
    for path, text in _data()["paths"].items():
        texts[path.format(**values)] = text.format(**values)
    texts |= config.paths
    return {path: text for path, text in texts.items() if text}


@cache
def _data() -> dict[str, Any]:
    found = yaml.load(
        files("imdswatch").joinpath("data/lab/tree.yml").read_text(encoding="utf-8"), yaml.BaseLoader
    )
    assert isinstance(found, dict)
    return found


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, separators=(",", " : ")).encode()


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
