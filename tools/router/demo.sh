#!/bin/sh
# Makes the demo router, routers/demo.gguf, from nothing: prompts, what every demo adapter scores on them, the router, and how
# it does on prompts that are held out. Ended in the middle, it goes on where it was.
#
#   tools/router/demo.sh [PROFILE OPTION ...]      such as --slots 32
#
# MODEL: the base model (default: the one that `make model` fetches). EDGELORA: the program (default: build/edgelora). WORK: the
# scratch folder (default: ~/.cache/edgelora-router). PER_TRADE: training prompts of each trade (default: 400).
set -eu

case "${1:-}" in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tools/router
edgelora=${EDGELORA:-$root/build/edgelora}
work=${WORK:-$HOME/.cache/edgelora-router}
model=${MODEL:-$("$root/tools/fetch-model")}
mkdir -p "$work" "$root/routers"

# An answer of a trade ends by itself well before 48 tokens.
python3 "$here/prompts.py" train --per-trade "${PER_TRADE:-400}" -o "$work/prompts.jsonl"
"$edgelora" router profile -m "$model" --adapters "$root/adapters" --prompts "$work/prompts.jsonl" -o "$work/table.csv" \
    --scorer exact --max-tokens 48 "$@"
"$edgelora" router train -m "$model" --table "$work/table.csv" -o "$root/routers/demo.gguf"
"$edgelora" router show "$root/routers/demo.gguf"
python3 "$here/report.py" --edgelora "$edgelora" --model "$model" --router "$root/routers/demo.gguf"

# And a router that knows of no adapter, for which each is what five of its prompts say.
python3 "$here/prompts.py" background --table "$work/table.csv" -o "$work/background.csv"
"$edgelora" router train -m "$model" --table "$work/background.csv" -o "$work/examples.gguf"
python3 "$here/report.py" --edgelora "$edgelora" --model "$model" --router "$work/examples.gguf" --examples 5
