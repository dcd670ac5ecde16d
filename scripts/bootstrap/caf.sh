# Sourced by scripts/bootstrap.sh: builds CAF, which Debian 12 packages only in an older, different
# API. The source comes from Debian's own source package of the pinned version; the archive's
# mirror and key are those that this system already trusts, and the tarball is checked by digest.

caf_version=0.18.7
caf_source_version="0.18.7-1~exp1"
caf_suite=experimental
caf_sha256=d5c3abe8fd67a729aab1baeece10367637d903ba335f4c79378bcadfbcd34552

caf_prefix() {
  echo "$cache/caf-$caf_version-$(g++ -dumpfullversion)"
}

# Prints "URI KEYRING" of this system's Debian mirror, from deb822 or one-line sources.
system_mirror() {
  local uri key
  uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -E '/debian/?$' | head -n 1)
  if [ -z "$uri" ]; then
    uri=$(grep -hoE '^deb .*' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      grep -oE '[a-z+]+://[^ ]*/debian/?' | head -n 1)
  fi
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -n "$uri" ] && [ -f "$key" ] || {
    echo "No Debian mirror found in /etc/apt: Troupe's build supports Debian 12." >&2
    return 1
  }
  echo "$uri $key"
}

fetch_caf_source() {
  local target=$1 work uri key
  read -r uri key < <(system_mirror)
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial"
  echo "deb-src [signed-by=$key] $uri $caf_suite main" >"$work/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=/dev/null"
    -o "Dir::State::lists=$work/lists" -o "APT::Sandbox::User=root")
  apt-get "${options[@]}" update
  (cd "$work" &&
    apt-get "${options[@]}" source --download-only --tar-only \
      "actor-framework=$caf_source_version")
  mv "$work"/actor-framework_"$caf_version".orig.tar.gz "$target"
  rm -rf "$work"
  echo "$caf_sha256  $target" | sha256sum --check -
}

install_caf() {
  local prefix build
  prefix=$(caf_prefix)
  [ -f "$prefix/.complete" ] && return 3
  build="$cache/caf-build"
  rm -rf "$build" "$prefix"
  mkdir -p "$build"
  fetch_caf_source "$build/source.tar.gz"
  tar -xzf "$build/source.tar.gz" -C "$build" --strip-components=1
  cmake -S "$build" -B "$build/out" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$prefix" -DCAF_ENABLE_TESTING=OFF -DCAF_ENABLE_EXAMPLES=OFF \
    -DCAF_ENABLE_TOOLS=OFF -DCAF_ENABLE_OPENSSL_MODULE=ON -DBUILD_SHARED_LIBS=ON
  cmake --build "$build/out" --parallel "$(nproc)"
  cmake --install "$build/out"
  touch "$prefix/.complete"
  rm -rf "$build"
}
