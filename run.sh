#!/usr/bin/env bash
# The one door: installs what is missing (Debian 12, apt), builds, runs.
#
#   ./run.sh           build, then `mxring serve` on its defaults
#   ./run.sh test      build and run every test
#   ./run.sh demo      build, then genuine and spoofed mail under three DMARC policies, live
#   ./run.sh relay-demo
#                      build, then bounces and complaints as typed events to a web receiver and a
#                      three-node JetStream, whose leader is killed
#   ./run.sh load      build, then ten seconds of load against a receiver of its own
#   ./run.sh tune check
#                      build, then what this host offers and what to change
#   ./run.sh soak [MINUTES]
#                      build, then all abuse at once against good clients for so long (30), planted
#                      faults, the simulator for a third of it, a hundred kills of readers and of the
#                      server, and each fuzzer for a third of it when clang++-19 is installed; 0:
#                      until interrupted
#   ./run.sh package   build, then the Debian packages, in build/release/packages
#   ./run.sh ARGS...   build, then `mxring ARGS...`
#
# Everything this script itself says goes to standard error, so that `./run.sh log cat | ...` works.
# CI=true makes compiler warnings errors.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

# What the build needs. This is the only list.
build_packages=(
  build-essential cmake ninja-build pkg-config
  liburing-dev libwolfssl-dev libmimalloc-dev libfmt-dev libcli11-dev libtomlplusplus-dev
  libhwy-dev libc-ares-dev libidn2-dev nlohmann-json3-dev zlib1g-dev libseccomp-dev libgtest-dev
  libbenchmark-dev libyaml-cpp-dev libcurl4-openssl-dev libnats-dev
)
[[ $(uname -m) != x86_64 ]] || build_packages+=(libipsec-mb-dev)  # quicker TLS records
# What the tests use when they can have it: COMMAND=PACKAGE. Each one missing is a skipped test.
test_packages=(
  python3=python3 swaks=swaks curl=curl /usr/sbin/smtp-source=postfix node=nodejs npm=npm
  /usr/sbin/knotd=knot /usr/sbin/opendkim=opendkim /usr/bin/dkimverify=python3-dkim
  /usr/bin/dkimproxy-verify=libmail-dkim-perl xmllint=libxml2-utils promtool=prometheus
  systemd-analyze=systemd openssl=openssl /usr/sbin/haproxy=haproxy
  faketime=faketime /usr/sbin/mkfs.btrfs=btrfs-progs /usr/bin/pip3=python3-pip
  lintian=lintian man=man-db
  /usr/sbin/nats-server=nats-server /usr/lib/dovecot/lmtp=dovecot-lmtpd
)
# From npm, into build/node. Later versions of mailauth want a later Node.js than Debian 12 has.
node_packages=(nodemailer mailauth@4.8.1 standardwebhooks)
# What shows that nothing acknowledged is lost.
promise_tests='^sim[.]|[Kk]ill|Fault|[._]fault'
# Unit tests that also run under AddressSanitizer and UndefinedBehaviorSanitizer, and under
# ThreadSanitizer; `./run.sh soak` runs the server's and the network's under it as well, and a whole server.
asan_modules=(base obs spsc crypto mail uring smtp dns seglog net mailauth decode server load report relay tune)
tsan_modules=(spsc)

say() { printf '%s\n' "run.sh: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

log_dir=$root/build/log

# Runs a command with its output in a file; shows the end of the file when it fails.
quietly() {
  local log=$log_dir/$1.txt
  shift
  mkdir -p "$log_dir"
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    say "failed: $* (all of it in $log)"
    return 1
  fi
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "not root and no sudo; as root, run: $*"
  fi
}

apt_updated=no
install_packages() {
  command -v apt-get >/dev/null || fail "no apt-get here; these are needed: $*"
  say "installing $*"
  if [[ $apt_updated == no ]]; then
    quietly apt-update as_root apt-get -q update
    apt_updated=yes
  fi
  quietly apt-install as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@"
}

install_build_packages() {
  command -v dpkg-query >/dev/null || return 0
  local installed missing=() package
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${build_packages[@]}" \
    2>/dev/null || true)
  for package in "${build_packages[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"$package installed"$'\n'* ]] || missing+=("$package")
  done
  [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

# Debian starts a service when its package is installed; the tests need the programs of Postfix and
# of the name server, not the services on this machine.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ -e $policy ]]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
  local result=0
  "$@" || result=$?
  as_root rm -f "$policy"
  return $result
}

install_test_package() {
  local package=$1
  if [[ $package == postfix ]]; then
    printf 'postfix postfix/main_mailer_type select Local only\n' |
      as_root debconf-set-selections 2>/dev/null || true
  fi
  without_starting_services install_packages "$package" || return 1
  if command -v systemctl >/dev/null; then
    case $package in
      postfix | knot | opendkim | prometheus | haproxy) as_root systemctl disable "$package" >/dev/null 2>&1 || true ;;
    esac
  fi
}

install_test_packages() {
  local entry command package
  for entry in "${test_packages[@]}"; do
    command=${entry%%=*} package=${entry#*=}
    command -v "$command" >/dev/null && continue
    install_test_package "$package" || say "without $package: its tests will be skipped"
  done
  install_node_packages || say "without ${node_packages[*]}: their tests will be skipped"
}

# All in one go: npm would remove what an earlier command has put there unsaved.
install_node_packages() {
  local where=$root/build/node package missing=no
  for package in "${node_packages[@]}"; do
    [[ -d $where/node_modules/${package%@*} ]] || missing=yes
  done
  [[ $missing == yes ]] || return 0
  command -v npm >/dev/null || return 1
  say "installing ${node_packages[*]} into build/node"
  mkdir -p "$where"
  quietly npm timeout 180 npm install --prefix "$where" --no-save --no-audit --no-fund \
    "${node_packages[@]}"
}

# Configures a preset when it has not been, or was for another -Werror, or has changed since.
configure() {
  local preset=$1 werror=OFF launcher=()
  local cache=$root/build/$preset/CMakeCache.txt
  [[ ${CI:-} == true ]] && werror=ON
  if [[ -e $root/build/$preset/build.ninja && $cache -nt $root/CMakePresets.json ]] &&
    grep -q "^MXRING_WERROR:BOOL=$werror\$" "$cache"; then
    return
  fi
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cd "$root"
  quietly "configure-$preset" cmake --preset "$preset" -DMXRING_WERROR=$werror "${launcher[@]}" ||
    fail "could not configure"
  cd - >/dev/null
}

# Ninja's output, cut down: on a terminal one line that shows where it is, elsewhere one line at
# the start; in both, whatever the compiler has to say.
show_build() {
  local preset=$1 line begun=no width
  width=$(tput cols 2>/dev/null || echo 80)
  while IFS= read -r line; do
    case $line in
      '-- '* | 'ninja: Entering directory'* | 'ninja: no work to do.') ;;
      *'Re-checking globbed directories...' | *'Re-running CMake...') ;;
      '['[0-9]*/[0-9]*']'*)
        if [[ -t 2 ]]; then
          line="building $preset $line"
          printf '\r\033[K%s' "${line:0:width-1}"
        elif [[ $begun == no ]]; then
          say "building $preset"
        fi
        begun=yes
        ;;
      *)
        [[ ! -t 2 ]] || printf '\r\033[K'
        printf '%s\n' "$line"
        ;;
    esac
  done >&2
  [[ ! -t 2 || $begun == no ]] || printf '\r\033[K' >&2
}

build() {
  local preset=$1
  shift
  configure "$preset"
  ninja -C "$root/build/$preset" "$@" 2>&1 | show_build "$preset" || fail "the build failed"
}

# The unit tests of some modules, in a preset of their own.
sanitized_tests() {
  local preset=$1 module targets=() modules=()
  shift
  configure "$preset"
  for module in "$@"; do
    [[ -d $root/build/$preset/tests/$module ]] || continue
    modules+=("$module")
    targets+=("tests/$module/all")
  done
  build "$preset" "${targets[@]}"
  for module in "${modules[@]}"; do
    say "testing $module under $preset"
    ctest --test-dir "$root/build/$preset/tests/$module" --output-on-failure -j "$(nproc)" \
      --progress >"$log_dir/$preset-$module.txt" 2>&1 || {
      cat "$log_dir/$preset-$module.txt"
      exit 1
    }
  done
}

run_tests() {
  install_build_packages
  install_test_packages
  build release
  sanitized_tests asan "${asan_modules[@]}"
  sanitized_tests tsan "${tsan_modules[@]}"
  say "testing release"
  cd "$root"
  # What shows the promise (kills, faults, the simulator) passes at once or not at all. Of the rest,
  # where a stalled machine can break a time limit, a test may pass at the second try: both are shown.
  ctest --preset release -j "$(nproc)" -R "$promise_tests" &&
    ctest --preset release -j "$(nproc)" -E "$promise_tests" --repeat until-pass:2 && exit
  # Once more, alone: what they print is then at the end, and shows whether they fail every time.
  say "what failed, once more"
  ctest --preset release --rerun-failed
  exit 1
}

# Installed, started, mail received, upgraded and purged in a root that mmdebstrap makes.
packages_in_a_clean_root() {
  local tar=$root/build/debian.tar
  command -v mmdebstrap >/dev/null || {
    say "without mmdebstrap the packages are not tried in a clean root"
    return 0
  }
  build release mxring src/seglog/all src/relay/all manual
  [[ -e $tar ]] || quietly mmdebstrap as_root mmdebstrap --variant=apt --include=python3,adduser \
    bookworm "$tar" || return 1
  say "the packages in a clean Debian 12"
  as_root env MXRING_DEBIAN_ROOT="$tar" MXRING_E2E_DIR="$root/build/e2e" \
    MXRING_BINARY="$root/build/release/mxring" python3 -B "$root/tests/e2e/package_test.py"
}

# The image of tuning/container, under podman as whoever runs this: rootless unless that is root.
image_in_podman() {
  local program tar=$root/build/image.tar
  for program in podman mmdebstrap; do
    command -v $program >/dev/null || {
      say "without $program the container is not tried"
      return 0
    }
  done
  (package >/dev/null) || return 1
  say "the container image"
  MXRING_ROOT_TAR=$root/build/image-root.tar quietly image "$root/tuning/container/build.sh" ||
    return 1
  rm -f "$tar"
  quietly image-save podman save --quiet --output "$tar" localhost/mxring || return 1
  MXRING_IMAGE_TAR=$tar MXRING_E2E_DIR=$root/build/e2e MXRING_BINARY=$root/build/release/mxring \
    python3 -B "$root/tests/e2e/container_test.py"
}

# What takes hours by nature, for as long as one wants. Nothing of it runs in CI.
soak() {
  local minutes=${1:-30} fuzzer status=0 rounds=0
  [[ $minutes =~ ^[0-9]+$ ]] || fail "\"soak\" takes a number of minutes"
  install_build_packages
  install_test_packages
  build release mxring
  while [[ $rounds == 0 || $minutes == 0 ]]; do
    rounds=$((rounds + 1))
    MXRING_E2E_DIR=$root/build/e2e python3 -B "$root/tests/e2e/soak_test.py" \
      --binary "$root/build/release/mxring" --minutes "$((minutes == 0 ? 60 : minutes))" \
      --seed "$rounds" || status=1
    say "each kind of abuse alone: does memory grow?"
    MXRING_E2E_DIR=$root/build/e2e python3 -B "$root/tests/e2e/soak_test.py" --growth \
      --binary "$root/build/release/mxring" --minutes "$((minutes == 0 ? 30 : minutes))" || status=1
    MXRING_E2E_DIR=$root/build/e2e MXRING_BINARY=$root/build/release/mxring \
      MXRING_BUILD_TYPE=Release MXRING_RELOADS=100 MXRING_GUESSES=1000000 \
      python3 -B "$root/tests/e2e/policy_load_test.py" || status=1
    say "a hundred restarts and reloads under load"
    MXRING_RESTARTS=100 MXRING_E2E_DIR=$root/build/e2e MXRING_BINARY=$root/build/release/mxring \
      python3 -B "$root/tests/e2e/restart_test.py" || status=1
    say "a good client's p99 while twelve connections send what costs most"
    MXRING_FAIRNESS_SECONDS=5 MXRING_E2E_DIR=$root/build/e2e \
      MXRING_BINARY=$root/build/release/mxring python3 -B "$root/tests/e2e/fairness_test.py" ||
      [[ $? == 77 ]] || status=1
    say "a whole server, and its tests, under ThreadSanitizer"
    local -x TSAN_OPTIONS=suppressions=$root/tests/support/thread_sanitizer.supp
    (sanitized_tests tsan net server) || status=1
    build tsan mxring
    MXRING_LOAD=$root/build/release/mxring MXRING_BINARY=$root/build/tsan/mxring \
      MXRING_RACES_SECONDS=120 MXRING_E2E_DIR=$root/build/e2e \
      python3 -B "$root/tests/e2e/races_test.py" || status=1
    say "planted faults, then lives of the simulator"
    build release mxring_sim planted
    python3 -B "$root/tests/sim/planted/run.py" --programs "$root/build/release/tests/sim/planted" ||
      status=1
    "$root/build/release/tests/sim/mxring_sim" --probes --from "${rounds}000000" \
      --hours "$(awk "BEGIN { print $((minutes == 0 ? 60 : minutes)) / 180 }")" || status=1
    say "a hundred kills of readers and of the server"
    build release src/seglog/all
    MXRING_KILL_ROUNDS=100 MXRING_SEED=$rounds MXRING_E2E_DIR=$root/build/e2e \
      MXRING_BINARY=$root/build/release/mxring python3 -B "$root/tests/e2e/group_kill_test.py" ||
      status=1
    say "a hundred kills of relays, at every step they take, and of the nodes they publish to"
    build release mxring-relay
    local test
    for test in relay_test relay_lmtp_test relay_nats_test relay_kill_test relay_streams_test; do
      MXRING_KILL_ROUNDS=100 MXRING_E2E_DIR=$root/build/e2e MXRING_NODE=$root/build/node \
        MXRING_BINARY=$root/build/release/mxring python3 -B "$root/tests/e2e/$test.py" || status=1
    done
    packages_in_a_clean_root || status=1
    image_in_podman || status=1
    command -v clang++-19 >/dev/null || {
      say "without clang++-19 (apt-get install clang-19 libclang-rt-19-dev) nothing is fuzzed"
      [[ $minutes == 0 ]] || break
      continue
    }
    build fuzz
    for fuzzer in "$root"/build/fuzz/tests/*/*_fuzz; do
      local name seeds
      name=$(basename "$fuzzer") seeds=$root/tests/corpus/$(basename "$fuzzer")
      say "fuzzing: $name"
      mkdir -p "$root/build/corpus/$name"
      [[ -d $seeds ]] || seeds=
      (cd "$root/build" && quietly "fuzz-$name" "$fuzzer" -timeout=25 -rss_limit_mb=4096 \
        "-max_total_time=$(((minutes == 0 ? 30 : minutes) * 20))" "$root/build/corpus/$name" \
        ${seeds:+"$seeds"}) || status=1
    done
  done
  return $status
}

package() {
  install_build_packages
  build release mxring src/seglog/all src/relay/all manual
  (cd "$root/build/release" && quietly package cpack -G DEB) || fail "no packages"
  if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error \
      "$root"/build/release/packages/*.deb >&2 || fail "lintian finds errors"
  fi
  ls "$root"/build/release/packages/*.deb
}

main() {
  if [[ ${1:-} == package ]]; then
    [[ $# == 1 ]] || fail "\"package\" takes no arguments"
    package
    exit
  fi
  if [[ ${1:-} == soak ]]; then
    [[ $# -le 2 ]] || fail "\"soak\" takes a number of minutes"
    soak "${@:2}"
    exit
  fi
  if [[ ${1:-} == test ]]; then
    [[ $# == 1 ]] || fail "\"test\" takes no arguments"
    run_tests
  fi
  install_build_packages
  build release mxring
  if [[ ${1:-} == demo ]]; then
    command -v /usr/sbin/knotd >/dev/null || install_test_package knot
    exec python3 -B "$root/bench/demo.py" --binary "$root/build/release/mxring" "${@:2}"
  fi
  if [[ ${1:-} == relay-demo ]]; then
    [[ -x /usr/sbin/nats-server ]] || install_test_package nats-server ||
      say "without nats-server: no stream"
    build release mxring-relay
    exec python3 -B "$root/bench/relay_demo.py" --binary "$root/build/release/mxring" "${@:2}"
  fi
  if [[ $# == 0 ]]; then set -- serve --welcome; fi
  exec "$root/build/release/mxring" "$@"
}

main "$@"
