#!/usr/bin/env python3
"""embed.py openapi.json OUT.c: what only people can say of the API, checked to be JSON, as a C string."""

import json
import pathlib
import sys

text = json.dumps(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")), separators=(",", ":"))
lines = "\n".join("  " + "".join(f"{b}," for b in text.encode()[i : i + 32]) for i in range(0, len(text.encode()), 32))
pathlib.Path(sys.argv[2]).write_text(f"""#include "server/openapi/openapi.h"

/* Made by src/server/openapi/embed.py. */
const char el_openapi_text[] = {{
{lines}
}};
const size_t el_openapi_bytes = sizeof el_openapi_text;
""", encoding="utf-8")
