# Everything a contributor runs. uv is used where it is present, plain venv and pip otherwise.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUN    := runs/demo

.PHONY: demo test lint types imports unit results clean help

help:          ## list the targets
	@grep -E '^[a-z -]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --allow-existing --python $(PYTHON) $(VENV) && uv pip install --python $(BIN)/python -e '.[train,export,cpu]' --group dev; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --quiet -e '.[train,export,cpu]' --group dev; \
	fi
	@touch $@

demo: $(STAMP) ## train, evaluate and report on the built-in wings (under 3 minutes on 2 cores)
	@rm -rf $(RUN)
	$(BIN)/snellen train wings-rcn --name demo
	$(BIN)/snellen evaluate $(RUN) --split test
	$(BIN)/snellen report $(RUN)

test: lint imports ## everything CI runs; types are checked beside the tests, and heard of where they are wrong
	@$(MAKE) --no-print-directory types > $(VENV)/types.log 2>&1 & types=$$!; status=0; \
	$(MAKE) --no-print-directory unit || status=$$?; \
	wait $$types || { status=1; cat $(VENV)/types.log; }; exit $$status

lint: $(STAMP) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## static types
	$(BIN)/mypy

imports: $(STAMP) ## rooms import downwards only
	$(BIN)/lint-imports

unit: $(STAMP) ## the tests
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

results: $(STAMP) ## docs/results.md from results/*.json
	$(BIN)/python -m snellen.evaluation.results.page results docs/results.md README.md

clean: ## remove what the targets made, but for runs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
