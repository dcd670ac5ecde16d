#!/usr/bin/env bash
# Makes a Debian 12 machine ready to build Troupe: system packages, libtorch, CAF and, with
# --tests, the Python oracles; with --cuda, a compiler for GPUs where there is none. Every step is
# idempotent and says so when there is nothing to do. Results that take long to make live in
# $TROUPE_CACHE (default ~/.cache/troupe), keyed by version and compiler, so that a second clone on
# the same machine starts building at once.
#
# Usage: scripts/bootstrap.sh [--tests] [--cuda]
# Exit: 0 ready, 1 a step failed (its log is named).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TROUPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/troupe}
want_tests=no
want_cuda=no
for option in "$@"; do
  case $option in
    --tests) want_tests=yes ;;
    --cuda) want_cuda=yes ;;
    *)
      echo "unknown option $option; usage: scripts/bootstrap.sh [--tests] [--cuda]" >&2
      exit 1
      ;;
  esac
done
mkdir -p "$cache/log"

# shellcheck source=scripts/bootstrap/steps.sh
. "$root/scripts/bootstrap/steps.sh"
# shellcheck source=scripts/bootstrap/caf.sh
. "$root/scripts/bootstrap/caf.sh"

step "system packages" install_system_packages
step "libtorch" install_libtorch
step "CAF $caf_version" install_caf
if [ "$want_cuda" = yes ]; then
  step "CUDA compiler" install_cuda_compiler
fi
if [ "$want_tests" = yes ]; then
  step "Python oracles" install_oracles
  step "older SDKs" install_old_sdks
  step "tinker-cookbook" install_cookbook
fi
