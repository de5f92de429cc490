"""Writes src/imdswatch/data/certs anew from a saved copy of AWS's page with the certificates (no network is used).

    python tools/refresh_certs.py regions-certs.html --retrieved 2027-01-31

The page is "AWS public certificates" (regions-certs) of the EC2 User Guide, as a browser saves it, or its Markdown. Of
each certificate counts the region that was named last before it, and the tab it stands in (DSA, RSA, RSA-2048); where
no tab is named, the size of its key. Nothing is written where a region that is known now would be lost, unless --drop.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: E402

from imdswatch.probe.certificates import FILES, Form, parse  # noqa: E402

FOLDER = ROOT / "src" / "imdswatch" / "data" / "certs"
TABS: Mapping[str, Form] = {"DSA": "pkcs7", "RSA": "signature", "RSA-2048": "rsa2048"}
MARK = re.compile(
    r"\b(?P<region>[a-z]{2,5}(?:-[a-z]+)+-\d)\b"
    r"|(?<![\w-])(?P<tab>RSA-2048|RSA|DSA)(?![\w-])"
    r"|(?P<pem>-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{100,10000}-----END CERTIFICATE-----)"
)
Found = dict[tuple[Form, str], str]


def certificates(page: str) -> Found:
    """Return the certificates of a page in PEM, by form and region; the first one of each counts."""
    found: Found = {}
    region = tab = ""
    for match in MARK.finditer(html.unescape(re.sub(r"<[^>]*>", " ", page))):
        if match["region"]:
            region, tab = match["region"], ""
        elif match["tab"]:
            tab = match["tab"]
        elif region:
            body = "".join(match["pem"].split("-----")[2].split())
            lines = [body[at : at + 64] for at in range(0, len(body), 64)]
            pem = "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])
            found.setdefault((TABS[tab] if tab else _form(pem), region), pem)
    return found


def _form(pem: str) -> Form:
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    if not isinstance(key, RSAPublicKey):
        return "pkcs7"
    return "rsa2048" if key.key_size == 2048 else "signature"


def files(found: Found) -> Iterator[tuple[str, str]]:
    """Return name and text of each file."""
    for form, name in FILES.items():
        entries = sorted((region, pem) for (of, region), pem in found.items() if of == form)
        yield name, "\n".join(f"# {region}\n{pem}\n" for region, pem in entries)


def main() -> None:
    """Read the page, say what changed, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument(
        "--retrieved", required=True, help="the day on which the page was saved, as 2027-01-31"
    )
    parser.add_argument("--drop", action="store_true", help="let go of regions that the page lacks")
    given = parser.parse_args()
    made = dict(files(certificates(given.page.read_text(encoding="utf-8"))))
    for name, text in made.items():
        before = {key.region for key in parse((FOLDER / name).read_text(encoding="utf-8"))}
        after = {key.region for key in parse(text)} if text else set()
        gone = sorted(before - after)
        sys.stdout.write(f"{name}: {len(after)} regions; new: {sorted(after - before)}; gone: {gone}\n")
        if before - after and not given.drop:
            sys.exit("regions would be lost: nothing was written (--drop to let them go)")
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    source = FOLDER / "source.yml"
    text = re.sub(r"(?m)^retrieved: .*$", f"retrieved: {given.retrieved}", source.read_text(encoding="utf-8"))
    source.write_text(re.sub(r"(?ms)^copied_from:.*", "", text), encoding="utf-8")


if __name__ == "__main__":
    main()
