# Every target works on a machine with git, make, cc, node and a Python from 3.11 to 3.14: what else is
# needed is installed into .venv, at the versions and hashes of requirements/*.txt.
#   make up ARGS="--port 4566 --param DeliverConcurrency=4"
ARGS ?=
# The first of these that is there and fits makes .venv; name another with make PYTHON=...
PYTHONS := python3 python3.13 python3.12 python3.14 python3.11

# An active virtual environment, or a PYTHONPATH of the shell, stays out of it.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONSTARTUP UV_PYTHON UV_PROJECT_ENVIRONMENT
export SAM_CLI_TELEMETRY := 0
# uv trusts what this machine trusts, as pip does: a company's proxy may sign for the registries.
export UV_SYSTEM_CERTS ?= 1

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
MADE := $(VENV)/.made
READY := $(VENV)/.ready
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help run up down sandbox test unit stack-test fault-test browser-test bench soak smoke lint lint-code lint-templates format build lock clean

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo 'Options of up, run and sandbox go in ARGS: make up ARGS="--help"'

run: $(READY) ## Start the whole service on this machine, post the samples, keep running until Ctrl-C
	@$(PY) -m local.stack run $(ARGS)

up: $(READY) ## The same in the background; writes .local/stack.json
	@$(PY) -m local.stack up $(ARGS)

down: ## Stop what `make up` (or a `make run` elsewhere) started
	@if [ -x $(PY) ]; then $(PY) -m local.stack down; else echo 'Nothing is running here.'; fi

sandbox: $(READY) ## Start the Cometly sandbox alone
	@$(PY) -m local.sandbox $(ARGS)

# The three last wait more than they compute: two at a time, each with stacks and ports of its own,
# and the longest first. All three at once end no sooner, and keep workers waiting for a processor.
test: lint unit ## Everything that has to pass
	@$(MAKE) --no-print-directory -j 2 --output-sync=target stack-test browser-test fault-test

# Branch coverage has a floor (pyproject.toml), so a choice of tests (ARGS) goes without.
unit: $(READY) ## Unit tests, and the sandbox against its contract: seconds
	@$(PY) -m pytest -n 2 --dist worksteal tests/unit tests/sandbox $(or $(ARGS),--cov)

stack-test: $(READY) ## Tests against the deployed template on the local stack
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/stack $(ARGS)

fault-test: $(READY) ## Killed workers, cut sockets, absent AWS: nothing lost, nothing twice
	@$(PY) -m pytest -n 4 --dist loadfile tests/faults $(ARGS)

browser-test: $(READY) ## Tests of the page's script in Chromium, Firefox and WebKit, where they are installed
	@$(PY) -m pytest -n 2 --dist loadfile tests/browser $(ARGS)

soak: $(READY) ## What takes long: pace, burst, an hour of 401, random faults (two hours)
	@$(PY) -m bench.soak all
	@$(PY) -m tests.faults.soak --seeds 3 --events 2000

bench: $(READY) ## Measure it beside two rivals, into docs/bench/: make bench ONLY=cost, ARGS="--events 1000"
	@$(PY) -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

smoke: $(READY) ## Try a deployed stack: make smoke STACK=name, ARGS="--send" for one event by each door
	@$(PY) -m ops.smoke $(STACK) $(ARGS)

lint: $(READY) ## Style, types, the template and the workflows
	@$(MAKE) --no-print-directory -j 2 --output-sync=target lint-code lint-templates

lint-code: $(READY)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

lint-templates: $(READY)
	@$(PY) -m local.judges
	@$(PY) -m local.stack.sam validate --lint
	@$(VENV)/bin/zizmor --offline --quiet --strict-collection --persona pedantic .github

format: $(READY) ## Rewrite the code in the project's style
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

build: $(READY) ## sam build, with the sam and uv of .venv: what `sam deploy` sends to AWS
	@$(PY) -m local.stack.build $(ARGS)

lock: $(READY) ## Resolve the requirements anew (UPGRADE=--upgrade for newer versions)
	@$(LOCK) $(UPGRADE) --group uv -o requirements/uv.txt
	@$(LOCK) $(UPGRADE) pyproject.toml --group dev -o requirements/dev.txt
	@$(LOCK) $(UPGRADE) --group lambda -c requirements/dev.txt -o src/requirements.txt

clean: down ## Remove everything that make made
	@rm -rf $(VENV) .aws-sam .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	@find src local tests bench ops -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(MADE): requirements/uv.txt
	@set -e; fits='import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'; \
	chosen=; for python in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$python" -c "$$fits" >/dev/null 2>&1; then chosen=$$python; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo 'No Python from 3.11 to 3.14 was found (tried: $(or $(PYTHON),$(PYTHONS))).' >&2; \
	  echo 'Install one, or name it: make PYTHON=/path/to/python3.13 ...' >&2; exit 1; \
	fi; \
	echo "Setting up .venv with $$($$chosen --version) ..."; rm -rf $(VENV); \
	if ! "$$chosen" -m venv $(VENV) >/dev/null 2>&1; then \
	  echo "$$chosen cannot make a virtual environment (on Debian and Ubuntu: install python3-venv)." >&2; \
	  rm -rf $(VENV); exit 1; \
	fi; \
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt; \
	touch $(MADE)

$(READY): $(MADE) requirements/dev.txt
	@echo 'Installing the packages of requirements/dev.txt ...'
	@$(UV) pip sync --quiet --python $(PY) --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $(READY)
