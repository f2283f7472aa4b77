#!/bin/bash -eu
# Builds every fuzz target as OSS-Fuzz asks for it: $CC and $CXX with $CFLAGS, linked with $LIB_FUZZING_ENGINE, into $OUT, each with
# its starting inputs (NAME_seed_corpus.zip), its dictionary and its options. Libraries that the machine which runs them lacks go into
# $OUT/lib.
#
# It runs without OSS-Fuzz too:
#
#   CC=clang CXX=clang++ CFLAGS='-O1 -g -fsanitize=address,fuzzer-no-link' LIB_FUZZING_ENGINE=-fsanitize=fuzzer \
#     OUT=/tmp/out WORK=/tmp/work tests/fuzz/oss-fuzz/build.sh
source=$(cd "$(dirname "$0")" && pwd)
# OSS-Fuzz has this script beside the source.
[ -d "$source/edgelora" ] && source=$source/edgelora || source=$(cd "$source/../../.." && pwd)
work=${WORK:-/tmp}/edgelora-fuzz
rm -rf "$work"
mkdir -p "$OUT/lib"

# What $CFLAGS has of sanitizers is all that there is to be.
meson setup "$work" "$source" -Dfuzz=true -Dfuzz_engine="$LIB_FUZZING_ENGINE" --buildtype=plain -Dwerror=false -Db_lundef=false \
  -Db_sanitize=none -Dtests=disabled
ninja -C "$work" fuzzers-long

python3 "$source/tests/fuzz/seeds.py" "$work/seeds"
for program in "$work"/tests/fuzz/fuzz_*; do
  [ -f "$program" ] && [ -x "$program" ] || continue
  target=$(basename "$program")
  name=${target#fuzz_}
  cp "$program" "$OUT/$target"
  ldd "$program" | awk '$3 ~ /^\// { print $3 }' | grep -Ev '/(ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|resolv))[.]so' |
    xargs -r -I{} cp -n {} "$OUT/lib/"
  [ -d "$work/seeds/$name" ] && (cd "$work/seeds/$name" && zip -q -r "$OUT/${target}_seed_corpus.zip" .)
  [ -f "$source/tests/fuzz/$name.dict" ] && cp "$source/tests/fuzz/$name.dict" "$OUT/$target.dict"
  printf '[libfuzzer]\nmax_len = 16384\ntimeout = 30\n' >"$OUT/$target.options"
done
