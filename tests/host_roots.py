"""Roots of hosts for tests of `imdswatch harden`, and what a tree is, to the bit.

`print_of` is how two trees are told apart: names, kinds, bytes, modes, owners, link targets, and modification times;
those of folders only where asked for, since a run that was cut off may leave one. Inode numbers do not count.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

NFT, IP = "/usr/sbin/nft", "/usr/sbin/ip"
SYSTEMD = {"/usr/lib/systemd/systemd": "", "/etc/systemd/system/": ""}
ROOTS: Mapping[str, Mapping[str, str]] = {
    "debian": {
        **SYSTEMD,
        NFT: "",
        IP: "",
        "/etc/pam.d/common-session": "session required pam_env.so\n",
        "/etc/environment": 'PATH="/usr/local/sbin:/usr/bin"\n',
        "/etc/profile.d/": "",
        "/etc/nftables.conf": "flush ruleset\n",
    },
    "rhel": {
        **SYSTEMD,
        IP: "",
        "/etc/pam.d/system-auth": "auth required pam_env.so\n",
        "/etc/environment": "",
        "/etc/profile.d/proxy.sh": (
            'export http_proxy="http://proxy.example:3128"\nexport no_proxy=localhost,.example\n'
        ),
        "/etc/cloud/cloud.cfg": "users: [default]\ndatasource_list: [NoCloud, Ec2, None]\n",
    },
    "alpine": {
        "/sbin/openrc": "",
        "/sbin/ip": "",
        "/etc/profile.d/": "",
        "/etc/init.d/local": "#!/sbin/openrc-run\n",
        "/etc/runlevels/default/": "",
    },
    "container": {"/etc/profile.d/": "", "/etc/os-release": "ID=debian\n"},
    "ssm": {
        **SYSTEMD,
        NFT: "",
        "/etc/pam.d/": "",
        "/etc/amazon/ssm/amazon-ssm-agent.json": '{\n\t"Profile": {"KeyAutoRotateDays": 0},\n\t"Mds": {}\n}\n',
        "/etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf": (
            '[Service]\nEnvironment="http_proxy=http://10.0.0.9:3128" "no_proxy=localhost"\n'
        ),
    },
}


def make(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a root: a name that ends with a slash is a folder, `-> X` a link."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    return root


def print_of(root: Path, *, folders_too: bool = False) -> dict[str, tuple[object, ...]]:
    """Return what stands below a root, to the bit."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in [*folders, *files, *(["."] if folder == str(root) else [])]:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            key = os.path.relpath(path, root)
            entry: tuple[object, ...] = (stat.filemode(state.st_mode), state.st_uid, state.st_gid)
            if stat.S_ISLNK(state.st_mode):
                entry += (os.readlink(path), state.st_mtime_ns)
            elif stat.S_ISREG(state.st_mode):
                attributes = tuple((one, os.getxattr(path, one)) for one in sorted(os.listxattr(path)))
                entry += (Path(path).read_bytes(), state.st_mtime_ns, state.st_nlink, attributes)
            elif folders_too:
                entry += (state.st_mtime_ns,)
            found[key] = entry
    return found
