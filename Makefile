# Every target sets up what it needs by itself in .venv; PYTHON names the interpreter to build it from (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements.lock requirements-dev.lock
CLIENTS := .cache/clients

.PHONY: probe-table screenshots sbom package container delivery demo test check golden docs site bench bench-audit truth truth-java lock engines conformance fuzz clients lab clean check-static

$(VENV)/run.stamp: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imdswatch needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "imdswatch.pth").write_text(str(pathlib.Path("src").resolve()))'
	printf '#!/bin/sh\nexec "%s/python" -m imdswatch "$$@"\n' "$(CURDIR)/$(BIN)" > $(BIN)/imdswatch && chmod +x $(BIN)/imdswatch
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q src  # a start costs half as much from bytecode (decision 34)
	PYTHONDONTWRITEBYTECODE= $(BIN)/imdswatch scan -q LICENSE > /dev/null
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock requirements-dev.in
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

demo: $(VENV)/run.stamp  ## findings on the real logs in examples/
	@$(BIN)/imdswatch scan examples; code=$$?; [ $$code -eq 1 ] || { echo "the demo found nothing (exit $$code)"; exit 1; }

test: $(VENV)/dev.stamp  ## everything that must hold
	$(BIN)/python -m pytest -q

check-static: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: check-static  ## format, lint, types, fast tests: before every commit
	$(BIN)/python -m pytest -q -m "not slow"

golden: $(VENV)/dev.stamp  ## write golden files and generated pages anew; review the diff by eye
	IMDSWATCH_GOLDEN=1 $(BIN)/python -m pytest -q tests/test_report.py tests/test_html.py tests/test_typed_formats.py tests/test_export_sentinel.py tests/test_export_elastic.py tests/test_export_splunk.py tests/test_export_qradar.py tests/test_export_suricata.py
	$(MAKE) docs

docs: $(VENV)/dev.stamp  ## generated pages: docs/rules.md, docs/schemas.md, docs/fields.md
	$(BIN)/python docs/generate.py

screenshots: $(VENV)/dev.stamp  ## docs/pictures: the HTML report as Debian's Chromium shows it
	$(BIN)/python docs/screenshots.py

bench-audit: $(VENV)/dev.stamp  ## what an audit of a host of 200 000 files costs
	$(BIN)/python bench/audit.py

truth: $(VENV)/dev.stamp $(CLIENTS)/stamp  ## every host situation with every real client, in namespaces; writes docs/audit-truth.md
	$(BIN)/python tests/host/truth.py $(CLIENTS)

$(CLIENTS)/java/Ask.class: tools/java_client.sh tests/clients/java.lock tests/clients/Ask.java
	sh tools/java_client.sh $(CLIENTS)/java $(BIN)/python

truth-java: $(VENV)/dev.stamp $(CLIENTS)/java/Ask.class  ## the same with the AWS SDK for Java 1 alone, which comes in an archive of 260 MB
	$(BIN)/python tests/host/truth.py $(CLIENTS) java-1

.cache/site/stamp: docs/site.lock
	$(PYTHON) -m venv .cache/site
	.cache/site/bin/pip install --quiet --disable-pip-version-check --require-hashes -r docs/site.lock
	touch $@

site: .cache/site/stamp  ## the documentation as a site, in site/; needs no network once its tools are there
	NO_MKDOCS_2_WARNING=1 .cache/site/bin/mkdocs build --site-dir site

.cache/moto/stamp: docs/probe_verdicts.lock
	$(PYTHON) -m venv .cache/moto
	.cache/moto/bin/pip install --quiet --disable-pip-version-check --require-hashes -r docs/probe_verdicts.lock
	touch $@

probe-table: $(VENV)/dev.stamp .cache/moto/stamp  ## docs/probe-verdicts.md: what botocore took, and what probe said, of the same answerers
	BOTOCORE_PYTHON=.cache/moto/bin/python PYTHONPATH=src:tests $(BIN)/python docs/probe_verdicts.py

bench: $(VENV)/dev.stamp  ## speed and memory as ratios measured in one run
	$(BIN)/python bench/run.py $(BENCH)

bench-peers: .cache/references/stamp .cache/spark/stamp  ## the large peers of `make bench BENCH=tables`: Tenzir, Spark, chDB
	$(PYTHON) -m venv .cache/chdb
	.cache/chdb/bin/pip install --quiet --disable-pip-version-check --only-binary :all: chdb==4.4.0

.cache/references/stamp: tests/reference_tenzir.lock
	$(PYTHON) -m venv .cache/references
	.cache/references/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/reference_tenzir.lock
	touch $@

.cache/kusto/stamp: tests/engines/kusto/package-lock.json
	mkdir -p .cache/kusto && cp tests/engines/kusto/package.json tests/engines/kusto/package-lock.json .cache/kusto/
	cd .cache/kusto && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

.cache/esql/stamp: $(VENV)/run.stamp tests/engines/elastic/esql.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --require-hashes --upgrade --target .cache/esql -r tests/engines/elastic/esql.lock
	touch $@

engines: .cache/esql/stamp  ## engines that judge exported queries and are no Python packages, where npm is there
	if command -v npm >/dev/null; then $(MAKE) .cache/kusto/stamp; else echo "no npm here: Microsoft's binder is left out"; fi

.cache/ansible/stamp: tests/harden_ansible.lock
	$(PYTHON) -m venv .cache/ansible
	.cache/ansible/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/harden_ansible.lock
	touch $@

conformance: $(VENV)/dev.stamp .cache/references/stamp .cache/ansible/stamp engines  ## the heavy proofs: 10 million prefilter cases, random rules by SQLite and Tenzir
	IMDSWATCH_CASES=10000000 $(BIN)/python -m pytest -q tests/test_prefilter.py tests/test_references.py
	IMDSWATCH_CASES=200000 $(BIN)/python -m pytest -q tests/test_tables.py -k spelling
	IMDSWATCH_CORPUS=all $(BIN)/python -m pytest -q tests/test_live_corpus.py
	IMDSWATCH_CONFORMANCE=1 $(BIN)/python -m pytest -q tests/test_conformance.py tests/test_conformance_engines.py tests/test_conformance_lucene.py
	$(BIN)/python tests/conformance/measure.py
	$(MAKE) spark
	$(BIN)/python tests/conformance/check_places.py
	IMDSWATCH_ANSIBLE="$(CURDIR)/.cache/ansible/bin/ansible-playbook" $(BIN)/python -m pytest -q tests/test_harden_export.py
	if command -v suricata >/dev/null; then IMDSWATCH_SURICATA=1 $(BIN)/python -m pytest -q tests/test_export_suricata.py; else echo "no suricata here: make test checked its committed record"; fi

.cache/sail/stamp: requirements.lock tests/spark.lock
	$(PYTHON) -m venv .cache/sail
	.cache/sail/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock -r tests/spark.lock
	touch $@

sail: .cache/sail/stamp  ## a cluster of four workers in Rust finds what one process finds
	PYTHONPATH=src .cache/sail/bin/python -m pytest -q tests/test_spark.py

.cache/spark/stamp: requirements.lock tests/spark_classic.lock
	$(PYTHON) -m venv .cache/spark
	.cache/spark/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock -r tests/spark_classic.lock
	touch $@

spark: .cache/spark/stamp  ## classic Spark, a master and two workers on loopback, finds what one process finds (needs Java 17)
	PYTHONPATH=src .cache/spark/bin/python -m pytest -q tests/test_spark.py

.cache/fuzz/stamp: $(VENV)/dev.stamp fuzz/atheris.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r fuzz/atheris.lock
	mkdir -p .cache/fuzz && touch $@

.cache/package/stamp: tools/package.lock requirements.lock
	$(PYTHON) -m venv --clear .cache/package
	.cache/package/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tools/package.lock
	$(PYTHON) -m venv --clear .cache/shipped
	.cache/shipped/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.cache/shipped/bin/pip uninstall --quiet --yes pip setuptools
	touch $@

sbom: .cache/package/stamp  ## dist/imdswatch.cdx.json: what an installation from the lock consists of (CycloneDX)
	.cache/package/bin/python tools/sbom.py .cache/shipped/bin/python dist/imdswatch.cdx.json

package: $(VENV)/dev.stamp sbom  ## wheel and sdist, installed from nothing by pip, uv and pipx; container file; SBOM
	$(BIN)/python -m hatchling build -d dist
	IMDSWATCH_PACKAGE=.cache/package $(BIN)/python -m pytest -q tests/test_package.py

container:  ## the container file, built by buildah on a base of Debian's packages, and used (root, no registry)
	tools/container.sh .cache/container

delivery: $(VENV)/dev.stamp  ## kill -9 of both sides at random moments over ten thousand findings
	IMDSWATCH_KILLS=10000 $(BIN)/python -m pytest -q -s tests/test_delivery_killed.py

fuzz: .cache/fuzz/stamp  ## fuzz the readers of captures until ten million executions and no new edge in the last million
	$(BIN)/python fuzz/run.py --record $(FUZZ)

LOCKED := tests/clients

$(CLIENTS)/stamp: $(wildcard $(LOCKED)/*)
	for name in python aws; do $(PYTHON) -m venv $(CLIENTS)/$$name && $(CLIENTS)/$$name/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKED)/$$name.lock || exit 1; done
	mkdir -p $(CLIENTS)/node && cp $(LOCKED)/package.json $(LOCKED)/package-lock.json $(CLIENTS)/node
	if command -v npm >/dev/null; then cd $(CLIENTS)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; else echo "no npm here: the JavaScript clients will be missing"; fi
	touch $@

$(CLIENTS)/debian.stamp: tools/debian_clients.sh
	sh tools/debian_clients.sh $(CLIENTS)/debian
	touch $@

lab: $(VENV)/dev.stamp $(CLIENTS)/stamp $(CLIENTS)/debian.stamp  ## every scenario with every client that is here, twice; writes the table of docs/lab.md
	$(BIN)/python tools/lab_matrix.py $(CLIENTS) $(LAB)
	IMDSWATCH_CLIENTS="$(CURDIR)/$(CLIENTS)" $(BIN)/python -m pytest -q tests/test_harden_live.py

clients: $(CLIENTS)/stamp  ## real AWS clients for the rehearsal (installed, not started)

soak: $(VENV)/dev.stamp  ## 10 GB of rotating logs, and twice 50 million packets, under kill -9 every 30 s; SOAK="--gigabytes 1" for less
	$(BIN)/python tests/watch_soak.py $(SOAK)
	PYTHONPATH=src $(BIN)/python tests/interface_soak.py
	PYTHONPATH=src $(BIN)/python tests/interface_soak.py --all-http --rate 100000

COMPILE = $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --strip-extras --allow-unsafe

lock: $(VENV)/dev.stamp  ## resolve the dependencies anew
	$(BIN)/pip install --quiet pip-tools
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) -c requirements.lock -o requirements-dev.lock requirements-dev.in
	$(COMPILE) -o docs/site.lock docs/site.in
	$(COMPILE) -o docs/probe_verdicts.lock docs/probe_verdicts.in
	cd tools && ../$(COMPILE) -o package.lock package.in
	for name in python aws; do $(COMPILE) -o $(LOCKED)/$$name.lock $(LOCKED)/$$name.in || exit 1; done

clean:
	rm -rf $(VENV) .cache bench/out site
