# The few commands of this project. Everything lives in .venv; nothing else is touched.
#
#   make setup            install into .venv (skipped when nothing changed)
#   make run [ARGS=…]     the main job on a synthetic market: .venv/bin/caopan demo $(ARGS)
#   make test [ARGS=…]    the tests
#   make check            every gate and the tests: exactly what CI runs
#   make bench            the speed of the chain and of its parts
#   make lock             renew the pinned requirements
#   make clean            remove .venv and caches; state (.caopan) stays
#
# PYTHON=/path/to/python selects the interpreter (3.11 to 3.14).

SHELL := /bin/sh
PYTHON ?=
ARGS ?=
BIN := .venv/bin
MODULE := $(BIN)/python -m

# The first that is a working Python 3.11 or later; a version manager's shim may exist and not work.
FIND_PYTHON = \
	if [ -n "$(PYTHON)" ]; then SETUP_PYTHON_CHOSEN=1; export SETUP_PYTHON_CHOSEN; set -- "$(PYTHON)"; \
	else set -- python3 python3.14 python3.13 python3.12 python3.11 python; fi; \
	found=; for candidate; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
		echo "Error: no Python 3.11 or later found (tried: $$*). Install one, or name it: make PYTHON=/path/to/python" >&2; \
		exit 1; fi

.PHONY: setup setup-dev run test check gates bench lock clean

setup:
	@$(FIND_PYTHON); "$$found" tools/setup.py run

setup-dev:
	@$(FIND_PYTHON); "$$found" tools/setup.py dev

run: setup
	@$(BIN)/caopan demo $(ARGS)

test: setup-dev
	@$(MODULE) pytest -n auto $(ARGS)

gates: setup-dev
	$(MODULE) ruff check
	$(MODULE) ruff format --check
	$(MODULE) pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/lint
	$(MODULE) deptry src
	@echo "caopan db upgrade, caopan db check (on an empty database)"
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
		env -u DATABASE_URL -u REDIS_URL CAOPAN_HOME="$$home" $(BIN)/caopan db upgrade && \
		env -u DATABASE_URL -u REDIS_URL CAOPAN_HOME="$$home" $(BIN)/caopan db check

check: gates test

bench: setup
	@$(BIN)/caopan bench all $(ARGS)

lock: setup-dev
	$(MODULE) pip install --disable-pip-version-check --quiet "uv>=0.13,<0.14"
	$(MODULE) uv pip compile pyproject.toml --group build -o requirements.txt $(UV_LOCK)
	$(MODULE) uv pip compile pyproject.toml --group build --group dev -c requirements.txt -o requirements-dev.txt $(UV_LOCK)
	@! grep -nE '://|--find-links|--index' requirements.txt requirements-dev.txt

UV_LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

clean:
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
