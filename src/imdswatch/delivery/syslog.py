"""Syslog over TCP, TLS and UDP (RFC 6587, 5425, 5426).

Syslog has no acknowledgement. Over a stream we take the orderly end of the connection for one: after a batch we end our
side, and the receiver, having read it all, ends its own. A receiver that dies with unread octets resets the connection
instead, and the batch is sent again. Over TLS its close_notify says so too, which a killed program cannot send, and
`confirm=strict` insists on it. What remains: a receiver that read everything, and died before it stored it. Only a
webhook, which answers, closes that gap. UDP promises nothing: what is sent counts as delivered.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence

from imdswatch.delivery import rfc5424, tls
from imdswatch.delivery.message import Channel, Message, Refused, Undelivered
from imdswatch.delivery.target import Target

_CONNECT, _SEND, _CLOSE = 10.0, 30.0, 10.0
"""Seconds to wait for a connection, for room to send, for the receiver's end of it."""
_ECHO = 0.02
"""Seconds in which "port unreachable" comes back, where it does: all that UDP ever says."""
_CHATTER = 1 << 16
"""Octets of a receiver that talks, where none should, before we give it up."""
_MAX_STREAM, _MAX_DATAGRAM = 8192, 2048
"""What receivers should take at least: RFC 5425 4.3.1, RFC 5426 3.2."""
_SIOCOUTQ = 0x5411
"""Linux: octets that the other side has not acknowledged yet (tcp(7))."""


def open_channel(target: Target) -> Channel:
    """Return the channel to a syslog target; nothing is connected yet."""
    return _Datagrams(target) if target.scheme == "syslog+udp" else _Stream(target)


class _Writer:
    """What all transports share: how a message is written."""

    def __init__(self, target: Target, most: int) -> None:
        self._facility = target.number("facility", 10, 0, 23)  # 10: security and authorization
        self._longest = target.size("max", most)
        self._hostname = socket.gethostname()

    def written(self, batch: Sequence[Message]) -> list[bytes]:
        """Return the messages in order, up to the first that cannot be written; raises Refused if that is the first."""
        done: list[bytes] = []
        for one in batch:
            text = rfc5424.message(
                one, hostname=self._hostname, process=os.getpid(), facility=self._facility, most=self._longest
            )
            if text is None:
                if done:
                    break
                raise Refused(f"it does not fit into a message of {self._longest} octets (`max`)", 0)
            done.append(text)
        return done


class _Stream:
    """One connection for each batch."""

    most = 500

    def __init__(self, target: Target) -> None:
        self._where = (target.host, target.port)
        self._strict = target.choice("confirm", ("close", "strict")) == "strict"
        self._context = tls.context(target) if target.scheme == "syslog+tls" else None
        self._name = target.options.get("name", target.host)
        self._write = _Writer(target, _MAX_STREAM)

    def send(self, batch: Sequence[Message]) -> int:
        messages = self._write.written(batch)
        try:
            with socket.create_connection(self._where, _CONNECT) as plain:
                if self._context is None:
                    plain.settimeout(_SEND)
                    plain.sendall(rfc5424.framed(messages))
                    plain.shutdown(socket.SHUT_WR)
                    self._read_to_the_end(plain)
                else:
                    self._send_by_tls(self._context, plain, rfc5424.framed(messages))
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA refuses
            raise Undelivered(reason(error)) from None
        return len(messages)

    def close(self) -> None:
        """Nothing is open between batches."""

    def _send_by_tls(self, context: ssl.SSLContext, plain: socket.socket, data: bytes) -> None:
        plain.settimeout(_CONNECT)
        session = tls.Session(context, plain, self._name)
        plain.settimeout(_SEND)
        session.send(data)
        session.send_close_notify()
        plain.settimeout(_CLOSE)
        try:
            confirmed = session.read_close_notify()
        except TimeoutError:
            confirmed = False
        # Many receivers just close, or never do.
        if self._strict and not confirmed:
            raise Undelivered("the receiver sent no TLS close_notify (`confirm=strict`)")

    def _read_to_the_end(self, plain: socket.socket) -> None:
        """Return once the receiver has ended its side; some never do, and then what its kernel has must do."""
        until, read = time.monotonic() + _CLOSE, 0
        while (rest := until - time.monotonic()) > 0:
            if not select.select([plain], [], [], rest)[0]:
                break
            octets = plain.recv(4096)
            if not octets:
                return
            read += len(octets)
            if read > _CHATTER:
                raise Undelivered("the receiver talks; that is no syslog")
        [unacknowledged] = struct.unpack("i", fcntl.ioctl(plain, _SIOCOUTQ, b"\0\0\0\0"))
        if unacknowledged or self._strict:
            raise Undelivered("the receiver did not end the connection")


class _Datagrams:
    """One datagram for each message."""

    most = 100

    def __init__(self, target: Target) -> None:
        self._where = (target.host, target.port)
        self._write = _Writer(target, _MAX_DATAGRAM)

    def send(self, batch: Sequence[Message]) -> int:
        messages = self._write.written(batch)
        try:
            [family, kind, protocol, _, address] = socket.getaddrinfo(*self._where, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(_SEND)
                connection.connect(address)  # so that "port unreachable" reaches us
                for one in messages:
                    connection.send(one)
                select.select([connection], [], [], _ECHO)
                if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(number, os.strerror(number))
        except (OSError, ValueError) as error:
            raise Undelivered(reason(error)) from None
        return len(messages)

    def close(self) -> None:
        """Nothing is open between batches."""


def reason(error: Exception) -> str:
    """Return why something of the network failed, in a few words, without anything that a receiver said."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'unknown').lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
