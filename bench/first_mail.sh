#!/usr/bin/env bash
# How long until the first mail is in the log, from nothing:
#
#   bench/first_mail.sh clone     a clean clone, ./run.sh, a message: compilers and libraries are
#                                 installed already, no compiler cache is used
#   bench/first_mail.sh package   a clean Debian root (MXRING_DEBIAN_ROOT, a tar that mmdebstrap made),
#                                 the .deb with all that it needs, a message; as root. Packages are
#                                 those of ./run.sh package
#
# One line on standard output: seconds that passed, and the CPU seconds that all of it took, the same on
# a busy machine but for its caches. `nproc` cores divide the second figure at best.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

# Sends a message to the port of a ready line that comes in on standard input; fails unless it is
# accepted.
send_first() {
  python3 -c '
import re, smtplib, sys
for line in sys.stdin:
    found = re.search(r"^ready smtp=127\.0\.0\.1:(\d+)", line)
    if found:
        smtplib.SMTP("127.0.0.1", int(found[1]), timeout=60).sendmail(
            "you@example.org", ["me@example.net"], "From: you@example.org\nSubject: hello\n\nIt works.\n")
        break
else:
    sys.exit("no ready line")'
}

from_clone() {
  git clone -q "$root" "$place/mxring"
  cd "$place/mxring"
  env CCACHE_DISABLE=1 ./run.sh serve --smtp 127.0.0.1:0 --log-dir "$place/log" >"$place/out" &
  server=$!
  until grep -q '^ready ' "$place/out"; do
    kill -0 "$server" 2>/dev/null || { echo "first_mail.sh: the server did not start" >&2; exit 1; }
    sleep 0.1
  done
  send_first <"$place/out"
  kill -TERM "$server"
  wait "$server"
}

from_package() {
  [[ -n ${MXRING_DEBIAN_ROOT:-} && $(id -u) == 0 ]] || usage
  local debian=$place/debian package
  package=$(ls -t "$root"/build/*/packages/mxring_*.deb | head -n 1)
  mkdir "$debian"
  tar -xf "$MXRING_DEBIAN_ROOT" -C "$debian" --exclude='./dev/*'
  cp /etc/resolv.conf "$debian/etc/"
  cp "$package" "$debian/mxring.deb"
  mount --bind /dev "$debian/dev"
  mount -t proc proc "$debian/proc"
  mounted=$debian
  begun=$EPOCHREALTIME  # the root is what one has
  chroot "$debian" apt-get -qq update
  chroot "$debian" env DEBIAN_FRONTEND=noninteractive apt-get -qqy --no-install-recommends install \
    /mxring.deb >/dev/null 2>&1
  chroot --userspec=mxring:mxring "$debian" /usr/bin/mxring serve -c /etc/mxring/mxring.toml \
    --smtp 127.0.0.1:0 --admin "" >"$place/out" &
  server=$!
  until grep -q '^ready ' "$place/out"; do
    kill -0 "$server" 2>/dev/null || { echo "first_mail.sh: the server did not start" >&2; exit 1; }
    sleep 0.1
  done
  send_first <"$place/out"
  kill -TERM "$server"
  wait "$server"
}

clean_up() {
  if [[ -n ${mounted:-} ]]; then umount -l "$mounted/proc" "$mounted/dev"; fi
  rm -rf "$place"
}

[[ $# == 1 && ( $1 == clone || $1 == package ) ]] || usage
place=$(mktemp -d "${TMPDIR:-/var/tmp}/mxring-first.XXXXXX")
trap clean_up EXIT
begun=$EPOCHREALTIME
"from_$1"
ended=$EPOCHREALTIME
# User and system time of everything that was waited for.
times >"$place/times"
cpu=$(tail -n 1 "$place/times" | python3 -c '
import re, sys
print(round(sum(int(m) * 60 + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", sys.stdin.read()))))')
python3 -c "print(f'from $1 to the first mail: {$ended - $begun:.0f} s, $cpu CPU s')"
