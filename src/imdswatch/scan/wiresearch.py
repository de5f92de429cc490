"""`Search` goes over the raw octets of a capture once, for everything that the rules need and for signs of requests.

Searching for plain words is three times as quick as searching for the tolerant patterns of the rules, so the engine
gets of each pattern only the word that every spelling has in common; where one stands, the whole pattern is looked
for in that packet. Pure but for `watched`, which remembers that something to watch for was met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import hyperscan

from imdswatch.layouts.required import required_literal
from imdswatch.scan.wirepatterns import RARE_OCTETS, OnWire, in_octets
from imdswatch.wire import halves

_LEAST = 3
_PLAIN = re.compile(r"(?:[\w\-/ ]|\\[.\-/])+\Z")

Match = tuple[int, int]
"""Where a word ends, and its number."""


class Search:
    """Everything to search the captures of one look for.

    Without `hosts`, `later` is only watched for. With them (addresses in octets), it counts too, in packets of theirs.
    """

    def __init__(self, wanted: OnWire, later: OnWire | None = None, hosts: Sequence[bytes] = ()) -> None:
        self.watched = False
        self.hosts = bool(hosts)
        self._found: list[Match] = []
        self._signs: list[int] = []
        self._theirs: list[int] = []
        all_words, self._patterns = _words(wanted)
        watched, of_hosts = _words(later) if later is not None else ([], [])
        self._first_later = len(all_words)
        if hosts:
            all_words, watched = all_words + watched, []
            self._patterns += of_hosts
        self._rare = re.compile(_either(wanted.rare), re.IGNORECASE) if wanted.rare else None
        signs = [rf"(?:{'|'.join(halves.METHODS)})[ \t]", halves.LINE_END.decode()]
        self._first_sign = len(all_words)
        self._first_host = self._first_sign + len(signs)
        self._first_watched = self._first_host + len(hosts)
        words = [
            *all_words, *((sign, 0) for sign in signs), *((in_octets(host), 0) for host in hosts),
            *((text, flags | hyperscan.HS_FLAG_SINGLEMATCH) for text, flags in watched),
        ]  # fmt: skip
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[text.encode("ascii") for text, _ in words],
            ids=list(range(len(words))),
            elements=len(words),
            flags=[flags for _, flags in words],
        )

    def __call__(self, octets: Any) -> tuple[list[Match], list[int], list[int]]:
        """Return the words that stand in the octets, where signs of a request end and where an address of the hosts.

        The lists are good until the next call.
        """
        self._found.clear()
        self._signs.clear()
        self._theirs.clear()
        self._database.scan(octets, match_event_handler=self._note)
        return self._found, self._signs, self._theirs

    def _note(self, number: int, start: int, end: int, flags: int, context: object) -> None:
        if number < self._first_sign:
            self._found.append((end, number))
        elif number < self._first_host:
            self._signs.append(end)
        elif number < self._first_watched:
            self._theirs.append(end)
        else:
            self.watched = True

    def of_hosts(self, number: int) -> bool:
        """Say whether a word only counts in packets of the hosts."""
        return number >= self._first_later

    def whole(self, number: int) -> bool:
        """Say whether a word is all that was wanted; else `confirms` must say more of its packet."""
        return self._patterns[number] is None

    def confirms(self, number: int, packet: bytes | bytearray) -> bool:
        """Say whether a packet in which this word stands holds a whole pattern."""
        pattern = self._patterns[number]
        return pattern is None or pattern.search(packet) is not None

    def rare(self, request: bytes) -> bool:
        """Say whether a segment with a request may hold a rare spelling of what is wanted."""
        return (
            self._rare is not None
            and any(octets in request for octets in RARE_OCTETS)
            and self._rare.search(request) is not None
        )

    def touches(self, octets: bytes) -> bool:
        """Say whether the octets of one packet hold what is wanted."""
        found, signs, theirs = self(octets)
        for _, number in found:
            if (theirs or not self.of_hosts(number)) and self.confirms(number, octets):
                return True
        return bool(signs) and self.rare(octets)


def _words(wanted: OnWire) -> tuple[list[tuple[str, int]], list[re.Pattern[bytes] | None]]:
    """Return the words to search for with their flags, and for each what must stand around it; None for nothing."""
    texts: dict[str, list[str]] = {}
    for text in wanted.texts:
        texts.setdefault(_word(text), []).append(text)
    words = [(word, hyperscan.HS_FLAG_CASELESS) for word in texts] + [(some, 0) for some in wanted.octets]
    patterns: list[re.Pattern[bytes] | None] = [
        # Where a whole pattern is the word, the others that hold it do not matter.
        None if any(_same(text, word) for text in some) else re.compile(_either(some), re.IGNORECASE)
        for word, some in texts.items()
    ]
    return words, patterns + [None] * len(wanted.octets)


def _word(text: str) -> str:
    """Return a plain pattern that every text holds which holds this one; the pattern itself if there is none."""
    literal = required_literal(text)
    return re.escape(literal.lower()) if len(literal) >= _LEAST else text


def _same(text: str, word: str) -> bool:
    return text == word or (
        _PLAIN.match(text) is not None and text.replace("\\", "").lower() == word.replace("\\", "")
    )


def _either(texts: Iterable[str]) -> bytes:
    return "|".join(f"(?:{text})" for text in texts).encode("ascii")
