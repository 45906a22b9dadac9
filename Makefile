# vretouch. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
DEV := .venv-dev
GPU := .venv-gpu
COMPUTING := tests/bench tests/export tests/model tests/test_architecture.py tests/test_demands.py tests/stream/kernels tests/stream/live/test_load.py $(wildcard tests/stream/test_*.py)
BROWSERS := tests/stream/web
# Pictures for eyes, and whether every state of the pages fits: by `make screenshots`.
PICTURES := $(BROWSERS)/test_screens.py
# Of two at once, first all that one says, then all of the other; make 3.81 (macOS) mixes them.
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
PIP := -m pip install -qq --disable-pip-version-check --no-compile

# A name on PATH may be a shim that does not run, so each candidate has to show its version.
define make_venv
@python=""; \
for candidate in $(PYTHON) python3.12 python3.11 python3; do \
  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
    2>/dev/null; then python="$$candidate"; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "vretouch needs Python 3.11 or 3.12 with its venv module, and none was found on PATH;" \
    "install one (Debian: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; \
fi; \
echo "making $(1) with $$("$$python" --version)"; \
"$$python" -m venv --clear $(1)
endef

.PHONY: help venv venv-dev demo test check unit playing browsing screenshots test-gpu bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

venv: $(VENV)/.made ## Make the environment that retouches (.venv, no torch)

$(VENV)/.made: requirements/default.txt pyproject.toml
	$(call make_venv,$(VENV))
	@$(VENV)/bin/python $(PIP) --no-deps -r requirements/default.txt
	@$(VENV)/bin/python $(PIP) --no-deps -e .
	@touch $@

venv-dev: $(DEV)/.made ## Make the environment for tests, benches and training (.venv-dev, with torch)

$(DEV)/.made: requirements/default.txt requirements/dev.txt pyproject.toml
	$(call make_venv,$(DEV))
	@$(DEV)/bin/python $(PIP) --no-warn-conflicts -r requirements/dev.txt
	@$(DEV)/bin/python $(PIP) --no-deps -r requirements/default.txt
	@$(DEV)/bin/python $(PIP) --no-deps -e .
	@touch $@

demo: venv ## Retouch the built-in clip, or your own: make demo IN=video.mp4
	@$(VENV)/bin/vretouch demo $(if $(IN),"$$IN")

test: check unit ## Check style and types, then run every test

check: venv-dev
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check --quiet . || { echo "some files are not formatted; run: $(DEV)/bin/ruff format" >&2; exit 1; }
	@$(DEV)/bin/mypy

# First what only computes, on all cores; then, at once, what plays in real time and mostly waits.
unit: venv-dev
	@OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest $(COMPUTING) --numprocesses auto --maxprocesses 4 --dist worksteal
	@$(MAKE) --no-print-directory --jobs=2 $(WHOLE) playing browsing

playing: venv-dev
	@$(DEV)/bin/python -m pytest tests $(COMPUTING:%=--ignore=%) --ignore=$(BROWSERS)

# A process of its own also because Playwright's event loop leaves no room for another.
browsing: venv-dev
	@$(DEV)/bin/python -m pytest $(BROWSERS) --ignore=$(PICTURES)

screenshots: venv-dev ## Take pictures of every state of the relay's pages (screenshots/)
	@VRETOUCH_SCREENSHOTS=screenshots $(DEV)/bin/python -m pytest $(PICTURES)

test-gpu: $(GPU)/.made ## Run the tests that need a GPU (in .venv-gpu), and print a table of them (docs/gpu.md)
	@$(GPU)/bin/python -m pytest -m gpu

$(GPU)/.made: requirements/default.txt requirements/dev.txt requirements/gpu.txt pyproject.toml
	$(call make_venv,$(GPU))
	@$(GPU)/bin/python $(PIP) --no-warn-conflicts -r requirements/dev.txt
	@$(GPU)/bin/python $(PIP) --no-deps -r requirements/default.txt
	@$(GPU)/bin/python -m pip uninstall -qq --yes onnxruntime
	@$(GPU)/bin/python $(PIP) --no-warn-conflicts -r requirements/gpu.txt
	@$(GPU)/bin/python $(PIP) --no-deps -e .
	@touch $@

bench: venv-dev ## Measure quality and speed; figures and pictures go to bench-results/
	@mkdir -p bench-results
	@$(DEV)/bin/python -m bench latency --json bench-results/latency.json
	@$(DEV)/bin/python -m bench quality --json bench-results/quality.json --sheet bench-results/quality.png

clean: ## Remove the environments, caches and made files
	rm -rf $(VENV) $(DEV) $(GPU) demo bench-results screenshots build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
