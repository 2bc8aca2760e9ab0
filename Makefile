# Each target does its own set-up; repeated, it only does what changed. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BACKEND ?= local
# ON: warnings are errors, as in CI and in the other presets. No user's build fails for what a newer compiler warns of.
WERROR ?= OFF
JOBS ?= $(shell nproc)
# Inputs that each fuzzer tries.
RUNS ?= 100000
# Anything for pytest and ctest: make test-python PYTEST_ARGS='-k close', make test-cpp CTEST_ARGS='-R unit'.
PYTEST_ARGS ?=
CTEST_ARGS ?=
# For make one: T names the file of C++ tests, PRESET how it is built.
PRESET ?= release
# For make bench-peers: `python3 bench/peers --help` lists them.
PEERS_ARGS ?=

python := .venv/bin/python
python_ray := .venv-ray/bin/python
stamps := build/stamps
# What the installed Python package is made of.
package_sources := $(shell find include src python cmake CMakeLists.txt pyproject.toml LICENSE README.md \
                     -type f -not -name '*.pyc' 2>/dev/null)
cpp_files = $$(find include src python/bindings tests bench examples -name '*.[ch]pp' -o -name '*.h' 2>/dev/null)
# GCC 12's ThreadSanitizer cannot place its shadow memory where the kernel randomises more than 28 bits of an address.
fixed_addresses := $(shell (( $$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0) > 28 )) && echo setarch -R)
python_dirs := python tests bench examples tools

.PHONY: help demo test one test-cpp test-python test-ray test-debug test-tsan simulate coverage mutants fuzz newcomer build wheel check check-cpp check-peers check-python tidy \
        format bench bench-peers bench-python bench-ray clean distclean FORCE
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 20

demo: demo-$(BACKEND) ## count the words of Python's standard library through channels; BACKEND=ray: over processes and nodes
.PHONY: demo-local demo-ray
demo-local: $(stamps)/installed
	@$(python) examples/wordcount.py --backend local
demo-ray: $(stamps)/installed-ray
	@$(python_ray) tools/ray_cluster.py $(python_ray) examples/wordcount.py --backend ray

# One after the other: side by side they took as long on two cores, and what is a matter of time failed under the load.
test: test-cpp test-python test-ray ## build everything and run every test

test-debug: $(stamps)/debian-clang ## the C++ tests, built by Clang 19, under AddressSanitizer and UndefinedBehaviorSanitizer
test-tsan: $(stamps)/debian-clang ## the C++ tests, built by Clang 19, under ThreadSanitizer
test-debug test-tsan: test-%:
	@[[ -f build/$*/build.ninja ]] || cmake --preset $*
	@cmake --build --preset $* --parallel $(JOBS)
	@$(fixed_addresses) ctest --preset $* $(CTEST_ARGS)

# Debian's, for make newcomer.
RELEASE ?= trixie
newcomer: ## README's commands in a bare Debian: make newcomer RELEASE=trixie (or bookworm), as root
	@tools/setup-debian newcomer
	@tools/newcomer $(RELEASE)

SEEDS ?= 10000
FROM ?= 1
simulate: build ## run the data plane in a simulated world, each seed twice: make simulate SEEDS=10000 FROM=1
	@build/release/tests/cpp/klaw_simulate --regressions tests/cpp/simulation/regressions.txt --seeds $(FROM) $(SEEDS) \
	  --twice --jobs $(JOBS)

coverage: $(stamps)/debian-tests $(stamps)/dev ## the lines of broker and link that the simulator reaches, and those it does not
	@[[ -f build/coverage/build.ninja ]] || cmake --preset coverage
	@cmake --build --preset coverage --parallel $(JOBS)
	@find build/coverage -name '*.gcda' -delete
	@build/coverage/tests/cpp/klaw_simulate --seeds $(FROM) $(SEEDS) --jobs $(JOBS)
	@.venv/bin/gcovr --merge-lines --exclude-noncode-lines --filter 'src/dataplane/(broker|link)/' --fail-under-line 95 \
	  build/coverage

mutants: build ## break the broker and the link on purpose: the simulator must notice
	@python3 tests/cpp/simulation/mutants.py build/release

fuzz: $(stamps)/debian-clang ## fuzz the decoder, the broker and the codec: make fuzz RUNS=1000000
	@[[ -f build/fuzz/build.ninja ]] || cmake --preset fuzz
	@cmake --build --preset fuzz --parallel $(JOBS)
	@tools/fuzz $(RUNS)

build: $(stamps)/debian-tests build/release/build.ninja ## the C++ tests, benchmarks and examples, in build/release
	@cmake --build --preset release --parallel $(JOBS)

build/release/build.ninja: $(stamps)/werror-$(WERROR) | $(stamps)/debian-tests
	@cmake --preset release -DKLAW_WERROR=$(WERROR)

test-cpp: build ## the C++ tests
	@ctest --preset release $(CTEST_ARGS)

# Nothing else is built, so this is how to work on a header that every test includes.
one: $(if $(filter release,$(PRESET)),build/release/build.ninja,$(stamps)/debian-clang) ## build and run one file of C++ tests: make one T=unit/mpmc, and PRESET=tsan for a sanitizer
	@[[ -f tests/cpp/$(T)_test.cpp ]] || { echo "make one: there is no tests/cpp/$(T)_test.cpp (T=unit/mpmc)" >&2; exit 1; }
	@[[ -f build/$(PRESET)/build.ninja ]] || cmake --preset $(PRESET)
	@cmake --build build/$(PRESET) --target klaw_$(subst /,_,$(T))_test --parallel $(JOBS)
	@$(fixed_addresses) ctest --preset $(PRESET) -L '^$(T)$$' $(CTEST_ARGS)

test-python: $(stamps)/installed $(stamps)/dev ## the Python tests, on the installed package
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(python) -m pytest $(PYTEST_ARGS)

# Those to which it makes a difference: the rest is the same in the other environment.
ray_tests := $(addprefix tests/,architecture/test_ray_is_optional.py \
               examples/test_examples.py::test_the_examples_on_a_ray_cluster_do_what_they_say \
               $(addprefix runtime/channels/,conformance ray test_command.py test_factory.py))
# Two processes, each with a cluster and half of the tests; the one that is done first takes some of the other's. One that
# crashes or hangs is not replaced: that ends the run.
test-ray: $(stamps)/installed-ray $(stamps)/ray-plugin ## the Python tests where Ray is installed, on real clusters of two nodes
	@PATH="$(CURDIR)/.venv-ray/bin:$$PATH" $(python_ray) -m pytest --numprocesses=2 --dist=worksteal --max-worker-restart=0 \
	  -m 'not local_conformance and not without_ray' $(ray_tests) $(PYTEST_ARGS)

wheel: $(stamps)/venv ## a wheel in dist/
	@$(python) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

check: check-python check-cpp check-peers ## formatting, lint, types, clang-tidy

check-python: $(stamps)/dev $(stamps)/installed
	@.venv/bin/ruff format --check --quiet $(wildcard $(python_dirs))
	@.venv/bin/ruff check --quiet $(wildcard $(python_dirs))
	@.venv/bin/mypy
	@.venv/bin/basedpyright --warnings

check-cpp: $(stamps)/dev $(stamps)/installed build $(stamps)/ray-plugin
	@.venv/bin/clang-format --dry-run -Werror --ferror-limit=3 $(cpp_files)
	@$(python) tools/clang_tidy.py --jobs $(JOBS) build/release build/python/*/ build/ray

# Where the tools are: nothing but a benchmark needs them.
check-peers:
	@if command -v cargo >/dev/null; then cargo fmt --check --manifest-path bench/peers/rust/Cargo.toml; fi
	@if command -v gofmt >/dev/null; then gofmt -d bench/peers/go | { ! grep .; }; fi

format: $(stamps)/dev ## format C++ and Python in place
	@.venv/bin/clang-format -i $(cpp_files)
	@.venv/bin/ruff check --quiet --fix-only $(wildcard $(python_dirs))
	@.venv/bin/ruff format --quiet $(wildcard $(python_dirs))

bench: build ## C++ channels beside their peers
	@build/release/bench/klaw_local_bench
	@build/release/bench/klaw_dataplane_bench

bench-peers: build/release/build.ninja ## C++ channels beside those of Rust and Go: make bench-peers PEERS_ARGS='--scenario select'
	@cmake --build --preset release --target klaw_peers_bench --parallel $(JOBS)
	@"$$(tools/find-python)" bench/peers $(PEERS_ARGS)

bench-python: $(stamps)/installed $(stamps)/dev ## Python channels beside their peers
	@$(python) bench/python

bench-ray: $(stamps)/installed-ray ## Ray channels beside their peers, on a cluster of two nodes; draws build/bench-ray.svg
	@$(python_ray) bench/ray --svg build/bench-ray.svg

clean: ## remove what was built
	rm -rf build dist

distclean: clean ## and the virtual environments
	rm -rf .venv .venv-ray

# Set-up. The Debian packages are looked for on every run, which is quick, since they can go away.
$(stamps)/debian-build: FORCE | $(stamps)
	@tools/setup-debian build
	@[[ -f $@ ]] || touch $@

$(stamps)/debian-tests: FORCE | $(stamps)
	@tools/setup-debian build tests
	@[[ -f $@ ]] || touch $@

$(stamps)/debian-clang: FORCE | $(stamps)
	@tools/setup-debian build tests clang
	@[[ -f $@ ]] || touch $@

$(stamps):
	@mkdir -p $@

# An environment whose interpreter is gone, or that was moved, is made anew.
.venv/pyvenv.cfg: $(stamps)/debian-build FORCE
	@if ! $(python) -c 'import pip, sys, pathlib; sys.exit(pathlib.Path(sys.prefix) != pathlib.Path(".venv").resolve())' \
	     2>/dev/null; then \
	  echo "Making the virtual environment .venv"; \
	  rm -rf .venv $(stamps)/venv $(stamps)/dev $(stamps)/installed; \
	  "$$(tools/find-python)" -m venv .venv; \
	fi

$(stamps)/venv: .venv/pyvenv.cfg tools/requirements-build.txt
	@$(python) -m pip install --quiet --disable-pip-version-check -r tools/requirements-build.txt
	@touch $@

$(stamps)/dev: $(stamps)/venv tools/requirements-dev.txt
	@echo "Installing the development tools"
	@$(python) -m pip install --quiet --disable-pip-version-check -r tools/requirements-dev.txt
	@touch $@

# Of the last build, so that another WERROR builds again.
$(stamps)/werror-$(WERROR): | $(stamps)
	@rm -f $(stamps)/werror-*
	@touch $@

# One wheel for both environments.
$(stamps)/wheel: $(stamps)/venv $(stamps)/werror-$(WERROR) $(package_sources)
	@echo "Building the Python package"
	@rm -rf build/wheel
	@$(python) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings=cmake.define.KLAW_WERROR=$(WERROR) --wheel-dir build/wheel .
	@touch $@

$(stamps)/installed: $(stamps)/wheel
	@$(python) -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# The environment with Ray.
.venv-ray/pyvenv.cfg: .venv/pyvenv.cfg FORCE
	@if ! $(python_ray) -c 'import pip, sys, pathlib; sys.exit(pathlib.Path(sys.prefix) != pathlib.Path(".venv-ray").resolve())' \
	     2>/dev/null; then \
	  echo "Making the virtual environment .venv-ray"; \
	  rm -rf .venv-ray $(stamps)/ray $(stamps)/installed-ray; \
	  "$$(tools/find-python)" -m venv .venv-ray; \
	fi

$(stamps)/ray: .venv-ray/pyvenv.cfg tools/requirements-ray.txt
	@echo "Installing Ray and the test tools beside it"
	@$(python_ray) -m pip install --quiet --disable-pip-version-check -r tools/requirements-ray.txt
	@touch $@

$(stamps)/installed-ray: $(stamps)/ray $(stamps)/wheel
	@$(python_ray) -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# The Ray plugin, for the ray-cpp of that environment, with the programs of its tests.
ray_plugin_sources := $(shell find include/klaw src tests/cpp/ray cmake CMakeLists.txt -type f 2>/dev/null)
$(stamps)/ray-plugin: $(stamps)/debian-build $(stamps)/ray $(stamps)/werror-$(WERROR) $(ray_plugin_sources)
	@echo "Building the Ray plugin"
	@cmake --preset ray -U 'ray-cpp_*' -DKLAW_WERROR=$(WERROR) -DKLAW_RAY_PYTHON=$(CURDIR)/$(python_ray) >/dev/null
	@cmake --build --preset ray --parallel $(JOBS)
	@touch $@
