#!/usr/bin/env bash
# What a change costs its author, in three figures:
#
#   bench/build_time.sh [--test] [--before]
#
#   program   CPU minutes of compiling `mxring` from nothing (release, no compiler cache)
#   edit      seconds from an edit of src/smtp/session.h to the result of smtp_session_test (dev)
#   test      minutes of `./run.sh test` from a clean clone, only with --test: some twenty
#
# --before measures the first two a second time without precompiled headers, for the ratio. All of
# it happens in a clone of what is committed, in a directory of its own that is removed afterwards.
# Another load on the machine makes every figure larger: CPU time too, where cores share caches.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
with_test=no
variants=(ON)
for argument in "$@"; do
  case $argument in
    --test) with_test=yes ;;
    --before) variants=(OFF ON) ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
done

place=$(mktemp -d "${TMPDIR:-/var/tmp}/mxring-build-time.XXXXXX")
trap 'rm -rf "$place"' EXIT
git clone -q "$root" "$place/mxring"
cd "$place/mxring"

configure() {  # PRESET DIRECTORY PRECOMPILED
  cmake --preset "$1" -B "$2" -DCMAKE_CXX_COMPILER_LAUNCHER= -DMXRING_PCH="$3" >/dev/null
}

# Runs a command; prints "wall user system" in seconds.
seconds() {
  local TIMEFORMAT='%R %U %S' log=$place/log.txt
  { time "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }; } 2>&1
}

edit_and_test() {  # DIRECTORY
  ninja -C "$1" smtp_session_test && "$1/tests/smtp/smtp_session_test"
}

printf '%-9s  %-11s  %9s  %9s\n' figure precompiled wall CPU
row() {  # NAME PRECOMPILED DIVISOR UNIT WALL USER SYSTEM
  awk -v n="$1" -v p="$2" -v d="$3" -v u="$4" -v w="$5" -v c="$6" -v s="$7" \
    'BEGIN { printf "%-9s  %-11s  %5.1f %-3s  %5.1f %-3s\n", n, p, w / d, u, (c + s) / d, u }'
}
for precompiled in "${variants[@]}"; do
  configure release "build/p$precompiled" "$precompiled"
  row program "$precompiled" 60 min $(seconds ninja -C "build/p$precompiled" mxring)
  configure dev "build/d$precompiled" "$precompiled"
  seconds edit_and_test "build/d$precompiled" >/dev/null
  printf '\n' >>src/smtp/session.h
  row edit "$precompiled" 1 s $(seconds edit_and_test "build/d$precompiled")
  git checkout -q src/smtp/session.h
done
if [[ $with_test == yes ]]; then
  rm -rf build
  row test ON 60 min $(seconds env CCACHE_DISABLE=1 ./run.sh test)
fi
