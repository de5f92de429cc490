"""Did AWS sign this instance identity document, and for which region.

`verify` answers for one of the three signed forms. It trusts the bundled public keys alone: certificates inside a
message are not looked at, an unknown region has no default key, dates of certificates do not count. What was signed is
compared octet for octet with the document; nothing is parsed and written again. Pure; it never raises.

A valid signature proves that AWS wrote the document for some instance, never that this host is that instance: anybody
can relay one. `judge` answers that.
Sources: EC2 User Guide, "Verify the instance identity document"; RFC 2315 and RFC 5652 (SignedData).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from imdswatch.probe import ber
from imdswatch.probe.certificates import Bundle, Form, Key

Flaw = Literal[
    "empty",  # no signature, or no document
    "encoding",  # no base64
    "shape",  # no such message, or one with more in it than AWS sends
    "no-region",  # the document names no region
    "unknown-region",  # the bundle has no key for it
    "content",  # what was signed is not the document
    "signer",  # the message names another certificate than the one of the document's region
    "algorithm",  # another digest or signature algorithm than AWS uses for this form
    "digest",  # the signed attributes do not belong to the content
    "signature",  # not made with AWS's key
]

_LONGEST_DOCUMENT = 1 << 16
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_DATA = bytes.fromhex("2a864886f70d010701")  # 1.2.840.113549.1.7.1
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")  # 1.2.840.113549.1.9.3
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")  # 1.2.840.113549.1.9.4
_SHA256, _SHA1 = bytes.fromhex("608648016503040201"), bytes.fromhex("2b0e03021a")
_RSA, _RSA_SHA256 = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010b")
_DSA, _DSA_SHA1 = bytes.fromhex("2a8648ce380401"), bytes.fromhex("2a8648ce380403")
_RSA_ALGORITHMS, _DSA_ALGORITHMS = frozenset({_RSA, _RSA_SHA256}), frozenset({_DSA, _DSA_SHA1})


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one signature: `flaw` None means that AWS made it for this document."""

    form: Form
    flaw: Flaw | None
    region: str | None = None
    detail: str = ""

    @property
    def binds_region(self) -> bool:
        """Whether the key belongs to one region alone; the other forms share keys between regions."""
        return self.flaw is None and self.form == "rsa2048"


class _Flawed(Exception):
    def __init__(self, flaw: Flaw, detail: str = "") -> None:
        super().__init__(flaw)
        self.flaw, self.detail = flaw, detail


def verify(form: Form, document: bytes, signature: bytes, bundle: Bundle) -> Verified:
    """Return whether AWS signed these very octets of a document for the region that it names.

    `signature` is the body of the answer: base64, line breaks allowed.
    """
    region = None
    try:
        if not signature.strip() or not document:
            raise _Flawed("empty")
        region = _region(document)
        key = bundle.of(form, region)
        if key is None:
            raise _Flawed("unknown-region", region)
        raw = _decoded(signature)
        if form == "signature":
            _check_raw(document, raw, key)
        else:
            _check_message(document, raw, key)
    except _Flawed as flawed:
        return Verified(form, flawed.flaw, region, flawed.detail)
    except ber.Malformed as error:
        return Verified(form, "shape", region, str(error))
    return Verified(form, None, region)


def _region(document: bytes) -> str:
    if len(document) > _LONGEST_DOCUMENT:
        raise _Flawed("no-region", "too long for a document")
    try:
        # A name that stands twice may be read either way by others: such a document is not AWS's.
        found = json.loads(document, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _Flawed("no-region", "the document is no JSON object with each name once") from None
    region = found.get("region") if isinstance(found, dict) else None
    if not isinstance(region, str):
        raise _Flawed("no-region")
    return region[:64]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _Flawed("encoding") from None


def _check_raw(document: bytes, signature: bytes, key: Key) -> None:
    if not isinstance(key.key, RSAPublicKey):
        raise _Flawed("algorithm")
    _check(key, signature, document, hashes.SHA256())


def _check(key: Key, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm) -> None:
    try:
        if isinstance(key.key, RSAPublicKey):
            key.key.verify(signature, signed, PKCS1v15(), digest)
        else:
            key.key.verify(signature, signed, digest)
    except InvalidSignature:
        raise _Flawed("signature") from None


# SignedData (RFC 2315 9.1): what AWS sends has one digest algorithm, the content, no certificates, one signer.


def _check_message(document: bytes, message: bytes, key: Key) -> None:
    outer = ber.read(message).named(ber.SEQUENCE, "ContentInfo")
    kind, content = _fields(outer, 2, "ContentInfo")
    if _oid(kind) != _SIGNED_DATA:
        raise _Flawed("shape", "no SignedData")
    (signed_data,) = _fields(content.named(ber.CONTEXT_0, "the content"), 1, "the content")
    version, digests, info, signers = _fields(
        signed_data.named(ber.SEQUENCE, "SignedData"), 4, "SignedData, which has no certificates in it,"
    )
    if ber.integer(version) != 1:
        raise _Flawed("shape", "another version than 1")
    (outer_digest,) = _fields(digests.named(ber.SET, "digestAlgorithms"), 1, "digestAlgorithms")
    signed = _content(info)
    if signed != document:
        raise _Flawed("content")
    (signer,) = _fields(signers.named(ber.SET, "signerInfos"), 1, "signerInfos")
    _check_signer(message, signer, _algorithm(outer_digest), signed, key)


def _check_signer(message: bytes, signer: ber.Value, outer_digest: bytes, signed: bytes, key: Key) -> None:
    version, identity, digest, attributes, algorithm, value = _fields(
        signer.named(ber.SEQUENCE, "SignerInfo"), 6, "SignerInfo, which has signed attributes,"
    )
    if ber.integer(version) != 1:
        raise _Flawed("shape", "a signer of another version than 1")
    issuer, serial = _fields(
        identity.named(ber.SEQUENCE, "issuerAndSerialNumber"), 2, "issuerAndSerialNumber"
    )
    # The issuer's name is the same in all regions; the serial number names the certificate.
    if ber.integer(serial) != key.serial or message[issuer.start : issuer.end] != key.issuer:
        raise _Flawed("signer")
    is_rsa = isinstance(key.key, RSAPublicKey)
    wanted, hasher = (_SHA256, hashes.SHA256()) if is_rsa else (_SHA1, hashes.SHA1())
    if outer_digest != wanted or _algorithm(digest) != wanted:
        raise _Flawed("algorithm", "digest")
    if _algorithm(algorithm) not in (_RSA_ALGORITHMS if is_rsa else _DSA_ALGORITHMS):
        raise _Flawed("algorithm", "signature")
    octets = (
        hashlib.sha256(signed).digest() if is_rsa else hashlib.sha1(signed, usedforsecurity=False).digest()
    )
    _check_attributes(attributes, octets)
    # Signed is the DER of the attributes as a SET, whose tag is not the one they have in the message (RFC 2315 9.3).
    encoded = b"\x31" + message[attributes.start + 1 : attributes.end]
    _check(key, ber.octet_string(value.named(ber.OCTETS, "the signature")), encoded, hasher)


def _check_attributes(attributes: ber.Value, digest: bytes) -> None:
    """Make sure that the signed attributes name this very content: a signature of them alone is worth nothing."""
    if not _is_closed(attributes):
        raise _Flawed("shape", "signed attributes that are no DER")
    found: dict[bytes, ber.Value] = {}
    for attribute in attributes.named(ber.CONTEXT_0, "signed attributes").inner:
        name, values = _fields(attribute.named(ber.SEQUENCE, "an attribute"), 2, "an attribute")
        (one,) = _fields(values.named(ber.SET, "the values of an attribute"), 1, "the values of an attribute")
        if _oid(name) in found:
            raise _Flawed("shape", "an attribute stands twice")
        found[_oid(name)] = one
    if _CONTENT_TYPE not in found or _MESSAGE_DIGEST not in found:
        raise _Flawed("digest", "an attribute is missing")
    if _oid(found[_CONTENT_TYPE]) != _DATA or ber.octet_string(found[_MESSAGE_DIGEST]) != digest:
        raise _Flawed("digest")


def _is_closed(value: ber.Value) -> bool:
    return value.closed and all(map(_is_closed, value.inner))


def _content(info: ber.Value) -> bytes:
    kind, wrapped = _fields(info.named(ber.SEQUENCE, "contentInfo"), 2, "contentInfo")
    if _oid(kind) != _DATA:
        raise _Flawed("shape", "the signed content is no plain data")
    (octets,) = _fields(wrapped.named(ber.CONTEXT_0, "the signed content"), 1, "the signed content")
    return ber.octet_string(octets)


def _fields(value: ber.Value, count: int, what: str) -> tuple[ber.Value, ...]:
    if len(value.inner) != count:
        raise ber.Malformed(f"byte {value.start}: {what} has {len(value.inner)} fields, not {count}")
    return value.inner


def _oid(value: ber.Value) -> bytes:
    return value.named(ber.OID, "an object identifier").octets


def _algorithm(value: ber.Value) -> bytes:
    """Return the identifier of an algorithm; its parameters are NULL (2021) or absent (2026), nothing else."""
    inner = value.named(ber.SEQUENCE, "an algorithm").inner
    if len(inner) not in (1, 2) or (len(inner) == 2 and (inner[1].tag != ber.NULL or inner[1].octets)):
        raise ber.Malformed(f"byte {value.start}: an algorithm with parameters")
    return _oid(inner[0])
