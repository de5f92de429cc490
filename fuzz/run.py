"""Fuzzes the readers of captures, guided by coverage: `run.py [READER…] --runs N --quiet N --seconds N --seed N`.

Each reader runs in a process of its own under Atheris (libFuzzer), until it has made `--runs` executions and found no
new edge in the last `--quiet` of them, or until `--seconds` are over. Prints executions, edges, features and the seed.
What the fuzzer learns stays in .cache/fuzz/corpus, so that the next campaign goes on; what breaks a reader is kept in
.cache/fuzz/found and belongs into fuzz/found once it is understood: tests/test_fuzz_regressions.py replays that folder.
`--record` writes the figures into fuzz/results.json and docs/fuzzing.md.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "fuzz"
RESULTS, PAGE = HERE / "results.json", ROOT / "docs" / "fuzzing.md"
NAMES = ("capture", "packet", "http", "dhcp", "nd", "dns", "tls", "documents", "dialogue", "ber", "signed")
LENGTHS = {"capture": 2048, "packet": 1024, "dialogue": 2048, "http": 1024, "documents": 1024, "signed": 2048}
"""Longest input in octets; 512 for the others."""
ROOMS = (
    "wire/*.py",
    "read/pcap*.py",
    "probe/ber.py",
    "probe/identity.py",
    "documents.py",
    "clients.py",
    "address.py",
)
"""Where the words come from that inputs are made of, too."""
LONGEST_WORD = 32

EXECUTIONS, QUIET = 10_000_000, 1_000_000
"""Of a campaign that is done: how many at least, and how many of them without a new edge at the end."""

TELL = 50_000
"""Executions after which a reader says how many there were."""

PATIENCE = 15
"""Seconds that a reader has to end."""

_STATUS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_SAID = re.compile(r"executions (\d+)$")
_BROKEN = re.compile(r"^\w*(?:Error|Exception)\b.*|ERROR: libFuzzer: .*")


@dataclass(frozen=True)
class Campaign:
    """What one campaign did. `quiet` is the number of executions since the last new edge."""

    reader: str
    seed: int
    executions: int = 0
    edges: int = 0
    features: int = 0
    quiet: int = 0
    seconds: int = 0
    broken: str = ""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", choices=(*NAMES, []), metavar="READER", help=", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=EXECUTIONS)
    parser.add_argument("--quiet", type=int, default=QUIET)
    parser.add_argument("--seconds", type=int, default=0, help="stop here in any case (0: never)")
    parser.add_argument("--seed", type=int, default=20251008)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--child", metavar="READER", help=argparse.SUPPRESS)
    return parser.parse_args()


def fuzz(reader: str, given: argparse.Namespace) -> Campaign:
    """Run one campaign in a process of its own, and watch it."""
    learnt, found, seeds = CACHE / "corpus" / reader, CACHE / "found", HERE / "corpus" / reader
    for folder in (learnt, found):
        folder.mkdir(parents=True, exist_ok=True)
    dictionary = CACHE / "words.dict"
    dictionary.write_text("\n".join(f'"{_escaped(word)}"' for word in vocabulary()))
    words = [
        sys.executable, __file__, "--child", reader, str(learnt), str(seeds), f"-seed={given.seed}",
        f"-max_len={LENGTHS.get(reader, 512)}", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1",
        f"-artifact_prefix={found}/{reader}-", f"-dict={dictionary}",
    ]  # fmt: skip
    began, state, news = time.monotonic(), Campaign(reader, given.seed), 0
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        assert child.stderr is not None
        stopped = False
        for line in child.stderr:
            if match := _STATUS.search(line):
                count, edges, features = map(int, match.groups())
                if edges > state.edges:
                    news = count
                state = replace(
                    state, executions=max(count, state.executions), edges=edges, features=features
                )
            elif match := _SAID.search(line.rstrip()):
                state = replace(state, executions=int(match[1]))
            elif match := _BROKEN.search(line):
                state = replace(state, broken=state.broken or match[0].strip())
            spent = time.monotonic() - began
            state = replace(state, quiet=state.executions - news, seconds=round(spent))
            done = state.executions >= given.runs and state.quiet >= given.quiet
            if not stopped and (done or (given.seconds and spent >= given.seconds)):
                stopped = True
                child.terminate()  # libFuzzer ends in order; SIGINT is Python's, which may lose it
                last = threading.Timer(PATIENCE, child.kill)
                last.daemon = True
                last.start()
    return state


def vocabulary() -> list[bytes]:
    """Return the words and numbers that stand in the code of the readers: what it may compare octets with."""
    found: set[bytes] = set()
    for room in ROOMS:
        for path in sorted((ROOT / "src" / "imdswatch").glob(room)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                match node:
                    case ast.Constant(bytes(word)) if 1 < len(word) <= LONGEST_WORD:
                        found.add(word)
                    case ast.Constant(str(text)) if 1 < len(text) <= LONGEST_WORD and id(node) not in prose:
                        found.add(text.encode())
                    case ast.Constant(int(number)) if 1 << 8 <= number < 1 << 32:
                        found.add(number.to_bytes(2 if number < 1 << 16 else 4))
    return sorted(found)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def child(reader: str, words: list[str]) -> None:
    """Fuzz in this process; does not return."""
    import atheris
    from atheris.import_hook import HookManager

    sys.path.insert(0, str(ROOT / "src"))
    # As `instrument_imports`, but comparisons are not watched, which costs as much as all the rest: what octets are
    # compared with is in the dictionary instead.
    with HookManager({"imdswatch"}, set(), True, trace_dataflow=False):
        import readers
    one, count = readers.READERS[reader], 0

    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        if not count % TELL:
            sys.stderr.write(f"executions {count}\n")
            sys.stderr.flush()
        one(data)

    atheris.Setup([sys.argv[0], *words], run)
    atheris.Fuzz()


def line(campaign: Campaign) -> str:
    """Return what is printed of a campaign."""
    rate = campaign.executions // max(campaign.seconds, 1)
    text = (
        f"{campaign.reader}: {campaign.executions} executions, {campaign.edges} edges, {campaign.features} features, "
        f"seed {campaign.seed}, {campaign.seconds} s ({rate}/s); no new edge in the last {campaign.quiet} executions"
    )
    return (
        f"{text}\n    BROKEN: {campaign.broken}; the input is in {CACHE / 'found'}"
        if campaign.broken
        else text
    )


def record(campaigns: list[Campaign]) -> None:
    """Keep the figures: of each reader the campaign that was recorded last. One that broke its reader is no record."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    made = {
        "python": platform.python_version(),
        "atheris": version("atheris"),
        "date": time.strftime("%Y-%m-%d"),
    }
    kept |= {one.reader: {**asdict(one), **made} for one in campaigns if not one.broken}
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(kept), encoding="utf-8")


def page(kept: dict[str, dict[str, Any]]) -> str:
    """Return docs/fuzzing.md."""
    rows = []
    for name in NAMES:
        one = kept.get(name)
        if one is None:
            rows.append(f"| `{name}` | not run yet | | | | no | | |")
            continue
        cells = (f"{one[key]:,}" for key in ("executions", "edges", "features", "quiet"))
        done = "yes" if one["executions"] >= EXECUTIONS and one["quiet"] >= QUIET else "no"
        told = (*cells, done, str(one["seed"]), f"{one['date']}, {one['seconds']:,} s")
        rows.append(f"| `{name}` | {' | '.join(told)} |")
    return (HERE / "page.md").read_text(encoding="utf-8").replace("{{rows}}", "\n".join(rows))


def main() -> int:
    """Run the campaigns that were asked for, one after the other."""
    if "--child" in sys.argv[1:2]:
        child(sys.argv[2], sys.argv[3:])
    given = options()
    campaigns = []
    for reader in given.readers or NAMES:
        campaigns.append(fuzz(reader, given))
        sys.stdout.write(line(campaigns[-1]) + "\n")
        sys.stdout.flush()
    if given.record:
        record(campaigns)
    return 1 if any(campaign.broken for campaign in campaigns) else 0


if __name__ == "__main__":
    sys.exit(main())
