"""Targets of delivery: what cannot be meant is refused, and secrets of a target are shown to nobody."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from deliveries import message
from imdswatch.delivery import channel_to
from imdswatch.delivery.message import Undelivered
from imdswatch.delivery.target import read_target
from imdswatch.errors import UsageError


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp://host:1", "no scheme"),
        ("", "no scheme"),
        ("https://", "without a host"),
        ("https://host:0/", "port 0"),
        ("https://host:99999/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://user:pass@host/", "user or password"),
        ("https://host/#secret=x", "no option `secret`"),
        ("https://host/#format=text", "must be one of"),
        ("https://host/#batch=0", "from 1 to"),
        ("https://host/#secret-env=NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is empty or missing"),
        ("https://host/#secret-file=/no/such/file", "no such file"),
        ("https://host/#ca=/no/such/file", "cannot load a certificate"),
        ("https://host/#key=/no/such/file", "`key` without `cert`"),
        ("http://host.example/#authorization-env=HOME", "plain text"),
        ("syslog+tcp://host:1?ca=x", "no option `ca`"),
        ("syslog+udp://host:1?max=many", "no size"),
        ("syslog+tcp://host:1?facility=24", "from 0 to 23"),
        ("syslog+tcp://host:1?facility=1&facility=2", "twice"),
        ("file://relative/path", "full path"),
        ("file:///x?rotate=0MB", "no size"),
        ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ("@/no/such/file", "no such file"),
    ],
)
def test_a_target_that_makes_no_sense_is_a_usage_error(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        channel_to(read_target(text))


def test_secrets_of_a_target_are_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(
        "https://hooks.example/services/FAKE-T/FAKE-secret?x=FAKE-secret\n", encoding="utf-8"
    )
    target = read_target(f"@{tmp_path / 'hook'}")
    assert (target.shown, target.path) == (
        "https://hooks.example:443",
        "/services/FAKE-T/FAKE-secret?x=FAKE-secret",
    )
    assert "FAKE" not in target.key
    monkeypatch.setenv("HOOK", "https://user:FAKE-secret@hooks.example/")
    for text in ("env:HOOK", "https://u:FAKE-secret@h/", "FAKE-secret://host", "https://host:FAKE-secret/"):
        with pytest.raises(UsageError) as caught:
            read_target(text)
        assert "FAKE" not in str(caught.value)
    monkeypatch.setenv("KEY", "whsec_FAKE-secret!")
    with pytest.raises(UsageError) as caught:
        channel_to(read_target("https://host/#secret-env=KEY"))
    assert "FAKE" not in str(caught.value)


def test_a_path_of_a_webhook_is_what_http_can_carry() -> None:
    target = read_target("https://host/ü b/%41?x=ü&y=a%20b")
    assert target.path == "/%C3%BC%20b/%41?x=%C3%BC&y=a%20b"


def test_a_secret_that_no_header_can_carry_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "Bearer FAKE-one\nFAKE-two")
    channel = channel_to(read_target("http://127.0.0.1:1/#authorization-env=KEY"))
    with pytest.raises(Undelivered) as caught:
        channel.send([message(1)])
    assert "FAKE" not in str(caught.value)


def test_verification_cannot_be_turned_off() -> None:
    from imdswatch.delivery import tls

    context = tls.context(read_target("https://host/"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
