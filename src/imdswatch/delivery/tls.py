"""TLS as all targets use it: certificates and names are always verified, against the system's authorities or `ca=FILE`.

There is no option to turn that off. `cert` and `key` name a client certificate.

`Session` is a connection whose end can be told apart: a close_notify, which only a living receiver sends, from a mere
end, and from a fatal alert. `ssl.SSLSocket.unwrap` takes the last for the first, as OpenSSL's SSL_shutdown does; with
TLS 1.3 a receiver that refuses our certificate says so after the handshake, which may be after everything was sent.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from imdswatch.delivery.message import Undelivered
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


class Session:
    """TLS over a connected socket, driven through memory so that sending and reading are two things.

    Raises OSError, and Undelivered for a receiver that sends data: nothing that we speak to over it should.
    """

    def __init__(self, context: ssl.SSLContext, plain: socket.socket, name: str) -> None:
        """Shake hands; `name` must be in the receiver's certificate."""
        self._plain, self._incoming, self._outgoing = plain, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._driven(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._driven(lambda: self._tls.write(data))

    def send_close_notify(self) -> None:
        """Say that nothing more comes."""
        try:
            while True:  # what came with the handshake, so that the next step has nothing to read
                self._refuse_data()
        except ssl.SSLWantReadError:
            pass
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._plain.sendall(self._outgoing.read())

    def read_close_notify(self) -> bool:
        """Return whether the receiver ended as TLS wants it; False where the connection just ended."""
        try:
            self._driven(self._refuse_data)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLEOFError:
            return False
        return True

    def _refuse_data(self) -> None:
        if self._tls.read(1):
            raise Undelivered("the receiver talks; that is no syslog")

    def _driven(self, step: Callable[[], object]) -> None:
        """Do a step of TLS, carrying octets between it and the socket until it is done."""
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                self._plain.sendall(self._outgoing.read())
                octets = self._plain.recv(1 << 16)
                if octets:
                    self._incoming.write(octets)
                else:
                    self._incoming.write_eof()
            else:
                self._plain.sendall(self._outgoing.read())
                return
