"""What judges the feeds of a watch: the first look, and what victims of served credentials did afterwards."""

from typing import Any

from imdswatch.event import complete
from imdswatch.rule import load_rules
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.work import Options
from imdswatch.schema import load_schemas
from imdswatch.site import Site
from imdswatch.watch.judgement import Judgement

ROLE = "/latest/meta-data/iam/security-credentials/FAKE-role"


def event(when: float, **fields: Any) -> dict[str, Any]:
    return complete({"timestamp": when, "src_ip": "10.0.1.5", **fields})


def served(when: float) -> dict[str, Any]:
    return event(when, dst_ip="169.254.169.254", method="GET", uri_path=ROLE, status=200)


def contact(when: float) -> dict[str, Any]:
    return event(when, dst_ip="192.0.2.7", tls_sni="sts.us-east-1.amazonaws.com")


def made() -> Judgement:
    return Judgement(Options(load_rules(None), Site(), load_schemas(None)))


def counts(incidents: Incidents, rules: tuple[Any, ...]) -> dict[str, int]:
    out: dict[str, int] = {}
    for incident in incidents.open.values():
        for seen in incident.sightings:
            for index in seen.combo:
                out[rules[index].slug] = out.get(rules[index].slug, 0) + seen.count
    return out


def test_what_a_victim_does_after_served_credentials_counts_at_once() -> None:
    judgement, incidents = made(), Incidents()
    for number, one in enumerate((contact(90.0), served(100.0), contact(101.0), contact(101 + 6 * 3600.0))):
        judgement.take(incidents, one, "x", "packet", number)
    found = counts(incidents, judgement.options.rules)
    assert found["imds-credentials-served"] == 1
    assert found["imds-credentials-used"] == 1  # not before, and not six hours later
    assert judgement.victims == {"10.0.1.5"}


def test_who_was_served_is_told_again_after_a_reload() -> None:
    judgement, incidents = made(), Incidents()
    judgement.take(incidents, served(100.0), "x", "packet", 1)
    judgement.replace(judgement.options)
    assert (judgement.generation, judgement.victims) == (1, frozenset())
    judgement.serve(list(incidents.items()))
    assert judgement.again(incidents, contact(110.0), "x", "packet", 2) == 1
