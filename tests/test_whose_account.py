"""Whose account the answers claim: each source by itself, and whether they disagree."""

from __future__ import annotations

import json

import pytest

from dialogue_cases import KEY, OLD_KEY, ROLES, credentials, finding_of, findings_of, request, response
from frames import Talk
from imdswatch import vendor
from report_cases import written

ZERO, OTHER, THIRD = "000000000000", "111122223333", "222233334444"
INFO = json.dumps(
    {
        "Code": "Success",
        "InstanceProfileArn": f"arn:aws:iam::{OTHER}:instance-profile/app",
        "InstanceProfileId": "AIPA",
    }
)
EXTENDED = "/latest/meta-data/iam/security-credentials-extended/app"
IDENTITY = "/latest/dynamic/instance-identity/document"


def identity(account: str) -> str:
    return json.dumps(
        {
            "accountId": account,
            "instanceId": "i-0",
            "region": "us-east-1",
            "pendingTime": "2026-01-01T00:00:00Z",
        }
    )


def talk(*asked: tuple[str, str]) -> Talk:
    out = Talk().handshake()
    for path, body in asked:
        out.ask(request("GET", path), response(body))
    return out.close()


def site(*expected: str) -> str:
    return f"[accounts]\nexpected = {json.dumps(expected)}\n"


def test_one_source_claims_nothing_more() -> None:
    account = finding_of(talk((ROLES + "app", credentials(KEY))).frames()).account
    assert (account["id"], account["from"]) == (ZERO, "access-key-id")
    assert "claims" not in account
    assert "forged" not in account


def test_sources_that_agree_are_told() -> None:
    account = finding_of(
        talk((EXTENDED, credentials(KEY, AccountId=ZERO)), (IDENTITY, identity(ZERO))).frames()
    ).account
    assert account["claims"] == {"access-key-id": ZERO, "document": ZERO, "identity-document": ZERO}
    assert "forged" not in account


def test_sources_that_disagree_are_forged() -> None:
    found = finding_of(
        talk(
            (EXTENDED, credentials(KEY, AccountId=THIRD)),
            ("/latest/meta-data/iam/info", INFO),
            (IDENTITY, identity(ZERO)),
        ).frames()
    )
    assert found.account["claims"] == {
        "access-key-id": ZERO, "document": THIRD, "iam-info": OTHER, "identity-document": ZERO,
    }  # fmt: skip
    assert found.account["forged"] is True
    assert (found.account["id"], found.account["from"]) == (ZERO, "access-key-id")
    assert "at least one was made up" in found.remedy
    shown = written("text", [found])
    assert "FORGED: accounts disagree" in shown
    assert "credentials says 222233334444" in " ".join(shown.split())
    line = json.loads(written("ndjson", [found]).splitlines()[0])
    assert line["account"]["forged"] is True
    assert "access-key-id=000000000000" in written("csv", [found])


def test_an_old_key_id_claims_nothing_and_disagrees_with_nothing() -> None:
    account = finding_of(talk((EXTENDED, credentials(OLD_KEY, AccountId=OTHER))).frames()).account
    assert (account["id"], account["from"]) == (OTHER, "document")
    assert "forged" not in account
    assert "claims" not in account


def test_no_credentials_but_an_identity_document() -> None:
    found = finding_of(talk((IDENTITY, identity(OTHER))).frames(), site(ZERO))
    assert found.stage == "answered"
    assert found.account == {"id": OTHER, "expected": False, "from": "identity-document"}
    assert "imds-unexpected-account" not in found.rules


@pytest.mark.parametrize(
    ("expected", "fires"),
    [((ZERO,), 1), ((OTHER,), 1), ((ZERO, OTHER), 0), ((THIRD,), 2)],
)
@pytest.mark.parametrize("identity_first", [True, False])
def test_each_claimed_account_is_held_against_the_list(
    expected: tuple[str, ...], fires: int, identity_first: bool
) -> None:
    asked = [(ROLES + "app", credentials(KEY)), (IDENTITY, identity(OTHER))]
    found = finding_of(talk(*(asked[::-1] if identity_first else asked)).frames(), site(*expected))
    assert found.rules.get("imds-unexpected-account", 0) == fires
    assert found.stage == "credentials-served"


def test_both_accounts_of_one_document_are_held_against_the_list() -> None:
    for expected in (ZERO, OTHER):
        found = finding_of(talk((EXTENDED, credentials(KEY, AccountId=OTHER))).frames(), site(expected))
        assert found.rules["imds-unexpected-account"] == 1


def test_two_responders_that_serve_two_accounts_forge_nothing() -> None:
    """A laptop that moved: each set of credentials belongs to one account, and agrees with its own document."""
    other = "ASIAQNZGKIQY56JQ7WML"  # account 029608264753, published example
    one = talk(
        (EXTENDED, credentials(KEY, AccountId=ZERO)), (EXTENDED, credentials(other, AccountId="029608264753"))
    )
    (found,) = findings_of(one.frames())
    assert found.account["claims"] == {
        "access-key-id": f"{ZERO} 029608264753", "document": f"{ZERO} 029608264753",
    }  # fmt: skip
    assert "forged" not in found.account


@pytest.mark.parametrize(
    ("mac", "name"),
    [
        ("00:0c:29:00:00:01", "VMware, Inc."),  # IEEE MA-L
        ("b8:27:eb:00:00:01", "Raspberry Pi Foundation"),
        ("02:00:00:00:00:01", None),
        ("fa:16:3e:00:00:01", None),
        ("01:00:5e:00:00:01", None),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("", None),
        ("no mac", None),
        ("00:0c:29", None),
    ],
)
def test_who_made_the_card(mac: str, name: str | None) -> None:
    assert vendor.of(mac) == name
