"""The public keys with which AWS signs instance identity documents, by form and region (`data/certs`).

Keys are compared, never certificates: AWS re-issued certificates in 2024 and 2026 with unchanged keys, and an expired
certificate still tells the key. Read once at the first question; frozen.
Source: EC2 User Guide, "AWS public certificates" (regions-certs); where the copies come from stands in source.yml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

Form = Literal["signature", "rsa2048", "pkcs7"]
FORMS: tuple[Form, ...] = ("rsa2048", "signature", "pkcs7")
"""The paths below /latest/dynamic/instance-identity/ that hold a signature; the one that binds the region is first."""

FILES: Mapping[Form, str] = {"rsa2048": "rsa2048.pem", "signature": "rsa1024.pem", "pkcs7": "dsa1024.pem"}
STALE_AFTER_DAYS = 365
"""AWS adds a region once or twice a year: a bundle older than this probably lacks one."""

_ENTRY = re.compile(
    r"(?ms)^# ([a-z]{2,5}(?:-[a-z]+)+-\d)\n(-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----)$"
)


@dataclass(frozen=True, slots=True)
class Key:
    """The key of one form in one region, and the issuer and serial number that a PKCS#7 message names it by."""

    region: str
    issuer: bytes
    serial: int
    key: RSAPublicKey | DSAPublicKey


@dataclass(frozen=True, slots=True)
class Bundle:
    """All keys, and the day on which AWS's page was read."""

    keys: Mapping[Form, tuple[Key, ...]]
    retrieved: date

    def of(self, form: Form, region: str) -> Key | None:
        """Return the key of a form in a region; None if the bundle has none. There is no default (a known trap)."""
        return next((key for key in self.keys[form] if key.region == region), None)

    def stale(self, today: date) -> bool:
        """Say whether a region may have been added since."""
        return (today - self.retrieved).days > STALE_AFTER_DAYS


@cache
def bundle() -> Bundle:
    """Return the certificates that come with the program."""
    folder = files("imdswatch").joinpath("data/certs")
    source: dict[str, Any] = yaml.safe_load(folder.joinpath("source.yml").read_text(encoding="utf-8"))
    keys = {form: parse(folder.joinpath(name).read_text(encoding="utf-8")) for form, name in FILES.items()}
    return Bundle(keys, source["retrieved"])


def parse(text: str) -> tuple[Key, ...]:
    """Return the keys of a file: certificates in PEM, each below a line `# region`. Raises ValueError."""
    return tuple(map(_key, *zip(*_ENTRY.findall(text), strict=True)))


def _key(region: str, pem: str) -> Key:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey | DSAPublicKey):
        raise ValueError(f"the certificate of {region} has neither an RSA nor a DSA key")
    return Key(region, certificate.issuer.public_bytes(), certificate.serial_number, key)
