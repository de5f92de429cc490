"""The top of the page, as HTML that needs no script: how far it got, who answered, whose account, which hosts when.

Pure. Lists are cut after `SHOWN` entries, with the number of those left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imdswatch.finding import Skipped, Summary
from imdswatch.report.digest import Digest
from imdswatch.report.headline import looked, plural
from imdswatch.report.html.marks import machine, moment, period, stage
from imdswatch.report.html.markup import Child, Html, join, tag
from imdswatch.report.html.parties import Parties, Party

SHOWN = 8
PLACES = 200
"""Places that could not be looked at which the page names."""
_FROM = {
    "access-key-id": "key id",
    "document": "credentials",
    "iam-info": "instance profile",
    "identity-document": "identity document",
}
_EXPECTED = (
    ("unknown", "the site file does not say whose"),
    ("good", "expected"),
    ("bad", "not one you expect"),
)


# Cards


def responders(parties: Parties) -> Html:
    """Return who answered."""
    if not parties.responders:
        return _card(
            "Who answered", tag("p", "Nobody, as far as these sources show.", class_="nothing"), "responders"
        )
    items = []
    for name, party in _worst(parties.responders):
        facts = party.facts
        told = [_fact("made by", facts, "vendor"), _fact("NAT to", facts, "nat_ip"), _fact("at", facts, "ip")]
        told += [
            _fact("by way of", facts, "gateway"),
            _fact("TTL", facts, "ttl"),
            _fact("gave account", facts, "account"),
        ]
        items.append(
            _item(
                tag("span", name or "not named by any source", class_="id" if name else "id unnamed"),
                party,
                [one for one in told if one and name not in one],
                f"{plural(len(party.victims), 'host')} · {period(party.first, party.last)}",
            )
        )
    return _card("Who answered", _listed(items, parties.responders, "responder"), "responders")


def accounts(parties: Parties) -> Html:
    """Return into whose account hosts were led, and whether that account is expected."""
    if not parties.accounts:
        text = "No account was seen." if parties.responders else "No credentials were seen."
        return _card("Into whose account", tag("p", text, class_="nothing"), "accounts")
    items = []
    for number, party in sorted(_worst(parties.accounts), key=lambda one: -one[1].expected):
        kind, words = _EXPECTED[party.expected]
        told = [_fact("role", party.facts, "role"), _fact("key", party.facts, "access_key_id")]
        if party.claims:
            said = ", ".join(
                f"{_FROM.get(source, source)} says {number}" for source, number in party.claims.items()
            )
            told.insert(0, f"Forged: the answers disagree: {said}")
        items.append(
            _item(
                join(tag("span", number, class_="id"), " ", tag("span", words, class_=f"badge {kind}")),
                party,
                [one for one in told if one],
                f"{plural(len(party.victims), 'host')} · {period(party.first, party.last)}",
            )
        )
    return _card("Into whose account", _listed(items, parties.accounts, "account"), "accounts")


def order(parties: Parties) -> Html:
    """Return which hosts were seen first, in their order; the script draws its timeline in the same place."""
    known = [(name, party) for name, party in parties.victims.items() if party.first is not None]
    known.sort(key=lambda one: (one[1].first, -one[1].stage, one[0]))
    if not known:
        text = "No finding has a time." if parties.victims else "No host."
        return _card("Which hosts, in what order", tag("p", text, class_="nothing"), "order")
    items = [
        tag(
            "li",
            tag("time", moment(party.first), datetime=machine(party.first)),
            " ",
            tag("span", name or "unnamed host", class_="id"),
            " ",
            [tag("span", host, class_="host") for host in party.facts.get("host", ())],
            " ",
            stage(party.stage),
        )
        for name, party in known[:SHOWN]
    ]
    listed = join(tag("ol", items, class_="order"), _more(len(known) - SHOWN, "host"))
    return _card("Which hosts, in what order", tag("div", listed, id="timeline"), "order")


def suppressed(digest: Digest, summary: Summary) -> Html:
    """Return which entries of the site file suppressed how many findings."""
    known = sum(digest.suppressed.values())
    total = max(known, summary.suppressed)
    if not total:
        return Html("")
    rows = [
        tag("tr", tag("th", entry, scope="row"), tag("td", f"{count:,}", class_="count"))
        for entry, count in digest.suppressed.most_common(SHOWN)
    ]
    parts: list[Child] = [tag("p", f"{plural(total, 'finding')}, by these entries of the site file:")]
    if not rows:
        parts = [
            tag(
                "p",
                f"{plural(total, 'finding')}. These files do not hold them: --show-suppressed writes them.",
            )
        ]
    else:
        heads = tag("tr", tag("th", "entry", scope="col"), tag("th", "findings", scope="col", class_="count"))
        parts.append(tag("table", tag("thead", heads), tag("tbody", rows), class_="plain"))
        parts.append(_more(len(digest.suppressed) - SHOWN, "entry", "entries"))
        if total > known:
            parts.append(
                tag("p", f"{total - known:,} more are not in these files: --show-suppressed writes them.")
            )
    return _card("Suppressed", parts, "suppressed")


def missed(places: list[Skipped], total: int) -> Html:
    """Return what could not be looked at, with reasons."""
    if not total:
        return Html("")
    rows = [
        tag("tr", tag("td", one.source, class_="id"), tag("td", one.position), tag("td", one.reason))
        for one in places
    ]
    heads = tag("tr", [tag("th", name, scope="col") for name in ("source", "place", "why not")])
    what = plural(total, "place")
    return tag(
        "section",
        tag("h2", "What could not be looked at", id="missed-title"),
        tag("p", f"{what}. That nothing was found there means nothing."),
        tag(
            "div",
            tag("table", tag("thead", heads), tag("tbody", rows), class_="plain wide"),
            class_="scroll",
            role="region",
            tabindex="0",
            aria_label="Places that could not be looked at",
        ),
        _more(total - len(places), "place"),
        id="missed",
        class_="card warning",
        aria_labelledby="missed-title",
    )


def warning(total: int) -> Html:
    """Return one line that leads to what could not be looked at."""
    if not total:
        return Html("")
    link = tag("a", "Where, and why", href="#missed")
    return tag(
        "p", tag("b", f"{plural(total, 'place')} could not be looked at."), " ", link, class_="missed-line"
    )


def footer(summary: Summary) -> Html:
    """Return what the run went through."""
    went = looked(summary)
    parts: list[Child] = [tag("p", f"{went[0].upper()}{went[1:]}. All times are UTC.")]
    if summary.ignored:
        parts.append(tag("p", f"Ignored: {plural(summary.ignored, 'file')} of other kinds."))
    parts += [tag("p", f"Note: {note}") for note in summary.notes]
    return join(*parts)


# Pieces


def _worst(parties: Mapping[str, Party]) -> list[tuple[str, Party]]:
    """Return parties worst first, of those the one that met most hosts; whom nobody names comes last."""
    return sorted(parties.items(), key=lambda one: (not one[0], -one[1].stage, -len(one[1].victims), one[0]))


def _fact(label: str, facts: Mapping[str, Iterable[str]], name: str) -> str:
    values = ", ".join(facts.get(name, ()))
    return f"{label} {values}" if values else ""


def _item(title: Html, party: Party, facts: list[str], closing: str) -> Html:
    return tag(
        "li",
        tag("p", title, " ", stage(party.stage), class_="title"),
        tag("p", " · ".join(facts), class_="fact") if facts else None,
        tag("p", closing, class_="fact quiet"),
    )


def _listed(items: list[Html], parties: Mapping[str, Party], noun: str) -> Html:
    return join(tag("ul", items[:SHOWN], class_="parties"), _more(len(parties) - SHOWN, noun))


def _more(number: int, noun: str, many: str = "") -> Html:
    if number <= 0:
        return Html("")
    said = plural(number, f"more {noun}") if number == 1 or not many else f"{number:,} more {many}"
    return tag("p", f"and {said}", class_="more")


def _card(title: str, body: Child, name: str) -> Html:
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, body, id=name, class_="card", aria_labelledby=f"{name}-title")
