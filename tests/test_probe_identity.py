"""Signatures of instance identity documents: every genuine one verifies, for its own region; every forgery fails.

The oracle for genuine vectors is OpenSSL, recorded in tests/data/identity/index.json; forgeries are made of them, or
of keys made here, with the trusted bundle replaced where a forger is given AWS's own place.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.probe import ber
from imdswatch.probe.certificates import FILES, FORMS, Bundle, Form, Key, bundle
from imdswatch.probe.identity import Verified, verify

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "data" / "identity"
BUNDLE = bundle()


def vector(name: str, form: Form) -> tuple[bytes, bytes]:
    return (VECTORS / name / "document.json").read_bytes(), (VECTORS / name / f"{form}.b64").read_bytes()


GENUINE = [
    (entry["dir"], entry["region"], form)
    for entry in json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
    for form in FORMS
    if entry["dir"] != "gowitness-testkey" and (VECTORS / entry["dir"] / f"{form}.b64").exists()
]


def test_there_are_vectors_of_every_form() -> None:
    assert {form for _, _, form in GENUINE} == set(FORMS)
    assert len(GENUINE) == 6


@pytest.mark.parametrize(("name", "region", "form"), GENUINE)
def test_a_genuine_document_verifies(name: str, region: str, form: Form) -> None:
    document, signature = vector(name, form)
    assert verify(form, document, signature, BUNDLE) == Verified(form, None, region)
    assert verify(form, document, b"".join(signature.split()), BUNDLE).flaw is None, (
        "line breaks do not count"
    )


@pytest.mark.parametrize(("name", "region", "form"), GENUINE)
def test_it_verifies_with_its_own_region_only(name: str, region: str, form: Form) -> None:
    """The document's region is mapped to each other region's key in turn, as if AWS had swapped them."""
    document, signature = vector(name, form)
    own = BUNDLE.of(form, region)
    assert own is not None
    passing = set()
    for key in BUNDLE.keys[form]:
        swapped = Bundle({**BUNDLE.keys, form: (replace(key, region=region),)}, BUNDLE.retrieved)
        if verify(form, document, signature, swapped).flaw is None:
            passing.add(key.region)
    assert region in passing
    same = {key.region for key in BUNDLE.keys[form] if _public(key) == _public(own)}
    assert passing == same, "only those regions that AWS gave the very same key"
    if form == "rsa2048":
        assert passing == {region}


def _public(key: Key) -> bytes:
    return key.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_rsa2048_alone_binds_the_region() -> None:
    distinct = {form: len({_public(key) for key in BUNDLE.keys[form]}) for form in FORMS}
    assert distinct == {"rsa2048": 39, "signature": 21, "pkcs7": 17}
    assert {form: len(BUNDLE.keys[form]) for form in FORMS} == {"rsa2048": 39, "signature": 39, "pkcs7": 36}


def test_the_published_negative_fails() -> None:
    document, signature = vector("gowitness-testkey", "signature")
    assert verify("signature", document, signature, BUNDLE).flaw == "signature"


# Forgeries

DOCUMENT, RSA2048 = vector("npm-2026-apse2", "rsa2048")
_, RAW = vector("npm-2026-apse2", "signature")
DSA_DOCUMENT, DSA = vector("npm-2026-apse2-dsa", "pkcs7")
MESSAGE = base64.b64decode(b"".join(RSA2048.split()))
OTHER_DOCUMENT, OTHER = vector("teleport-2021-usw2", "rsa2048")


def b64(octets: bytes) -> bytes:
    return base64.encodebytes(octets)


def swapped(old: bytes, new: bytes, source: bytes = MESSAGE) -> bytes:
    assert source.count(old) >= 1
    return b64(source.replace(old, new, 1))


def tlv(tag: int, body: bytes) -> bytes:
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size) + body


OID = {
    name: tlv(6, bytes.fromhex(octets))
    for name, octets in {
        "signed": "2a864886f70d010702", "data": "2a864886f70d010701", "type": "2a864886f70d010903",
        "digest": "2a864886f70d010904", "sha256": "608648016503040201", "sha1": "2b0e03021a",
        "rsa": "2a864886f70d010101",
    }.items()
}  # fmt: skip
FORGER = rsa.generate_private_key(65537, 2048)


def message(
    document: bytes = DOCUMENT,
    *,
    content: bytes | None = None,
    digest: bytes | None = None,
    algorithm: str = "sha256",
    serial: int = 7,
    extra: bytes = b"",
    attributes: bool = True,
    signers: int = 1,
    twice: bool = False,
    kind: str = "data",
) -> bytes:
    """Return a SignedData of our own making, signed with the forger's key; its parts may be wrong on purpose."""
    inside = document if content is None else content
    stated = hashlib.sha256(inside).digest() if digest is None else digest
    one = tlv(0x30, OID["type"] + tlv(0x31, OID[kind]))
    two = tlv(0x30, OID["digest"] + tlv(0x31, tlv(4, stated)))
    signed = one + two + (two if twice else b"")
    value = FORGER.sign(tlv(0x31, signed) if attributes else inside, padding.PKCS1v15(), hashes.SHA256())
    info = tlv(2, b"\x01") + tlv(0x30, tlv(0x30, b"") + tlv(2, serial.to_bytes(serial.bit_length() // 8 + 1)))
    info += tlv(0x30, OID[algorithm]) + (tlv(0xA0, signed) if attributes else b"")
    info += tlv(0x30, OID["rsa"]) + tlv(4, value)
    data = tlv(2, b"\x01") + tlv(0x31, tlv(0x30, OID[algorithm]))
    data += tlv(0x30, OID["data"] + tlv(0xA0, tlv(4, inside))) + extra + tlv(0x31, tlv(0x30, info) * signers)
    return b64(tlv(0x30, OID["signed"] + tlv(0xA0, tlv(0x30, data))))


FORGED_KEY = Key("ap-southeast-2", tlv(0x30, b""), 7, FORGER.public_key())
TRUSTED = Bundle(dict.fromkeys(FORMS, (FORGED_KEY,)), date(2026, 1, 1))
"""A bundle in which the forger's key stands in AWS's place: what then fails, fails for its shape or its content."""


def test_a_message_of_our_own_making_verifies_where_its_key_is_trusted() -> None:
    assert verify("rsa2048", DOCUMENT, message(), TRUSTED).flaw is None


@dataclass(frozen=True)
class Forgery:
    what: str
    flaw: str
    form: Form
    document: bytes
    signature: bytes
    bundle: Bundle


STOLEN_NAME = Bundle(
    dict.fromkeys(
        FORMS, tuple(replace(key, issuer=tlv(0x30, b""), serial=7) for key in BUNDLE.keys["rsa2048"])
    ),
    BUNDLE.retrieved,
)
"""AWS's keys, under the name that the forger's messages give."""
T4H = DOCUMENT.replace(b"t4g", b"t4h")
ELSEWHERE = DOCUMENT.replace(b"ap-southeast-2", b"ap-southeast-1")
RAW_OCTETS = base64.b64decode(RAW)
ALGORITHM = b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
FORGERIES = [
    # empty or absent (CVE-2025-62375)
    Forgery("an empty signature", "empty", "signature", DOCUMENT, b"", BUNDLE),
    Forgery("a signature of line breaks", "empty", "signature", DOCUMENT, b"\r\n \n", BUNDLE),
    Forgery("an empty PKCS#7", "empty", "rsa2048", DOCUMENT, b"", BUNDLE),
    Forgery("an empty document", "empty", "rsa2048", b"", RSA2048, BUNDLE),
    # RSA failures are failures
    Forgery("one octet of the document changed", "signature", "signature", T4H, RAW, BUNDLE),
    Forgery(
        "one bit of the signature changed",
        "signature",
        "signature",
        DOCUMENT,
        b64(bytes([RAW_OCTETS[0] ^ 1]) + RAW_OCTETS[1:]),
        BUNDLE,
    ),
    Forgery("a signature cut short", "signature", "signature", DOCUMENT, b64(RAW_OCTETS[:-1]), BUNDLE),
    Forgery(
        "a signature with an octet more", "signature", "signature", DOCUMENT, b64(RAW_OCTETS + b"\0"), BUNDLE
    ),
    Forgery("zeros", "signature", "signature", DOCUMENT, b64(bytes(128)), BUNDLE),
    Forgery("no base64", "encoding", "signature", DOCUMENT, b"<html>401</html>", BUNDLE),
    Forgery(
        "base64 with letters of another alphabet",
        "encoding",
        "signature",
        DOCUMENT,
        RAW.replace(b"/", b"_").replace(b"+", b"-"),
        BUNDLE,
    ),
    Forgery("a PEM header", "encoding", "rsa2048", DOCUMENT, b"-----BEGIN PKCS7-----\n" + RSA2048, BUNDLE),
    Forgery("a line break more in the document", "signature", "signature", DOCUMENT + b"\n", RAW, BUNDLE),
    # never re-serialised
    Forgery(
        "the document written anew",
        "content",
        "rsa2048",
        json.dumps(json.loads(DOCUMENT)).encode(),
        RSA2048,
        BUNDLE,
    ),
    Forgery(
        "the document written anew, raw form",
        "signature",
        "signature",
        json.dumps(json.loads(DOCUMENT), indent=2).encode(),
        RAW,
        BUNDLE,
    ),
    # region
    Forgery("another region named", "content", "rsa2048", ELSEWHERE, RSA2048, BUNDLE),
    Forgery(
        "another region named, and signed content with it",
        "signer",
        "rsa2048",
        ELSEWHERE,
        swapped(DOCUMENT, ELSEWHERE),
        BUNDLE,
    ),
    Forgery(
        "a region without a key: no default",
        "unknown-region",
        "signature",
        DOCUMENT.replace(b"ap-southeast-2", b"ap-nowhere-99"),
        RAW,
        BUNDLE,
    ),
    Forgery("no region", "no-region", "rsa2048", DOCUMENT.replace(b'"region"', b'"regiom"'), RSA2048, BUNDLE),
    Forgery(
        "two regions",
        "no-region",
        "rsa2048",
        DOCUMENT.replace(b'"version"', b'"region" : "us-east-1",\n  "version"'),
        RSA2048,
        BUNDLE,
    ),
    Forgery(
        "a region that is no text", "no-region", "rsa2048", b'{"region": ["us-east-1"]}', RSA2048, BUNDLE
    ),
    Forgery("a document that is no JSON", "no-region", "rsa2048", b"[" * 100_000, RSA2048, BUNDLE),
    # content
    Forgery("another document's message (substitution)", "content", "rsa2048", DOCUMENT, OTHER, BUNDLE),
    Forgery(
        "the content in the message changed", "content", "rsa2048", DOCUMENT, swapped(b"t4g", b"t4h"), BUNDLE
    ),
    Forgery("document and content changed alike", "digest", "rsa2048", T4H, swapped(b"t4g", b"t4h"), BUNDLE),
    Forgery(
        "document, content changed and digest with them",
        "signature",
        "rsa2048",
        T4H,
        b64(
            MESSAGE.replace(b"t4g", b"t4h").replace(
                hashlib.sha256(DOCUMENT).digest(), hashlib.sha256(T4H).digest()
            )
        ),
        BUNDLE,
    ),
    Forgery(
        "attributes signed, but of another content",
        "digest",
        "rsa2048",
        DOCUMENT,
        message(digest=hashlib.sha256(b"other").digest()),
        TRUSTED,
    ),
    Forgery(
        "attributes of another content type", "digest", "rsa2048", DOCUMENT, message(kind="signed"), TRUSTED
    ),
    Forgery("no attributes", "shape", "rsa2048", DOCUMENT, message(attributes=False), TRUSTED),
    Forgery("the digest twice", "shape", "rsa2048", DOCUMENT, message(twice=True), TRUSTED),
    # signer
    Forgery(
        "signed by a stranger under the trusted name",
        "signature",
        "rsa2048",
        DOCUMENT,
        message(),
        STOLEN_NAME,
    ),
    Forgery("signed by a stranger", "signer", "rsa2048", DOCUMENT, message(), BUNDLE),
    Forgery(
        "a certificate sent with it",
        "shape",
        "rsa2048",
        DOCUMENT,
        message(extra=tlv(0xA0, tlv(0x30, b"certificate"))),
        TRUSTED,
    ),
    Forgery("two signers", "shape", "rsa2048", DOCUMENT, message(signers=2), TRUSTED),
    Forgery("no signer", "shape", "rsa2048", DOCUMENT, message(signers=0), TRUSTED),
    # algorithm
    Forgery(
        "SHA-1 where SHA-256 belongs", "algorithm", "rsa2048", DOCUMENT, message(algorithm="sha1"), TRUSTED
    ),
    Forgery("the DSA form in place of rsa2048", "signer", "rsa2048", DSA_DOCUMENT, DSA, BUNDLE),
    Forgery("the rsa2048 form in place of the DSA form", "signer", "pkcs7", DOCUMENT, RSA2048, BUNDLE),
    Forgery("the raw form in place of rsa2048", "shape", "rsa2048", DOCUMENT, RAW, BUNDLE),
    # BER
    Forgery("octets after the end", "shape", "rsa2048", DOCUMENT, b64(MESSAGE + b"\0\0"), BUNDLE),
    Forgery("cut short", "shape", "rsa2048", DOCUMENT, b64(MESSAGE[:-1]), BUNDLE),
    Forgery("a length of 127 octets", "shape", "rsa2048", DOCUMENT, b64(b"\x30\xff" + b"\xff" * 127), BUNDLE),
    Forgery(
        "a length of 4 GiB", "shape", "rsa2048", DOCUMENT, b64(b"\x30\x84\xff\xff\xff\xff" + MESSAGE), BUNDLE
    ),
    Forgery("nested without end", "shape", "rsa2048", DOCUMENT, b64(b"\x30\x80" * 20_000), BUNDLE),
    Forgery(
        "values without end", "shape", "rsa2048", DOCUMENT, b64(b"\x30\x80" + b"\x05\x00" * 30_000), BUNDLE
    ),
    Forgery("longer than any", "shape", "rsa2048", DOCUMENT, b64(bytes(1 << 20)), BUNDLE),
    Forgery(
        "a length in a longer form",
        "shape",
        "rsa2048",
        DOCUMENT,
        swapped(b"\x02\x01\x01\x31", b"\x02\x81\x01\x01\x31"),
        BUNDLE,
    ),
    Forgery(
        "an integer in a longer form",
        "shape",
        "rsa2048",
        DOCUMENT,
        swapped(b"\x02\x01\x01\x31", b"\x02\x02\x00\x01\x31"),
        BUNDLE,
    ),
    Forgery(
        "a serial number that is negative",
        "shape",
        "rsa2048",
        DOCUMENT,
        swapped(b"\x02\x09\x00\xbd", b"\x02\x09\xff\xbd"),
        BUNDLE,
    ),
    Forgery(
        "attributes of indefinite length",
        "shape",
        "rsa2048",
        DOCUMENT,
        b64(MESSAGE.replace(b"\xa0\x81\x96", b"\xa0\x80", 1).replace(ALGORITHM, b"\0\0" + ALGORITHM)),
        BUNDLE,
    ),
]


@pytest.mark.parametrize("one", FORGERIES, ids=lambda one: one.what)
def test_a_forgery_fails_for_the_right_reason(one: Forgery) -> None:
    result = verify(one.form, one.document, one.signature, one.bundle)
    assert result.flaw == one.flaw, result.detail


def test_an_expired_certificate_still_tells_the_key() -> None:
    """RSA-1024 certificates end in 2028 to 2031 and are issued again with the same key: dates do not count."""
    document, signature = vector("rspamd-2024-use1-0", "signature")
    assert verify("signature", document, signature, BUNDLE).flaw is None
    assert not hasattr(BUNDLE.keys["signature"][0], "not_after")


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_malformed(octets: bytes) -> None:
    try:
        value = ber.read(octets)
    except ber.Malformed:
        return
    assert value.end == len(octets)


def test_no_message_with_one_bit_changed_verifies() -> None:
    for at in range(len(MESSAGE)):
        for bit in range(8):
            changed = MESSAGE[:at] + bytes([MESSAGE[at] ^ 1 << bit]) + MESSAGE[at + 1 :]
            assert verify("rsa2048", DOCUMENT, b64(changed), BUNDLE).flaw is not None, (at, bit)


@pytest.mark.parametrize("at", range(0, len(MESSAGE), 7))
def test_no_beginning_of_a_message_verifies(at: int) -> None:
    assert verify("rsa2048", DOCUMENT, b64(MESSAGE[:at]), BUNDLE).flaw in ("shape", "empty")


def test_the_bundle_knows_its_age() -> None:
    assert not BUNDLE.stale(BUNDLE.retrieved)
    assert BUNDLE.stale(date(BUNDLE.retrieved.year + 2, 1, 1))


def test_certificates_are_read_from_a_saved_copy_of_the_page() -> None:
    """A page in the shape of AWS's, made of the bundle itself, gives the bundle back; tabs or not."""
    spec = importlib.util.spec_from_file_location("refresh_certs", ROOT / "tools" / "refresh_certs.py")
    assert spec is not None
    assert spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    folder = ROOT / "src" / "imdswatch" / "data" / "certs"
    bundled = {name: (folder / name).read_text(encoding="utf-8") for name in FILES.values()}
    tabs = {"dsa1024.pem": "DSA", "rsa1024.pem": "RSA", "rsa2048.pem": "RSA-2048"}
    parts: dict[str, list[str]] = {}
    for name, text in bundled.items():
        for region, pem in re.findall(r"(?s)# (\S+)\n(-----BEGIN.*?END CERTIFICATE-----)", text):
            parts.setdefault(region, []).append(f"<h3>{tabs[name]}</h3><pre><code>{pem}</code></pre>")
    page = "".join(
        f"<h2>Region &ndash; <code>{region}</code></h2>{''.join(tab)}" for region, tab in parts.items()
    )
    assert dict(refresh.files(refresh.certificates(page))) == bundled
    plain = re.sub("<h3>.*?</h3>", "", page)
    told = dict(refresh.files(refresh.certificates(plain)))
    assert told["rsa2048.pem"].count("# ") >= 39
