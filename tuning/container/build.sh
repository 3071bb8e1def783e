#!/bin/sh
# An image of mxring without a registry: a Debian root that mmdebstrap makes, the package in it.
#
#   tuning/container/build.sh [PACKAGE.deb [NAME]]
#
# PACKAGE: the newest mxring_*.deb of `./run.sh package`; NAME: localhost/mxring. As any user with
# sub-ids of its own, or as root. MXRING_MIRROR: another mirror than Debian's; MXRING_ROOT_TAR: where the
# root is kept, and taken from when it is there and newer than the package.
set -eu

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
source=$(cd -- "$here/../.." && pwd -P)
package=${1:-$(ls -t "$source"/build/release/packages/mxring_*.deb 2>/dev/null | head -n 1)}
name=${2:-localhost/mxring}
[ -f "$package" ] || { echo "build.sh: no package; ./run.sh package makes one" >&2; exit 1; }
for program in mmdebstrap podman; do
  command -v $program >/dev/null || { echo "build.sh: $program is not installed" >&2; exit 1; }
done

# What the package was built against is what its root must be.
suite=${MXRING_SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
root=${MXRING_ROOT_TAR:-$place/root.tar}
if ! [ "$root" -nt "$package" ]; then
  depends=$(dpkg-deb -f "$package" Depends | sed 's/([^)]*)//g; s/ //g')
  cp "$package" "$place/mxring.deb"
  # shellcheck disable=SC2086
  mmdebstrap --variant=essential --include="$depends" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook="copy-in $place/mxring.deb /tmp" \
    --customize-hook='chroot "$1" dpkg -i /tmp/mxring.deb' \
    --customize-hook='rm -rf "$1"/tmp/mxring.deb "$1"/var/lib/apt/lists/* "$1"/var/cache/*' \
    "$suite" "$root" ${MXRING_MIRROR:-}
fi
context=$place/context
mkdir "$context"
cp "$here/Containerfile" "$context/"
ln "$root" "$context/root.tar" 2>/dev/null || cp "$root" "$context/root.tar"
podman build --quiet --tag "$name" --file "$context/Containerfile" "$context"
