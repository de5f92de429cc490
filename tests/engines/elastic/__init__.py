"""Elastic off line, one engine for each of its query languages.

- Kibana KQL: Kibana's grammar (`kibana-ql`), our translation of the tree to query DSL as Kibana does it, run by
  `osmem-server`, which answers OpenSearch's REST API; real Lucene judges that in `make conformance`.
- EQL: the reference engine (`eql`), in Elasticsearch's syntax.
- ES|QL: Elastic's own parser and type checker (`detection-rules-esql-py`); the answer is by our own evaluator, which
  must give the results that Elasticsearch's tests expect (`tests/engines/elastic/cases.yml`).
"""
