#!/bin/sh
# Runs every fuzz target for SECONDS, all at once; fails on any crash, leak, undefined behaviour, timeout or excess of memory.
#
#   CC=clang-14 meson setup BUILD_DIR -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
#   ninja -C BUILD_DIR fuzzers
#   tests/fuzz/run.sh SECONDS BUILD_DIR
#
# What a run finds interesting stays in BUILD_DIR/fuzz/corpus for the next one; an input that fails is kept in BUILD_DIR/fuzz.
set -eu

if [ $# -ne 2 ]; then
  echo "usage: tests/fuzz/run.sh SECONDS BUILD_DIR" >&2
  exit 2
fi
seconds=$1
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$2" && pwd)
work=$build/fuzz
mkdir -p "$work"
python3 "$here/seeds.py" "$work/seeds"

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
pids=
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -f "$target" ] && [ -x "$target" ] || continue
  name=$(basename "$target")
  name=${name#fuzz_}
  mkdir -p "$work/corpus/$name" "$work/seeds/$name"
  set -- -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=16384 -artifact_prefix="$work/$name-"
  [ -f "$here/$name.dict" ] && set -- "$@" -dict="$here/$name.dict"
  "$target" "$@" "$work/corpus/$name" "$work/seeds/$name" > "$work/$name.log" 2>&1 &
  pids="$pids $name:$!"
done
if [ -z "$pids" ]; then
  echo "$build has no fuzz targets: build it with -Dfuzz=true" >&2
  exit 2
fi

failed=0
for pair in $pids; do
  name=${pair%%:*}
  if wait "${pair##*:}"; then
    echo "fuzz $name: $(grep -o 'Done [0-9]* runs' "$work/$name.log" || echo 'Done')"
  else
    echo "fuzz $name: FAILED, see $work/$name.log" >&2
    tail -n 60 "$work/$name.log" >&2
    failed=1
  fi
done
exit $failed
