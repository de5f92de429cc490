"""The AWS account that an access key id belongs to, worked out offline.

Source of the layout: Tal Be'ery, "A short note on AWS KEY ID"; Aidan Steele's blog; both agree. AWS documents only the
online way (`sts get-access-key-info`). There is no checksum: whoever forges a key id can name any account.
"""

from __future__ import annotations

import base64
import re

_KEY_ID = re.compile(r"A[A-Z0-9]{3}[Q-Z2-7][A-Z2-7]{15}\Z")
_MASK = 0x7FFFFFFFFF80


def account_of(access_key_id: str) -> str | None:
    """Return the twelve-digit account of a key id, or None where it does not tell (old format, no key id).

    Ids issued before about 2019 have a letter A to P in fifth place and carry no account.
    """
    if not _KEY_ID.match(access_key_id):
        return None
    number = int.from_bytes(base64.b32decode(access_key_id[4:])[:6])
    return f"{(number & _MASK) >> 7:012d}"
