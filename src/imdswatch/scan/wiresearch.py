"""`Search` goes over the raw octets of a capture once, for everything that the rules need and for signs of requests.

Searching for plain words is three times as quick as searching for the tolerant patterns of the rules, so the engine
gets of each pattern only the word that every spelling has in common; where one stands, the whole pattern is looked
for in that packet. Pure but for `watched`, which remembers that something to watch for was met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import hyperscan

from imdswatch.layouts.required import required_literals
from imdswatch.scan.wirepatterns import OnWire, in_octets
from imdswatch.wire import halves

_LEAST = 5
_PLAIN = re.compile(r"(?:[\w\-/ ]|\\[.\-/])+\Z")

_NUMERIC_URL = re.compile(rb"://(?:[^/@\s]*@)?[\[0-9x]")
_NUMERIC_HOST = re.compile(rb"\nhost[ \t:]{0,34}[\[0-9x]")

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
        all_words, self._texts = _words(wanted)
        watched, of_hosts = _words(later) if later is not None else ([], [])
        self._first_later = len(all_words)
        if hosts:
            all_words, watched = all_words + watched, []
            self._texts += of_hosts
        self._patterns: dict[int, re.Pattern[bytes]] = {}
        self._wanted = wanted
        signs = [f"{method} " for method in halves.METHODS]
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

    def confirms(self, number: int, packet: bytes | bytearray) -> bool:
        """Say whether a packet in which this word stands holds a whole pattern."""
        texts = self._texts[number]
        if not texts:
            return True  # the word is all that was wanted
        pattern = self._patterns.get(number)
        if pattern is None:
            pattern = self._patterns[number] = re.compile(_either(texts), re.IGNORECASE)
        return pattern.search(packet) is not None

    def whole(self, number: int) -> bool:
        """Say whether a word is all that was wanted."""
        return not self._texts[number]

    def rare(self, requests: Sequence[bytes]) -> set[int]:
        """Return which of these segments with requests may hold a rare spelling of what is wanted."""
        together = b"\n".join(requests)  # most often it stands in none of them, which one look says
        found = set[int]()
        if _escaped(together):
            escaped = (index for index, one in enumerate(requests) if _escaped(one))
            found.update(index for index in escaped if self._rare.search(requests[index]) is not None)
        if _numeric(together):
            numeric = (index for index, one in enumerate(requests) if _numeric(one))
            found.update(index for index in numeric if self._hosts.search(requests[index]) is not None)
        return found

    @cached_property
    def _rare(self) -> re.Pattern[bytes]:
        """The rare spellings: one of the octets that `_escaped` looks for stands in each."""
        return re.compile(_either(self._wanted.rare) if self._wanted.rare else rb"(?!)", re.IGNORECASE)

    @cached_property
    def _hosts(self) -> re.Pattern[bytes]:
        return re.compile(_either(self._wanted.hosts) if self._wanted.hosts else rb"(?!)", re.IGNORECASE)

    def touches(self, octets: bytes) -> bool:
        """Say whether octets that several packets carried hold what is wanted, of whatever host."""
        found, signs, _ = self(octets)
        return any(self.confirms(number, octets) for number in {number for _, number in found}) or (
            bool(signs) and bool(self.rare([octets]))
        )


def _escaped(request: bytes) -> bool:
    return b"%" in request or b".." in request or b"\xef" in request or b"\xe3" in request


def _numeric(request: bytes) -> bool:
    """Say whether a host is a number, in a URL or in a Host header."""
    if b"://" in request and _NUMERIC_URL.search(request) is not None:
        return True
    return _NUMERIC_HOST.search(request.lower()) is not None


def _words(wanted: OnWire) -> tuple[list[tuple[str, int]], list[tuple[str, ...]]]:
    """Return the words to search for with their flags, and for each the patterns of which one must stand there, too.

    None are given for a word that is a whole pattern: the others that hold it do not matter then.
    """
    words: dict[str, list[str]] = {}
    for text, word in _shared(wanted.texts).items():
        words.setdefault(word, []).append(text)
    patterns = [
        () if any(_same(text, word) for text in some) else tuple(some) for word, some in words.items()
    ]
    found = [(word, hyperscan.HS_FLAG_CASELESS) for word in words]
    return found + [(some, 0) for some in wanted.octets], patterns + [()] * len(wanted.octets)


def _shared(texts: Sequence[str]) -> dict[str, str]:
    """Return for each pattern a word that every text holds which holds the pattern: few words for all, long ones first.

    A pattern without a word of at least `_LEAST` characters is its own.
    """
    literals = {
        text: {one.lower() for one in required_literals(text) if len(one) >= _LEAST} for text in texts
    }
    out = {text: text for text, found in literals.items() if not found}
    left = {text: found for text, found in literals.items() if found}
    words = {one for found in literals.values() for one in found}
    while left:
        holders = {
            word: [t for t, found in left.items() if any(word in one for one in found)] for word in words
        }
        best = max(words, key=lambda word: (len(holders[word]), len(word), word))
        for text in holders[best]:
            out[text] = re.escape(best)
            del left[text]
    return out


def _same(text: str, word: str) -> bool:
    if text == word:
        return True
    return _PLAIN.match(text) is not None and text.replace("\\", "").lower() == word.replace("\\", "")


def _either(texts: Iterable[str]) -> bytes:
    return "|".join(f"(?:{text})" for text in texts).encode("ascii")
