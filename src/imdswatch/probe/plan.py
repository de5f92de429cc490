"""The options of the command line become a plan: targets, ways, means, and what this host is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from imdswatch.errors import UsageError
from imdswatch.probe.certificates import bundle
from imdswatch.probe.link import Kernel
from imdswatch.probe.machine import machine
from imdswatch.probe.run import Plan, spread
from imdswatch.probe.target import DEFAULTS, parse, targets
from imdswatch.probe.transport import Sockets
from imdswatch.rule import Rule
from imdswatch.site import Site


def plan(options: Mapping[str, Any], rules: Sequence[Rule], site: Site) -> Plan:
    """Return what to ask; raises UsageError. Without an endpoint of the user's own the two of AWS are asked."""
    links = Kernel()
    chosen = targets(options["endpoints"]) or DEFAULTS
    proxy = None
    if options["via_proxy"]:
        if options["interfaces"]:
            raise UsageError(
                "`--via-proxy` and `--interface` exclude each other", help="the proxy has its own ways"
            )
        where = parse(options["via_proxy"])
        proxy = (where.host, where.port)
    certificates = bundle()
    stale = ""
    if certificates.stale(datetime.now(UTC).date()):
        stale = f"the certificates are of {certificates.retrieved}: regions that AWS added since are unknown"
    return Plan(
        targets=chosen if proxy else spread(chosen, options["interfaces"], links),
        transport=Sockets(proxy),
        links=links,
        machine=machine(links.addresses()),
        bundle=certificates,
        rules=rules,
        site=site,
        seconds=options["timeout"],
        credentials=not options["no_credentials"],
        proxied=proxy is not None,
        stale=stale,
    )
