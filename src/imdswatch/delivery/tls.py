"""TLS as all targets use it: certificates and names are always verified, against the system's authorities or `ca=FILE`.

There is no option to turn that off. `cert` and `key` name a client certificate.
"""

from __future__ import annotations

import ssl

from imdswatch.delivery.target import Target
from imdswatch.errors import UsageError


def context(target: Target) -> ssl.SSLContext:
    """Return the context for one target; raises UsageError where a file cannot be read."""
    ca, cert, key = (target.options.get(name) for name in ("ca", "cert", "key"))
    if key is not None and cert is None:
        raise UsageError(f"{target.shown} has `key` without `cert`")
    file = ca
    try:
        made = ssl.create_default_context(cafile=ca)
        file = cert
        if cert is not None:
            # A key with a passphrase would ask the terminal for it.
            made.load_cert_chain(cert, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not usable"
        raise UsageError(
            f"cannot load a certificate for {target.shown}: {str(why).lower()}", file=file or ""
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
