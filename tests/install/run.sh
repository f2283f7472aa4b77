#!/usr/bin/env bash
# Installs a build into a scratch folder and uses the library from there as a stranger would: through pkg-config, with the
# example of docs/library.md. Each check leaves a line, 'pass NAME' or 'fail NAME', in BUILD/install-test/results.
set -uo pipefail

if [ $# != 1 ]; then
  echo "usage: tests/install/run.sh BUILD" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
work=$build/install-test
rm -rf "$work"
mkdir -p "$work"
: >"$work/results"

check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "pass $name" | tee -a "$work/results"
  else
    echo "fail $name" | tee -a "$work/results"
    sed 's/^/  /' "$work/log"
  fi
}

install_it() { meson install -C "$build" --no-rebuild --quiet --destdir "$work/root"; }

example() { awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$root/docs/library.md" >"$work/example.c" && [ -s "$work/example.c" ]; }

cc=${CC:-cc}
warn="-std=c11 -Wall -Wextra -Werror -pedantic"
# Word splitting of what pkg-config prints is what it is for.
# shellcheck disable=SC2046,SC2086
build_shared() { $cc $warn -o "$work/shared" "$work/example.c" $(pkg-config --cflags --libs edgelora) -Wl,-rpath,"$libdir"; }
# shellcheck disable=SC2046,SC2086
build_static() { $cc $warn -static -o "$work/static" "$work/example.c" $(pkg-config --static --cflags --libs edgelora); }

# The example completes a prompt: text must come, the same from both.
runs() {
  timeout 120 "$work/$1" "$EDGELORA_MODEL" | tee "$work/$1.txt"
  [ -s "$work/$1.txt" ] && cmp "$work/$1.txt" "$work/shared.txt"
}

# Nothing but the public names leaves the shared library.
exports_only_ours() {
  nm -D --defined-only "$libdir/libedgelora.so" | awk '{ print $3 }' | grep -v '^el_'
  [ $? = 1 ]
}
declared_is_exported() {
  grep -oh 'el_[a-z_]*(' "$root"/include/*.h | tr -d '(' | sort -u >"$work/declared"
  nm -D --defined-only "$libdir/libedgelora.so" | awk '{ print $3 }' | sort -u >"$work/exported"
  ! comm -23 "$work/declared" "$work/exported" | grep .
}

check "the build installs" install_it
pc=$(find "$work/root" -name edgelora.pc | head -n 1)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}
check "docs/library.md has an example in C" example
check "the example links the shared library through pkg-config" build_shared
check "the example links the static library through pkg-config" build_static
check "the shared library exports public names only" exports_only_ours
check "the shared library exports every declared function" declared_is_exported
# What the shells and man find by its place, for each command.
pages_and_completions() {
  local share command program
  share=$(dirname "$(find "$work/root" -name man -type d | head -n 1)")
  for command in bench $("$build/edgelora" --help | awk '/^  [a-z]/ { print $1 }'); do
    [ -s "$share/man/man1/edgelora-$command.1" ] || { echo "no page of $command"; return 1; }
  done
  for program in edgelora edgelora-bench; do
    [ -s "$share/bash-completion/completions/$program" ] && [ -s "$share/zsh/site-functions/_$program" ] || { echo "no completions of $program"; return 1; }
  done
  [ -s "$share/man/man5/edgelora.yaml.5" ] && [ -s "$share/man/man1/edgelora.1" ]
}
# The unit names the program where it is installed.
unit_names_the_program() {
  local unit program
  unit=$(find "$work/root" -name edgelora.service)
  program=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$unit")
  [ -x "$work/root$program" ]
}

check "the installed program tells its version" "$(find "$work/root" -path '*/bin/edgelora')" --version
check "the installed bench tells its version" "$(find "$work/root" -path '*/bin/edgelora-bench')" --version
check "the manual pages and completions are installed" pages_and_completions
check "the installed unit names the installed program" unit_names_the_program
if [ -f "${EDGELORA_MODEL:-}" ]; then
  check "the example runs with the shared library" runs shared
  check "the example runs with the static library" runs static
else
  echo "skip the example runs: EDGELORA_MODEL names no model" | tee -a "$work/results"
fi
! grep -q ^fail "$work/results"
