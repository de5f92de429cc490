"""Files that are made to hurt: deep, long, cut, of another kind. Each is told or ignored, never a crash, never slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rooting import build

from imdswatch.host.audit import audit
from imdswatch.matrix import Audited

DEEP = 200_000
# fmt: off
PLACES = {
    "/srv/app/docker-compose.yml": [
        "[" * DEEP,
        "- " * DEEP,
        "a: &a [*a]\nb: *a\n",
        "services:\n  x: 1\n",
        "\0\1",
        "services: [1]\n",
    ],
    "/etc/cloud/cloud.cfg": ["[" * DEEP, "- " * DEEP, "datasource_list: {a: b}\n", "\udcff"],
    "/etc/amazon/ssm/amazon-ssm-agent.json": [
        "[" * DEEP,
        '{"Identity":' * DEEP,
        '{"Identity":{"ConsumptionOrder":[1]}}',
        "[]",
    ],
    "/var/lib/amazon/ssm/registration": ["[" * DEEP, "[]", '{"ManagedInstanceID":[]}'],
    "/var/lib/docker/containers/x/config.v2.json": [
        "[" * DEEP,
        '{"Config":[]}',
        '{"Config":{"Env":[1,null,"="]}}',
        "null",
    ],
    "/opt/app/node_modules/aws-sdk/package.json": ["[" * DEEP, "[]", '{"version":{}}'],
    "/etc/environment": ["=" * DEEP, "A" * DEEP, "A=\\\n" * 50_000, "\0" * 1000],
    "/home/alice/.profile": ["if " * DEEP, '"' * DEEP, "${" * DEEP, "export " + "A=1 " * 50_000],
    "/home/alice/.aws/config": ["[" * DEEP, "[profile a]\n" * 50_000, "=" * DEEP, "[profile " + "x" * DEEP],
    "/etc/systemd/system/app.service": [
        "\\\n" * DEEP,
        "[Service]\nExecStart=python\nEnvironment=" + '"' * DEEP,
    ],
    "/etc/nftables.conf": ["{" * DEEP, "table inet x { chain y {" * 20_000],
    "/etc/iptables/rules.v4": [
        "*filter\n" + "-A OUTPUT -j OUTPUT\n" * 20_000,
        "-A\n-A OUTPUT -d\n*filter\n-A OUTPUT -d\n",
    ],
    "/var/lib/dpkg/status": ["Package: a\n" * 50_000, "Package: awscli\n" + " x\n" * DEEP],
    "/var/lib/rpm/rpmdb.sqlite": ["SQLite format 3\0" + "x" * 5000, ""],
    "/Library/LaunchDaemons/x.plist": [
        "<plist>" + "<array>" * 100_000,
        "bplist00" + "\xa1" * 100,
        "<plist><dict/></plist>",
    ],
    "/machine.reg": ["[" * DEEP, '"a"=hex(7):' + "00," * DEEP, '"' + "\\" * DEEP, "[X]\n" * 50_000],
    "/user.reg": ['"a"=hex(7):00,\\\n' * 50_000, "[-" * DEEP],
    "/etc/passwd": [":" * DEEP, "a:x:0:0::/:\n" * 30_000, f"a:x:{'9' * 5000}:0:::\n"],
    "/etc/crontab": ["* " * DEEP, "@" * DEEP, '"' * DEEP + "=1"],
    "/etc/sudoers": [
        "Defaults " * 50_000,
        "Defaults env_keep" + " " * DEEP + "x",
        'Defaults env_keep += "' + "A " * DEEP,
        "#include /etc/sudoers\n@includedir /etc/sudoers.d/../..\n" * 5000,
        "a," * 100_000 + "b ALL = ALL",
        "User_Alias A=A:" * 20_000,
        "\\\n" * DEEP,
    ],
    "/etc/group": [":" * DEEP, "sudo:x:1:" + "a," * DEEP],
    "/etc/kubernetes/manifests/x.yaml": [
        "[" * DEEP,
        "a: &a [*a]\n",
        "spec: &s {template: {spec: *s}}\n",
        "spec: {containers: [1, {env: [1, {name: 2}, {name: AWS_X, value: [1]}], name: [1], image: {}}]}\n",
        "items: [1, null, {spec: {containers: {}}}]\n---\n- 1\n",
        "spec: {template: {spec: " * 100,
    ],
    "/var/lib/kubelet/config.yaml": [
        "staticPodPath: /\n",
        "staticPodPath: /etc/../..\n",
        "staticPodPath: /" + "x/" * DEEP,
    ],
    "/etc/containers/systemd/x.container": [
        "[Container]\nImage=amazon/x\nEnvironmentFile=../../../etc\n",
        "[Container]\n" + "Environment=A=1\n" * 50_000,
        "[Container]\nEnvironmentFile=%t\nEnvironment=AWS_X=" + '"' * DEEP,
    ],
    "/etc/environment.d/x.conf": ["A=$" * DEEP, "=\n" * DEEP],
    "/etc/systemd/user/x.service": ["[Service]\nExecStart=aws\nUnsetEnvironment=" + "A " * DEEP],
    "/home/alice/.pam_environment": ["A DEFAULT=" * 50_000, "A " + "DEFAULT=x " * 50_000],
    "/etc/pam.d/login": [
        "@include login\n" * 50_000,
        "session required pam_env.so user_readenv=1 user_envfile=../../x\n",
    ],
    "/etc/fstab": ["s3fs#a b c iam_role\n" * 5000, "a b fuse.s3fs\n"],
    "/opt/x/bundle-2.1.jar": ["PK", ""],
    "/usr/local/bin/tool": ["\x7fELF"],
}
# fmt: on


@pytest.mark.parametrize(("path", "text"), [(path, text) for path, texts in PLACES.items() for text in texts])
def test_a_hostile_file_hurts_nobody(tmp_path: Path, path: str, text: str) -> None:
    root = tmp_path / "root"
    build({"tools": ["botocore", "js-2"], "files": {"/home/alice/x": ""}}, root)
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode("utf-8", "surrogateescape"))
    began = time.process_time()
    results = list(audit(root))
    assert isinstance(results[-1], Audited)
    assert time.process_time() - began < 30
