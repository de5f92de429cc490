"""Builds the root of a case: a small tree from a few lines of YAML, and what is installed in it.

`tools` installs clients as their package managers leave them; `base` brings what a distribution has. Everything else
stands in `files` (text), `hex` (bytes), `links` and `modes` of the case itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAM = {
    "debian": {
        "/etc/pam.d/login": "session required pam_env.so readenv=1\n@include common-session\n",
        "/etc/pam.d/sshd": "session required pam_env.so\nsession required pam_env.so envfile=/etc/default/locale\n",
        "/etc/pam.d/cron": "session required pam_env.so\n@include common-session-noninteractive\n",
        "/etc/pam.d/common-session": "session required pam_unix.so\n",
    },
    "rhel": {
        "/etc/pam.d/login": "auth substack system-auth\nsession include system-auth\n",
        "/etc/pam.d/crond": "auth include password-auth\n",
        "/etc/pam.d/system-auth": "auth required pam_env.so\n",
        "/etc/pam.d/password-auth": "auth required pam_env.so\n",
    },
    "alpine": {},
    "none": {},
}
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
alice:x:1000:1000::/home/alice:/bin/bash
"""
_SITE = "/usr/lib/python3/dist-packages"

TOOLS: dict[str, dict[str, str]] = {
    "botocore": {f"{_SITE}/botocore-1.44.5.dist-info/METADATA": ""},
    "aws-cli-1": {f"{_SITE}/awscli-1.46.3.dist-info/METADATA": "", "/usr/bin/aws": "#!/usr/bin/python3\n"},
    "aws-cli-2": {"/usr/local/aws-cli/v2/2.36.7/dist/aws": "", "/usr/local/bin/aws": ""},
    "js-3": {"/opt/app/node_modules/@aws-sdk/credential-provider-node/package.json": '{"version":"3.972.0"}'},
    "js-2": {"/opt/app/node_modules/aws-sdk/package.json": '{"version":"2.1693.0"}'},
    "s3cmd": {"/usr/bin/s3cmd": ""},
    "rclone": {"/usr/local/bin/rclone": ""},
    "terraform": {"/usr/local/bin/terraform": ""},
    "java-2": {"/opt/app/lib/sdk-core-2.20.1.jar": "PK software/amazon/awssdk/core/SdkClient.class"},
    "java-1": {"/opt/app/lib/aws-java-sdk-core-1.12.500.jar": "PK"},
    "crt": {f"{_SITE}/awscrt-0.38.1.dist-info/METADATA": ""},
    "ruby": {"/var/lib/gems/3.1.0/specifications/aws-sdk-core-3.168.1.gemspec": ""},
    "php": {"/var/www/vendor/aws/aws-sdk-php/composer.json": "{}"},
    "dotnet": {"/opt/net/AWSSDK.Core.dll": ""},
    "amazon-ec2-utils": {"/usr/bin/ec2-metadata": "#!/bin/sh\n"},
}


def build(case: Mapping[str, Any], root: Path) -> None:
    """Write the root of a case."""
    files: dict[str, str] = {}
    base = case.get("base", "debian")
    if base in PAM:
        files |= {"/etc/passwd": PASSWD, "/etc/hostname": "host-1\n", **PAM[base]}
    for tool in case.get("tools", ()):
        files |= TOOLS[tool]
    files |= case.get("files", {})
    if case.get("dmi"):
        files |= {f"/sys/class/dmi/id/{name}": f"{value}\n" for name, value in case["dmi"].items()}
    for path, text in files.items():
        _write(root, path, json.dumps(text) if isinstance(text, dict) else text)
    for path, data in case.get("hex", {}).items():
        _place(root, path).write_bytes(bytes.fromhex(data))
    for path, target in case.get("links", {}).items():
        _place(root, path).symlink_to(target)
    for path in case.get("fifos", ()):
        os.mkfifo(_place(root, path))
    for path in case.get("folders", ()):
        (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _place(root: Path, path: str) -> Path:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _write(root: Path, path: str, text: str) -> None:
    _place(root, path).write_text(text, encoding="utf-8", newline="")
