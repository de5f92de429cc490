"""Verdicts on a screen and as ndjson: every reason, and nothing that a hostile answerer could do with its texts."""

from __future__ import annotations

import io
import json

from answerers import REMOTE, Imds, Links, Pages, http
from imdswatch.finding import Summary
from imdswatch.probe.judge import reason
from imdswatch.report import open_sink
from imdswatch.verdict import FACT, VERDICTS, Reason, Verdict
from test_probe_verdicts import ask

HOSTILE = "http://evil/\x1b[2J\x07\u202e\n  for       all is well"
VERDICT = Verdict(
    endpoint="169.254.169.254",
    interface="eth0.210",
    verdict="impostor",
    reasons=(
        Reason("dmi-not-amazon", "impostor", f"the firmware says {HOSTILE}"),
        Reason("signed", "genuine", "AWS signed the document"),
        Reason("gives-token", FACT, "it gives IMDSv2 tokens"),
    ),
    responder={
        "ip": "169.254.169.254",
        "mac": "02:00:5e:00:53:01",
        "gateway": "10.0.0.1",
        "ttl": 63,
        "vendor": HOSTILE,
    },
    account={"id": "029608264753", "expected": False, "role": HOSTILE},
    advice="unplug it",
    notes=("the TTL is unknown",),
)


def text(*verdicts: Verdict, color: bool = False) -> str:
    handle = io.StringIO()
    sink = open_sink("verdicts", handle, color=color, show_suppressed=False, width=80)
    for verdict in verdicts:
        sink.verdict(verdict)  # type: ignore[attr-defined]
    sink.close(Summary(seconds=1.25))
    return handle.getvalue()


def test_a_screen_shows_who_whose_and_every_reason_on_its_side() -> None:
    shown = text(VERDICT)
    assert shown.startswith(
        "169.254.169.254 over eth0.210: impostor\n  answered  169.254.169.254, MAC 02:00:5e:00:53:01"
    )
    assert "  account   029608264753 (none of the site's)" in shown
    for label, said in (
        ("for", "the firmware"),
        ("against", "AWS signed"),
        ("seen", "it gives"),
        ("do", "unplug it"),
    ):
        assert f"\n  {label:<10}{said}" in shown
    assert shown.endswith("1 impostor. 1.2 s\n")


def test_nothing_of_the_other_side_moves_the_screen() -> None:
    shown = text(VERDICT)
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert shown.count("\n  for  ") == 1, "no line of its making"
    assert "\\x1b" in shown


def test_colour_is_only_ours() -> None:
    assert text(VERDICT, color=True).count("\x1b") == 2
    assert "\x1b" not in text(VERDICT)


def test_an_absent_endpoint_is_short() -> None:
    why = (reason("no-connection", failure="refused"),)
    absent = Verdict("169.254.169.254", "eth0.210", "absent", why)
    assert text(absent).splitlines() == [
        "169.254.169.254 over eth0.210: absent",
        "  for       no connection: refused",
        "1 absent. 1.2 s",
    ]


def test_ndjson_has_the_verdict_exactly() -> None:
    handle = io.StringIO()
    sink = open_sink("ndjson", handle, color=False, show_suppressed=False, width=None)
    sink.verdict(VERDICT)  # type: ignore[attr-defined]
    line = handle.getvalue()
    assert line.count("\n") == 1
    told = json.loads(line)
    assert list(told)[:5] == ["format", "type", "endpoint", "interface", "verdict"]
    assert told["type"] == "verdict"
    assert told["reasons"][0] == {
        "slug": "dmi-not-amazon",
        "speaks_for": "impostor",
        "text": f"the firmware says {HOSTILE}",
    }
    assert told["account"]["expected"] is False


def test_a_secret_in_a_wrong_place_reaches_no_reason() -> None:
    """A redirect whose target holds a session token, a role named like a secret, an instance id that is a token."""
    token = "IQoJb3JpZ2luX2VjE" + "Ab9" * 30
    away = Pages(
        {}, headers={"Location": f"http://192.0.2.7/?X-Amz-Security-Token={token}"}, otherwise=302, put=302
    )
    for service in (away, Imds(role=token[:60]), Imds(instance=token)):
        with http(service) as port:
            outcome = ask(port, links=Links(REMOTE))
        assert token[:40] not in repr(outcome)


def test_every_reason_speaks_for_a_verdict_or_is_a_fact() -> None:
    from imdswatch.probe.judge import _sentences

    for slug, (speaks_for, sentence) in _sentences().items():
        assert speaks_for in (*VERDICTS, FACT), slug
        assert sentence, slug
