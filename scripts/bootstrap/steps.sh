# Sourced by scripts/bootstrap.sh: the step runner and the steps that only call a package manager.

# step TITLE FUNCTION: runs FUNCTION with its output in a log. FUNCTION returns 0 when it has done
# its work and 3 when there was nothing to do.
step() {
  local title=$1 run=$2 log start rc=0
  log="$cache/log/${run}.log"
  start=$SECONDS
  printf '[bootstrap] %-18s ' "$title"
  ( set -euo pipefail; "$run" ) >"$log" 2>&1 &
  local pid=$!
  trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    if [ -t 1 ]; then
      printf '\r[bootstrap] %-18s %4d s  %.60s\033[K' "$title" $((SECONDS - start)) \
        "$(tail -n 1 "$log" 2>/dev/null | tr -d '\r' | cut -c1-60)"
    fi
    sleep 1
  done
  wait "$pid" || rc=$?
  trap - INT TERM
  [ -t 1 ] && printf '\r[bootstrap] %-18s \033[K' "$title"
  case $rc in
    0) echo "ready after $((SECONDS - start)) s" ;;
    3) echo "already present" ;;
    *)
      echo "FAILED (exit $rc), the last lines of $log:"
      tail -n 20 "$log"
      echo "[bootstrap] Repair the cause and run the same command again: finished steps are kept."
      exit 1
      ;;
  esac
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages_in() {
  sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1" | tr -s ' \n' '\n'
}

install_system_packages() {
  local missing=() name
  while read -r name; do
    dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -q '^installed$' ||
      missing+=("$name")
  done < <(packages_in "$root/scripts/bootstrap/debian-packages.txt")
  [ ${#missing[@]} -eq 0 ] && return 3
  echo "missing: ${missing[*]}"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "${missing[@]}"
}

# A step is done when the checksum of what it was asked for stands in its stamp.
stamped() {
  [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

ensure_venv() {
  [ -x "$cache/python/bin/pip" ] || /usr/bin/python3 -m venv "$cache/python"
}

install_requirements() {
  local file=$1 stamp sum
  stamp="$cache/python/.$(basename "$file").sha256"
  sum=$(sha256sum <"$file")
  stamped "$stamp" "$sum" && return 3
  ensure_venv
  "$cache/python/bin/pip" install --no-input -r "$file"
  echo "$sum" >"$stamp"
}

install_libtorch() {
  install_requirements "$root/scripts/bootstrap/libtorch.txt"
}

# The runtime, its headers and NCCL come with libtorch; what the linker looks for by its plain name
# does not.
install_cuda_compiler() {
  command -v nvcc /usr/local/cuda/bin/nvcc >/dev/null && return 3
  local status=0 lib
  install_requirements "$root/scripts/bootstrap/cuda-compiler.txt" || status=$?
  for lib in "$cache"/python/lib/python3*/site-packages/nvidia/cu13/lib; do
    ln -sf libcudart.so.13 "$lib/libcudart.so"
  done
  return $status
}

install_oracles() {
  install_requirements "$root/tests/requirements.txt"
}

# Apart from the oracles, whose versions it would change. The name of the folder matters: dill takes
# what is not in a site-packages folder for the user's own code and pickles it.
install_cookbook() {
  local folder="$cache/tinker-cookbook/site-packages" file sum
  file="$root/tests/conformance/tinker/cookbook.txt"
  sum=$(sha256sum <"$file")
  stamped "$cache/tinker-cookbook/.sha256" "$sum" && return 3
  rm -rf "$cache/tinker-cookbook"
  "$cache/python/bin/pip" install --no-input --no-deps --target "$folder" tinker-cookbook==0.6.1
  "$cache/python/bin/pip" install --no-input --target "$folder" -r "$file"
  echo "$sum" >"$cache/tinker-cookbook/.sha256"
}

# Other versions of one package cannot share an environment: each gets a folder for PYTHONPATH.
install_old_sdks() {
  local wanted folder status=3
  while read -r wanted; do
    case $wanted in '' | '#'*) continue ;; esac
    folder="$cache/tinker-sdk/${wanted#*==}"
    [ -f "$folder/.complete" ] && continue
    rm -rf "$folder"
    "$cache/python/bin/pip" install --no-input --no-deps --target "$folder" "$wanted"
    touch "$folder/.complete"
    status=0
  done <"$root/tests/conformance/tinker/older-sdks.txt"
  return $status
}
