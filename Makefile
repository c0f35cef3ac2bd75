# `make train` and `make test` need Python 3.10+, make and a package index; .venv is made from the lock when missing.
PYTHON ?= python3
BIN := .venv/bin
FLAGFILE ?= mnist.flags
# A worker for each core; what one has not begun another takes over.
PARALLEL := -n auto --maxprocesses=8 --dist=worksteal

.PHONY: train test test-slow test-nightly audit lint lock clean

train: .venv
	$(BIN)/python -m tfgan_app.train --flagfile=$(FLAGFILE)

test: .venv lint
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not nightly"

test-slow: .venv
	$(BIN)/python -m pytest $(PARALLEL) -m slow

test-nightly: .venv
	$(BIN)/python -m pytest -m nightly

audit: .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit -r requirements.lock --no-deps --disable-pip

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/mypy

# The stamp is written last, so an interrupted installation starts again.
.venv: .venv/installed
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# One lock for every supported Python and platform.
lock:
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-header \
	  --no-emit-index-url pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
