"""A fake Instance Metadata Service for recordings in network namespaces; nothing in it is a real credential.

It speaks IMDSv1 and IMDSv2 closely enough that real AWS clients take its credentials. Every secret begins with FAKE.
The key ids are of the new format, so an account can be worked out of them: ASIARZPUZDIKFAKEFAKE is 123456789012,
ASIAQAAAAAAAFAKEFAKE is 000000000000; ASIAFAKEFAKEFAKEFAKE is of the old format, which tells no account. Status codes
and paths are those of the EC2 User Guide ("Instance metadata and user data"). Only the standard library is used.
Never start it where a route to the world exists: `record.sh` starts it in a namespace without one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import socket
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler

TOKEN = "FAKE-IMDS-TOKEN-NOT-REAL-FAKE-IMDS-TOKEN-NOT-REAL-FAKE=="
TREES = ("latest", "1.0", "2007-01-19", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "2021-07-15")
PORTAL = b"<!DOCTYPE html><html><head><title>Guest network</title></head><body>Please log in.</body></html>\n"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", action="append", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--no-v1", action="store_true", help="401 without a token")
    parser.add_argument("--no-v2", action="store_true", help="404 for the token")
    parser.add_argument("--role", default="fake-role")
    parser.add_argument("--key-id", default="ASIARZPUZDIKFAKEFAKE")
    parser.add_argument("--extended", metavar="ACCOUNT", help="AccountId of security-credentials-extended/")
    parser.add_argument("--info", metavar="ACCOUNT", default="123456789012", help="account of iam/info")
    parser.add_argument(
        "--document", metavar="ACCOUNT", default="123456789012", help="of the identity document"
    )
    parser.add_argument("--code", default="Success", help="Code of the credential document")
    parser.add_argument("--status", type=int, help="answer everything with this status")
    parser.add_argument("--portal", action="store_true", help="answer everything with 200 and a page")
    parser.add_argument("--body", choices=("length", "chunked", "gzip"), default="length")
    parser.add_argument("--tls", metavar="PEM", help="speak TLS with this certificate and key")
    return parser.parse_args()


def documents(given: argparse.Namespace) -> dict[str, str]:
    """Return what stands below every tree, by path."""
    now = time.time()

    def iso(when: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))

    head = {"Code": given.code, "LastUpdated": iso(now)}
    if given.code == "Success":
        credentials = {
            **head,
            "Type": "AWS-HMAC",
            "AccessKeyId": given.key_id,
            "SecretAccessKey": "FAKE/SECRET/NOT/REAL/FAKE/SECRET/NOTREAL",
            "Token": "FAKE-SESSION-TOKEN-NOT-REAL-FAKE-SESSION-TOKEN-NOT-REAL",
            "Expiration": iso(now + 6 * 3600),
        }
    else:
        credentials = {**head, "Message": "EC2 cannot assume the role fake-role."}
    roles = "meta-data/iam/security-credentials/"
    extended = "meta-data/iam/security-credentials-extended/"
    found = {
        "": "dynamic\nmeta-data\nuser-data",
        "meta-data/": "ami-id\nhostname\niam/\ninstance-id\nplacement/",
        "meta-data/instance-id": "i-0fake0fake0fake00",
        "meta-data/placement/region": "us-east-1",
        "meta-data/placement/availability-zone": "us-east-1a",
        "meta-data/placement/availability-zone/": "us-east-1a",
        roles: given.role,
        roles + given.role: json.dumps(credentials, indent=2),
        "meta-data/iam/info": json.dumps(
            {
                **head,
                "InstanceProfileArn": f"arn:aws:iam::{given.info}:instance-profile/{given.role}",
                "InstanceProfileId": "AIPAFAKEFAKEFAKEFAKE",
            },
            indent=2,
        ),
        "dynamic/instance-identity/document": json.dumps(
            {
                "accountId": given.document,
                "availabilityZone": "us-east-1a",
                "instanceId": "i-0fake0fake0fake00",
                "region": "us-east-1",
                "version": "2017-09-30",
            },
            indent=2,
        ),
    }
    if given.extended:
        found[extended] = given.role
        found[extended + given.role] = json.dumps({**credentials, "AccountId": given.extended}, indent=2)
    return found


def handler(given: argparse.Namespace) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests as the options say."""

    class Imds(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "EC2ws", ""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def reply(self, status: int, body: bytes = b"", kind: str = "text/plain", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if given.body == "gzip" and body:
                body = gzip.compress(body, mtime=0)
                self.send_header("Content-Encoding", "gzip")
            if given.body == "chunked" and body:
                self.send_header("Transfer-Encoding", "chunked")
                cut = len(body) // 2
                pieces = [body[:cut], body[cut:], b""]
                body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece or not cut)
                body = body if body.endswith(b"0\r\n\r\n") else body + b"0\r\n\r\n"
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path
            if path.startswith("http://"):
                path = "/" + path[7:].partition("/")[2]
            if given.portal:
                return self.reply(200, PORTAL, "text/html")
            if given.status:
                return self.reply(given.status, b"no\n")
            if path == "/latest/api/token":
                return self.token()
            if self.command not in ("GET", "HEAD"):
                return self.reply(405)
            token = self.headers.get("X-aws-ec2-metadata-token")
            if token != TOKEN and (given.no_v1 or token is not None):
                return self.reply(401)
            tree, _, rest = path.lstrip("/").partition("/")
            text = documents(given).get(rest) if tree in TREES else None
            if text is None:
                return self.reply(404, b"404 - Not Found")
            return self.reply(200, text.encode())

        def token(self) -> None:
            if given.no_v2:
                return self.reply(404, b"404 - Not Found")
            if self.command != "PUT":
                return self.reply(405, Allow="OPTIONS, PUT")
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") or ""
            if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
                return self.reply(400)
            return self.reply(200, TOKEN.encode(), X_Aws_Ec2_Metadata_Token_Ttl_Seconds=ttl)

        do_GET = do_PUT = do_HEAD = do_POST = answer

    return Imds


class Server(socketserver.ThreadingTCPServer):
    """IPv4 or IPv6, as the address says. Looks up no name: there is no resolver."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, address: str, given: argparse.Namespace) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, given.port), handler(given))
        if given.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(given.tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no news."""


def main() -> None:
    """Serve until killed."""
    given = options()
    for address in given.bind:
        threading.Thread(target=Server(address, given).serve_forever, daemon=True).start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
