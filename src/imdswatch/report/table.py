"""The table of findings for a terminal: one row a finding, seven columns, or five where it is narrow.

Pure. Columns have fixed widths and cells are folded to them (`cells.fold`), so nothing is ever cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from imdswatch import address
from imdswatch.finding import STAGE_RANK, STAGES, Finding
from imdswatch.report import clock
from imdswatch.report.cells import fold, labelled, lines, place, say
from imdswatch.report.headline import plural
from imdswatch.report.names import endpoint

STAGE_STYLES = {
    "credentials-used": "bold white on red",
    "credentials-served": "bold red",
    "answered": "bold magenta",
    "requested": "bold yellow",
    "attempted": "bold cyan",
}
_SEVERITY_STYLES = {"critical": "red", "high": "magenta", "medium": "yellow", "low": "cyan"}
_UNANSWERED = STAGES[: STAGE_RANK["answered"]]

LEAST = 80
"""Columns a table needs at least."""
_WIDE = 116
_GAP = 2
_STAGE = max(map(len, STAGES))
_SEEN = len("2026-11-22")
_MAC = len("02:00:00:00:00:00")
_RESPONDER = len("endpoint → responder")
_KEY = len("key ASIA0000000000000000")


def table(findings: Sequence[Finding], width: int, first: int) -> Table:
    """Return the rows in the order given, numbered from `first`; `width` in columns, `LEAST` or more."""
    number = max(2, len(str(first + len(findings) - 1)))
    wide = width >= _WIDE
    headings = (
        ["#", "how far", "victim", "endpoint → responder", "last request, account", "seen (UTC)", "evidence"]
        if wide
        else ["#", "how far", "victim", "endpoint → responder, last request", "seen (UTC), evidence"]
    )
    widths = _widths(width - number - _STAGE - (len(headings) - 1) * _GAP, wide=wide)
    result = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        leading=1,
        header_style="dim",
        border_style="dim",
    )
    for heading, columns in zip(headings, [number, _STAGE, *widths], strict=True):
        result.add_column(
            heading, width=columns, overflow="fold", justify="right" if heading == "#" else "left"
        )
    for at, finding in enumerate(findings, first):
        asked, request = _responder(finding), _request(finding)
        seen, where = _seen(finding), _places(finding)
        cells = [_victim(finding), asked, request, seen, where]
        if not wide:
            cells = [_victim(finding), lines(asked, request), lines(seen, where)]
        folded = [fold(cell, columns) for cell, columns in zip(cells, widths, strict=True)]
        result.add_row(Text(str(at), style="dim"), fold(_stage(finding), _STAGE), *folded)
    return result


def _widths(left: int, *, wide: bool) -> list[int]:
    """Share the columns left: the least each fact needs, then the rest by how long such values get."""
    least = [_MAC, _RESPONDER, _KEY, _SEEN, 12] if wide else [_MAC, _KEY, _SEEN + 1]
    share = [2, 1, 4, 0, 2] if wide else [1, 3, 1]
    spare = max(0, left - sum(least))
    widths = [size + spare * part // sum(share) for size, part in zip(least, share, strict=True)]
    widths[share.index(max(share))] += spare - sum(spare * part // sum(share) for part in share)
    return widths


def _stage(finding: Finding) -> Text:
    return lines(
        Text(say(finding.stage), style=STAGE_STYLES.get(finding.stage, "bold")),
        Text(say(finding.severity), style=_SEVERITY_STYLES.get(finding.severity, "")),
        Text(f"{say(finding.confidence)} confidence", style="dim"),
        labelled("suppressed by\n", finding.suppressed_by),
    )


def _victim(finding: Finding) -> Text:
    get = finding.victim.get
    names = [labelled("", get("ip"), "bold"), labelled("", get("host")), labelled("", get("mac"))]
    if not any(name.plain for name in names):
        names = [Text("unknown", style="italic")]
    client = labelled("process ", get("process"))
    agent = str(get("user_agent") or "").split()
    if not client.plain and get("client"):
        client = labelled("client ", get("client"))
    elif not client.plain and agent:
        client = labelled("client ", agent[0]) + Text(" …" if len(agent) > 1 else "", style="dim")
    return lines(*names, labelled("VLAN ", get("vlan")), client)


def _responder(finding: Finding) -> Text:
    asked, get = endpoint(finding), finding.responder.get
    ip = get("ip")
    own = ip if ip and str(ip) not in (asked, address.split_port(asked)[0]) else None
    answerers = lines(
        *(labelled("→ ", value) for value in (own, get("mac"))),
        labelled("→ made by ", get("vendor")),
        labelled("→ NAT ", get("nat_ip")),
        labelled("→ by way of ", get("gateway")),
    )
    if finding.stage in _UNANSWERED:
        answerers = answerers if own or get("nat_ip") else Text("→ no answer seen", style="dim")
    elif not answerers.plain:
        answerers = Text("→ not named", style="italic")
    others = f"→ and {plural(len(finding.responders), 'other')}" if finding.responders else ""
    return lines(Text(say(asked) or "unknown", style="bold"), answerers, Text(others))


def _request(finding: Finding) -> Text:
    get, account = finding.request.get, finding.account
    line = " ".join(said for said in (say(get("method")), say(get("path"))) if said)
    parts = [Text(line), labelled("status ", get("status"))]
    whose = labelled("account ", account.get("id"), "bold")
    if whose.plain and account.get("expected") is True:
        whose.append(" expected", "dim")
    elif whose.plain and account.get("expected") is False:
        whose.append("\nnot expected", "bold red")
    parts.append(whose)
    parts += [labelled("key ", account.get("access_key_id")), labelled("role ", account.get("role"))]
    return lines(*parts, *_forged(account))


_SAYS = {
    "access-key-id": "key id",
    "document": "credentials",
    "iam-info": "instance profile",
    "identity-document": "identity document",
}


def _forged(account: Mapping[str, object]) -> Iterator[Text]:
    """Yield who claims which account, where the claims cannot all be true."""
    claims = account.get("claims")
    if account.get("forged") is not True or not isinstance(claims, Mapping):
        return
    yield Text("FORGED: accounts disagree", style="bold red")
    for source, number in claims.items():
        yield labelled(f"{_SAYS.get(str(source), source)} says ", number)


def _seen(finding: Finding) -> Text:
    times = Text(f"{finding.count:,}×")
    first, last = clock.moment(finding.first_seen), clock.moment(finding.last_seen)
    begin, end = first or last, last or first
    if begin is None or end is None:
        return lines(times, Text("no time", style="italic"))
    said = f"{begin:%Y-%m-%d}\n{begin:%H:%M:%S}"
    if (end - begin).total_seconds() >= 1:
        said += " –\n" + (f"{end:%Y-%m-%d}\n" if end.date() != begin.date() else "") + f"{end:%H:%M:%S}"
    return lines(times, Text(said))


def _places(finding: Finding) -> Text:
    if not finding.evidence:
        return Text()
    more = len(finding.evidence) - 1
    return lines(*place(finding.evidence[0]), Text(f"and {more:,} more" if more else "", style="dim"))
