"""Images are trees: layers as a container sees them, damage told, nothing ever unpacked into the file system."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import zstandard

from imdswatch.errors import UsageError
from imdswatch.host.audit import audit
from imdswatch.host.tree import open_tree
from imdswatch.matrix import Cell

DIST = "usr/lib/python3/dist-packages/botocore-1.44.5.dist-info/METADATA"


def layer(
    files: Mapping[str, str], links: Mapping[str, str] | None = None, hard: Mapping[str, str] | None = None
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for kind, pairs in ((tarfile.SYMTYPE, links), (tarfile.LNKTYPE, hard)):
            for name, target in (pairs or {}).items():
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                archive.addfile(member)
    return out.getvalue()


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


def docker(path: Path, *layers: bytes, env: tuple[str, ...] = ()) -> Path:
    """What `docker save` writes."""
    config = {"config": {"Env": list(env), "User": "app"}}
    names = [f"{at}/layer.tar" for at in range(len(layers))]
    manifest = [{"Config": "c.json", "Layers": names}]
    files = {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return archive(path, files | dict(zip(names, layers, strict=True)))


def oci(path: Path, *layers: bytes, env: tuple[str, ...] = ()) -> Path:
    """What `skopeo copy … oci-archive:` writes: blobs by digest, an index above."""
    digests = [f"sha256:{at:064x}" for at in range(len(layers) + 2)]
    manifest = {
        "config": {"digest": digests[-1]},
        "layers": [{"digest": digest} for digest in digests[: len(layers)]],
    }
    files = {
        "index.json": json.dumps({"manifests": [{"digest": digests[-2]}]}).encode(),
        f"blobs/{digests[-2].replace(':', '/')}": json.dumps(manifest).encode(),
        f"blobs/{digests[-1].replace(':', '/')}": json.dumps({"config": {"Env": list(env)}}).encode(),
    }
    return archive(
        path, files | {f"blobs/{d.replace(':', '/')}": one for d, one in zip(digests, layers, strict=False)}
    )


def cells(path: Path) -> dict[str, str]:
    return {f"{c.tool} / {c.context} / {c.user}": c.state for c in audit(path) if isinstance(c, Cell)}


def test_upper_layers_hide_what_lower_ones_have(tmp_path: Path) -> None:
    low = layer(
        {
            "./etc/a": "low",
            "etc/b": "low",
            "opt/x/one": "1",
            "opt/x/two": "2",
            "srv/f": "file",
            "usr/y/z/old": "",
            "usr/y/old": "",
            "run/made/old": "",
        }
    )
    high = layer(
        {
            "etc/a": "high",
            "etc/.wh.b": "",
            "opt/x/three": "3",
            "opt/x/.wh..wh..opq": "",
            "srv/f/below": "now a folder",
            "usr/y/z/new": "4",
            "usr/.wh..wh..opq": "",
            "run/made/new": "5",
            "run/.wh.made": "",
        },
        links={"etc/l": "/etc/a", "etc/out": "../../../a"},
        hard={"etc/h": "etc/a"},
    )
    tree = open_tree(docker(tmp_path / "i.tar", low, high))
    assert tree.listdir("/etc") == ("a", "h", "l", "out")
    assert tree.read_text("/etc/a") == tree.read_text("/etc/l") == tree.read_text("/etc/h") == "high"
    assert tree.read_text("/etc/out") is None
    assert tree.listdir("/opt/x") == ("three",)
    assert tree.read_text("/srv/f/below") == "now a folder"
    assert (tree.listdir("/usr"), tree.listdir("/usr/y"), tree.listdir("/usr/y/z")) == (
        ("y",),
        ("z",),
        ("new",),
    )
    assert tree.listdir("/run/made") == ("new",)
    assert not tree.skipped


def test_an_image_that_claims_the_firmware_of_ec2_is_not_believed(tmp_path: Path) -> None:
    one = layer({DIST: "", "sys/class/dmi/id/sys_vendor": "Amazon EC2\n"})
    assert set(cells(docker(tmp_path / "a.tar", one)).values()) == {"asks"}


@pytest.mark.parametrize("make", [docker, oci])
@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lambda data: zstandard.ZstdCompressor().compress(data)],
    ids=["plain", "gzip", "zstd"],
)
def test_the_variables_of_an_image_count(tmp_path: Path, make, pack) -> None:  # type: ignore[no-untyped-def]
    one = pack(layer({DIST: "", "etc/passwd": "app:x:7:7::/app:/bin/sh\n"}))
    user = "app" if make is docker else "root"
    assert cells(make(tmp_path / "a.tar", one)) == {f"botocore / image / {user}": "asks"}
    env = ("AWS_EC2_METADATA_DISABLED=true",)
    assert cells(make(tmp_path / "b.tar", one, env=env)) == {f"botocore / image / {user}": "protected"}


def test_a_root_file_system_in_a_compressed_tar_is_read(tmp_path: Path) -> None:
    (tmp_path / "r.tgz").write_bytes(gzip.compress(layer({"etc/hostname": "h\n"})))
    assert open_tree(tmp_path / "r.tgz").read_text("/etc/hostname") == "h\n"


def test_what_is_damaged_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = layer({"etc/a": "1", "etc/b": "2" * 5000})
    tree = open_tree(
        docker(tmp_path / "i.tar", layer({"etc/c": "3"}), gzip.compress(whole)[:-40], b"no tar at all" * 99)
    )
    assert tree.read_text("/etc/c") == "3"
    assert {skipped.source for skipped in tree.skipped} >= {"1/layer.tar", "2/layer.tar"}


def test_names_that_lead_out_are_left_out(tmp_path: Path) -> None:
    tree = open_tree(
        docker(tmp_path / "i.tar", layer({"../evil": "x", "/etc/../../evil": "x", "/etc/fine": "y"}))
    )
    assert tree.listdir("/") == ("etc",)
    assert tree.listdir("/etc") == ("fine",)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b\x08hello", b"{}" * 600])
def test_what_is_no_image_is_wrong_usage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UsageError):
        open_tree(tmp_path / "x")
