"""The server name that a TLS ClientHello asks for, read from the first octets of a connection.

Pure; it never raises, whatever the octets are; linear. The hello may be spread over records and may be cut: a name that
stands there whole is found, a cut one is not. With Encrypted Client Hello this is the outer name, the only one to see.
Sources: RFC 8446 4.1.2 and 5.1, RFC 6066 3 (server_name), draft-ietf-tls-esni (ECH), RFC 8701 (GREASE).
"""

from __future__ import annotations

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
_VERSION_AND_RANDOM = 2 + 32
MAX_HELLO = 64 * 1024
"""Octets of a hello that are looked at; with post-quantum key shares real ones have about 2000."""


def server_name(octets: bytes) -> str | None:
    """Return the host name that a ClientHello names, or None: no TLS, no such extension, or it is cut off before.

    Lower case; octets that no host name holds are escaped as `\\xNN`.
    """
    hello = _handshake(octets[:MAX_HELLO])
    if len(hello) < 4 or hello[0] != _CLIENT_HELLO:
        return None
    body = hello[4 : 4 + int.from_bytes(hello[1:4])]
    place = _VERSION_AND_RANDOM
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        if place + width > len(body):
            return None
        place += width + int.from_bytes(body[place : place + width])
    return _from_extensions(body[place + 2 :])


def is_client_hello(octets: bytes) -> bool:
    """Say whether octets begin as a TLS connection does: a handshake record that holds a ClientHello."""
    return len(octets) >= 6 and octets[0] == _HANDSHAKE and octets[1] == 3 and octets[5] == _CLIENT_HELLO


def _handshake(octets: bytes) -> bytes:
    """Return the handshake octets of the leading records, joined: a message may be cut anywhere between records."""
    parts = []
    place = 0
    while place + 5 <= len(octets) and octets[place] == _HANDSHAKE and octets[place + 1] == 3:
        length = int.from_bytes(octets[place + 3 : place + 5])
        parts.append(octets[place + 5 : place + 5 + length])
        place += 5 + length
    return b"".join(parts)


def _from_extensions(octets: bytes) -> str | None:
    place = 0
    while place + 4 <= len(octets):
        kind = int.from_bytes(octets[place : place + 2])
        length = int.from_bytes(octets[place + 2 : place + 4])
        if kind == _SERVER_NAME:
            return _from_list(octets[place + 4 : place + 4 + length])
        place += 4 + length
    return None


def _from_list(octets: bytes) -> str | None:
    place = 2
    while place + 3 <= len(octets):
        length = int.from_bytes(octets[place + 1 : place + 3])
        name = octets[place + 3 : place + 3 + length]
        if octets[place] == _HOST_NAME:
            return _text(name) if 0 < len(name) == length else None
        place += 3 + length
    return None


def _text(name: bytes) -> str:
    shown = "".join(
        chr(octet) if 0x21 <= octet <= 0x7E and octet != 0x5C else f"\\x{octet:02x}" for octet in name
    )
    return shown[:1024].lower()
