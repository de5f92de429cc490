"""The first sentences of a report: how far the impersonation got, or how sure it is that there was none.

"Nothing found", "nothing found, but not everything was read" and "nothing was read" are three different
sentences. Everything is pure and returns plain text that is safe to show.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGES, Summary
from imdswatch.report.digest import ACCOUNTS, HOSTS, Digest
from imdswatch.report.escape import visible

_SENTENCES = {
    "credentials-used": "Credentials served to {who}, and then used.",
    "credentials-served": "Credentials served to {who}.",
    "answered": "Something answered {who} at the IMDS endpoint; no credentials seen.",
    "requested": "Instance metadata requested by {who}; no answer seen.",
    "attempted": "IMDS endpoint contacted by {who}; no request and no answer seen.",
}
_CLAUSES = {
    "credentials-served": "{who} got credentials",
    "answered": "{who} got an answer",
    "requested": "{who} asked without an answer",
    "attempted": "{who} only tried to connect",
}
_ACCOUNTS_NAMED = 5


class Headline(NamedTuple):
    """A word in capitals, the sentence, more of them; mood: a stage, `clean`, `incomplete` or `nothing`."""

    mood: str
    word: str
    sentence: str
    more: tuple[str, ...]


def headline(digest: Digest, summary: Summary) -> Headline:
    """Say how far it got; where there is nothing, say how much that means."""
    if digest.worst.total:
        return _alarm(digest)
    suppressed = sum(digest.suppressed.values()) or summary.suppressed
    missed = max(digest.skipped, summary.skipped)
    unread = f"{plural(missed, 'place')} could not be looked at"
    if suppressed:
        sentence = f"Nothing to act on: {plural(suppressed, 'finding')}, all suppressed."
    elif not summary.records and (missed or not summary.bytes):
        if missed:
            return Headline(
                "nothing", "NOT CHECKED", f"{unread} (listed below), and there was nothing else.", ()
            )
        empty = f"{plural(summary.sources, 'source')} without any data"
        what = empty if summary.sources else "there was no source"
        return Headline("nothing", "NOT CHECKED", f"Nothing was looked at: {what}.", ())
    else:
        sentence = f"No sign of IMDS use: {looked(summary)}."
    if missed:
        hole = f"But {unread} (listed below): this is no all-clear."
        return Headline("incomplete", "INCOMPLETE", sentence, (hole,))
    return Headline("clean", "CLEAN", sentence, ())


def _alarm(digest: Digest) -> Headline:
    ranks = sorted({*digest.nameless, *digest.confidence}, reverse=True)
    top = ranks[0]
    sentence = _SENTENCES[STAGES[top]].format(who=_who(digest, top))
    confidence = CONFIDENCES[digest.confidence[top]]
    if confidence != "high":
        sentence += f" Confidence: {confidence}."
    more = []
    clauses = [_CLAUSES[STAGES[rank]].format(who=who) for rank in ranks[1:] if (who := _who(digest, rank))]
    if clauses:
        more.append(f"Also: {', '.join(clauses)}.")
    if digest.more_hosts:
        more.append(f"Only the first {HOSTS:,} hosts were told apart; there are more.")
    return Headline(
        STAGES[top], SEVERITIES[digest.severity[top]].upper(), sentence, (*more, *_accounts(digest))
    )


def _who(digest: Digest, rank: int) -> str:
    named = sum(1 for highest in digest.hosts.values() if highest == rank)
    parts = [plural(named, "host")] if named else []
    if nameless := digest.nameless[rank]:
        one, many = ("an unnamed one", "unnamed ones") if named else ("an unnamed host", "unnamed hosts")
        parts.append(one if nameless == 1 else f"{many} ({nameless:,} findings)")
    if not parts and digest.more_hosts:
        parts.append("hosts beyond those told apart")
    return " and ".join(parts)


def _accounts(digest: Digest) -> list[str]:
    said = {False: "not one you expect", True: "expected"}
    groups: dict[str, list[str]] = {}
    for account, expected in digest.accounts.items():
        word = said[expected] if isinstance(expected, bool) else "the site file does not say whose"
        groups.setdefault(word, []).append(visible(account))
    sentences = []
    for word, accounts in sorted(groups.items(), key=lambda group: group[0] == "expected"):
        named, rest = accounts[:_ACCOUNTS_NAMED], len(accounts) - _ACCOUNTS_NAMED
        also = f" and {rest} more" if rest > 0 else ""
        noun = "Account" if len(accounts) == 1 else "Accounts"
        sentences.append(f"{noun} {', '.join(named)}{also}: {word}.")
    if digest.more_accounts:
        sentences.append(f"There are more than {ACCOUNTS} accounts.")
    return sentences


def plural(number: int, noun: str) -> str:
    """Return `1 host`, `1,234 hosts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def looked(summary: Summary) -> str:
    """Return what the run went through: `looked at 12 sources, 48,211 records, 1.23 GB in 3.4 s`."""
    amounts = [plural(summary.sources, "source")]
    if summary.records or summary.bytes:  # an audit or a probe counts neither
        amounts += [plural(summary.records, "record"), *([size(summary.bytes)] if summary.bytes else [])]
    seconds = summary.seconds
    took = f" in {seconds:,.{1 if seconds >= 1 else 2}f} s" if math.isfinite(seconds) else ""
    return f"looked at {', '.join(amounts)}{took}"


def size(octets: int) -> str:
    """Return a number of bytes in decimal units with three digits, exact below 1000."""
    if octets < 1000:
        return plural(octets, "byte")
    value = float(octets)
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            break
        value /= 1000
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f} {unit}"
