"""The classes of benign noise: how each line is made, what the scan says of it, why, and what to do. Pure data.

`NOISE` is the one table; docs/benign.md is printed from it and tests/test_benign.py proves it. The file is long
because the table is. Addresses are private or reserved for documentation.
"""
# ruff: noqa: E501  # a row of the table reads better long than broken

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from benign_lines import Exchange

ENDPOINT = "169.254.169.254"
Make = Callable[[random.Random], Exchange]


@dataclass(frozen=True, slots=True)
class Noise:
    """One class of benign lines. `share` weighs it among the others.

    `rules` are all that match some line of the class; empty means that the scan must say nothing.
    """

    name: str
    kind: str
    share: float
    make: Make
    example: str
    why: str
    rules: tuple[str, ...] = ()
    severity: str = "low"
    advice: str = ""


_BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "Prometheus/2.53.0",
    "Go-http-client/1.1",
)
_SCANNERS = (
    "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
    "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)",
    "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
    "python-requests/2.32.3",
    "Mozilla/5.0 zgrab/0.x",
    "sqlmap/1.8#stable (https://sqlmap.org)",
    "-",
)
_PAGES = (
    "/", "/index.html", "/assets/app-9f2c.js", "/api/v1/items?page=3", "/login", "/favicon.ico", "/latest/",
    "/robots.txt", "/metrics", "/2026-11-22/report.html", "/wp-login.php", "/latest/news/2026-11-22.html",
)  # fmt: skip
_PARAMETERS = (
    "url",
    "u",
    "uri",
    "dest",
    "redirect",
    "next",
    "path",
    "img",
    "feed",
    "proxy",
    "callback",
    "file",
)
_TREES = (
    "/latest/meta-data/", "/latest/meta-data/iam/security-credentials/", "/latest/meta-data/iam/security-credentials/admin",
    "/latest/user-data", "/latest/dynamic/instance-identity/document", "/latest/api/token", "/latest/meta-data/hostname",
    "/2021-03-23/meta-data/", "/1.0/meta-data/iam/",
)  # fmt: skip
_STATUS = (404, 404, 404, 403, 400, 200, 301, 500)
_LOOKALIKES = (
    "/v2/latest/api/token", "/api/v4/projects/7/packages/generic/latest/meta-data.zip", "/latest/meta-data-backup/x.tgz",
    "/docs/latest/meta-data.html", "/repo/latest/meta-data/index.json", "/charts/latest/meta-datafile",
    "/artifactory/latest/api/tokens",
)  # fmt: skip
_TREE_OF_OUR_OWN = (
    "/latest/dynamic/bundle.js", "/latest/user-data/export", "/2026-01-05/dynamic/feed.json", "/1.0/user-data",
    "/latest/api/token",
)  # fmt: skip
_NEAR = (
    "/latest/metadata", "/latest/meta", "/latest/key.json", "/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html",
    "/bucket/latest/object", "/latest/userdata", "/latest/dynamics", "/lates/meta-data",
    "/2026-11-22/meta", "/meta-data/latest", "/computeMetadata/v1/", "/metadata/instance?api-version=2021-02-01",
    "/search?q=169.254.169.254", "/blog/what-is-169.254.169.254", "/blog/imds-169-254-169-254-explained",
    "/wiki/X-aws-ec2-metadata-token", "/search?q=latest%20meta%20data",
)  # fmt: skip
_POLICIES = (
    "deny-169.254.169.254", "Block 169.254.169.254/32 egress", "imds_169.254.169.254_out", "NO-IMDS-169.254.169.254",
    "allow-all-but-169.254.169.254",
)  # fmt: skip
_AZURE = ("Metadata", "Host", "User-Agent")
_GOOGLE = ("Metadata-Flavor", "Host", "User-Agent")


def _inside(rng: random.Random) -> str:
    return f"10.{rng.randrange(1, 9)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _outside(rng: random.Random) -> str:
    return f"{rng.choice(('198.51.100', '203.0.113', '192.0.2'))}.{rng.randrange(1, 255)}"


def _page(rng: random.Random) -> Exchange:
    return Exchange(client=_outside(rng), uri=rng.choice(_PAGES), agent=rng.choice(_BROWSERS), status=200)


def _scan(rng: random.Random, uri: str, method: str = "GET") -> Exchange:
    status = rng.choice(_STATUS)
    return Exchange(client=_outside(rng), uri=uri, method=method, agent=rng.choice(_SCANNERS), status=status)


def _ssrf(rng: random.Random) -> Exchange:
    target = f"http://{ENDPOINT}{rng.choice(('/latest/meta-data/', '/latest/meta-data/iam/security-credentials/'))}"
    spelled = (
        target
        if rng.random() < 0.4
        else quote(target, safe="")
        if rng.random() < 0.6
        else quote(quote(target, safe=""))
    )
    return _scan(
        rng,
        f"{rng.choice(('/', '/fetch', '/proxy.php', '/api/preview'))}?{rng.choice(_PARAMETERS)}={spelled}",
    )


def _open_proxy(rng: random.Random) -> Exchange:
    return _scan(
        rng,
        f"http://{ENDPOINT}{rng.choice(('/latest/meta-data/', '/latest/user-data', '/latest/meta-data/hostname'))}",
    )


def _referred(rng: random.Random) -> Exchange:
    found = _page(rng)
    found.referer = rng.choice(
        (f"http://{ENDPOINT}/latest/meta-data/", "https://docs.example.com/latest/meta-data/")
    )
    return found


def _asks(
    agent: str, paths: Sequence[str], headers: tuple[str, ...] = ("Host", "User-Agent"), method: str = "GET"
) -> Make:
    def make(rng: random.Random) -> Exchange:
        return Exchange(
            client=_inside(rng), server=ENDPOINT, host=ENDPOINT, uri=rng.choice(paths), agent=agent, status=0,
            headers=headers, method=method,
        )  # fmt: skip

    return make


def _denied(rng: random.Random) -> Exchange:
    paths = ("/metadata/instance", "/openstack/latest/meta_data.json", "/latest/meta-data/instance-id")
    return Exchange(
        client=_inside(rng),
        host=ENDPOINT,
        uri=rng.choice(paths),
        status=rng.choice((403, 403, 407)),
        answered=False,
    )


def _flow(servers: Sequence[tuple[str, int, str]], answered: bool = True) -> Make:
    def make(rng: random.Random) -> Exchange:
        server, port, proto = rng.choice(servers)
        return Exchange(client=_inside(rng), server=server, port=port, proto=proto, answered=answered)

    return make


def _link_local(rng: random.Random) -> Exchange:
    server = f"169.254.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    if server == ENDPOINT:
        server = "169.254.169.253"
    port, proto = rng.choice(((137, "udp"), (5353, "udp"), (445, "tcp"), (80, "tcp"), (5355, "udp")))
    client = f"169.254.{rng.randrange(256)}.{rng.randrange(1, 250)}" if rng.random() < 0.3 else _inside(rng)
    return Exchange(client=client, server=server, port=port, proto=proto, answered=rng.random() < 0.2)


def _policy(rng: random.Random) -> Exchange:
    return Exchange(
        client=_inside(rng),
        server=_outside(rng),
        port=443,
        policy=rng.choice(_POLICIES),
        answered=rng.random() < 0.5,
    )


def _dns(names: Sequence[str], answers: Sequence[str]) -> Make:
    def make(rng: random.Random) -> Exchange:
        name = rng.choice(names).replace("#", str(rng.randrange(10_000)))
        return Exchange(client=_inside(rng), query=name, answer=rng.choice(answers), proto="udp", port=53)

    return make


def _arp(targets: Sequence[str]) -> Make:
    def make(rng: random.Random) -> Exchange:
        return Exchange(client=_inside(rng), server=rng.choice(targets))

    return make


def _said(lines: Sequence[str]) -> Make:
    def make(rng: random.Random) -> Exchange:
        text = rng.choice(lines).replace("#", str(rng.randrange(100_000)))
        return Exchange(text=text)

    return make


_ASKED = "No answer: the address is asked, as on any network with cloud software, and nobody is there."
_OURS = "The path of a request to a web server of one's own; the endpoint is not involved."
_TELL = "Tell the agent where it runs (its cloud provider setting), or suppress it by source and rule."

NOISE: tuple[Noise, ...] = (
    # --- nothing --------------------------------------------------------------------------------------------------
    Noise("web pages", "web", 14, _page, "GET /index.html", "ordinary traffic"),
    Noise(
        "paths that are near", "web", 6, lambda rng: _scan(rng, rng.choice(_NEAR)), "GET /latest/metadata",
        "no path of the bulletin's rule, and no IMDS tree; addresses in a search query are text",
    ),
    Noise(
        "IMDS in the Referer", "web", 1, _referred, f"Referer: http://{ENDPOINT}/latest/meta-data/",
        "a page that somebody came from was not asked for",
    ),
    Noise(
        "ordinary flows", "flow", 22, _flow([("198.51.100.20", 443, "tcp"), ("10.20.2.66", 8080, "tcp"), ("10.0.0.53", 53, "udp")]),
        "10.1.2.3 -> 198.51.100.20:443", "ordinary traffic",
    ),
    Noise(
        "link-local traffic", "flow", 8, _link_local, "169.254.7.9 -> 169.254.12.34:5353",
        "zeroconf addresses (RFC 3927) that are not the endpoint",
    ),
    Noise(
        "neighbours of the endpoint", "flow", 4,
        _flow([
            ("169.254.169.123", 123, "udp"), ("169.254.169.253", 53, "udp"), ("169.254.170.2", 80, "tcp"),
            ("169.254.170.23", 80, "tcp"), ("169.254.169.249", 443, "tcp"), ("169.254.169.250", 1688, "tcp"),
            ("169.254.16.254", 80, "tcp"), ("169.25.169.254", 80, "tcp"), ("168.63.129.16", 80, "tcp"),
            ("100.100.100.200", 80, "tcp"),
        ]),
        "10.1.2.3 -> 169.254.169.123:123 (NTP), 169.254.170.2:80 (ECS)",
        "other services of AWS and of other clouds; another address is another service",
    ),
    Noise(
        "policy names", "policy", 3, _policy, 'policyname="deny-169.254.169.254" dstip=198.51.100.7',
        "the address stands in the name of the policy that matched some other connection",
    ),
    Noise(
        "DNS names", "dns", 9,
        _dns(
            ["www.example.com", "cdn-#.example.net", "sts.eu-west-1.amazonaws.com", "metadata.google.internal",
             "254.169.254.169.in-addr.arpa", "instance-data-backup.example.com", "my.instance-data.example.com",
             "latest.meta-data.example.com", "169.254.169.254.example.com"],
            ["198.51.100.7", "10.3.0.9", "169.254.169.253", ""],
        ),
        "metadata.google.internal, 254.169.254.169.in-addr.arpa", "neither the endpoint's name nor its address as an answer",
    ),
    Noise(
        "ARP for other addresses", "arp", 1, _arp(["10.20.1.1", "169.254.12.34", "169.254.169.25", "169.254.169.253"]),
        "who has 169.254.12.34", "zeroconf probes and gateways",
    ),
    Noise(
        "addresses that only look like it", "text", 4,
        _said([
            "build 1169.254.169.254 finished in # ms", "node 169.254.169.2541 is up, load #", "version 169.254.169.254.7 installed #",
            "object group IMDS_169.254.169.254_HOSTS updated #", "route 169.254.169.254/32 blackhole metric #",
            "package agent-169.254.169.254-1.x86_64 #", "acl deny-169.254.169.254-out hit #", "oid 1.3.169.254.169.254 = #",
            "user opened https://docs.example.com/AWSEC2/latest/UserGuide/configuring-imds.html #",
            "GET /latest/metadata #", "cert for fd00:ec2::2540 renewed #", "10.169.254.169.254 #",
        ]),
        "1169.254.169.254, 169.254.169.2541, object IMDS_169.254.169.254_HOSTS",
        "part of a longer word, number, name or network: no whole token",
    ),
    # --- low ------------------------------------------------------------------------------------------------------
    Noise(
        "SSRF probes in a query", "web", 6, _ssrf, "GET /fetch?url=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F",
        "A stranger asked a web server of yours to ask the endpoint. Only the bulletin's rule sees it, in a query parameter.",
        ("aws-2025-021",), "low",
        "Nothing on the network. See whether the application fetches what it is told to; give `on_premises`, and strangers "
        "are left out.",
    ),
    Noise(
        "IMDS paths on a web server", "web", 4, lambda rng: _scan(rng, rng.choice(_TREES), rng.choice(("GET", "GET", "PUT"))),
        "GET /latest/meta-data/iam/security-credentials/ by a scanner, 404 or 200", _OURS,
        ("aws-2025-021", "imds-request", "imds-credential-request", "imds-token-request"), "low",
        "Nothing, unless the server is one that relays to the endpoint. Give `on_premises`, and strangers are left out.",
    ),
    Noise(
        "open-proxy probes", "combined", 1, _open_proxy, "GET http://169.254.169.254/latest/meta-data/ by a scanner, 404",
        "A stranger asked a web server of yours as if it were a proxy. Its own log cannot tell whose the status is.",
        ("aws-2025-021", "imds-contact", "imds-request"), "low",
        "See that the server relays nothing. Give `on_premises`, and strangers are left out.",
    ),
    Noise(
        "look-alike paths", "web", 3, lambda rng: _scan(rng, rng.choice(_LOOKALIKES)), "GET /v2/latest/api/token (GitLab)",
        "The bulletin's rule asks whether the path contains `/latest/meta-data` or `/latest/api/token`, wherever.",
        ("aws-2025-021",), "low", "Suppress `aws-2025-021` for the clients of that application.",
    ),
    Noise(
        "applications with such a tree", "web", 2, lambda rng: _scan(rng, rng.choice(_TREE_OF_OUR_OWN)),
        "GET /latest/dynamic/bundle.js", "The application has a path that IMDS has, too. " + _OURS,
        ("aws-2025-021", "imds-request"), "low", "Suppress `imds-request` for the clients of that application.",
    ),
    Noise(
        "Azure agents", "request", 1.5,
        _asks("azsdk-python-identity/1.27.0", ["/metadata/instance?api-version=2021-02-01", "/metadata/identity/oauth2/token?resource=x"], _AZURE),
        "GET /metadata/instance with the header Metadata", "A client of Azure asks Azure's path. " + _ASKED,
        ("aws-2025-021", "imds-contact"), "informational", _TELL,
    ),
    Noise(
        "Google agents", "request", 1.5, _asks("gcloud-golang/0.1", ["/computeMetadata/v1/instance/id", "/"], _GOOGLE),
        "GET /computeMetadata/v1/instance/id", "A client of Google Cloud asks Google's path. " + _ASKED,
        ("aws-2025-021", "imds-contact"), "informational", _TELL,
    ),
    Noise(
        "OpenStack and other clouds", "request", 2,
        _asks("Go-http-client/1.1", ["/openstack/latest/meta_data.json", "/openstack", "/opc/v2/instance/", "/metadata/v1.json", "/hetzner/v1/metadata"]),
        "GET /openstack/latest/meta_data.json", "Software for another cloud asks its own path. " + _ASKED,
        ("aws-2025-021", "imds-contact"), "low", _TELL,
    ),
    Noise(
        "multi-cloud detectors, by name", "request", 1.5,
        _asks("Cloud-Init/22.4.2", ["/latest/meta-data/instance-id", "/2021-03-23/meta-data/", "/latest/user-data", "/latest/api/token"]),
        "GET /2021-03-23/meta-data/ by Cloud-Init/22.4.2", "A known detector looks for any cloud and asks no credentials. " + _ASKED,
        ("aws-2025-021", "imds-contact", "imds-request"), "informational", _TELL,
    ),
    Noise(
        "multi-cloud detectors, nameless", "request", 1.5,
        _asks("Ruby", ["/latest/meta-data/", "/latest/meta-data/instance-id", "/latest/dynamic/instance-identity/document"]),
        "GET /latest/meta-data/ by Facter, whose User-Agent is Ruby's", "Metadata without credentials. " + _ASKED,
        ("aws-2025-021", "imds-contact", "imds-request"), "low", _TELL,
    ),
    Noise(
        "requests that the proxy refused", "proxy", 2, _denied, "TCP_DENIED/403 GET http://169.254.169.254/metadata/instance",
        "The proxy made the reply itself and asked nobody.", ("aws-2025-021", "imds-contact", "imds-request"), "low",
        "Exclude 169.254.169.254 and fd00:ec2::254 from proxying (NO_PROXY), and tell the agent where it runs.",
    ),
    Noise(
        "connection attempts", "flow", 5, _flow([(ENDPOINT, 80, "tcp")], answered=False), "10.1.2.3 -> 169.254.169.254:80, SYN, no answer",
        _ASKED, ("aws-2025-021", "imds-contact"), "low", "Set AWS_EC2_METADATA_DISABLED=true on hosts off EC2, or suppress the source.",
    ),
    Noise(
        "lookups of the endpoint's name", "dns", 1, _dns(["instance-data", "instance-data.ec2.internal", "instance-data.corp.example.com"], [""]),
        "instance-data.corp.example.com, NXDOMAIN", "An AWS tool, or a resolver that tries its search domains, asks for the name.",
        ("imds-name-lookup",), "low", "Find the tool on the host; suppress `imds-name-lookup` for it.",
    ),
    Noise(
        "names that lead to the endpoint", "lookup", 0.5,
        _dns(["169.254.169.254.nip.example", "rebind-#.example.org"], [ENDPOINT]),
        "rebind-7.example.org is 169.254.169.254", "Wildcard DNS and rebinding tests: the answer is the endpoint, nobody was asked there.",
        ("imds-name-lookup",), "low", "Let the resolver drop answers in 169.254.0.0/16 (rebinding protection).",
    ),
    Noise(
        "ARP for the endpoint", "arp", 1, _arp([ENDPOINT]), "who has 169.254.169.254, no reply",
        "A host with an on-link route for 169.254.0.0/16 asks. " + _ASKED, ("aws-2025-021", "imds-contact"), "low",
        "Remove the zeroconf route, or suppress the source.",
    ),
    Noise(
        "configuration and output in logs", "text", 2,
        _said([
            "set address host 169.254.169.254 # done", "export AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254 #",
            "job #: curl -s http://169.254.169.254/latest/meta-data/instance-id || true", "terraform: + cidr = 169.254.169.254 #",
            "no_proxy=localhost,169.254.169.254,# applied",
        ]),
        "no_proxy=localhost,169.254.169.254", "The address is a whole word in a line of no known layout; what the line means is not known.",
        ("aws-2025-021", "imds-contact", "imds-request"), "low",
        "Look at the line. Leave such logs out of the scan, or suppress by rule.",
    ),
)  # fmt: skip
"""All classes. The shares need not sum up to anything."""
