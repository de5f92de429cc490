"""What is installed, found as its package manager leaves it; what runs, found as the kernel shows it."""

from __future__ import annotations

import sqlite3
import struct
import zipfile
from pathlib import Path

import pytest

from imdswatch.host.contexts import contexts
from imdswatch.host.facts import User
from imdswatch.host.folder import FolderStore
from imdswatch.host.installed import installed
from imdswatch.host.tree import Tree, open_tree

ALICE = User("alice", 1000, "/home/alice", "/bin/bash")
SITE = "lib/python3.11/site-packages"


def place(root: Path, path: str, data: bytes = b"", mode: int = 0o644) -> None:
    here = root / path
    here.parent.mkdir(parents=True, exist_ok=True)
    here.write_bytes(data)
    here.chmod(mode)


def found(root: Path) -> dict[tuple[str, str], tuple[str, str]]:
    tools, _ = installed(open_tree(root), (ALICE,))
    return {(tool.package.name, tool.home): (tool.version, tool.path) for tool in tools}


def test_clients_of_python_and_node_belong_to_whom_they_lie_with(tmp_path: Path) -> None:
    place(tmp_path, f"home/alice/venv/{SITE}/botocore-1.40.0.dist-info/METADATA")
    place(tmp_path, f"srv/app/{SITE}/botocore-1.44.5.dist-info/METADATA")
    place(tmp_path, f"opt/old/{SITE}/botocore-1.20.0-py3.11.egg-info")
    place(tmp_path, f"usr/{SITE}/aws_credentials_imds-0.4.0.dist-info/METADATA")
    place(
        tmp_path, "srv/x/node_modules/@aws-sdk/credential-provider-node/package.json", b'{"version": "3.1.0"}'
    )
    place(tmp_path, "srv/x/node_modules/y/node_modules/aws-sdk/package.json", b"no json")
    assert found(tmp_path) == {
        ("botocore", "/home/alice"): (
            "1.40.0",
            f"/home/alice/venv/{SITE}/botocore-1.40.0.dist-info",
        ),
        ("botocore", ""): ("1.20.0, 1.44.5", f"/opt/old/{SITE}/botocore-1.20.0-py3.11.egg-info"),
        ("python-4", ""): ("0.4.0", f"/usr/{SITE}/aws_credentials_imds-0.4.0.dist-info"),
        ("js-3", ""): ("3.1.0", "/srv/x/node_modules/@aws-sdk/credential-provider-node"),
        ("js-2", ""): ("", "/srv/x/node_modules/y/node_modules/aws-sdk"),
    }


def test_packages_of_debian_count_while_they_are_installed(tmp_path: Path) -> None:
    status = (
        b"Package: awscli\nStatus: install ok installed\nDescription: x\n y\nVersion: 2.9.19-1\n\n"
        b"Package: s3cmd\nStatus: deinstall ok config-files\nVersion: 2.3.0-1\n\n"
        b"Package: restic\nStatus: install ok installed\nVersion: 0.14.0\n"
    )
    place(tmp_path, "var/lib/dpkg/status", status)
    assert {name: version for (name, _), (version, _) in found(tmp_path).items()} == {
        "aws-cli-2": "2.9.19-1",
        "restic": "0.14.0",
    }


def test_packages_of_rpm_are_read_from_its_database(tmp_path: Path) -> None:
    """A header as lib/header.c writes it: two counts; tag, type, offset, count of each entry; the store."""
    store = b"awscli2\x002.15.30\x00"
    entries = struct.pack(">IIII", 1000, 6, 0, 1) + struct.pack(">IIII", 1001, 6, 8, 1)
    header = struct.pack(">II", 2, len(store)) + entries + store
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    with sqlite3.connect(tmp_path / "var/lib/rpm/rpmdb.sqlite") as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        database.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        database.execute("INSERT INTO Packages VALUES (7, ?)", (header,))
        database.execute("INSERT INTO Packages VALUES (8, ?)", (header[:20],))
        database.execute("INSERT INTO Name VALUES ('awscli2', 7, 0), ('s3cmd', 8, 0), ('bash', 7, 0)")
    database.close()
    assert {name: version for (name, _), (version, _) in found(tmp_path).items()} == {
        "aws-cli-2": "2.15.30",
        "s3cmd": "",
    }


def test_an_older_database_of_rpm_is_told(tmp_path: Path) -> None:
    place(tmp_path, "var/lib/rpm/Packages", b"\0" * 100)
    tree = open_tree(tmp_path)
    installed(tree, ())
    assert [(one.source, one.reason) for one in tree.skipped] == [
        ("/var/lib/rpm/Packages", "is a package database of an older RPM, which is not read")
    ]


@pytest.mark.parametrize("at", [10, (4 << 20) - 30, (4 << 20) + 5])
def test_go_programs_tell_their_modules(tmp_path: Path, at: int) -> None:
    """Also where the line lies across two pieces of the search."""
    line = b"\ndep\tgithub.com/aws/aws-sdk-go-v2/config\tv1.29.4\th1:x=\ndep\tgithub.com/aws/aws-sdk-go\tv1.44.0\th1:\n"
    program = b"\x7fELF" + bytes(at) + line + bytes(2 << 20)
    place(tmp_path, "usr/local/bin/tool", program, 0o755)
    place(tmp_path, "usr/local/bin/data", program, 0o644)
    place(tmp_path, "opt/x/bin/script", b"#!/bin/sh\n" + line + bytes(2 << 20), 0o755)
    assert {name: version for (name, _), (version, _) in found(tmp_path).items()} == {
        "go-1": "v1.44.0 in tool",
        "go-2": "v1.29.4 in tool",
    }


def test_java_archives_are_known_by_name_or_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    with zipfile.ZipFile(tmp_path / "opt/app.jar", "w") as jar:
        jar.writestr("software/amazon/awssdk/core/SdkClient.class", b"")
    place(tmp_path, "opt/aws-java-sdk-core-1.12.3.jar")
    place(tmp_path, "opt/bundle-9.9.jar")  # somebody else's bundle
    assert {name: (version, path) for (name, _), (version, path) in found(tmp_path).items()} == {
        "java-2": ("", "/opt/app.jar"),
        "java-1": ("1.12.3", "/opt/aws-java-sdk-core-1.12.3.jar"),
    }


def test_running_processes_have_the_environment_that_is_in_force(tmp_path: Path) -> None:
    place(tmp_path, "usr/bin/aws")
    place(tmp_path, "usr/lib/python3/dist-packages/awscli-1.46.3.dist-info/METADATA")
    place(tmp_path, "usr/lib/python3/dist-packages/botocore-1.44.5.dist-info/METADATA")
    status = b"Name:\t%s\nUid:\t1000\t1000\t1000\t1000\n"
    for pid, name, command, environment in (
        (7, b"aws", b"/usr/bin/aws\0s3\0ls\0", b"AWS_EC2_METADATA_DISABLED=1\0HOME=/home/alice\0"),
        (8, b"python3", b"python3\0app.py\0", b"AWS_PROFILE=x\0"),
        (9, b"python3", b"python3\0other.py\0", b"PATH=/bin\0AWS_EC2_METADATA_DISABLED=true\0"),
        (10, b"kthread", b"", b""),
    ):
        place(tmp_path, f"proc/{pid}/cmdline", command)
        place(tmp_path, f"proc/{pid}/environ", environment)
        place(tmp_path, f"proc/{pid}/status", status % name)
        place(tmp_path, f"proc/{pid}/cgroup", b"0::/system.slice/app.service\n")
    tree = Tree(FolderStore(tmp_path), name="live", live=True)
    tools, _ = installed(tree, (ALICE,))
    seen = [one for one in contexts(tree, (ALICE,), (), "", tools, ()) if one.kind == "process"]
    assert [(one.name, one.user, one.home, sorted(one.environment)) for one in seen] == [
        ("7 aws", "alice", "/home/alice", ["AWS_EC2_METADATA_DISABLED"]),
        ("8 python3", "alice", "/", ["AWS_PROFILE"]),
    ]
    assert seen[0].edit == "/etc/systemd/system/app.service.d/zz-imdswatch.conf"
