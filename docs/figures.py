"""Draws the figures of docs/threat.md from captures of this repository: `python docs/figures.py`.

A figure is a sequence diagram: a lane for each party, an arrow for each event that the reader of captures finds, with
the number of the packet that began it. Nothing in it is typed by hand but the names of the lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from imdswatch.read.captures import packets_of
from imdswatch.read.dialogues import Dialogues
from imdswatch.read.observed import Observed
from imdswatch.read.sources import Source
from imdswatch.read.streams import Stream, open_streams

ROOT = Path(__file__).parents[1]
CAPTURES, FIGURES = ROOT / "tests" / "captures" / "recorded", Path(__file__).parent / "figures"


@dataclass(frozen=True)
class Lane:
    """A party: its name, and the addresses (IP or MAC) by which packets name it."""

    name: str
    note: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A capture and who is in it."""

    capture: str
    title: str
    lanes: tuple[Lane, ...]


ONLINK = Figure(
    "onlink-arp-used.pcap",
    "A real AWS CLI meets an impostor on the same segment",
    (
        Lane("Host", "10.20.1.10", ("10.20.1.10", "02:00:00:00:01:16")),
        Lane("Impostor", "says it is 169.254.169.254", ("169.254.169.254", "02:00:00:00:01:32")),
        Lane("AWS", "the impostor's account", ("10.20.2.66",)),
    ),
)
TRANSLATED = Figure(
    "dnat-both-sides.pcap",
    "A router translates the endpoint to an impostor elsewhere",
    (
        Lane("Host", "10.20.1.10", ("10.20.1.10",)),
        Lane("Router", "169.254.169.254 becomes 10.20.2.66:8080", ("169.254.169.254",)),
        Lane("Impostor", "10.20.2.66:8080", ("10.20.2.66",)),
    ),
)
FIGURES_BY_NAME = {"onlink": ONLINK, "translated": TRANSLATED}

WIDTH, HEAD, STEP, MARGIN = 1020, 96, 44, 120


@dataclass(frozen=True)
class Arrow:
    """One arrow: from lane to lane, or to everyone (`to` None); `answer` is drawn dashed."""

    packet: int
    start: int
    to: int | None
    text: str
    answer: bool = False
    grave: bool = False
    beside: bool = False
    """Goes on from where the arrow before it ended, on the same line."""


def events(path: Path) -> list[Observed]:
    """Return what a capture shows, in the order of its packets."""
    found: list[Observed] = []
    dialogues = Dialogues()
    for stream in open_streams(Source(name=path.name, path=str(path), mtime=0.0, named=True)):
        assert isinstance(stream, Stream)
        for packets in packets_of(stream):
            assert hasattr(packets, "frame")
            for index in range(len(packets)):
                found += dialogues.push(packets.frame(index))
    return sorted([*found, *dialogues.end()], key=lambda one: one.number)


def arrows(figure: Figure) -> Iterator[Arrow]:
    """Turn the events of the capture into arrows."""
    by_address = {address: number for number, lane in enumerate(figure.lanes) for address in lane.addresses}
    for event in events(CAPTURES / figure.capture):
        fields = event.fields
        start = by_address.get(fields.get("src_mac", "")) if fields.get("proto") == "arp" else None
        start = by_address.get(fields.get("src_ip", ""), 0) if start is None else start
        to = by_address.get(fields.get("dst_ip", ""))
        translated = by_address.get(fields.get("nat_dst", ""))
        yield from _arrows(event.number, fields, start, to, translated)


def _arrows(
    number: int, fields: dict[str, Any], start: int, to: int | None, translated: int | None
) -> Iterator[Arrow]:
    if fields.get("arp_opcode") == "request":
        yield Arrow(number, start, None, f"ARP to everyone: who has {fields['dst_ip']}?")
    elif fields.get("arp_opcode") == "reply":
        yield Arrow(number, start, to, f"ARP: that is me, {fields['src_mac']}", answer=True, grave=True)
    elif "tls_sni" in fields:
        yield Arrow(number, start, to, f"TLS to {fields['tls_sni']}: it begins to work", grave=True)
    elif "method" in fields:
        yield Arrow(number, start, to, f"{fields['method']} {fields['uri_path']}")
        if translated is not None and to is not None:
            target = f"to {fields['nat_dst']}:{fields['nat_dst_port']}"
            yield Arrow(number, to, translated, target, beside=True)
        answerer = to if translated is None else translated
        if "status" in fields and answerer is not None:
            yield Arrow(
                number, answerer, start, _answer(fields), answer=True, grave="access_key_id" in fields
            )


def _answer(fields: dict[str, Any]) -> str:
    said = {"token": "a session token", "roles": "the name of a role", "credentials": "credentials"}
    text = f"{fields['status']}: {said.get(fields.get('resp_document', ''), 'an answer')}"
    if "access_key_id" in fields:
        text += f", key {fields['access_key_id']}"
    return text


def svg(figure: Figure) -> str:
    """Return the figure as an SVG document that follows the colours of the page around it."""
    drawn = list(arrows(figure))
    rows = [sum(not one.beside for one in drawn[: number + 1]) - 1 for number in range(len(drawn))]
    height = HEAD + STEP * (rows[-1] + 1) + 4
    places = [
        MARGIN + round(number * (WIDTH - 2 * MARGIN) / (len(figure.lanes) - 1))
        for number in range(len(figure.lanes))
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="t"><title id="t">{escape(figure.title)}</title>',
        "<style>text{font:13px system-ui,sans-serif;fill:#1c2330}.n{font-size:11px;fill:#5b6472}"
        ".lane{font-weight:600;font-size:15px}.line{stroke:#b9c0ca}.a{stroke:#1f6feb;fill:none;stroke-width:1.6}"
        ".g{stroke:#b3123c}.h{fill:#1f6feb}.hg{fill:#b3123c}.tg{fill:#8c0f30;font-weight:600}"
        ".p{fill:#fff}</style>",
        f'<rect class="p" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    for place, lane in zip(places, figure.lanes, strict=True):
        lines += [
            f'<text class="lane" x="{place}" y="30" text-anchor="middle">{escape(lane.name)}</text>',
            f'<text class="n" x="{place}" y="49" text-anchor="middle">{escape(lane.note)}</text>',
            f'<line class="line" x1="{place}" y1="62" x2="{place}" y2="{height - 14}"/>',
        ]
    for row, arrow in zip(rows, drawn, strict=True):
        lines += _drawn(arrow, HEAD + row * STEP, places)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(arrow: Arrow, y: int, places: list[int]) -> Iterator[str]:
    start = places[arrow.start]
    end = places[arrow.to] if arrow.to is not None else (places[1] + places[2]) // 2
    way = 1 if end > start else -1
    dash = ' stroke-dasharray="5 4"' if arrow.answer else ""
    grave, head, words = (" g", "hg", "tg") if arrow.grave else ("", "h", "")
    yield f'<line class="a{grave}" x1="{start}" y1="{y}" x2="{end - 8 * way}" y2="{y}"{dash}/>'
    yield f'<path class="{head}" d="M{end} {y}l{-9 * way} -4.5v9z"/>'
    middle = (start + end) // 2
    yield (f'<text class="{words}" x="{middle}" y="{y - 7}" text-anchor="middle">{escape(arrow.text)}</text>')
    if not (arrow.answer or arrow.beside) or "ARP" in arrow.text:
        yield f'<text class="n" x="{places[0] - 16}" y="{y + 4}" text-anchor="end">packet {arrow.packet}</text>'


def main() -> None:
    """Write all figures."""
    FIGURES.mkdir(exist_ok=True)
    for name, figure in FIGURES_BY_NAME.items():
        (FIGURES / f"{name}.svg").write_text(svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
