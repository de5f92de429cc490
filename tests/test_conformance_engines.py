"""The engines of the conformance suite: what their references say, they say; what they cannot read, they refuse.

Longer than most: one short list of cases an engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.elastic.esql import Esql, EsqlError
from engines.elastic.esql_elastic import ElasticParser, ElasticRefuses, parser_missing
from engines.elastic.esql_syntax import EsqlSyntaxError, conditions
from engines.elastic.kibana import KueryError, dsl
from engines.elastic.lucene import LuceneRegexError, python_regex
from engines.elastic.sequences import EqlError, run
from engines.elastic.server import Index, SearchError
from engines.kusto import READINGS, Binder, Kusto, KustoError, binder_missing

NOW = 1795309923.0
ROWS = [
    {"DestinationIP": "169.254.169.254", "RequestURL": "http://h/latest/meta-data/", "DestinationPort": 80},
    {"DestinationIP": "fd00:ec2::254", "RequestURL": "http://h/LATEST/META-DATA"},
    {"DestinationIP": "FD00:0EC2:0:0:0:0:0:254"},
    {"DestinationIP": "10.20.0.7"},
    {"DestinationIP": ""},
    {"DestinationIP": "no address"},
    {"DestinationIP": "::ffff:10.20.0.7"},
]


# Kusto, executed. Sources: Microsoft's KQL reference, page by page of the function named.


def kusto(query: str, reading: int = 0) -> list[int]:
    rows = [{"TimeGenerated": "2026-11-22T01:02:03Z", **row} for row in ROWS]
    return Kusto({"CommonSecurityLog": rows}, NOW, reading=READINGS[reading]).run(
        f"CommonSecurityLog | {query}"
    )


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('DestinationIP in ("169.254.169.254", "10.20.0.7")', [0, 3]),
        ('ipv4_is_in_any_range(DestinationIP, dynamic(["10.20.0.0/16", "169.254.0.0/16"]))', [0, 3]),
        ('ipv4_is_in_range(DestinationIP, "10.20.0.0/16")', [3]),
        ('ipv6_is_in_any_range(DestinationIP, dynamic(["fd00:ec2::/64"]))', [1, 2]),
        ('ipv6_is_match(DestinationIP, "fd00:ec2::254")', [1, 2]),
        # null if a text is no address of the family, also under not(): the record drops out
        ('not(ipv4_is_in_any_range(DestinationIP, dynamic(["10.20.0.0/16"])))', [0]),
        (
            'not(coalesce(ipv4_is_in_any_range(DestinationIP, dynamic(["10.20.0.0/16"])), false))',
            [0, 1, 2, 4, 5, 6],
        ),
        ('ipv4_is_in_any_range(DestinationIP, dynamic(["fd00:ec2::/64"]))', []),
        ('RequestURL contains "/latest/meta-data"', [0, 1]),
        ('RequestURL contains_cs "/latest/meta-data"', [0]),
        ('RequestURL has "meta-data"', [0, 1]),
        ('RequestURL matches regex @"(?i)latest/meta-data$"', [1]),
        ("isempty(DestinationIP)", [4]),
        ("isnotnull(DestinationPort)", [0]),
        ("DestinationPort in (80, 443)", [0]),
        ('url_decode("%2Flatest%2fmeta-data") == "/latest/meta-data" and DestinationPort == 80', [0]),
        ('extract(@"^http://([^/]*)", 1, RequestURL) == "h"', [0, 1]),
        ('replace_regex("a//b", @"/+", "/") == "a/b" and DestinationPort == 80', [0]),
        ("TimeGenerated > ago(15m)", list(range(7))),
        ("TimeGenerated > ago(5m)", []),
        ("now() < datetime(2026-11-23)", list(range(7))),
    ],
)
def test_kusto_answers_as_its_reference_says(condition: str, rows: list[int]) -> None:
    assert kusto(f"where {condition}") == rows


def test_what_the_kusto_reference_leaves_open_has_readings() -> None:
    mapped = 'where ipv6_is_in_any_range(DestinationIP, dynamic(["::ffff:10.20.0.0/112"]))'
    assert [kusto(mapped, number) for number in range(len(READINGS))] == [[6], [3, 6], [6]]
    plus = 'where url_decode("a+b") == "a b" and DestinationPort == 80'
    assert [kusto(plus, number) for number in range(len(READINGS))] == [[], [], [0]]


def test_kusto_knows_parsers_and_watchlists() -> None:
    rows = [{"TimeGenerated": "2026-11-22T01:02:03Z", "SrcIpAddr": one} for one in ("10.1.1.1", "10.2.2.2")]
    lists = {"site": [{"List": "a", "Family": "ipv4", "Value": "10.2.0.0/16"}]}
    made = Kusto({"_Im_NetworkSession": rows}, NOW, lists)
    query = (
        "let l = 15m;\nlet nets = toscalar(_GetWatchlist('site') | where List == 'a' | summarize make_list(Value));\n"
        "_Im_NetworkSession(starttime=ago(l), endtime=now()) | where ipv4_is_in_any_range(SrcIpAddr, nets)"
    )
    assert made.run(query) == [1]
    assert made.run(query.replace("let l = 15m", "let l = 5m")) == []


@pytest.mark.parametrize("query", ["where Nope == 1", "where", "summarize count()", "where f(DestinationIP)"])
def test_kusto_refuses_what_it_cannot_run(query: str) -> None:
    with pytest.raises(KustoError):
        kusto(query)


# Kusto, bound by Microsoft's own parser. The codes are those of Kusto.Language.


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    if binder_missing():
        pytest.skip(binder_missing())
    with Binder() as found:
        yield found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("CommonSecurityLog | where DstIpAddr == '1'", "KS142"),
        ("CommonSecurityLog | where destinationip == '1'", "KS142"),
        ("CommonSecurityLog | where DestinationPort has '80'", "KS106"),
        ("CommonSecurityLog | where ipv4_in_any_range(DestinationIP, '10.0.0.0/8')", "KS211"),
        ("CommonSecurityLog | where ipv4_is_in_range(DestinationIP)", "KS119"),
        ("CommonSecurityLog | where DestinationIP = '1'", "KS141"),
        ("_Im_NetworkSession(dstip_prefix=dynamic([]))", "KS196"),
        ("_Im_WebSession(starttime=ago(1h)) | where RequestURL has 'x'", "KS142"),
        ("CommonSecurityLog | where (DestinationIP == '1'", ""),
        ("CommonSecurityLog | where DestinationPort == '80'", "own"),
    ],
)
def test_the_binder_refuses(binder: Binder, query: str, code: str) -> None:
    found = [one.code for one in binder.check(query)]
    assert code in found if code else found


@pytest.mark.parametrize(
    "query",
    [
        "CommonSecurityLog | where ipv6_is_in_any_range(DestinationIP, dynamic(['fd00:ec2::/64']))",
        "_Im_NetworkSession(starttime=ago(1h), endtime=now()) | where SrcVlanId in ('210')",
        "_Im_WebSession(starttime=ago(1h)) | where Url contains 'x' and toint(EventResultDetails) == 200",
        "DeviceNetworkEvents | join kind=inner (CommonSecurityLog) on $left.RemoteIP == $right.SourceIP",
    ],
)
def test_the_binder_accepts(binder: Binder, query: str) -> None:
    assert binder.check(query) == []


# Kibana KQL.


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    documents = [
        {
            "destination.ip": "169.254.169.254",
            "url.path": "/latest/meta-data/",
            "network.vlan.id": ["42", "210"],
        },
        {
            "destination.ip": "FD00:0EC2:0:0:0:0:0:254",
            "url.path": "/LATEST/META-DATA/",
            "http.response.status_code": 200,
        },
        {"destination.ip": "::ffff:169.254.169.254", "user_agent.original": "curl"},
        {"source.ip": "10.20.0.7", "user_agent.original": ""},
    ]
    with Index(documents) as found:
        yield found


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ('destination.ip : "fd00:ec2::254"', [1]),
        ("destination.ip : 169.254.0.0/16", [0, 2]),
        ('destination.ip : (169.254.169.254 or "fd00:ec2::254")', [0, 1, 2]),
        ("url.path : */latest/meta-data*", [0]),
        ("url.path : (*/latest/* or */LATEST/*)", [0, 1]),
        ("not url.path : */latest*", [1, 2, 3]),
        ("network.vlan.id : 210", [0]),
        ('not network.vlan.id : ("42" and "210")', [1, 2, 3]),
        ("http.response.status_code >= 100 and http.response.status_code < 300", [1]),
        ("user_agent.original : *", [2, 3]),
        ('user_agent.original : * and not user_agent.original : ""', [2]),
        ("source.ip : * or url.path : *LATEST* and not http.response.status_code : 200", [3]),
        ("nothing.such : *", []),
    ],
)
def test_kibana_queries(index: Index, query: str, rows: list[int]) -> None:
    assert index.search(dsl(query)) == rows


@pytest.mark.parametrize("query", [r"url.path : *\/x*", "a : (", "a : <"])
def test_kibanas_grammar_refuses(query: str) -> None:
    with pytest.raises(KueryError):
        dsl(query)


def test_the_server_refuses_a_text_for_a_number(index: Index) -> None:
    with pytest.raises(SearchError):
        index.search(dsl('http.response.status_code : ""'))


# EQL.

EVENTS: list[dict[str, Any]] = [
    {"destination.ip": "169.254.169.254", "url.path": "/latest/meta-data/", "network.vlan.id": 210},
    {
        "destination.ip": "::ffff:169.254.169.254",
        "url.path": "/LATEST/meta-database",
        "network.vlan.id": [42, 210],
    },
    {"destination.ip": "fd00:0ec2:0:0::254", "network.vlan.id": [7]},
]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('cidrMatch(?destination.ip, "169.254.169.254/32")', [0, 1]),
        ('cidrMatch(?destination.ip, "fd00:ec2::/64")', [2]),
        ('?url.path regex~ """/latest/meta-data/"""', [0]),
        ('?url.path regex~ """/latest/meta-data.*"""', [0, 1]),
        ('?url.path like~ ("*META-DATA*")', [0, 1]),
        ('?network.vlan.id in ("210")', [0, 1]),
        ('not (?network.vlan.id != null and ?network.vlan.id in ("210"))', [2]),
        ('?network.vlan.id != "210"', [2]),
        ("?nothing.such == null", [0, 1, 2]),
        ('not (?url.path != null and ?url.path like~ ("/latest/*"))', [2]),
    ],
)
def test_eql_answers_as_the_server_does(condition: str, rows: list[int]) -> None:
    assert run(f"any where {condition}", EVENTS) == rows


@pytest.mark.parametrize(
    "query", ["any where a = 1", 'any where ?a regex~ """a@b"""', 'any where ?a regex~ """^a$"""']
)
def test_eql_refuses(query: str) -> None:
    with pytest.raises(EqlError):
        run(query, EVENTS)


# Lucene's regular expressions.


@pytest.mark.parametrize(
    ("pattern", "text"), [("a.*[@]b", "axx@b"), (r"a\@\#", "a@#"), (r"[a-z\-]+", "a-b"), ("", "")]
)
def test_expressions_that_both_read_alike(pattern: str, text: str) -> None:
    assert python_regex(pattern).fullmatch(text)


@pytest.mark.parametrize(
    "pattern",
    ["a@b", "(?i)a", "^a", "a$", r"\d", "a#b", 'a"b', "a~b", "[a-z.-]", "[a[b]", "[abc", "a*?", "a\\"],
)
def test_expressions_that_lucene_reads_otherwise_are_refused(pattern: str) -> None:
    with pytest.raises(LuceneRegexError):
        python_regex(pattern)


# ES|QL.

CASES = yaml.safe_load(
    (Path(__file__).parent / "engines" / "elastic" / "cases.yml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda one: one["name"])
def test_esql_answers_as_elasticsearch_does(case: dict[str, Any]) -> None:
    table = CASES["tables"][case["table"]]
    assert Esql(NOW, table["types"]).run(f"FROM x | WHERE {case['where']}", table["rows"]) == case["rows"]


@pytest.mark.skipif(bool(parser_missing()), reason=parser_missing() or "there")
def test_elastics_parser_reads_the_cases_as_we_do() -> None:
    for case in CASES["cases"]:
        query = f"FROM x | WHERE {case['where']}"
        assert ElasticParser(CASES["tables"][case["table"]]["types"]).check(query) == conditions(query), case[
            "name"
        ]


@pytest.mark.skipif(bool(parser_missing()), reason=parser_missing() or "there")
@pytest.mark.parametrize(
    "where", ["ip9 == ip1", 'card == 80 AND CIDR_MTCH(ip0, "x")', 'host = "a"', "ip0 == 80"]
)
def test_elastics_parser_refuses(where: str) -> None:
    with pytest.raises(ElasticRefuses):
        ElasticParser(CASES["tables"]["hosts"]["types"]).check(f"FROM x | WHERE {where}")


@pytest.mark.parametrize(
    "query",
    ["FROM x", "ROW a = 1", "FROM x | WHERE a == 1 | KEEP a", "FROM x | WHERE (a", "FROM x | WHERE a ?"],
)
def test_esql_refuses_what_it_does_not_know(query: str) -> None:
    with pytest.raises(EsqlSyntaxError):
        conditions(query)


def test_esql_refuses_unknown_functions_and_mixed_types() -> None:
    made = Esql(NOW, {"a": "keyword"})
    with pytest.raises(EsqlError):
        made.run("FROM x | WHERE SUBSTRING(a, 1, 2) == a", [{"a": "x"}])
    with pytest.raises(EsqlError):
        made.run("FROM x | WHERE a == 1", [{"a": "x"}])
