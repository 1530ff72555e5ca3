# GNU make. Needs Python 3.11 or newer with venv, and a package index that pip can reach; nothing else.
# The project itself is never installed, only what it depends on: a copied or moved checkout goes on working.
# For the same reason programs are started as `python -m`, because scripts in a venv name its first path.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install migrate ui test bench bench-backends bench-fleet screenshots faults defects lint format types imports house clean venv

# Each candidate is run, because a name on the PATH may be a stub for a version that is not there.
SUITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c '$(SUITS)' 2>/dev/null && { echo "$$python"; break; }; done)

PY := .venv/bin/python
# A venv whose Python is gone since, or whose making was cut short, is made anew.
VENV_WORKS := $(shell $(PY) -c 'import pip' 2>/dev/null && echo yes)
# The longest first: the short ones fill what is left.
TESTS ?= tests/deployments tests/browser tests/faults tests/pipeline tests/unit

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

install: .venv/run.installed ## make .venv with everything that a run needs

migrate: .venv/run.installed ## migrate a demo database, or DATABASE=path; OPTIONS='--dry-run --json' passes more
	@if [ -n "$$DATABASE" ]; then set -- --database "$$DATABASE"; else set -- --demo; fi; \
	$(PY) -m flows.migrate "$$@" $(OPTIONS)

ui: .venv/run.installed ## serve Prefect's UI with a worker and all deployments until Ctrl-C; DATABASE=path gives them theirs
	@if [ -n "$$DATABASE" ]; then set -- --database "$$DATABASE"; fi; \
	exec $(PY) -m deployments.ui "$$@" $(OPTIONS)

test: .venv/test.installed ## run the tests; TESTS=tests/unit narrows, OPTIONS='-k name' passes more
	$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(TESTS) $(OPTIONS)

bench: .venv/bench.installed ## run the benchmarks (half an hour; ROWS=100000 for minutes)
	$(PY) -m pytest tests/benchmarks -s --timeout=1800 $(OPTIONS)

bench-backends: .venv/bench.installed ## measure the tools on SQLite, PostgreSQL (where it is installed) and DuckDB (7 minutes)
	$(PY) -m tests.benchmarks.backends $(OPTIONS)

bench-fleet: .venv/test.installed ## migrate a thousand small databases, and 200 on two machines of which one dies (half an hour)
	$(PY) -m tests.benchmarks.fleet
	$(PY) -m tests.benchmarks.fleet_on_machines 20,2 200,1 200,2 200,2,killed

screenshots: .venv/test.installed ## take the pictures of docs/screenshots anew (needs chromium, and writes /srv/ltmc meanwhile)
	$(PY) -m pytest tests/browser/screenshots.py

faults: .venv/test.installed ## kill 1,000 runs beside writers, fail every system call (half an hour); KILLS=100 for fewer
	$(PY) -m tests.faults.sweep
	FAULTS=full $(PY) -m pytest tests/faults/test_io_errors.py tests/deployments tests/pipeline/test_fleet.py tests/pipeline/test_fleet_stopped.py tests/pipeline/test_fleet_machines.py tests/unit/test_online_stages_property.py

defects: .venv/test.installed ## seed every known defect into a migration and 15 new ones (SEED=n repeats them): which gate says so
	$(PY) -m tests.faults.defects

lint: .venv/dev.installed ## check style and format (ruff)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: .venv/dev.installed ## repair what lint finds, where ruff can
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

types: .venv/dev.installed ## check types, strictly in migrator/ (mypy)
	$(PY) -m mypy

imports: .venv/dev.installed ## check that imports run one way (import-linter)
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo

house: .venv/test.installed ## check the house rules
	$(PY) -m pytest tests/house $(OPTIONS)

clean: ## remove what make and the checks made; demo/ and backups stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp for each set of requirements. Each needs the one before, so that make -j never runs two pips in one venv.
.venv/run.installed: groups =
.venv/test.installed: groups = test
.venv/dev.installed: groups = test dev
.venv/bench.installed: groups = test dev bench
.venv/test.installed: .venv/run.installed
.venv/dev.installed: .venv/test.installed
.venv/bench.installed: .venv/dev.installed

.venv/%.installed: pyproject.toml constraints.txt $(if $(VENV_WORKS),,venv)
	@$(PY) -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["dependencies"], *sum((project["optional-dependencies"][g] for g in sys.argv[1:]), []), sep="\n")' \
	$(groups) >.venv/$*.requirements
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/$*.requirements
	@touch $@

venv:
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11 or newer with venv found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUITS)' || \
	{ echo "$(PYTHON) is not a Python 3.11 or newer with venv; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
