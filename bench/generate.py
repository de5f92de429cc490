"""`make_logs` and its neighbours write the logs of the benchmark: seeded, so that everyone measures the
same bytes.

The shape is Zeek's http.log as JSON with `policy/protocols/http/header-names` loaded (field names and order
from zeek/zeek 015b935 scripts/base/protocols/http/main.zeek): about 440 bytes a line, one line in `EVERY`
uses IMDS, in many spellings, every time from another victim. Beside each file lies `<name>.truth.json`: the
lines that must be found.

Guarantees: the same seed and size give the same bytes; a file that is there already with the same recipe is
not written again; memory stays below 100 MB; 1 GB takes seconds, because whole blocks of lines are filled
in at once. Nothing here is real: addresses are private, reserved for documentation, or the endpoint itself.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import zeek_http
from zeek_http import START, TOKEN, V4, Hit

RECIPE = 3
"""Raise it when the bytes change: files of another recipe are written again."""
SEED = 20251008
EVERY = 10_000
"""One line in so many is a hit; it is also how many lines a block has."""
MB, GB = 10**6, 10**9
_VARIANTS = 8
_ASKS = 5


def _blocks(seed: int) -> Iterator[tuple[bytes, Hit]]:
    """Yield blocks of `EVERY` lines without end, each with its hit, whose line counts within the block."""
    chance = random.Random(seed)
    variants: list[tuple[bytes, int]] = []
    for _ in range(_VARIANTS):
        lines = [zeek_http.benign(chance) for _ in range(EVERY)]
        place = chance.randrange(1, EVERY)
        lines[place] = "%s"
        variants.append((("\n".join(lines) + "\n").encode(), place))
    slots: list[object] = [0] * (2 * EVERY - 1)
    number = 0
    while True:
        template, place = variants[number % _VARIANTS] if number < _VARIANTS else chance.choice(variants)
        base, when = number * EVERY, START + number * 100
        hit, text = zeek_http.hit(number, when + place // 100, base + place)
        times, sessions = [when + i // 100 for i in range(EVERY)], range(base, base + EVERY)
        # Two slots a line, only one where the hit stands.
        slots[: 2 * place : 2], slots[1 : 2 * place : 2] = times[:place], sessions[:place]
        slots[2 * place] = text
        slots[2 * place + 1 :: 2], slots[2 * place + 2 :: 2] = times[place + 1 :], sessions[place + 1 :]
        yield template % tuple(slots), replace(hit, line=place + 1)
        number += 1


def _lines_every(count: int) -> Iterator[bytes]:
    """Yield lines that all hit: each victim asks `_ASKS` times, far apart, and no URI comes twice."""
    for number in range(count):
        yield (
            zeek_http.line(
                zeek_http.victim(number % (count // _ASKS)),
                V4,
                V4,
                f"/latest/meta-data/iam/security-credentials/role-{number:x}"
                if number % 3
                else f"/latest/user-data?n={number}",
                status=None if number % 5 == 0 else 200,
                headers=TOKEN if number % 2 else '"HOST","USER-AGENT"',
                slots=(str(START + number // 100), f"{number:06x}"),
            ).encode()
            + b"\n"
        )


def _known(path: Path, recipe: dict[str, object]) -> bool:
    truth = _truth_path(path)
    try:
        return path.exists() and json.loads(truth.read_text())["recipe"] == recipe
    except (OSError, ValueError, KeyError):
        return False


def _truth_path(path: Path) -> Path:
    return path.with_name(path.name + ".truth.json")


def _note(path: Path, recipe: dict[str, object], lines: int, victims: int, hits: list[Hit]) -> None:
    found = [[hit.line, hit.kind, hit.victim, hit.stage] for hit in hits]
    document = {"recipe": recipe, "lines": lines, "victims": victims, "hits": found}
    _truth_path(path).write_text(json.dumps(document) + "\n")


def truth(path: Path) -> dict[str, object]:
    """Return what was noted of `path`: `lines`, `victims`, `hits` as [line, kind, victim, stage]."""
    known: dict[str, object] = json.loads(_truth_path(path).read_text())
    return known


def make_logs(path: Path, size: int, seed: int = SEED) -> Path:
    """Write http.log lines up to `size` bytes, the last line whole; return the path."""
    recipe: dict[str, object] = {"what": "logs", "version": RECIPE, "size": size, "seed": seed}
    if _known(path, recipe):
        return path
    hits: list[Hit] = []
    written = lines = 0
    with path.open("wb") as out:
        for block, hit in _blocks(seed):
            if written + len(block) > size:
                block = block[: block.rfind(b"\n", 0, size - written) + 1]
            count = block.count(b"\n")
            if hit.line <= count:
                hits.append(replace(hit, line=lines + hit.line))
            out.write(block)
            written, lines = written + len(block), lines + count
            if count < EVERY:
                break
    _note(path, recipe, lines, len(hits), hits)
    return path


def make_every_line(path: Path, lines: int = 500_000) -> Path:
    """Write a file in which every line is a hit: five for each of a hundred thousand victims."""
    recipe: dict[str, object] = {"what": "every", "version": RECIPE, "lines": lines}
    if not _known(path, recipe):
        victims = set()
        with path.open("wb") as out:
            for line in _lines_every(lines):
                out.write(line)
                victims.add(line[line.index(b"orig_h") :].split(b'"', 3)[2])
        _note(path, recipe, lines, len(victims), [])
    return path


def make_small_files(folder: Path, count: int = 2000, size: int = 20_000, seed: int = SEED) -> Path:
    """Write a folder of many small files, cut at line ends from one stream; return the folder."""
    recipe: dict[str, object] = {
        "what": "small",
        "version": RECIPE,
        "count": count,
        "size": size,
        "seed": seed,
    }
    if _known(folder, recipe):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blocks, rest, number, lines = _blocks(seed), b"", 0, 0
    hits: list[int] = []
    base = 0
    while number < count:
        block, hit = next(blocks)
        hits.append(base + hit.line)
        base += EVERY
        rest += block
        while number < count and len(rest) > size:
            cut = rest.rfind(b"\n", 0, size) + 1
            (folder / f"http.{number:04}.log").write_bytes(rest[:cut])
            lines += rest.count(b"\n", 0, cut)
            rest, number = rest[cut:], number + 1
    _note(folder, recipe, lines, sum(line <= lines for line in hits), [])
    return folder


def make_tiny(path: Path) -> Path:
    """Write about 1 kB: three lines, the second is a hit."""
    recipe: dict[str, object] = {"what": "tiny", "version": RECIPE}
    if not _known(path, recipe):
        chance = random.Random(SEED)
        hit, text = zeek_http.hit(1, START, 1)
        lines = [zeek_http.benign(chance) % (START, 0), text.decode(), zeek_http.benign(chance) % (START, 2)]
        path.write_text("\n".join(lines) + "\n")
        _note(path, recipe, 3, 1, [replace(hit, line=2)])
    return path


def make_gzip(path: Path) -> Path:
    """Write a gzip copy beside the file, level 6 as `gzip` and logrotate do; return its path."""
    copy = path.with_name(path.name + ".gz")
    if not _is_copy(copy, path):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        with path.open("rb") as source, copy.open("wb") as out:
            while piece := source.read(1 << 20):
                out.write(packer.compress(piece))
            out.write(packer.flush())
    return copy


def make_zstd(path: Path) -> Path:
    """Write a zstd copy beside the file, level 3 as `zstd` does; return its path."""
    import zstandard

    copy = path.with_name(path.name + ".zst")
    if not _is_copy(copy, path):
        with path.open("rb") as source, copy.open("wb") as out:
            zstandard.ZstdCompressor(level=3).copy_stream(source, out)
    return copy


def _is_copy(copy: Path, path: Path) -> bool:
    return copy.exists() and copy.stat().st_mtime >= path.stat().st_mtime


def main() -> None:
    """Write one of the benchmark's logs by hand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("logs", "every-line", "small-files"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    if arguments.what == "logs":
        make_logs(arguments.path, arguments.megabytes * MB, arguments.seed)
    elif arguments.what == "every-line":
        make_every_line(arguments.path)
    else:
        make_small_files(arguments.path, seed=arguments.seed)
    known = truth(arguments.path)
    print(f"{arguments.path}: {known['lines']} lines, {known['victims']} victims to be found")


if __name__ == "__main__":
    main()
