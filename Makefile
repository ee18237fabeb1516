# The front door. Every target does its own set-up first (cmake/setup.sh): Debian packages through apt, a private
# virtual environment with the pinned torch wheel, configure, build. What is there already is left alone.
#
#   TORCH_PYTHON=/path/python  use that interpreter's torch instead of .venv
#   MAX_JOBS=2                 compiler jobs; one that includes torch takes up to 1 GB
#   DEMO_DIR=runs/..           where the demo's run lives (default runs/demo, runs/demo-dense)
TORCH_PYTHON ?=
MAX_JOBS ?= 2
DEMO_DIR ?=
BENCH_ARGS ?=
CLANG_FORMAT ?= clang-format

CTEST := ctest --output-on-failure --parallel 2
SETUP := cmake/setup.sh
HONE := build/release/hone
PYTHON := $(or $(TORCH_PYTHON),$(CURDIR)/.venv/bin/python)
# sources under version control; in an unpacked archive, those in our folders
SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.cpp' '*.h' '*.cu' 2>/dev/null || \
  find sandbox models rollout rewards rl recipes cli python bench tests -name '*.cpp' -o -name '*.h' -o -name '*.cu')
export MAX_JOBS

.DEFAULT_GOAL := help
.PHONY: help demo demo-dense test check build python bench format clean packages torch peers

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

packages:
	@$(SETUP) packages

torch: packages
ifdef TORCH_PYTHON
	@$(SETUP) torch-python $(TORCH_PYTHON)
else
	@$(SETUP) venv .venv cmake/requirements.txt
endif

peers: packages  ## the virtual environment that the tests compare with
	@$(SETUP) venv .venv-peers cmake/requirements-peers.txt

build: torch  ## set up and build build/release/hone
	@$(SETUP) build release -DPython_EXECUTABLE=$(PYTHON)

python: build  ## the Python package, importable from build/release/python (or: pip install --no-build-isolation .)
	@$(SETUP) packages python3-dev
	@$(SETUP) target release hone_python -DPython_EXECUTABLE=$(PYTHON)

# $(call run_demo,recipe,folder): trains into the folder, goes on with a run that was cut short, repeats none
define run_demo
@if [ -e $(2)/.finished ]; then \
  echo "$(2) holds a finished run: see $(2)/report.html; for a new one: make $@ DEMO_DIR=runs/another"; \
else \
  if [ -e $(2)/run.db ]; then echo "$(2) holds an unfinished run: going on with it"; fi; \
  $(HONE) train $(1) --run-dir $(2) --resume && touch $(2)/.finished && \
  echo "The curve and sample rollouts: $$(realpath $(2)/report.html)"; \
fi
endef

demo: build  ## set up, build, train an R1-Zero on a tiny mixture of experts, from nothing to a curve
	$(call run_demo,recipes/r1_zero_countdown.yaml,$(or $(DEMO_DIR),runs/demo))

demo-dense: build  ## the quick variant: a dense model of 0.2M parameters
	$(call run_demo,recipes/r1_zero_countdown_dense.yaml,$(or $(DEMO_DIR),runs/demo-dense))

test: python peers  ## set up, build, every test; those without torch also under ASan + UBSan
	@$(SETUP) build asan
	@echo "hone tests: AddressSanitizer and UBSan, the parts without torch"
	@$(CTEST) --test-dir build/asan
	@echo "hone tests: everything"
	@$(CTEST) --test-dir build/release

check: build  ## format, layering and the fast tests (without the label "slow")
	@$(SETUP) packages clang-format
	@$(CLANG_FORMAT) --dry-run --Werror $(SOURCES)
	@$(CTEST) --test-dir build/release -LE slow

bench: python  ## side by side with TRL's GRPOTrainer (BENCH_ARGS=--help lists what can be set)
	@$(SETUP) venv .venv-peers cmake/requirements-bench.txt
	@.venv-peers/bin/python bench/grpo_vs_trl.py $(BENCH_ARGS)

format:  ## clang-format on every source
	@$(SETUP) packages clang-format
	@$(CLANG_FORMAT) -i $(SOURCES)

clean:  ## remove build/ (virtual environments and runs stay)
	rm -rf build/release build/dev build/asan build/tsan build/*.log
