"""`imdswatch lab run`: the alarms ring, the namespaces go, and no client ever starts where it could reach the world.

Everything here needs namespaces; where a machine does not let us make them, these tests say so and are skipped. Real
clients are taken from `.cache/clients` (`make clients`) and are victims inside the lab only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from imdswatch.lab.clients import inventory
from imdswatch.lab.judge import judge
from imdswatch.lab.scenario import Expected, scenarios
from patience import LONG, until

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / ".cache" / "clients"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def lab(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imdswatch", "lab", "run", *words],
        capture_output=True,
        text=True,
        timeout=4 * LONG,
        env=ENVIRONMENT,
        **more,
    )


@cache
def no_enclosure() -> str:
    """Why no namespaces can be made here, if so."""
    done = lab("gratuitous-arp")
    return "" if done.returncode == 0 else done.stderr.strip() or done.stdout.strip()


@pytest.fixture
def enclosure() -> None:
    if no_enclosure():
        pytest.skip(f"no rehearsal on this machine: {no_enclosure()}")


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(done: subprocess.CompletedProcess[str], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects(done) if one["type"] == kind]


def namespaces() -> set[str]:
    """All network namespaces that any process of this machine is in, or holds open."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        for link in [entry / "ns" / "net", *entry.glob("fd/*")]:
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("net:["):
                found.add(target)
    return found


def outside() -> tuple[Any, ...]:
    """What of the machine a rehearsal could have changed."""
    return (
        sorted(os.listdir("/sys/class/net")),
        Path("/proc/self/mounts").read_text(encoding="utf-8"),
        Path("/proc/net/route").read_text(encoding="ascii"),
        Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii"),
    )


# The alarms


@pytest.mark.usefixtures("enclosure")
def test_the_alarms_ring_and_nothing_is_left_behind(tmp_path: Path) -> None:
    before = outside()
    kept = tmp_path / "kept.pcap"
    done = lab(
        "routed-rogue", "unanswered", "on-link", "ipv6", "hardened", "--format", "ndjson", "--keep", str(kept)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    played = {one["scenario"]: one for one in of_type(done, "performance")}
    assert {name: one["result"] for name, one in played.items()} == dict.fromkeys(played, "passed")
    served = played["routed-rogue"]
    assert set(served) == {
        "format", "type", "scenario", "client", "version", "result", "operation", "asked", "said", "packets",
        "alarms", "wrong", "findings", "setup_seconds", "seconds",
    }  # fmt: skip
    assert objects(done)[-1].keys() == {"format", "type", "passed", "failed", "skipped", "seconds"}
    assert [(one["method"], one["status"]) for one in served["asked"]] == [
        ("PUT", 200),
        ("GET", 200),
        ("GET", 200),
    ]
    (finding,) = served["findings"]
    assert finding["stage"] == "credentials-served"
    assert finding["account"]["id"] == "123456789012"
    assert played["unanswered"]["findings"][0]["stage"] == "attempted"
    assert played["hardened"]["findings"] == []
    assert min(one["setup_seconds"] for one in played.values()) < 2
    assert "FAKE/SECRET" not in done.stdout
    assert "FAKE-SESSION" not in done.stdout
    again = subprocess.run(
        [sys.executable, "-m", "imdswatch", "scan", str(kept), "--format", "ndjson"],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    found = [json.loads(line) for line in again.stdout.splitlines()]
    assert {one["victim"]["ip"] for one in found if one["type"] == "finding"} == {"10.20.1.10", "fd20:1::10"}
    # What tells that a hardened victim sent nothing tells these apart, too: the endpoint is in packets of the others.
    assert bytes((169, 254, 169, 254)) in kept.read_bytes()
    assert outside() == before


@pytest.mark.slow
@pytest.mark.usefixtures("enclosure")
def test_every_scenario_with_our_own_client() -> None:
    done = lab()
    results = {}
    for text in re.split(r"(?m)^(?=\S+ · )", done.stdout)[1:]:
        how = [name for name in ("WRONG", "SKIPPED") if re.search(rf"(?m)^  {name} ", text)]
        results[text.split(" ")[0]] = {"WRONG": "failed", "SKIPPED": "skipped"}[how[0]] if how else "passed"
        assert how or re.search(r"(?m)^  (RANG|OK) ", text), text
    assert set(results) == set(scenarios())
    assert {name: result for name, result in results.items() if result == "failed"} == {}
    skipped = {name for name, result in results.items() if result == "skipped"}
    cannot = set() if shutil.which("nft") else {"dnat", "hardened-nft"}
    assert skipped <= (cannot if shutil.which("ip") else cannot | {"hardened", "blocked-only"})
    assert done.returncode == (3 if skipped else 0)


@pytest.mark.usefixtures("enclosure")
def test_a_scenario_that_says_nothing_about_a_client_is_not_passed() -> None:
    done = lab("ipv6", "--client", "curl", "--format", "ndjson")
    assert done.returncode == 3
    assert [one["not_applicable"] for one in of_type(done, "not_applicable")] == ["it does not use IPv6"]


@pytest.mark.usefixtures("enclosure")
def test_a_reader_that_goes_away_ends_it() -> None:
    command = f"{sys.executable} -m imdswatch lab run gratuitous-arp unanswered; echo $? >&2"
    done = subprocess.run(
        ["sh", "-c", f"({command}) | head -1"], capture_output=True, text=True, timeout=LONG, env=ENVIRONMENT
    )
    assert done.stdout.startswith("gratuitous-arp")
    assert done.stderr.strip() == str(128 + signal.SIGPIPE)


@pytest.mark.slow
@pytest.mark.usefixtures("enclosure")
@pytest.mark.parametrize("client", ["boto3", "awscli1", "js3"])
def test_real_clients_are_victims(client: str) -> None:
    if not (CLIENTS / "stamp").exists():
        pytest.skip("`make clients` was not run")
    if client == "js3" and not shutil.which("node"):
        pytest.skip("no Node.js on PATH")
    words = ("routed-rogue", "v2-refused-then-v1", "hardened", "--client", client, "--clients", str(CLIENTS))
    done = lab(*words, "--format", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    served, fallback, hardened = of_type(done, "performance")
    agent = served["asked"][0]["user_agent"]
    assert (
        agent == ""
        if client == "js3"
        else agent.startswith({"boto3": "Boto3/", "awscli1": "aws-cli/"}[client])
    )
    assert [one["status"] for one in fallback["asked"]][:2] == [404, 200]
    assert hardened["asked"] == []


@pytest.mark.usefixtures("enclosure")
def test_the_transcript_says_who_asked_what_and_what_rang() -> None:
    done = lab("routed-rogue")
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "asked    PUT /latest/api/token (imdswatch-lab/1)" in lines
    assert "answered 200, as 169.254.169.254 port 80" in lines
    assert any(
        line.startswith("sensor   credentials-served (imds-credentials-served, critical)") for line in lines
    )
    assert "RANG     credentials-served for 10.20.1.10 at 169.254.169.254" in lines
    assert lines[-1].startswith("1 passed in ")


@pytest.mark.usefixtures("enclosure")
def test_a_client_that_is_not_here_is_reported_and_not_faked(tmp_path: Path) -> None:
    done = lab("routed-rogue", "--client", "boto3", "--clients", str(tmp_path), "--format", "ndjson")
    assert done.returncode == 3
    assert of_type(done, "performance") == []
    assert of_type(done, "skipped")[0]["client"] == "boto3"


@pytest.mark.usefixtures("enclosure")
def test_another_program_of_the_same_name_is_not_taken_for_the_client(tmp_path: Path) -> None:
    program = tmp_path / "debian" / "usr" / "bin" / "aws"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho something else 1.0\n", encoding="utf-8")
    program.chmod(0o755)
    done = lab("routed-rogue", "--client", "awscli2", "--clients", str(tmp_path))
    assert (done.returncode, "is another program: something else 1.0" in done.stdout) == (3, True)


@pytest.mark.parametrize("words", [("nonesuch",), ("--client", "nonesuch"), ("--clients", "/nonesuch")])
def test_what_does_not_exist_is_wrong_usage(words: tuple[str, ...]) -> None:
    assert lab(*words).returncode == 2


def test_the_list_has_every_scenario_and_client() -> None:
    done = lab("--list")
    assert done.returncode == 0
    first = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert first == set(scenarios()) | set(inventory())


@pytest.mark.parametrize("form", ["text", "ndjson"])
def test_where_no_namespaces_may_be_made_it_says_so(form: str) -> None:
    limit = "echo 0 > /proc/sys/user/max_net_namespaces"  # for those below this user namespace only
    command = f"{limit} && exec {sys.executable} -m imdswatch lab run gratuitous-arp --format {form}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", command],
        capture_output=True, text=True, timeout=LONG, env=ENVIRONMENT,
    )  # fmt: skip
    if "unshare:" in done.stderr.split("\n")[0] and "cannot rehearse" not in done.stderr:
        pytest.skip("users may not make namespaces here")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.startswith("cannot rehearse here: no namespaces (unshare: ")
    told = [(one["type"], one.get("client")) for one in objects(done)]
    assert told == ([] if form == "text" else [("skipped", "probe"), ("summary", None)])


def test_capture_and_transcript_are_two_files(tmp_path: Path) -> None:
    done = lab("gratuitous-arp", "--keep", str(tmp_path / "x"), "-o", str(tmp_path / "x"))
    assert (done.returncode, "name the same file" in done.stderr) == (2, True)
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("enclosure")
def test_a_capture_that_cannot_be_kept_is_told() -> None:
    done = lab("gratuitous-arp", "--keep", "/dev/full")
    assert (done.returncode, "no space left on device" in done.stderr) == (2, True)


# What is left when it is killed


@pytest.mark.usefixtures("enclosure")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_it_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    """Nor of a client that hides in a session of its own, and would sleep for longer than anybody waits."""
    program = tmp_path / "debian" / "usr" / "bin" / "rclone"
    program.parent.mkdir(parents=True)
    script = '#!/bin/sh\ncase $1 in version) echo "rclone v0";; *) setsid -f sleep 987; sleep 987;; esac\n'
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    before, spaces = outside(), namespaces()
    words = ["lab", "run", "unanswered", "--client", "rclone", "--clients", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "imdswatch", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        until(lambda: len(sleepers(process.pid)) == 2, "the client never ran")
        members = descendants(process.pid)
        made = set().union(*(held(pid) for pid in members)) - spaces
        assert len(made) >= 6
        process.send_signal(number)
        process.wait(LONG)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members))
        until(lambda: not made & namespaces())
        assert outside() == before
    finally:
        process.kill()
        process.wait()


def sleepers(pid: int) -> set[int]:
    """The processes of our client below one of ours: a session of their own does not hide them from /proc."""
    found = set()
    for one in descendants(pid):
        try:
            if Path(f"/proc/{one}/cmdline").read_bytes() == b"sleep\x00987\x00":
                found.add(one)
        except OSError:
            continue
    return found


def descendants(pid: int) -> set[int]:
    found = {pid}
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return found
    return found.union(*(descendants(int(child)) for child in children))


def held(pid: int) -> set[str]:
    found = set()
    for link in [Path(f"/proc/{pid}/ns/net"), *Path(f"/proc/{pid}/fd").glob("*")]:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("net:["):
            found.add(target)
    return found


# Safety


CHECKS = {
    "outside every namespace of ours": """
        enclosure.space("victim")
        with enclosure.spaces["victim"]: pass
        enclosure.verify(enclosure.spaces["victim"])
    """,
    "in a namespace that is no longer ours": """
        lost = enclosure.space("victim"); del enclosure.spaces["victim"]
        with lost: enclosure.verify(lost)
    """,
    "a cable into a foreign namespace": """
        import os; foreign = os.open("/proc/self/ns/net", os.O_RDONLY)
        victim = enclosure.space("victim")
        victim.ip.link("add", ifname="out", kind="veth", peer={"ifname": "x", "net_ns_fd": foreign})
        enclosure.start(victim, ["sh", "-c", "touch $PROOF"], environment=environment)
    """,
    "a device that is no cable": """
        victim = enclosure.space("victim")
        victim.ip.link("add", ifname="mv", kind="ifb")
        enclosure.start(victim, ["sh", "-c", "touch $PROOF"], environment=environment)
    """,
}


@pytest.mark.usefixtures("enclosure")
@pytest.mark.parametrize("name", CHECKS)
def test_no_client_is_started_where_it_could_reach_the_world(name: str, tmp_path: Path) -> None:
    code = "\n".join(line[8:] for line in CHECKS[name].split("\n"))
    script = (
        "import os, sys\nfrom imdswatch.lab.enclosure import enter, Unsafe\nenclosure = enter()\n"
        "if isinstance(enclosure, int): sys.exit(enclosure)\n"
        "environment = {'PROOF': os.environ['PROOF'], 'PATH': os.environ['PATH']}\n"
        f"try:\n{indented(code)}\nexcept Unsafe as error:\n    print(error); sys.exit(7)\n"
    )
    proof = tmp_path / "started"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG,
        env={**ENVIRONMENT, "PROOF": str(proof)},
    )  # fmt: skip
    assert done.returncode == 7, done.stdout + done.stderr
    assert not proof.exists()


def indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.split("\n"))


@pytest.mark.usefixtures("enclosure")
def test_a_process_in_the_enclosure_reaches_nobody_outside() -> None:
    """Neither this machine's own addresses nor its daemons' sockets; asked by a plain program, no AWS client."""
    script = (
        "import os, socket, sys\nfrom imdswatch.lab.enclosure import enter\n"
        "from imdswatch.lab.network import Network\nenclosure = enter()\n"
        "if isinstance(enclosure, int): sys.exit(enclosure)\nnetwork = Network(enclosure)\nreached = []\n"
        "for name, space in network.spaces.items():\n"
        "    with space:\n"
        "        for address in ('127.0.0.1', os.environ['OUTSIDE']):\n"
        "            try: socket.create_connection((address, int(os.environ['PORT'])), 0.3); reached.append(name)\n"
        "            except OSError: pass\n"
        "print(reached, sorted(os.listdir('/run')))\n"
    )
    with socket_outside() as (address, port):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG,
            env={**ENVIRONMENT, "OUTSIDE": address, "PORT": str(port)},
        )  # fmt: skip
    assert done.stdout == "[] ['resolv.conf']\n", done.stdout + done.stderr


class socket_outside:
    """A listener on all of this machine's addresses but the metadata service's."""

    def __enter__(self) -> tuple[str, int]:
        import socket

        self.socket = socket.create_server(("0.0.0.0", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # no packet: it only says which address would be used
                address = probe.getsockname()[0]
            except OSError:
                address = "127.0.0.1"
        return address, self.socket.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.usefixtures("enclosure")
def test_an_ordinary_user_can_rehearse_where_users_may_make_namespaces() -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("is run as root, to become an ordinary user")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    interpreter = f"/usr/bin/python{version}"  # that of the environment may lie where other users cannot look
    packages = sysconfig.get_path("purelib")
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    can_read = [*become, "test", "-x", interpreter, "-a", "-r", f"{packages}/click/__init__.py"]
    if subprocess.run(can_read, check=False).returncode:
        pytest.skip(f"another user can run no {interpreter}, or cannot read {packages}")
    with TemporaryDirectory(dir="/var/tmp") as folder:
        shutil.copytree(ROOT / "src", Path(folder, "src"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [*become, interpreter, "-m", "imdswatch", "lab", "run", "routed-rogue", "vlan"],
            capture_output=True, text=True, timeout=LONG, cwd="/",
            env={**os.environ, "PYTHONPATH": f"{folder}/src:{packages}", "HOME": "/"},
        )  # fmt: skip
    if done.returncode == 3:
        pytest.skip(f"users may not make namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


# The judge, by hand


def finding(victim: str, stage: str, **more: Any) -> dict[str, Any]:
    return {
        "rule": "imds-contact", "rules": {"imds-contact": 1}, "stage": stage, "victim": {"ip": victim},
        "request": {"host": "169.254.169.254"}, **more,
    }  # fmt: skip


WANTED = Expected("10.0.0.1", "169.254.169.254", "answered", ("imds-contact",), {"account": "123456789012"})


@pytest.mark.parametrize(
    ("findings", "wrong"),
    [
        ([finding("10.0.0.1", "answered", account={"id": "123456789012"})], [()]),
        ([], [("the alarm is missing",)]),
        (
            [finding("10.0.0.1", "attempted", account={"id": "123456789012"})],
            [("stage attempted, not answered",)],
        ),
        ([finding("10.0.0.1", "answered")], [("account None, not 123456789012",)]),
        (
            [finding("10.0.0.2", "answered", account={"id": "123456789012"})],
            [("the alarm is missing",), ("a false alarm: imds-contact",)],
        ),
        (
            [{**finding("10.0.0.1", "answered", account={"id": "123456789012"}), "rules": {"x": 1}}],
            [("without imds-contact",)],
        ),
    ],
)
def test_alarms_are_missing_false_or_wrong(
    findings: list[dict[str, Any]], wrong: list[tuple[str, ...]]
) -> None:
    assert [alarm.wrong for alarm in judge([WANTED], findings)] == wrong


def test_two_findings_of_one_victim_and_endpoint_are_one_too_many() -> None:
    twice = [finding("10.0.0.1", "answered", account={"id": "123456789012"})] * 2
    assert [bool(alarm.wrong) for alarm in judge([WANTED], twice)] == [False, True]
