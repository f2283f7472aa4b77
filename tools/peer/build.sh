#!/usr/bin/env bash
# Builds llama.cpp, the engine that edgelora is compared with, outside the repository.
#
# The source is the vendored copy in a pinned sdist of PyPI's llama-cpp-python: the one place where
# a plain package client can get a known llama.cpp. Nothing of it enters this repository.
set -euo pipefail

VERSION=0.3.36
SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
TARGETS="llama llama-completion llama-server llama-batched-bench llama-bench llama-perplexity llama-quantize llama-tokenize"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgelora/peer
jobs=$(nproc)
variant=
cpu="-DGGML_NATIVE=ON"

usage() {
    cat <<USAGE
usage: tools/peer/build.sh [--avx2] [--jobs N] [--where]

Downloads the sdist of llama-cpp-python $VERSION, unpacks its vendored llama.cpp and builds it
(Release, for this machine's CPU, no GPU, no network code).

  --avx2     a second build, for an x86-64 CPU with AVX2 and nothing newer (no AVX-512, no VNNI), to compare as
             on such a machine; llama-batched-bench alone, in a folder of its own
  --jobs N   compile with N processes (default: $jobs)
  --where    print the folder of the binaries and stop; exit 1 if they are not built
  --help     this text

Everything lies under $cache;
the binaries and libllama.so are in $cache/bin (--avx2: bin-avx2).
A finished build of the same version is left as it is.
USAGE
}

where=0
while [ $# -gt 0 ]; do
    case $1 in
        --avx2)
            variant=-avx2
            cpu="-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
            cpu+=" -DGGML_AVX_VNNI=OFF -DGGML_AVX512=OFF -DGGML_AVX512_VBMI=OFF -DGGML_AVX512_VNNI=OFF -DGGML_AVX512_BF16=OFF"
            TARGETS=llama-batched-bench
            shift
            ;;
        --jobs) jobs=$2; shift 2 ;;
        --where) where=1; shift ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

stamp=$cache/built-$VERSION$variant
bin=$cache/bin$variant
if [ "$where" = 1 ]; then
    [ -e "$stamp" ] || { echo "not built: run tools/peer/build.sh${variant:+ -$variant}" >&2; exit 1; }
    echo "$bin"
    exit 0
fi
if [ -e "$stamp" ]; then
    echo "already built: $bin"
    exit 0
fi

for tool in cmake g++ python3; do
    command -v $tool >/dev/null || { echo "$tool is missing; on Debian: apt-get install cmake g++ python3-pip" >&2; exit 1; }
done

mkdir -p "$cache"
sdist=$cache/llama_cpp_python-$VERSION.tar.gz
if [ ! -e "$sdist" ]; then
    # pip also prepares the package's metadata, which needs a build tool or two but compiles nothing.
    python3 -m pip download --quiet --no-deps --no-binary :all: -d "$cache" "llama-cpp-python==$VERSION"
fi
echo "$SHA256  $sdist" | sha256sum --check --quiet

src=$cache/src-$VERSION
if [ ! -d "$src" ]; then
    rm -rf "$src.tmp"
    mkdir "$src.tmp"
    tar -xzf "$sdist" -C "$src.tmp" --strip-components=3 "llama_cpp_python-$VERSION/vendor/llama.cpp"
    rm -f "$src.tmp/.git" # a submodule's pointer to nowhere; git would complain
    mv "$src.tmp" "$src"
fi

build=$cache/build-$VERSION$variant
# shellcheck disable=SC2086 # cpu is a list
cmake -S "$src" -B "$build" -DCMAKE_BUILD_TYPE=Release $cpu -DBUILD_SHARED_LIBS=ON \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF >"$cache/configure$variant.log" 2>&1 ||
    { tail -20 "$cache/configure$variant.log" >&2; exit 1; }
# shellcheck disable=SC2086 # TARGETS is a list
nice -n 5 cmake --build "$build" -j "$jobs" --target $TARGETS >"$cache/build$variant.log" 2>&1 ||
    { tail -40 "$cache/build$variant.log" >&2; exit 1; }

ln -sfn "build-$VERSION$variant/bin" "$bin"
ln -sfn "src-$VERSION" "$cache/src"
touch "$stamp"
echo "built: $bin"
