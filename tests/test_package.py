"""The package carries everything: wheel and sdist, manual page, completion, and the commands of a clean installation.

`make test` installs the wheel beside the dependencies that are here already. `make package` sets IMDSWATCH_PACKAGE to
an environment with uv, pipx, hadolint and cyclonedx-py, and installs as a user would, from nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imdswatch import __version__

ROOT = Path(__file__).parents[1]
TOOLS = os.environ.get("IMDSWATCH_PACKAGE")
heavy = pytest.mark.skipif(TOOLS is None, reason="installs from nothing; `make package` runs it")


def words(*arguments: object, **more: object) -> str:
    """Run a program to its end in a neutral place and return what it prints."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "_IMDS"))
    }
    environment = kept | {str(name): str(value) for name, value in more.items() if name.isupper()}
    done = subprocess.run(
        [str(one) for one in arguments],
        env=environment,
        cwd=str(more.get("cwd", "/")),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )
    assert done.returncode == more.get("code", 0), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    words(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of a fresh installation of the wheel; dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("clean")
    words(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    words(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "-q", built[0]
    )
    purelib = Path(words(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # A path, not a site folder: the link of the tests' own environment to src/ is not followed.
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist() if not one.filename.endswith("/RECORD")}


def test_the_wheel_has_every_file_of_the_sources(built: tuple[Path, Path]) -> None:
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }
    assert len(sources) > 300
    packed = set(contents(built[0]))
    assert sources <= packed
    rest = {name.split("/", 1)[1] for name in packed - sources}
    assert {
        "METADATA",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "data/share/man/man1/imdswatch.1",
    } == rest


def test_the_sdist_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    words(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=tree)
    [wheel] = (tmp_path / "again").glob("*.whl")
    assert contents(wheel) == contents(built[0])


TARGETS = ("splunk", "qradar", "sentinel", "elastic", "sigma", "suricata")


def use(program: Path, tmp_path: Path, targets: tuple[str, ...] = TARGETS) -> None:
    """Do with an installed program what a user does first."""
    assert words(program, "--version") == f"imdswatch {__version__}\n"
    findings = words(program, "scan", ROOT / "examples" / "squid-access.log", "--format", "ndjson", code=1)
    assert {json.loads(line)["type"] for line in findings.splitlines()} == {"finding", "summary"}
    assert "imds-credentials-served" in words(program, "rules")
    assert "zeek_http" in words(program, "schemas")
    for target in targets:
        words(program, "export", target, "-o", tmp_path / target)
        assert any(path.stat().st_size for path in (tmp_path / target).rglob("*") if path.is_file())
    delivered = tmp_path / "delivered"
    examples = ROOT / "examples"
    words(program, "scan", examples, "--format", "ecs", "--deliver", f"file://{delivered}", "-q", code=1)
    assert delivered.stat().st_size


def test_what_is_installed_runs_without_the_tree(installed: Path, tmp_path: Path) -> None:
    where = words(installed / "bin" / "python", "-c", "import imdswatch; print(imdswatch.__file__)")
    assert where.startswith(str(installed))
    use(installed / "bin" / "imdswatch", tmp_path, ("splunk",))
    assert (installed / "share" / "man" / "man1" / "imdswatch.1").is_file()


# Completion


@pytest.mark.parametrize(("typed", "offered"), [("sc", {"scan", "schemas"}), ("export --la", {"--language"})])
def test_bash_completes(installed: Path, typed: str, offered: set[str]) -> None:
    script = (
        'eval "$(imdswatch completion bash)"; COMP_WORDS=(imdswatch $TYPED); COMP_CWORD=$((${#COMP_WORDS[@]} - 1));'
        "_imdswatch_completion imdswatch; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    assert offered <= set(words("bash", "-c", script, PATH=path, TYPED=typed).split())


def test_fish_completes(installed: Path, tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed here")
    script = 'source (imdswatch completion fish | psub); complete -C "imdswatch sc"'
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    assert {"scan", "schemas"} <= set(words("fish", "-c", script, PATH=path, HOME=tmp_path).split())


def test_zsh_completes(installed: Path, tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed here")
    (tmp_path / "script").write_text(
        words(installed / "bin" / "imdswatch", "completion", "zsh"), encoding="utf-8"
    )
    words("zsh", "-n", tmp_path / "script")
    # compadd and _describe exist only while a line is edited, so they are replaced by what prints what they got.
    script = (
        "compdef() {}; _describe() { print -l ${(P)3} }; compadd() { print -l ${(P)@[-1]} };"
        "words=(imdswatch sc); CURRENT=2; source $SCRIPT; _imdswatch_completion"
    )
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    got = words("zsh", "-f", "-c", script, PATH=path, SCRIPT=tmp_path / "script", HOME=tmp_path)
    assert {"scan", "schemas"} <= {line.split(":")[0] for line in got.splitlines()}


# The manual page


def manual() -> str:
    spec = importlib.util.spec_from_file_location("manual", ROOT / "docs" / "manual.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.page()
    assert isinstance(text, str)
    return text


def test_the_manual_page_is_current() -> None:
    committed = (ROOT / "docs" / "man" / "imdswatch.1").read_text(encoding="utf-8")
    assert committed == manual(), "docs/man/imdswatch.1 is out of date: run `make docs`"


def test_the_manual_page_is_sound_and_complete() -> None:
    from imdswatch.cli.group import COMMANDS

    page = manual()
    assert page.isascii()
    for command in COMMANDS:
        assert f".SS imdswatch {command}" in page
    assert max(map(len, page.splitlines())) <= 120
    if shutil.which("mandoc"):
        said = subprocess.run(
            ["mandoc", "-Tlint"], input=page, capture_output=True, text=True, check=False
        ).stdout
        # It would like a date, which would be another one with each build.
        assert [
            line for line in said.splitlines() if "missing date" not in line and "STYLE" not in line
        ] == []
    if shutil.which("groff"):
        made = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-P-cbou"],
            input=page,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.stderr == ""
        assert "--deliver URL" in made.stdout


# The container


def instructions() -> Iterator[tuple[str, str]]:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def test_the_container_has_no_root_and_copies_what_there_is() -> None:
    steps = list(instructions())
    assert [rest for word, rest in steps if word == "USER"][-1] == "65532:65532"
    last = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    assert not any(word == "RUN" for word, _ in steps[last:]), "the final image is only put together"
    tags = [rest for word, rest in steps if word == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", tags[0])
    allowed = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in allowed, f"{source} does not reach the build"
    locked = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    [names] = re.findall(r"\\\(([\w\\|-]+)\\\)==", next(rest for word, rest in steps if "build.lock" in rest))
    for name in names.split("\\|"):
        assert re.search(rf"(?m)^{name}==", locked), f"{name} is not in the lock"


# From nothing


def tool(name: str) -> Path:
    assert TOOLS is not None
    return Path(TOOLS).resolve() / "bin" / name


@heavy
def test_pip_installs_from_the_lock(built: tuple[Path, Path], tmp_path: Path) -> None:
    words(sys.executable, "-m", "venv", tmp_path / "clean")
    pip = tmp_path / "clean" / "bin" / "pip"
    words(pip, "install", "-q", "--require-hashes", "-r", ROOT / "requirements.lock")
    words(pip, "install", "-q", "--no-deps", "--no-index", built[0])
    words(pip, "check")
    use(tmp_path / "clean" / "bin" / "imdswatch", tmp_path)


@heavy
def test_uv_installs_it_as_a_tool(built: tuple[Path, Path], tmp_path: Path) -> None:
    places = {f"UV_{name}": tmp_path / name for name in ("TOOL_DIR", "TOOL_BIN_DIR", "CACHE_DIR")}
    words(
        tool("uv"), "tool", "install", "--no-python-downloads", "--python", sys.executable, built[0], **places
    )
    use(tmp_path / "TOOL_BIN_DIR" / "imdswatch", tmp_path)


@heavy
def test_pipx_installs_it_with_its_manual_page(built: tuple[Path, Path], tmp_path: Path) -> None:
    places = {f"PIPX_{name}": tmp_path / name for name in ("HOME", "BIN_DIR", "MAN_DIR")}
    words(tool("pipx"), "install", "--python", sys.executable, built[0], **places, PIPX_DEFAULT_BACKEND="pip")
    use(tmp_path / "BIN_DIR" / "imdswatch", tmp_path)
    assert (tmp_path / "MAN_DIR" / "man1" / "imdswatch.1").is_file()


@heavy
def test_the_container_file_is_one() -> None:
    words(tool("hadolint"), ROOT / "Containerfile")


@heavy
def test_the_bill_of_materials_names_what_is_locked() -> None:
    check = (
        "import sys; from cyclonedx.schema import SchemaVersion as V; from cyclonedx.validation.json import "
        "JsonStrictValidator as J; sys.exit(J(V.V1_6).validate_str(open(sys.argv[1]).read()) and 1)"
    )
    words(tool("python"), "-c", check, ROOT / "dist/imdswatch.cdx.json")
    bill = json.loads((ROOT / "dist" / "imdswatch.cdx.json").read_text(encoding="utf-8"))
    main = bill["metadata"]["component"]
    assert (main["name"], main["version"]) == ("imdswatch", __version__)
    locked = dict(
        re.findall(r"(?m)^([\w.-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    )
    normal = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in locked.items()}
    named = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in bill["components"]}
    assert named == normal
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])
    assert [one["name"] for one in bill["components"] if not one.get("licenses")] == []
