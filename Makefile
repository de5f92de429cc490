# Every target sets up what it needs by itself in .venv; PYTHON names the interpreter to build it from (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements.lock requirements-dev.lock

.PHONY: demo test check golden docs bench lock conformance fuzz clean check-static

$(VENV)/run.stamp: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imdswatch needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "imdswatch.pth").write_text(str(pathlib.Path("src").resolve()))'
	printf '#!/bin/sh\nexec "%s/python" -m imdswatch "$$@"\n' "$(CURDIR)/$(BIN)" > $(BIN)/imdswatch && chmod +x $(BIN)/imdswatch
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
	IMDSWATCH_GOLDEN=1 $(BIN)/python -m pytest -q tests/test_report.py tests/test_export_sentinel.py tests/test_export_elastic.py tests/test_export_splunk.py tests/test_export_qradar.py tests/test_export_suricata.py
	$(MAKE) docs

docs: $(VENV)/dev.stamp  ## generated pages: docs/rules.md, docs/schemas.md, docs/fields.md
	$(BIN)/python docs/generate.py

bench: $(VENV)/dev.stamp  ## speed and memory as ratios measured in one run
	$(BIN)/python bench/run.py $(BENCH)

.cache/references/stamp: tests/reference_tenzir.lock
	$(PYTHON) -m venv .cache/references
	.cache/references/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/reference_tenzir.lock
	touch $@

conformance: $(VENV)/dev.stamp .cache/references/stamp  ## the heavy proofs: 10 million prefilter cases, random rules by SQLite and Tenzir
	IMDSWATCH_CASES=10000000 $(BIN)/python -m pytest -q tests/test_prefilter.py tests/test_references.py
	if command -v suricata >/dev/null; then IMDSWATCH_SURICATA=1 $(BIN)/python -m pytest -q tests/test_export_suricata.py; else echo "no suricata here: make test checked its committed record"; fi

.cache/fuzz/stamp: $(VENV)/dev.stamp fuzz/atheris.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r fuzz/atheris.lock
	mkdir -p .cache/fuzz && touch $@

fuzz: .cache/fuzz/stamp  ## fuzz the readers of captures until ten million executions and no new edge in the last million
	$(BIN)/python fuzz/run.py --record $(FUZZ)

lock: $(VENV)/dev.stamp  ## resolve the dependencies anew
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --strip-extras --allow-unsafe -o requirements.lock pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --strip-extras --allow-unsafe -c requirements.lock -o requirements-dev.lock requirements-dev.in

clean:
	rm -rf $(VENV) .cache bench/out
