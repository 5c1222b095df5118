# make demo   train, verify and export on real faces, from nothing, on a CPU
# make demo-identity   people who do not exist: recognisers, a VAE, a transformer, and what the identity loss is worth
# make demo-pose   people who do not exist, turned to other angles, and what that does for a recogniser
# make demo-editing   people who do not exist, with other hair, parsed, analysed; the generator as ONNX of 8 bits
# make demo-all   all demonstrations that have not run, and one page that links them
# make test   the test suite (make test EXTRAS=test,dali adds the DALI loader, a 1 GB download)
# make soak   the tests that take long (a kill at every step, fifty ends), and ten minutes of random faults
# make fuzz   ten thousand damaged record sets, each refused or read with every image accounted for
# make interop  prove record files interchangeable with Apache MXNet, in both directions
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: demo demo-identity demo-pose demo-editing demo-all test soak fuzz lint interop clean

demo: $(STAMP)
	$(BIN)/python launch/demo.py

demo-identity:
	$(MAKE) $(VENV)/.installed-generation EXTRAS=generation
	$(BIN)/python launch/demo_identity.py

demo-pose:
	$(MAKE) $(VENV)/.installed-generation EXTRAS=generation
	$(BIN)/python launch/demo_pose.py

demo-editing:
	$(MAKE) $(VENV)/.installed-generation EXTRAS=generation
	$(BIN)/python launch/demo_editing.py

demo-all:
	$(MAKE) $(VENV)/.installed-generation EXTRAS=generation
	$(BIN)/python launch/demo_all.py

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

soak: $(STAMP)
	$(BIN)/python -m pytest -m nightly $(PYTEST_ARGS)
	$(BIN)/python -m tests.faults.soak --minutes 10

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.records --count 10000 --seed 0

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

interop: $(STAMP)
	$(BIN)/python tests/interop/interop.py

$(STAMP): setup.cfg pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "arcscale needs Python 3.10 or newer; $$($(PYTHON) --version) was found. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "could not make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-mxnet demo build *.egg-info
