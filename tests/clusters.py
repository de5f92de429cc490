"""Starts Spark on loopback for tests: Sail with four workers, and classic Spark, a master with two workers.

Every process is one that was started here, and is ended by its id. `python tests/clusters.py PORT` serves Sail, in a
process of its own, so that it can be killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from patience import LONG, until

SOURCES = Path(__file__).parents[1] / "src"


def has_sail() -> bool:
    """Say whether Sail and a client are installed here."""
    return find_spec("pysail") is not None and find_spec("pyspark") is not None


def has_classic() -> bool:
    """Say whether classic Spark is installed here: the wheel with the jars, and Java."""
    return find_spec("pyspark") is not None and (_home() / "jars").is_dir() and bool(_java())


def _home() -> Path:
    spec = find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _java() -> str:
    return next((d for d in os.get_exec_path() if os.access(os.path.join(d, "java"), os.X_OK)), "")


@dataclass(frozen=True)
class Running:
    """A cluster: the options of `scan` that reach it, the environment it needs, and its processes, workers last."""

    options: tuple[str, ...]
    env: Mapping[str, str]
    processes: tuple[subprocess.Popen[bytes], ...]

    @property
    def pids(self) -> tuple[int, ...]:
        """The numbers of the processes."""
        return tuple(one.pid for one in self.processes)


@contextmanager
def sail() -> Iterator[Running]:
    """Run Sail with four workers."""
    port = _free_port()
    env = {**os.environ, "PYTHONPATH": str(SOURCES), "SAIL_MODE": "local-cluster", "RUST_LOG": "error"}
    env["SAIL_CLUSTER__WORKER_INITIAL_COUNT"] = "4"
    server = subprocess.Popen([sys.executable, __file__, str(port)], env=env, stderr=subprocess.DEVNULL)
    try:
        _wait(port, server)
        yield Running(("--remote", f"sc://127.0.0.1:{port}"), env, (server,))
    finally:
        _end(server)


@contextmanager
def classic(folder: Path) -> Iterator[Running]:
    """Run a master and two workers of one core each, which keep their files in the folder."""
    port = _free_port()
    env = {
        **os.environ,
        "PYTHONPATH": str(SOURCES),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONF_DIR": str(folder),
    }
    folder.joinpath("spark-defaults.conf").write_text(
        f"spark.executorEnv.PYTHONPATH {SOURCES}\nspark.ui.enabled false\nspark.network.timeout 60s\n"
        "spark.network.timeoutInterval 20s\nspark.executor.heartbeatInterval 5s\n"
    )
    words = [str(_home() / "bin" / "spark-class"), "org.apache.spark.deploy"]
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        command = [words[0], f"{words[1]}.{name}", "--host", "127.0.0.1", "--webui-port", "0", *more]
        with (folder / f"{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    try:
        master = start("master.Master", "--port", str(port))
        _wait(port, master)
        url = f"spark://127.0.0.1:{port}"
        for number in range(2):
            start("worker.Worker", "-c", "1", "-m", "1g", "-d", str(folder / f"work{number}"), url)
        for number in (1, 2):
            _wait_for(folder / f"{number}.log", "Successfully registered with master")
        yield Running(("--master", url), env, tuple(started))
    finally:
        for process in reversed(started):
            _end(process)


def cpu(processes: Iterable[int]) -> float:
    """Return the seconds of CPU that processes took so far, those they started and those that ended included."""
    ticks = 0
    for one in {found for process in processes for found in (process, *_below(process))}:
        with suppress(OSError):
            after = Path("/proc", str(one), "stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += sum(map(int, after[11:15]))  # utime, stime, cutime and cstime (proc(5))
    return ticks / os.sysconf("SC_CLK_TCK")


def kill(process: int) -> None:
    """Kill a process that was started here, and all that it started, without a chance to say goodbye."""
    for one in [process, *_below(process)]:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def reads(process: int, folder: Path) -> bool:
    """Say whether a process, or one that it started, has a file of the folder open."""
    for one in [process, *_below(process)]:
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{one}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{one}/fd/{descriptor}").startswith(f"{folder}/"):
                        return True
    return False


def _below(process: int) -> list[int]:
    """Return the processes that a process started, and those that these did."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                # The name, in parentheses, may hold anything; state and parent come after it (proc(5)).
                after = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(after[1]), []).append(int(entry))
    found = list(children.get(process, ()))
    for one in found:  # grows while it is walked
        found += children.get(one, ())
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, "the cluster ended before it began"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), LONG):
            return True
        return False

    until(answers, "the cluster does not answer")


def _wait_for(log: Path, words: str) -> None:
    until(lambda: words in log.read_text(errors="replace"), lambda: log.read_text(errors="replace")[-2000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(port: int) -> None:
    """Serve Sail until the process is ended."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", port)
    server.start()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
