# make demo    tag an example README with the default model
# make test    run the tests that CI runs, some 25 minutes, and say how much of src/ they cover
# make test-fast  those that take no real model, no network and little time, under 90 s
# make matrix  test-fast with every Python that is here; VERSIONS=lowest or newest, else pinned ones
# make test-quantize  those that need torchao, as part of make test
# make test-versions  the package with the lowest and the newest versions it allows: minutes, weekly
# make test-servers   the tests against real servers, llama.cpp's among them: minutes, weekly
# make fuzz    hostile input of every kind, about an hour on two processors
# make check   what CI runs before the tests: style, types, drift of the docs, links of the site
# make site    the documentation as a site, in build/site

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Two at a time: with more than one thread each, they would wait for one another.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

VERSIONS ?= pinned

# The warning is about MkDocs 2, which the constraints keep away.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: demo test test-fast test-quantize matrix test-versions test-servers fuzz check docs site clean

demo: .venv/installed
	@$(BIN)/tagger run examples/readmes/tumblewick.md --tags tags.json --id 1375

test: .venv/installed-dev
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  apt-get install -qq -y chromium >/dev/null; } || \
	  echo "no chromium here: the tests of pages in a browser will be skipped" >&2
	$(TEST) -m 'not versions and not quantize' --cov --cov-report=term:skip-covered
	$(MAKE) test-quantize

test-fast: .venv/installed-dev
	$(TEST) -m 'not slow and not network and not real_model and not servers and not quantize'

# torchao in a folder of its own: wherever it is installed, Transformers imports it at every start.
test-quantize: .torchao/installed
	PYTHONPATH=.torchao OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m quantize tests/_util tests/models/test_quantize.py

.torchao/installed: .venv/installed-dev
	$(PIP) --no-deps --target .torchao torchao
	@touch $@

matrix: .venv/installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox --session tests --keywords $(VERSIONS)

test-versions: .venv/installed-dev
	$(BIN)/python -m pytest -m versions

test-servers: .venv/installed-dev .llama/installed
	TAGGER_TEST_LLAMA=.llama/bin/python $(BIN)/python -m pytest -m servers

fuzz: .venv/installed-dev
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m fuzz

# In an environment of its own, because it is built for this processor.
.llama/installed: constraints.txt
	$(PYTHON) -m venv .llama
	.llama/bin/python -m pip install --quiet 'llama-cpp-python[server]' huggingface-hub
	@touch $@

check: .venv/installed-dev
	$(BIN)/pre-commit run --all-files
	$(BIN)/python scripts/cli_docs.py --check
	$(BIN)/python scripts/http_docs.py --check
	$(SITE)

docs: .venv/installed-dev
	$(BIN)/python scripts/cli_docs.py
	$(BIN)/python scripts/http_docs.py

site: .venv/installed-dev
	$(SITE)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[all,dev,ray]'
	@touch $@

clean:
	rm -rf .venv .llama .torchao .nox build dist
