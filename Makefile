# make demo    tag an example README with the default model
# make test    run the tests
# make check   what CI runs before the tests: style, types, drift of the generated docs

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check docs clean

demo: .venv/installed
	@$(BIN)/tagger run examples/readmes/tumblewick.md --tags tags.json --id 1375

test: .venv/installed-dev
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/pre-commit run --all-files
	$(BIN)/python scripts/cli_docs.py --check

docs: .venv/installed-dev
	$(BIN)/python scripts/cli_docs.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist
