# The three things a person does with a checkout. Everything is prepared on the way:
# scripts/bootstrap.sh installs what is missing and keeps it in ~/.cache/troupe.
#
#   make run     build, and run the demo on a cluster of this machine
#   make test    build everything and run every test
#   make build   build the programs only
#   make gpu-check   build everything for GPUs; check and time it where there is one

BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: run test build configure clean gpu-check

run: build
	$(BUILD)/bin/troupe demo

build:
	scripts/bootstrap.sh
	@$(MAKE) --no-print-directory configure \
	  CMAKE_FLAGS="-DTROUPE_TESTS=OFF -DTROUPE_FAILPOINTS=OFF"
	cmake --build $(BUILD) --parallel $(JOBS)

test:
	scripts/bootstrap.sh --tests
	@$(MAKE) --no-print-directory configure \
	  CMAKE_FLAGS="-DTROUPE_TESTS=ON -DTROUPE_FAILPOINTS=ON"
	cmake --build $(BUILD) --parallel $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error

gpu-check:
	scripts/bootstrap.sh --tests --cuda
	@$(MAKE) --no-print-directory configure CMAKE_FLAGS="-DTROUPE_TESTS=ON -DTROUPE_CUDA=ON"
	cmake --build $(BUILD) --parallel $(JOBS)
	tests/gpu/run.sh $(BUILD)

configure:
	cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS) > $(BUILD).configure.log 2>&1 || \
	  (cat $(BUILD).configure.log; exit 1)

clean:
	rm -rf $(BUILD) $(BUILD).configure.log
