# make run   the demo: camera in, manifest lines out          make test   the whole suite
# make check ruff, mypy --strict, import directions           make faults the long fault storms, with a table
# make acceptance a V4L2 camera in a guest machine, as root: docs/acceptance.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test check faults acceptance bench clean system-packages

run: $(STAMP)
	$(BIN)/edge-agent demo

test: $(STAMP) system-packages
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

faults: $(STAMP) system-packages
	$(BIN)/python -m pytest tests/faults --storm $(ARGS)

acceptance: $(STAMP)
	@tests/system-packages.sh acceptance
	$(BIN)/python -m pytest tests/acceptance --acceptance $(ARGS)

bench: $(STAMP) system-packages
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

$(STAMP): setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { echo "error: no venv module; run: sudo apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# What the tests need beside Python: GStreamer's RTSP server. Without it, or without the right to install it, the tests
# that need it skip and say so.
system-packages:
	@tests/system-packages.sh

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
