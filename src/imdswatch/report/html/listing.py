"""Findings and verdicts of probe as HTML that needs no script: what a reader without one sees, and what is printed.

Pure. The script lays its table in the place of the listed findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGES
from imdswatch.report.html.marks import period, stage
from imdswatch.report.html.markup import Child, Html, join, tag
from imdswatch.report.html.row import NUMBERS, TEXTS, Row
from imdswatch.verdict import FACT, Verdict

LISTED = 50
"""Findings that the page lists without a script."""
_NAMES = (
    ("ip", "address"), ("mac", "MAC"), ("vendor", "made by"), ("nat_ip", "NAT to"), ("gateway", "by way of"),
    ("ttl", "TTL"), ("host", "name"), ("port", "port"), ("vlan", "VLAN"), ("process", "process"),
    ("client", "client"), ("user_agent", "user agent"),
)  # fmt: skip
_ACCOUNT = (("role", "role"), ("access_key_id", "key"))


def finding(row: Row) -> Html:
    """Return one finding with its evidence and what to do next."""
    texts = dict(zip(TEXTS, row.texts, strict=True))
    numbers = dict(zip(NUMBERS, row.numbers, strict=True))
    details = row.details
    rank = numbers["stage"] or 0
    said = f"{SEVERITIES[numbers['severity'] or 0]}, {CONFIDENCES[numbers['confidence'] or 0]} confidence"
    facts: list[tuple[str, Child]] = [
        ("victim", _pairs(details.get("victim", {})) or "unknown"),
        ("asked", " ".join(part for part in (texts["endpoint"], texts["path"], _status(details)) if part)),
        ("answered by", _pairs(details.get("responder", {})) if rank > 1 else "no answer seen"),
        ("also", "; ".join(_pairs(one) for one in details.get("responders", ()))),
        ("account", _account(details.get("account", {}))),
        ("seen", f"{details['count']}×, {period(numbers['first'], numbers['last'])}"),
        ("rules", _counted(details.get("rules", {}))),
        ("cause", texts["cause"]),
        ("suppressed by", texts["suppressed"]),
    ]
    places = details.get("evidence", [])
    more = numbers["more"] or 0
    return tag(
        "article",
        tag(
            "h3",
            stage(rank),
            " ",
            tag("span", texts["victim"] or "unnamed host", class_="id"),
            ": ",
            texts["title"],
        ),
        tag("p", said, class_="quiet"),
        definitions(facts),
        [
            tag(
                "p",
                " ".join(part for part in (source, position) if part),
                tag("code", excerpt),
                class_="evidence",
            )
            for source, position, excerpt in places
        ],
        tag("p", f"and {more:,} more places", class_="more") if more else None,
        tag("p", tag("b", "Next: "), texts["remedy"], " ", _runbook(rank), class_="next")
        if texts["remedy"]
        else None,
        class_=f"finding stage-{rank}",
    )


def _runbook(rank: int) -> Html:
    return tag("a", "What to do at this stage", href=f"#runbook-{STAGES[rank]}")


def verdicts(found: list[Verdict], more: int) -> Html:
    """Return what probe found at each endpoint, with every reason."""
    if not found:
        return Html("")
    return tag(
        "section",
        tag("h2", "What stands at each endpoint", id="probe-title"),
        tag("p", "Verdicts of imdswatch probe, with every reason.", class_="quiet"),
        tag("div", [_verdict(one) for one in found], class_="verdicts"),
        tag("p", f"and {more:,} more", class_="more") if more else None,
        id="probe",
        aria_labelledby="probe-title",
    )


def _verdict(one: Verdict) -> Html:
    name = f"other-cloud {one.cloud}" if one.cloud else one.verdict
    way = f" over {one.interface}" if one.interface else ""
    reasons = [
        tag(
            "li",
            tag("span", _SIDES.get(reason.speaks_for == one.verdict, "against"), class_="side"),
            " ",
            reason.text,
        )
        if reason.speaks_for != FACT
        else tag("li", tag("span", "seen", class_="side"), reason.text)
        for reason in one.reasons
    ]
    return tag(
        "article",
        tag(
            "h3",
            tag("span", f"{one.endpoint}{way}", class_="id"),
            " ",
            tag("span", name, class_=f"badge {one.verdict}"),
        ),
        definitions([("answered", _pairs(one.responder)), ("account", _account(one.account))]),
        tag("ul", reasons, class_="reasons") if reasons else None,
        [tag("p", note, class_="quiet") for note in one.notes],
        tag("p", tag("b", "Next: "), one.advice, class_="next") if one.advice else None,
        class_=f"verdict {one.verdict}",
    )


_SIDES = {True: "for", False: "against"}


def definitions(facts: Iterable[tuple[str, Child]]) -> Html:
    """Return names and values; those without a value are left out."""
    known = [join(tag("dt", name), tag("dd", value)) for name, value in facts if value]
    return tag("dl", known) if known else Html("")


def _pairs(values: Mapping[str, object]) -> str:
    known = [(label, values[name]) for name, label in _NAMES if name in values]
    return ", ".join(
        f"{label} {_text(value)}" if label != "address" else _text(value) for label, value in known
    )


def _account(account: Mapping[str, object]) -> str:
    if not account:
        return ""
    words = {True: "expected", False: "not one you expect"}.get(account.get("expected") is True, "")
    parts = [str(account.get("id", "unknown"))]
    parts += [words] if "expected" in account else []
    parts += [f"{label} {account[name]}" for name, label in _ACCOUNT if name in account]
    return ", ".join(parts + (["forged: the answers disagree"] if account.get("forged") else []))


def _status(details: Mapping[str, object]) -> str:
    request = details.get("request")
    return f"(status {request['status']})" if isinstance(request, Mapping) and "status" in request else ""


def _counted(rules: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}×" for name, count in rules.items())


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
