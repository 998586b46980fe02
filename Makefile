# `make demo` shows what helmsight does, `make test` checks all of it. Both set up .venv first; from the second time on
# they start at once, until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable

.PHONY: help demo test test-runner fuzz lint clean headless

help:
	@echo "make demo    run both networks on the clip that ships; writes out/"
	@echo "make test    lint, type-check and test everything (sets up torch and the simulator too)"
	@echo "make test-runner  build the native runner for every processor and test it (10 minutes more)"
	@echo "make fuzz    10,000 damaged manifests, as many networks, as many ncnn files: each is refused in one line, or whole (a quarter of an hour)"
	@echo "make lint    lint and type-check only"
	@echo "make clean   remove what builds, tests and the demo left; keeps $(VENV) and runs/"

demo: $(VENV)/.light
	@$(BIN)/helmsight demo --out out
	@echo ". $(BIN)/activate brings helmsight onto the path"

# A process of tests that dies ends them: with another in its place they would at times wait for ever.
test: lint
	$(BIN)/pytest -n logical --maxprocesses 4 --no-loadscope-reorder --max-worker-restart 0

# Without it `make test` leaves out what needs a built runner, and says so.
test-runner: $(VENV)/.everything
	$(BIN)/python -c 'from helmsight.export.native import PLATFORMS, runner; [runner(p, print) for p in PLATFORMS.values()]'
	$(BIN)/pytest tests/export/runner

# `make test` does a tenth of it. The second line needs what `make test-runner` builds, and says so without it.
fuzz: $(VENV)/.everything
	HELMSIGHT_FUZZ=10000 $(BIN)/pytest -n logical --maxprocesses 4 --dist load -rP tests/test_fuzz.py
	HELMSIGHT_FUZZ=10000 $(BIN)/pytest -rP tests/export/runner/test_program.py -k damaged_record

lint: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# A half-made environment would pass for a whole one the next time.
$(BIN)/python:
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.light: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing helmsight[cpu,plot] into $(VENV) (about a minute)"
	@$(INSTALL) '.[cpu,plot]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(MAKE) --no-print-directory headless
	@touch $@

# OpenCV's wheel with windows needs the system's libGL; the one without needs nothing, and owns the same folder.
headless:
	@echo "libGL is not here: taking OpenCV without windows (no --show)"
	@$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt opencv-python-headless

$(VENV)/.everything: pyproject.toml constraints.txt tools/system-packages.sh | $(BIN)/python
	@tools/system-packages.sh
	@$(BIN)/python -m pip uninstall --quiet --yes opencv-python-headless
	@echo "installing helmsight[cpu,openvino,train,rtx,tk1,track,sim,plot,sign,dev] into $(VENV) (some minutes: torch is large)"
	@$(INSTALL) '.[cpu,openvino,train,rtx,tk1,track,sim,plot,sign,dev]'
	@touch $(VENV)/.light $@
