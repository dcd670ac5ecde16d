#!/bin/sh
# What `make gpu-check` runs once everything is built: kernels against their references, the engine
# on the GPU against transformers and against the processor, communicators over as many ranks as
# there are GPUs, and the benchmark. Without a GPU it says so and succeeds.
#
# Usage: tests/gpu/run.sh BUILD_FOLDER
set -eu

build=$1
status=0
"$build/bin/gpu_check" || status=$?
# 77 is what test drivers take for "skipped".
[ "$status" -eq 77 ] && exit 0
[ "$status" -eq 0 ] || exit "$status"
ctest --test-dir "$build" --output-on-failure --no-tests=error \
  -R '^(make_goldens|library_parity|comm_contract|unit_gpu_device_comm|engine_factory_test)$'
"$build/bin/gpu_bench"
