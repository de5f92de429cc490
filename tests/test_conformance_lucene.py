"""Real Lucene agrees with what stands in for Elasticsearch, where Debian's liblucene8-java is there."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from conformance.cells import exported
from conformance.corpus import sites
from conformance.judges import EsqlJudge, KueryJudge
from engines.elastic.kibana import dsl
from engines.elastic.lucene import python_regex
from engines.elastic.real_lucene import lucene_missing, matches, search

pytestmark = [
    pytest.mark.skipif(bool(lucene_missing()), reason=lucene_missing() or "there"),
    pytest.mark.skipif(not os.environ.get("IMDSWATCH_CONFORMANCE"), reason="`make conformance` runs this"),
]


def test_every_kibana_query_finds_the_same_in_lucene() -> None:
    for name in ("none", "VLANs only", "suppressions", "all of it"):
        queries = [dsl(one.query) for one in exported("elastic", "kuery", sites()[name]).queries]
        assert queries
        with KueryJudge() as asked:
            here = [asked.dsl(one) for one in queries]
            assert search(asked.documents, queries) == here, name
            assert any(here)


def test_every_regular_expression_means_the_same_in_lucene() -> None:
    patterns = {
        value
        for language in ("esql", "eql")
        for one in exported("elastic", language, sites()["all of it"]).queries
        for value in re.findall(r'"""(.*?)"""', one.query, re.DOTALL)
    }
    texts = {
        str(value).lower()
        for document in EsqlJudge().documents
        for field, several in document.items()
        if field.startswith(("url.", "dns.", "destination.domain"))
        for value in (several if isinstance(several, list) else [several])
        if "\t" not in str(value)
    }
    pairs = list(itertools.product(sorted(patterns), sorted(texts)))
    assert len(pairs) > 2000
    assert matches(pairs) == [python_regex(pattern).fullmatch(text) is not None for pattern, text in pairs]
