#!/usr/bin/env python3
"""Makes one HTML file of the page's parts, and a C file that holds it with its policy and its tag.

embed.py INDEX.html STYLE.css OUT.c SCRIPT.js...: the scripts, in this order, are one module: an earlier one's names are there for a later one. What
the page may load and run is said by the hashes of the style and of the script, so nothing that gets into it otherwise does anything.
"""

import base64
import hashlib
import pathlib
import sys


def source(text):
    """A hash source of Content-Security-Policy."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def put(html, place, text):
    if html.count(place) != 1:
        sys.exit(f"{place} has to be there once")
    return html.replace(place, text)


def c_bytes(data):
    return "\n".join("  " + "".join(f"{b}," for b in data[i : i + 32]) for i in range(0, len(data), 32))


def main(index, style, out, *scripts):
    css = pathlib.Path(style).read_text(encoding="utf-8")
    script = "\n".join(pathlib.Path(s).read_text(encoding="utf-8") for s in scripts)
    if "</" in css or "</script" in script:
        sys.exit("the style or the script would end its element")
    html = put(put(pathlib.Path(index).read_text(encoding="utf-8"), "/*style.css*/", css), "/*script*/", script).encode()
    policy = "; ".join([
        "default-src 'none'", f"script-src {source(script)}", f"style-src {source(css)}", "img-src data:", "connect-src 'self'", "base-uri 'none'",
        "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"])
    tag = hashlib.sha256(html).hexdigest()[:32]
    pathlib.Path(out).write_text(
        f"""#include "server/page/page.h"

/* Made by src/server/page/embed.py. */
const unsigned char el_page_html[] = {{
{c_bytes(html)}
}};
const size_t el_page_bytes = sizeof el_page_html;
const char el_page_policy[] = "{policy}";
const char el_page_tag[] = "\\"{tag}\\"";
""", encoding="utf-8")


main(*sys.argv[1:])
