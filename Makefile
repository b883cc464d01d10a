# Two commands do everything on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test coverage browser check format embedded bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := src tests benchmarks

help:  ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local,openai,datasets,train,serve,ray,dev]'
	@touch $@

demo: $(READY)  ## Set up, then run the main job on the embedded world.
	$(BIN)/vilbench demo --out runs/demo

# No cache of ruff: the sort of an import depends on which modules exist, and the cache does not know.
check: $(READY)  ## Lint, types, and the floors of the architecture.
	$(BIN)/ruff check --no-cache $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

# Two processes with a thread each: the models of the tests are too small for a second thread. Files in
# their order, so that the long ones of tests/e2e do not come last.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test: check browser  ## Set up, check, and run the tests.
	$(PYTEST)

coverage: $(READY) browser  ## Run the tests and tell the lines that they miss: a third slower.
	$(PYTEST) --cov --cov-report=term:skip-covered

# The viewer is tested in a real browser, from the system's packages; without one, or the right to
# install it, those tests are skipped, but on CI they fail.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	  echo "no Chromium: the tests of the viewer in a browser are skipped"

format: $(READY)  ## Format and mend what can be mended.
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

embedded: $(READY)  ## Train the embedded models anew (hours on two cores); they replace the shipped ones.
	for size in small base; do \
	  $(BIN)/python -m vilbench.training.embedded.recipe --out build/embedded --size $$size --threads 2 || exit 1; \
	  rm -rf src/vilbench/embedded/$$size; \
	  cp -r build/embedded/$$size/final src/vilbench/embedded/$$size; \
	done
	$(BIN)/vilbench collect embedded-rollouts --limit 3360 --out build/collect
	$(BIN)/vilbench export build/collect --format rows --values faults --spread 0.15 --labels every \
	  --chains finished --to collected
	$(BIN)/vilbench train vilprm-collected-embedded --out build/vilprm
	rm -rf src/vilbench/embedded/vilprm
	cp -r build/vilprm/prm src/vilbench/embedded/vilprm
	$(BIN)/python -m vilbench.training.embedded.labels --out build/labels/dev --split dev --puzzles 300 --samples 8
	$(BIN)/python -m vilbench.training.embedded.labels --out build/labels/train --puzzles 3360 --samples 6 --made-up 2
	$(BIN)/vilbench train vilprm-embedded --out build/vilprm-exact
	rm -rf src/vilbench/embedded/vilprm-exact
	cp -r build/vilprm-exact/prm src/vilbench/embedded/vilprm-exact

bench: $(READY)  ## Performance as ratios against the naive way.
	$(BIN)/python benchmarks/sampling.py

clean:  ## Remove the virtual environment and build products, not your runs.
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
