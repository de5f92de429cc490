"""`make bench`: what imdswatch costs, as ratios to programs anyone can get, measured in one run, beside its
bars.

It writes its own logs (`generate`), installs the peers (`peers`), measures (`measure`), checks that what
was found is what the generator planted, with the exact lines (`checks`), and prints one table;
bench/out/latest.json keeps it. The logs stay in bench/out for the next run, except the 5 GB one. Exit code:
0 all bars met, 1 not, 2 wrong usage.

Longer than most: the sections are one literal list of what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import captures
import checks
import generate
import lake
import live
import pages
import peers
import table
from generate import GB, MB
from measure import Command, Cost, Failed, best_of
from table import Row

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
MEMORY_BAR = 200 * MB
CAPTURE_MEMORY_BAR = 300 * MB


class Bench:
    """The sections of the benchmark; each yields rows."""

    def __init__(self, *, quick: bool, keep: bool) -> None:
        """Measure with 100 MB at most if `quick`; `keep` the 5 GB file."""
        OUT.mkdir(exist_ok=True)
        self._one, self._five = (100 * MB, 100 * MB) if quick else (GB, 5 * GB)
        self._keep = keep
        self._found = OUT / "findings.ndjson"
        self._memory: dict[str, int] = {}

    @cached_property
    def peers(self) -> peers.Peers:
        """The peers, installed when first asked for."""
        return peers.install(OUT / "peers")

    @cached_property
    def _big(self) -> Path:
        return self._logs(self._one)

    def _logs(self, size: int) -> Path:
        return _warm(generate.make_logs(OUT / f"http-{size // MB}mb.log", size))

    def scan(self, path: Path, *, jobs: int = 1) -> Command:
        """Return the command that scans a path with imdswatch as it stands in src."""
        words = [sys.executable, "-m", "imdswatch", "scan", str(path), "--jobs", str(jobs), "--quiet"]
        return self._ours([*words, "--format", "ndjson", "--output", str(self._found)])

    @staticmethod
    def _ours(words: list[str]) -> Command:
        # Compiled once, as in an installed package, whatever the environment says about writing bytecode.
        env = {
            "PYTHONPATH": str(HERE.parent / "src"),
            "PYTHONPYCACHEPREFIX": str(OUT / "pycache"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return Command(words, (0, 1), env)

    def text(self) -> Iterator[Row]:
        """Plain text: against a search that understands nothing, and a reader that parses everything."""
        path, peer = self._big, self.peers
        costs = best_of({"ours": self.scan(path), "rg": peer.ripgrep(path), "duckdb": peer.duckdb(path)})
        ours, size = costs["ours"], path.stat().st_size
        self._memory[_size(size)] = ours.memory
        yield from self._checked(path)
        for name, label, bar in (
            ("rg", "rg -c -i -F", 8.0),
            ("duckdb", "DuckDB read_ndjson, same predicate", 1 / 3),
        ):
            theirs = costs[name]
            yield _ratio(
                f"CPU of scan, {_size(size)} NDJSON",
                _cpu(ours),
                f"{label}: {_cpu(theirs)}",
                ours.cpu / theirs.cpu,
                bar,
            )
        rate = f"{size / ours.cpu / GB:.2f} GB per CPU second; rg {size / costs['rg'].cpu / GB:.2f}"
        yield Row(
            "throughput, one job",
            f"{_cpu(ours)}, {ours.wall:.2f} s wall",
            f"rg {costs['rg'].wall:.2f} s wall",
            rate,
            "",
            None,
        )

    def sigma(self) -> Iterator[Row]:
        """Against a Sigma runner in Python: on a small part of the data, it keeps all of it in memory."""
        path = self._logs(20 * MB)
        size = path.stat().st_size
        theirs = best_of({"sigma": self.peers.sigma(path)}, rounds=1)["sigma"]
        ours = best_of({"ours": self.scan(self._big)})["ours"]
        there, here = theirs.cpu / size, ours.cpu / self._big.stat().st_size
        label = f"Sigma runner (zargunlite, SQLite): {there * GB:.0f} s/GB"
        yield Row(
            "CPU per GB of scan", f"{here * GB:.2f} s/GB", label, f"{there / here:.0f} times less", "", None
        )

    def packed(self) -> Iterator[Row]:
        """Packed logs: against unpacking alone."""
        for pack, label, bar in ((generate.make_gzip, "gzip", 2.0), (generate.make_zstd, "zstd", None)):
            path = _warm(pack(self._big))
            costs = best_of({"ours": self.scan(path), "unpack": self.peers.unpack(path)})
            ours, theirs = costs["ours"], costs["unpack"]
            self._memory[f"{_size(self._big.stat().st_size)} {label}"] = ours.memory
            what = f"CPU of scan, {_size(self._big.stat().st_size)} as {label}"
            library = "isal" if label == "gzip" else "zstandard"
            yield _ratio(
                what, _cpu(ours), f"unpacking alone ({library}): {_cpu(theirs)}", ours.cpu / theirs.cpu, bar
            )
            yield from self._checked(self._big, packed=path)

    def jobs(self) -> Iterator[Row]:
        """Two processes against one, on a file that is large enough to show memory that grows."""
        path = self._logs(self._five)
        size = path.stat().st_size
        commands = {
            "one": self.scan(path),
            "two": self.scan(path, jobs=2),
            "loop": _loops(1),
            "loops": _loops(2),
        }
        costs = best_of(commands)
        one, two = costs["one"], costs["two"]
        free = 2 * costs["loop"].wall / costs["loops"].wall
        self._memory[_size(size)], self._memory[f"{_size(size)}, two jobs"] = one.memory, two.memory
        yield from self._checked(path)
        gain = one.wall / two.wall
        yield Row(
            f"throughput of --jobs 2, {_size(size)}",
            f"{two.wall:.2f} s wall, {_cpu(two)}",
            f"--jobs 1: {one.wall:.2f} s wall, {_cpu(one)}; two plain loops at that time: {free:.2f}x",
            f"{gain:.2f}x",
            "at least 1.7x",
            gain >= 1.7,
        )
        if path != self._big and not self._keep:
            path.unlink()

    def dense(self) -> Iterator[Row]:
        """Every line a hit: what judging and counting cost."""
        path = _warm(generate.make_every_line(OUT / "every-line.log"))
        known = generate.truth(path)
        lines = int(str(known["lines"]))
        ours = best_of({"ours": self.scan(path)})["ours"]
        self._memory["every line a hit"] = ours.memory
        rate = lines / ours.cpu
        told = f"{lines} events, {known['victims']} victims"
        yield Row(
            "every line a hit",
            _cpu(ours),
            told,
            f"{rate:.0f} events per CPU second",
            "at least 50000",
            rate >= 50_000,
        )
        yield from self._checked(path)

    def small(self) -> Iterator[Row]:
        """Many small files."""
        path = generate.make_small_files(OUT / "small-files")
        costs = best_of({"ours": self.scan(path), "rg": self.peers.ripgrep(path)})
        ours, theirs = costs["ours"], costs["rg"]
        self._memory["2000 small files"] = ours.memory
        yield _ratio(
            "CPU of scan, 2000 files of 20 kB", _cpu(ours), f"rg: {_cpu(theirs)}", ours.cpu / theirs.cpu, None
        )
        yield from self._checked(path)

    def start(self) -> Iterator[Row]:
        """What it costs to begin."""
        path = generate.make_tiny(OUT / "tiny.log")
        version = self._ours([sys.executable, "-m", "imdswatch", "--version"])
        python = Command([sys.executable, "-c", "pass"])
        costs = best_of({"version": version, "tiny": self.scan(path), "python": python}, rounds=5)
        shown, tiny = costs["version"], costs["tiny"]
        bare = f"python -c pass: {_cpu(costs['python'])}"
        yield Row(
            "imdswatch --version",
            _cpu(shown),
            bare,
            f"{shown.cpu:.2f} s CPU",
            "under 0.15 s",
            shown.cpu < 0.15,
        )
        yield Row(
            "scan of 1 kB",
            _cpu(tiny),
            bare,
            f"{tiny.wall:.2f} s wall",
            "under 0.5 s",
            max(tiny.wall, tiny.cpu) < 0.5,
        )
        yield from self._checked(path)

    def capture(self) -> Iterator[Row]:
        """Packet captures: against a dissector, and a filter that looks at no payload; and five times as much."""
        path = _warm(captures.make_capture(OUT / "capture-800000.pcap"))
        peer = self.peers
        commands = {"ours": self.scan(path), "tshark": peer.tshark(path), "tcpdump": peer.tcpdump(path)}
        costs = best_of(commands)
        ours, size = costs["ours"], path.stat().st_size
        yield self._found_in_capture(path)
        what = f"CPU of scan, capture of {_size(size)}, 800000 packets"
        for name, label, bar in (("tshark", "tshark -Y", 1 / 15), ("tcpdump", "tcpdump host", 5.0)):
            theirs = costs[name]
            yield _ratio(what, _cpu(ours), f"{label}: {_cpu(theirs)}", ours.cpu / theirs.cpu, bar)
        tiny = best_of({"tiny": self.scan(captures.make_capture(OUT / "capture-10000.pcap", 10_000))})["tiny"]
        rate = f"{size / ours.cpu / GB:.2f} GB per CPU second, {_cpu(tiny)} of it to begin"
        yield Row("throughput, capture", f"{_cpu(ours)}, {ours.wall:.2f} s wall", "", rate, "", None)
        large = _warm(captures.make_capture(OUT / "capture-4000000.pcap", 4_000_000))
        more = best_of(
            {"ours": self.scan(large), "tshark": peer.tshark(large), "tcpdump": peer.tcpdump(large)}, 1
        )
        yield self._found_in_capture(large)
        growth = (more["ours"].cpu / large.stat().st_size) / (ours.cpu / size)
        label = f"CPU for each GB, capture of {_size(large.stat().st_size)}"
        yield _ratio(label, _cpu(more["ours"]), f"{_size(size)}: {_cpu(ours)}", growth, 1.1)
        for name, told in (("tshark", "tshark -Y"), ("tcpdump", "tcpdump host")):
            ratio = more["ours"].cpu / more[name].cpu
            yield _ratio("the same against", _cpu(more["ours"]), f"{told}: {_cpu(more[name])}", ratio, None)
        for cost, of in ((ours, path), (more["ours"], large)):
            used = f"{cost.memory / MB:.0f} MB"
            name = f"peak memory, capture of {_size(of.stat().st_size)}"
            yield Row(name, used, "", used, "under 300 MB", cost.memory < CAPTURE_MEMORY_BAR)
        if not self._keep:
            large.unlink()

    def _found_in_capture(self, path: Path) -> Row:
        count, planted, right = captures.found(path, self._found)
        figure = "equal, packet numbers too" if right else "differs"
        return Row(
            f"found in {path.name}",
            f"{count} findings",
            f"planted: {planted}",
            figure,
            "all, no other",
            right,
        )

    def report(self) -> Iterator[Row]:
        """The HTML page of 100 000 findings: to join and write it, and to look into it."""
        path, page = pages.make_findings(OUT / "findings-100000.ndjson"), OUT / "report.html"
        words = [sys.executable, "-m", "imdswatch", "report", str(path), "--output"]
        page_of, text_of = (
            self._ours([*words, str(page)]),
            self._ours([*words, "/dev/null", "--format", "ndjson"]),
        )
        costs = best_of({"page": page_of, "ndjson": text_of})
        ours, theirs = costs["page"], costs["ndjson"]
        what = f"CPU of report, {_size(path.stat().st_size)} of findings, page of {page.stat().st_size / MB:.0f} MB"
        yield _ratio(what, _cpu(ours), f"the same to ndjson: {_cpu(theirs)}", ours.cpu / theirs.cpu, None)
        used = ours.memory / MB
        told = f"under {pages.MEMORY_BAR} MB"
        yield Row(
            "peak memory, report", f"{used:.0f} MB", "", f"{used:.0f} MB", told, used < pages.MEMORY_BAR
        )
        yield from pages.in_browser(page)

    def live(self) -> Iterator[Row]:
        """A sensor on an interface: loss, cost and delay, beside tcpdump and Suricata."""
        yield from live.rows(OUT)

    def tables(self) -> Iterator[Row]:
        """Parquet: against the same events as lines, other engines, one table ten times, one folder of several."""
        yield from lake.rows(self._scan_with, self.peers, self._big, OUT, self._found)

    def hundred(self) -> Iterator[Row]:
        """100 GB of lines, and their events as tables, by hard links; minutes, so only where it is asked for."""
        yield from lake.hundred(self._scan_with, self._big, OUT)

    def _scan_with(self, path: Path, *options: str) -> Command:
        command = self.scan(path)
        return Command([*command.words, *options], command.codes, command.env)

    def memory(self) -> Iterator[Row]:
        """Peak memory of all that was measured before this, and of 100 MB."""
        path = self._logs(100 * MB)
        self._memory[_size(path.stat().st_size)] = best_of({"ours": self.scan(path)})["ours"].memory
        yield from self._checked(path)
        for what, used in sorted(self._memory.items()):
            figure = f"{used / MB:.0f} MB"
            yield Row(f"peak memory, {what}", figure, "", figure, "under 200 MB", used < MEMORY_BAR)

    def _checked(self, path: Path, packed: Path | None = None) -> Iterator[Row]:
        """Say whether the last scan found what the generator planted in `path`, and where."""
        result = checks.findings(self._found, generate.truth(path))
        yield Row(
            f"found in {(packed or path).name}",
            result.found,
            result.planted,
            result.figure,
            "all, no other",
            result.right,
        )
        if packed is None and result.lines:
            wrong = checks.wrong_lines(path, result.lines)
            figure = f"{len(result.lines) - wrong} of {len(result.lines)} lines"
            yield Row(f"line numbers in {path.name}", figure, "sed -n Np", figure, "all exact", wrong == 0)


SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "text": Bench.text,
    "sigma": Bench.sigma,
    "packed": Bench.packed,
    "jobs": Bench.jobs,
    "dense": Bench.dense,
    "small": Bench.small,
    "start": Bench.start,
    "capture": Bench.capture,
    "report": Bench.report,
    "live": Bench.live,
    "tables": Bench.tables,
    "memory": Bench.memory,
    "hundred": Bench.hundred,
}
LONG = frozenset({"hundred"})
"""Sections that run only where they are named."""


def _warm(path: Path) -> Path:
    """Read the file once, so that it lies in memory: the disk is not what is measured."""
    with path.open("rb", buffering=0) as source:
        buffer = bytearray(1 << 20)
        while source.readinto(buffer):
            pass
    return path


def _loops(count: int) -> Command:
    """Return a command that keeps so many cores busy for a second: what the machine had to give."""
    busy = ["-c", "sum(range(5 * 10**7))"]
    start = f"import subprocess; all = [subprocess.Popen({[sys.executable, *busy]}) for _ in range({count})]"
    return Command([sys.executable, "-c", f"{start}; [one.wait() for one in all]"])


def _cpu(cost: Cost) -> str:
    return f"{cost.cpu:.2f} s CPU"


def _size(size: int) -> str:
    rounded = round(size / (100 * MB)) * 100 * MB
    return f"{rounded // GB} GB" if rounded >= GB else f"{rounded // MB} MB"


def _ratio(what: str, ours: str, against: str, ratio: float, bar: float | None) -> Row:
    told = "" if bar is None else f"at most {bar:.2g}x"
    return Row(what, ours, against, f"{ratio:.2f}x", told, None if bar is None else ratio <= bar)


def _about(peers_told: str) -> list[str]:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()
    busy = (
        "the machine was busy with other work: CPU is more than on an idle one, and wall times, "
        "throughput of two jobs among them, say nothing"
    )
    return [
        f"machine: {cores} cores, {model}; load average at the end {' '.join(f'{value:.1f}' for value in load)}",
        *([busy] if load[2] > 2 * cores else []),
        f"Python {platform.python_version()}, Linux {platform.release().partition('-')[0]}",
        f"peers: {peers_told}",
        "logs: `bench/generate.py`, Zeek http.log as JSON, about 440 bytes a line, one in 10000 uses IMDS",
        "captures: `bench/captures.py`, packets of 60 to 1514 octets, one in 10000 begins an incident",
    ]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Run the sections that were asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"which ones: {', '.join(SECTIONS)} (default: all but {', '.join(LONG)})",
    )
    parser.add_argument("--quick", action="store_true", help="100 MB instead of 1 GB and 5 GB")
    parser.add_argument("--keep", action="store_true", help="keep the 5 GB file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}: {', '.join(SECTIONS)}")
    bench, rows = Bench(quick=arguments.quick, keep=arguments.keep), []
    try:
        for name in arguments.sections or [name for name in SECTIONS if name not in LONG]:
            print(f"measuring: {name} …", file=sys.stderr)
            rows += list(SECTIONS[name](bench))
    except Failed as error:
        print(table.as_text(rows))
        print(f"error: {error}", file=sys.stderr)
        return 1
    about = _about(bench.peers.versions() if "peers" in vars(bench) else "none in these sections")
    (OUT / "latest.json").write_text(json.dumps(table.as_document(rows, about), indent=1) + "\n")
    if arguments.markdown is not None:
        arguments.markdown.write_text(table.as_markdown(rows, about, arguments.sections))
    print(table.as_text(rows))
    missed = sum(row.met is False for row in rows)
    print(f"{missed} of {sum(row.met is not None for row in rows)} bars missed" if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
