#!/usr/bin/env bash
# The kernels for 64-bit Arm: cross-compiled, and their unit tests run by qemu on a CPU with plain NEON, one with dot
# products and one with int8 matrix products as well. Each run leaves a line, 'pass NAME' or 'fail NAME', in
# BUILD/cross-test/results.
set -uo pipefail

if [ $# != 1 ]; then
  echo "usage: tests/cross/run.sh BUILD" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(cd "$1" && pwd)/cross-test
CC=${CROSS_CC:-aarch64-linux-gnu-gcc}
QEMU=${CROSS_QEMU:-qemu-aarch64-static}
rm -rf "$work"
mkdir -p "$work"
: >"$work/results"
cd "$root" || exit

flags="-std=gnu11 -O2 -D_GNU_SOURCE -ffp-contract=off -Wall -Wextra -Werror -Wno-unused-parameter -Itests/cross -Iinclude -Isrc"
objects= jobs=
# compile SOURCE [OPTION...]: beside the others.
compile() {
  local source=$1 object
  shift
  object=$work/$(echo "$source" | tr / _).o
  objects="$objects $object"
  # shellcheck disable=SC2086 # flags is a list
  $CC $flags "$@" -c "$source" -o "$object" &
  jobs="$jobs $!"
}

compile_all() {
  local f job failed=0
  compile src/kernels/kernels_neon.c -march=armv8-a
  compile src/kernels/kernels_neon_dotprod.c -march=armv8.2-a+dotprod
  compile src/kernels/kernels_neon_i8mm.c -march=armv8.2-a+dotprod+i8mm
  for f in src/base/error.c src/format/{quant,quant_codes}.c src/kernels/{kernels_scalar,act,dispatch,low_rank,pack}.c; do compile "$f"; done
  for job in $jobs; do wait "$job" || failed=1; done
  return $failed
}
if ! compile_all; then
  echo "fail compile" >>"$work/results"
  exit 1
fi

cpus='cortex-a72 neoverse-n1 max'
status=0
for test in pack kernels kernels_ops low_rank; do
  # shellcheck disable=SC2086 # flags and objects are lists
  if ! $CC $flags -static "tests/unit/test_$test.c" $objects -lm -lpthread -o "$work/test_$test"; then
    echo "fail link-$test" >>"$work/results"
    status=1
    continue
  fi
  for cpu in $cpus; do
    { EL_TEST_DATA=$root/tests "$QEMU" -cpu $cpu "$work/test_$test"; echo $? >"$work/$test-$cpu.status"; } >"$work/$test-$cpu.log" 2>&1 &
  done
  wait
  for cpu in $cpus; do
    if [ "$(cat "$work/$test-$cpu.status")" = 0 ]; then
      echo "pass $test-$cpu" >>"$work/results"
      echo "arm64 $test on $cpu: passed"
    else
      echo "fail $test-$cpu" >>"$work/results"
      echo "arm64 $test on $cpu: FAILED"
      tail -n 20 "$work/$test-$cpu.log"
      status=1
    fi
  done
done
exit $status
