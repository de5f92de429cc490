"""What a metadata response says: expectations written by hand, hostile JSON, and no secret in anything returned."""

# ruff: noqa: E501 - one case a line is easier to compare

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imdswatch import documents
from imdswatch.documents import Claim, Document, claims, read

TREE = "/latest/meta-data/"
ROLE = TREE + "iam/security-credentials/Web-Role_1"
KEY = "ASIAQNZGKIQY56JQ7WML"  # account 029608264753 (published blog example)
SECRET = "FAKE/SECRET/NOT/REAL/FAKE/SECRET/NOTREAL"
TOKEN = "IQoJFAKESESSIONTOKENNOTREAL"
MIDNIGHT = 1795305600.0  # 2026-11-22T00:00:00Z


def credentials(**more: object) -> bytes:
    """Return a credential document laid out as the real service does."""
    fields = {
        "Code": "Success",
        "LastUpdated": "2026-11-21T23:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": KEY,
        "SecretAccessKey": SECRET,
        "Token": TOKEN,
        "Expiration": "2026-11-22T00:00:00Z",
    }
    return json.dumps({**fields, **more}, indent=2).encode()


SERVED = Document("credentials", access_key_id=KEY, role="Web-Role_1", code="Success", expiration=MIDNIGHT)
IDENTITY = b"""{
  "accountId" : "029608264753", "architecture" : "x86_64", "availabilityZone" : "eu-west-1a", "billingProducts" : null,
  "imageId" : "ami-1", "instanceId" : "i-0123456789abcdef0", "instanceType" : "t3.micro", "kernelId" : null,
  "pendingTime" : "2026-11-22T00:00:00Z", "privateIp" : "10.0.0.7", "region" : "eu-west-1", "version" : "2017-09-30"
}"""
PROFILE = "arn:aws:iam::029608264753:instance-profile/team/a/Web-Role_1"
INFO = json.dumps(
    {"Code": "Success", "InstanceProfileArn": PROFILE, "InstanceProfileId": "AIPAQNZGKIQY56JQ7WML"}
).encode()


def said(**fields: object) -> Document:
    return Document(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (ROLE, credentials(), SERVED),
        ("/2021-07-15/meta-data/iam/security-credentials/Web-Role_1/", credentials(), SERVED),
        ("//latest/./meta-data/iam/security-credentials/Web%2DRole_1?x", credentials(), SERVED),
        (
            TREE + "iam/security-credentials-extended/Web-Role_1",
            credentials(AccountId="029608264753"),
            said(kind="credentials", access_key_id=KEY, account_id="029608264753", role="Web-Role_1", code="Success", expiration=MIDNIGHT),
        ),
        (
            TREE + "identity-credentials/ec2/security-credentials/ec2-instance",
            credentials(),
            said(kind="credentials", access_key_id=KEY, role="ec2-instance", code="Success", expiration=MIDNIGHT),
        ),
        ("/anything/at/all", credentials(), said(kind="credentials", access_key_id=KEY, code="Success", expiration=MIDNIGHT)),
        (None, credentials(), said(kind="credentials", access_key_id=KEY, code="Success", expiration=MIDNIGHT)),
        (
            "/creds",  # container credentials have no Code
            json.dumps({"RoleArn": "arn:aws:iam::029608264753:role/x", "AccessKeyId": KEY, "SecretAccessKey": SECRET}).encode(),
            said(kind="credentials", access_key_id=KEY, profile_arn="arn:aws:iam::029608264753:role/x"),
        ),
        (
            ROLE,
            b'{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role","LastUpdated":"x"}',
            said(kind="refusal", role="Web-Role_1", code="AssumeRoleUnauthorizedAccess"),
        ),
        (TREE + "iam/security-credentials/", b"Web-Role_1", said(kind="roles", role="Web-Role_1", roles=("Web-Role_1",))),
        (TREE + "iam/security-credentials", b"a\nb@c\r\n", said(kind="roles", role="a", roles=("a", "b@c"))),
        (TREE + "iam/info", INFO, said(kind="profile", role="Web-Role_1", code="Success", profile_arn=PROFILE)),
        (
            "/latest/dynamic/instance-identity/document",
            IDENTITY,
            said(kind="identity", account_id="029608264753", instance_id="i-0123456789abcdef0", region="eu-west-1", private_ip="10.0.0.7", pending_time=MIDNIGHT),
        ),
        ("/latest/user-data", b"#!/bin/sh\n", said(kind="user-data")),
        (TREE + "placement/region", b"eu-west-1", said(kind="metadata")),
        ("/1.0/meta-data/", b"ami-id\nhostname", said(kind="metadata")),
        ("/latest/dynamic/instance-identity/pkcs7", b"MIAG", said(kind="metadata")),
        # nothing
        (ROLE, b"", None),
        (ROLE, b"<html>log in here</html>", None),
        (ROLE, b'{"Code":"Success"}', None),
        (TREE + "iam/security-credentials/", b"<html>log in here</html>", None),
        (TREE + "iam/security-credentials/", b"a b\n" * 50, None),
        ("/docs", b"AccessKeyId and SecretAccessKey are names", None),
        ("/docs", b'{"AccessKeyId": "%s"}' % KEY.encode(), None),
        ("/docs", b'{"x": {"AccessKeyId": "%s", "SecretAccessKey": "y"}}' % KEY.encode(), None),
        ("/docs", b'["AccessKeyId", "SecretAccessKey"]', None),
        ("/index.html", b"hello", None),
    ],
)  # fmt: skip
def test_a_body_is_read(path: str | None, body: bytes, expected: Document | None) -> None:
    assert read(path, body) == expected


def test_the_token_is_told_but_not_kept() -> None:
    body = b"AQAAAFAKETOKENNOTREAL=="
    found = read("/latest/api/token", body, method="PUT", token_ttl=21600)
    assert found == Document("token", token_ttl=21600)
    assert read("/latest/api/token", body) is None
    assert read("/latest/api/token", b"<html>", method="PUT") is None
    assert read("/latest/api/token", b"two words", method="PUT") is None
    assert read("/latest/api/token", body, method="PUT", status=404) is None


def test_plain_texts_need_a_success_and_credentials_do_not() -> None:
    assert read(TREE + "iam/security-credentials/", b"not-found", status=404) is None
    assert read(TREE + "instance-id", b"i-1", status=401) is None
    for status in (404, None):
        assert read(ROLE, credentials(), status=status) == SERVED


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"\xef\xbb\xbf" + credentials(), KEY),
        (b"\r\n \t" + credentials(), KEY),
        (credentials().decode().encode("utf-16"), KEY),
        (credentials().decode().encode("utf-16-le"), KEY),
        (credentials().decode().encode("utf-32"), KEY),
        (credentials().replace(b"AccessKeyId", b"\\u0041ccessKeyId"), KEY),
        (credentials().replace(b"Access", b"access"), KEY),  # Go decodes without case
        (credentials().replace(b'"Code"', b'"accesskeyid":"x","Code"'), KEY),
        (credentials().replace(b'"Code"', b'"AccessKeyId":"FIRST","Code"'), KEY),  # the last one counts
        (credentials(AccessKeyId="test"), "test"),
        (credentials(AccessKeyId=12345), "12345"),
        (credentials(AccessKeyId=None, SecretAccessKey=1), "nothing"),
        (credentials(AccessKeyId=SECRET), None),  # a secret in the wrong place is not shown
        (credentials(AccessKeyId="\ud800"), None),
        (credentials(AccessKeyId="a\nb"), None),
        (credentials(AccessKeyId="A" * 5000), None),
        (credentials(AccessKeyId=[KEY]), "nothing"),
        (credentials(x=float("nan"), y=float("inf")), KEY),
        (credentials().replace(b'"Code"', b'"n":1' + b"0" * 9000 + b',"Code"'), KEY),
        (credentials().replace(b'"Code"', b'"n":1e999999,"Code"'), KEY),
        (credentials().replace(b'"Code"', b'"n":' + b"[" * 90000 + b"]" * 90000 + b',"Code"'), KEY),
        (credentials().replace(b'"Code"', b'"n":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b',"Code"'), KEY),
        (credentials() + b"trailing", KEY),
        (credentials()[:-1] + b",}", KEY),
        (credentials().replace(b"Code", b"C\xff\xfe"), KEY),
    ],
)
def test_hostile_json_is_read_as_far_as_clients_would(body: bytes, key: str | None) -> None:
    found = read("/x", body)
    if key == "nothing":
        assert found is None
    else:
        assert found is not None
        assert (found.kind, found.access_key_id) == ("credentials", key)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("AccountId", "12345678901", "account_id"),
        ("AccountId", "1234567890123", "account_id"),
        ("AccountId", "１２３４５６７８９０１２", "account_id"),
        ("AccountId", ["123456789012"], "account_id"),
        ("Code", "a b\x1b[31m", "code"),
        ("Expiration", "soon", "expiration"),
        ("Expiration", "2026-13-01T00:00:00Z", "expiration"),
        ("Expiration", "9" * 4000, "expiration"),
        ("RoleArn", "arn:aws:iam::1:role/x", "profile_arn"),
        ("RoleArn", "arn:aws:iam::029608264753:role/x\n", "profile_arn"),
    ],
)
def test_a_value_that_is_not_what_it_claims_is_unknown(name: str, value: object, field: str) -> None:
    found = read(ROLE, credentials(**{name: value}))
    assert found is not None
    assert getattr(found, field) is None


@pytest.mark.parametrize(
    "text", ["2026-11-22T00:00:00Z", "2026-11-22T00:00:00", "2026-11-22T01:00:00+01:00", "20261122T000000Z"]
)
def test_times_are_utc(text: str) -> None:
    found = read(ROLE, credentials(Expiration=text))
    assert found is not None
    assert found.expiration == MIDNIGHT


# -- cut bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(len(credentials(AccountId="029608264753")) + 1))
def test_a_cut_document_tells_what_stands_whole(length: int) -> None:
    body = credentials(AccountId="029608264753")
    found = read(ROLE, body[:length], whole=False)
    key = body.index(KEY.encode()) + len(KEY) + 1
    if length < key:
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.access_key_id, found.whole) == ("credentials", KEY, False)
    assert found.account_id == ("029608264753" if length > body.rindex(b'"') else None)
    assert found.expiration == (
        MIDNIGHT if length > body.index(b"00Z", body.index(b"Expiration")) + 3 else None
    )


@pytest.mark.parametrize("begin", range(0, 200, 11))
def test_a_document_whose_beginning_is_missing_tells_the_rest(begin: int) -> None:
    body = credentials(AccountId="029608264753")
    found = read(ROLE, body[begin:], whole=False)
    assert found is not None
    assert found.access_key_id == (KEY if begin <= body.index(b'"AccessKeyId') else None)
    assert found.account_id == "029608264753"


def test_a_cut_key_id_is_not_a_key_id() -> None:
    assert read(ROLE, b'{"AccessKeyId": "ASIAQNZGKI', whole=False) is None
    assert read(ROLE, b'{"AccessKeyId": 1234', whole=False) is None


def test_escapes_hide_nothing_in_a_cut_document() -> None:
    body = (
        b'{"\\u0041ccess\\u004BeyId": "'
        + KEY.encode()
        + b'", "RoleArn": "arn:aws:iam::029608264753:role\\/x", "T'
    )
    found = read(None, body, whole=False)
    assert found is not None
    assert (found.access_key_id, found.profile_arn) == (KEY, "arn:aws:iam::029608264753:role/x")
    assert read(None, b'{"x": "\\u0022AccessKeyId\\u0022: \\u0022A\\u0022"', whole=False) is None


# -- secrets -----------------------------------------------------------------------------------------------------------

PLACES = [
    "SecretAccessKey",
    "Token",
    "Code",
    "AccessKeyId",
    "AccountId",
    "Expiration",
    "RoleArn",
    "region",
    "x",
]
SECRETS = st.text("ABCDEFGHIJabcdefghij0123456789+/", min_size=40, max_size=40).filter(
    lambda text: any(c.islower() for c in text) and any(c.isupper() or c.isdigit() for c in text)
)


@given(SECRETS, st.sampled_from(PLACES), st.integers(0, 400), st.booleans())
def test_no_secret_is_ever_returned(secret: str, place: str, length: int, whole: bool) -> None:
    body = credentials(**{"SecretAccessKey": secret, "Token": secret * 3, place: secret})
    found = read(
        f"{TREE}iam/security-credentials/{secret.replace('/', '')}",
        body if whole else body[:length],
        whole=whole,
    )
    assert secret not in repr(found)


def test_neither_key_token_nor_body_stays() -> None:
    for body in (credentials(), credentials()[:-20]):
        shown = repr(read(ROLE, body, whole=False))
        assert SECRET not in shown
        assert TOKEN not in shown
    assert "NOTREAL" not in repr(read("/latest/api/token", b"AQAAAFAKETOKENNOTREAL==", method="PUT"))
    assert "hunter2" not in repr(read("/latest/user-data", b"password: hunter2"))


# -- claims ------------------------------------------------------------------------------------------------------------


def test_each_part_says_its_account() -> None:
    extended = read(ROLE, credentials(AccountId="029608264753"))
    parts = [extended, read("/", INFO), read("/", IDENTITY), SERVED]
    assert claims(part for part in parts if part) == (
        Claim("access-key-id", "029608264753"),
        Claim("account-id", "029608264753"),
        Claim("profile-arn", "029608264753"),
        Claim("identity-document", "029608264753"),
    )


def test_disagreement_shows_and_old_key_ids_do_not_tell() -> None:
    forged = read(ROLE, credentials(AccountId="999999999999", AccessKeyId="ASIAY34FZKBOKMUTVV7A"))
    assert forged is not None
    assert claims([forged]) == (Claim("access-key-id", "609629065308"), Claim("account-id", "999999999999"))
    old = read(ROLE, credentials(AccessKeyId="AKIAIOSFODNN7EXAMPLE"))
    assert old is not None
    assert claims([old]) == (Claim("access-key-id", None),)
    assert claims([Document("metadata"), Document("roles")]) == ()


# -- anything ----------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [credentials(), IDENTITY, INFO, b'"AccessKeyId"', b":", b'"', b"\\", b"{", b"}", b"[", b"\\u00", b"\\ud800", b"\x00", b"\xff\xfe", b'{"Code":"X"}', b"null", b"1" * 50]
)  # fmt: skip


@given(
    st.sampled_from(
        [None, "", "*", ROLE, TREE, "/latest/api/token", "/%ff%00/..", "http://h/latest/user-data"]
    ),
    st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=8).map(b"".join)),
    st.booleans(),
    st.sampled_from([None, 0, 200, 404]),
    st.sampled_from(["GET", "PUT", ""]),
)
@example("/" * 1000, b"{}", True, 200, "GET")
def test_nothing_makes_it_raise(
    path: str | None, body: bytes, whole: bool, status: int | None, method: str
) -> None:
    found = read(path, body, whole=whole, status=status, method=method)
    if found is not None:
        repr(found).encode()
        claims([found])
        assert len(repr(found)) < 4000


@pytest.mark.parametrize(
    "block",
    [b'"', b'\\"', b'"a":', b'"AccessKeyId":', b'"AccessKeyId" ', b"{", b'{"a":', b"[", b"\\u0041", b'"AccessKeyId":"', b" ", b"1", b'"a","', b'"AccessKeyId":1'],
)  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_time_is_linear(block: bytes, whole: bool) -> None:
    def cost(size: int) -> float:
        body = b'{"AccessKeyId":' + block * (size // len(block))
        start = process_time()
        read(ROLE, body, whole=whole)
        return process_time() - start

    assert cost(256_000) < max(9 * cost(64_000), 0.2)


def test_the_wanted_names_are_those_of_the_service() -> None:
    assert set(documents._NAMES) == {name.lower() for name in documents._NAMES.values()}
