# `make run` and `make test` need nothing but Python (3.11 or newer) and make; they keep everything in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test chaos check format system clean

run: $(READY)
	$(BIN)/pyros demo

test: $(READY) system
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TESTS)

# Hours of random trouble; both print their seeds and totals. For example: make chaos NIGHTS=10 KILLS=20 SEED=7 JOBS=1
SEED ?= 1
NIGHTS ?= 100
KILLS ?= 200
JOBS ?= 2
chaos: $(READY)
	$(BIN)/python -m tests.chaos.chaos_nights --nights $(NIGHTS) --seed $(SEED) --jobs $(JOBS)
	$(BIN)/python -m tests.chaos.kill_nights --kills $(KILLS) --seed $(SEED)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# System packages that some tests need; says what is missing where it may not install them.
system:
	@PYTHON=$(PYTHON) sh tests/system_packages.sh

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "PyROS needs Python 3.11 or newer, and $(PYTHON) is %d.%d; name a newer one: make PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module; install it first (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
