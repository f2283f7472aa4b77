# What the scripts in this folder share. Sourced by bash.
# shellcheck shell=bash

say() { echo "edgelora: $*" >&2; }

# find_python MODULE...: prints the first python 3.9 or newer that has the modules. The system's own comes second: a
# python earlier in PATH may lack what Debian's packages add to Debian's.
find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" - "$@" >/dev/null 2>&1 <<'PY'; then
import importlib.util, sys
assert sys.version_info >= (3, 9)
assert all(importlib.util.find_spec(name) for name in sys.argv[1:])
PY
      echo "$python"
      return 0
    fi
  done
  return 1
}
