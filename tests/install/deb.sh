#!/usr/bin/env bash
# Installs the package edgelora into a scratch root, changes the configuration, upgrades to a next version with another one, removes and
# purges. tests/install/deb.sh PACKAGE.deb: as root, or under fakeroot. Ends with 0 if all held.
set -euo pipefail

if [ $# != 1 ]; then
  echo "usage: tests/install/deb.sh PACKAGE.deb" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
config=$root/etc/edgelora/edgelora.yaml
mkdir -p "$root"/var/lib/dpkg/{updates,info,triggers} "$root/etc" "$root/var/log"
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"

# Scripts are run with DPKG_ROOT, for nothing but the package is there; nor are its dependencies.
dpkg_in() { dpkg --root="$root" --log="$work/dpkg.log" --force-depends --force-script-chrootless --force-not-root "$@" >>"$work/log" 2>&1; }
holds() {
  local name=$1
  shift
  if "$@" >>"$work/log" 2>&1; then
    echo "pass $name"
  else
    echo "fail $name"
    sed 's/^/  /' "$work/log"
    exit 1
  fi
}

# next FROM TO VERSION-SUFFIX LINE: the same package, later, with a line more in its configuration.
next() {
  dpkg-deb -R "$1" "$work/tree"
  sed -i "s/^Version: .*/&$3/" "$work/tree/DEBIAN/control"
  echo "$4" >>"$work/tree/etc/edgelora/edgelora.yaml"
  dpkg-deb --root-owner-group -b "$work/tree" "$2" >>"$work/log"
  rm -rf "$work/tree"
}

next "$1" "$work/second.deb" +2 '# of the second version'
next "$1" "$work/third.deb" +3 '# of the third version'

holds "the package installs" dpkg_in -i "$1"
holds "its user is there" grep -q '^edgelora:' "$root/etc/passwd"
holds "its service is not enabled" test -z "$(find "$root/etc/systemd" -name 'edgelora.service' 2>/dev/null)"
holds "an upgrade of what nobody changed brings the new configuration" dpkg_in -i "$work/second.deb"
holds "  which is there" grep -q 'second version' "$config"
echo 'slots: 5' >>"$config"
holds "an upgrade of what was changed goes through" dpkg_in --force-confdef --force-confold -i "$work/third.deb"
holds "  and keeps it" grep -qx 'slots: 5' "$config"
holds "  with the new one beside it" grep -q 'third version' "$config.dpkg-dist"
mkdir -p "$root/var/cache/edgelora"
touch "$root/var/lib/edgelora/models/model.gguf" "$root/var/cache/edgelora/index"
holds "the package is removed" dpkg_in -r edgelora
holds "  and leaves the configuration" test -e "$config"
holds "the package is purged" dpkg_in -P edgelora
holds "  with the configuration and the cache" test ! -e "$config" -a ! -e "$root/var/cache/edgelora"
holds "  but without the models" test -e "$root/var/lib/edgelora/models/model.gguf"
