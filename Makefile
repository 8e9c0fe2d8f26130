# make run   the demo: camera in, manifest lines out          make test   the whole suite
# make check ruff, mypy --strict, import directions           make faults the long fault storms, with a table
# make acceptance a V4L2 camera and the systemd units in guests, as root: docs/acceptance.md
# make deploy-check the AWS template, by cfn-lint, sam and checkov: docs/deploy.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What verifies checksums and conditions as S3 does, for the tests: by the very versions that start without docker.
LOCALSTACK := .localstack
LOCALSTACK_STAMP := $(LOCALSTACK)/.installed
LOCALSTACK_PACKAGES := 'localstack-core[runtime]==4.4.0' 'cbor2<5.8' pyopenssl==24.3.0 'cryptography<45' \
	'service_identity<24.3'

# Who reads what edge-cloud export writes, for the tests: the libraries that trainers load data sets with.
READERS := .readers
READERS_STAMP := $(READERS)/.installed
READERS_PACKAGES := pycocotools==2.0.11 supervision==0.31.2 webdataset==1.0.2 datasets==5.2.0 datumaro==1.13.12 \
	label-studio-sdk==2.1.2

# What checks cloud/template.yaml and emulates Lambda; checkov asks for other versions than sam of what both need.
DEPLOY := $(or $(EDGE_CAPTURE_DEPLOY),.deploy)
SAM_PACKAGES := aws-sam-cli==1.170.0 cfn-lint==1.58.0 awslambdaric==4.2.2
CHECKOV_PACKAGES := checkov==3.3.30

# Whom benchmarks/extract.py compares with beside the development packages: torch without CUDA is 1 GB even so.
BENCH_PEERS := $(or $(EDGE_CAPTURE_BENCH_PEERS),.bench-venv)
TORCH_PACKAGES := --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu torchcodec==0.13.0

.PHONY: run prepare test check faults acceptance bench bench-peers clean localstack readers deploy-tools deploy-check system-packages

run: $(STAMP)
	$(BIN)/edge-agent demo

# All that the tests need. Each waits for its own downloads: make --jobs=4 prepare has them side by side.
prepare: $(STAMP) localstack readers deploy-tools system-packages

# Much of the suite waits for cameras, disks and time-outs: three processes share it on two cores, a file of tests each
# at a time, in the order of tests/conftest.py.
JOBS ?= 3

# What fails beside others of the tests that a slow moment of the machine can make fail is run again alone, and named.
test: prepare
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS) \
		|| { [ $$? = 1 ] && $(BIN)/python -m tests.support.again; }

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# With the fault storms, whatever promises something within a time: only here, with the machine to itself, is it held to it.
PROMISES = $(shell grep -lE '^from tests.support.wait import .*promised' tests/integration/*.py tests/e2e/*.py)

faults: $(STAMP) localstack system-packages
	$(BIN)/python -m pytest tests/faults $(PROMISES) --storm $(ARGS)

acceptance: $(STAMP)
	@tests/system-packages.sh acceptance
	$(BIN)/python -m pytest tests/acceptance --acceptance $(ARGS)

bench: $(STAMP) system-packages
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

# The benchmark says who is missing, so what cannot be had here stops nothing.
bench-peers:
	$(PYTHON) -m venv $(BENCH_PEERS)
	$(BENCH_PEERS)/bin/pip install --quiet decord==0.6.0 numpy 'opencv-python-headless<5' pillow scikit-image
	$(BENCH_PEERS)/bin/pip install --quiet --retries 0 $(TORCH_PACKAGES) || echo "torchcodec cannot be installed here" >&2
	$(BENCH_PEERS)/bin/pip install --quiet --retries 0 --extra-index-url https://download.pytorch.org/whl/cpu torchvision==0.28.0+cpu \
		|| echo "torchvision cannot be installed here" >&2

$(STAMP): setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { echo "error: no venv module; run: sudo apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# In a virtual environment of its own: its requirements are not ours. EDGE_CAPTURE_LOCALSTACK names another.
localstack: $(if $(EDGE_CAPTURE_LOCALSTACK),,$(LOCALSTACK_STAMP))

$(LOCALSTACK_STAMP):
	$(PYTHON) -m venv $(LOCALSTACK)
	$(LOCALSTACK)/bin/pip install --quiet --no-compile $(LOCALSTACK_PACKAGES)
	touch $@

# As LocalStack: in an environment of its own, or in that which EDGE_CAPTURE_READERS names.
readers: $(if $(EDGE_CAPTURE_READERS),,$(READERS_STAMP))

$(READERS_STAMP):
	$(PYTHON) -m venv $(READERS)
	$(READERS)/bin/pip install --quiet --no-compile $(READERS_PACKAGES)
	touch $@

# In CI, too: the template is checked there and the function runs under the emulator.
deploy-tools: $(DEPLOY)/sam/.installed $(DEPLOY)/checkov/.installed

deploy-check: $(STAMP) deploy-tools
	$(BIN)/python -m pytest tests/integration/test_cloud_deploy_check.py tests/contracts/test_cloud_template.py $(ARGS)

$(DEPLOY)/sam/.installed:
	$(PYTHON) -m venv $(DEPLOY)/sam
	$(DEPLOY)/sam/bin/pip install --quiet --no-compile $(SAM_PACKAGES)
	touch $@

$(DEPLOY)/checkov/.installed:
	$(PYTHON) -m venv $(DEPLOY)/checkov
	$(DEPLOY)/checkov/bin/pip install --quiet --no-compile $(CHECKOV_PACKAGES)
	touch $@

# What the tests need beside Python: GStreamer's RTSP server. Without it, or without the right to install it, the tests
# that need it skip and say so.
system-packages:
	@tests/system-packages.sh

clean:
	rm -rf $(VENV) $(LOCALSTACK) $(READERS) .deploy .bench-venv demo-output build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
