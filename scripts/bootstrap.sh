#!/usr/bin/env bash
# Makes a Debian 12 machine ready to build Troupe: system packages, libtorch, CAF and, with
# --tests, the Python oracles. Every step is idempotent and says so when there is nothing to do.
# Results that take long to make live in $TROUPE_CACHE (default ~/.cache/troupe), keyed by version
# and compiler, so that a second clone on the same machine starts building at once.
#
# Usage: scripts/bootstrap.sh [--tests]      exit 0 ready, 1 a step failed (its log is named)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TROUPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/troupe}
want_tests=no
[ "${1:-}" = "--tests" ] && want_tests=yes
mkdir -p "$cache/log"

# shellcheck source=scripts/bootstrap/steps.sh
. "$root/scripts/bootstrap/steps.sh"
# shellcheck source=scripts/bootstrap/caf.sh
. "$root/scripts/bootstrap/caf.sh"

step "system packages" install_system_packages
step "libtorch" install_libtorch
step "CAF $caf_version" install_caf
if [ "$want_tests" = yes ]; then
  step "Python oracles" install_oracles
  step "older SDKs" install_old_sdks
  step "tinker-cookbook" install_cookbook
fi
