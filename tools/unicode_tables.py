#!/usr/bin/env python3
"""Writes src/template/unicode_tables.h: what Python's str knows of characters, as Python's own unicodedata has it.

    python3 tools/unicode_tables.py > src/template/unicode_tables.h && clang-format -i src/template/unicode_tables.h
"""

import sys
import unicodedata

ALL = [chr(c) for c in range(0x110000)]


def ranges(holds):
    """[first, last] of the runs of characters for which it holds."""
    found = []
    for c, char in enumerate(ALL):
        if not holds(char):
            continue
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def print_ranges(name, comment, holds):
    print(f"\n/* {comment} */\nstatic const el_char_range {name}[] = {{")
    print(", ".join(f"{{{a:#x}, {b:#x}}}" for a, b in ranges(holds)) + "};")


def print_cases(name, change):
    """Runs of characters, each `step` after the last, that change by the same distance; and what becomes several characters."""
    runs, several = [], []
    for c, char in enumerate(ALL):
        to = change(char)
        if len(to) > 1:
            several.append((c, [ord(x) for x in to] + [0] * (3 - len(to))))
            continue
        distance = ord(to) - c
        if not distance:
            continue
        last = runs[-1] if runs else None
        if last and last[3] == distance and (c - last[1] == last[2] or (last[0] == last[1] and c - last[1] <= 2)):
            last[2] = c - last[1]
            last[1] = c
        else:
            runs.append([c, c, 1, distance])
    print(f"\nstatic const el_case_range {name}[] = {{")
    print(", ".join(f"{{{a:#x}, {b:#x}, {s}, {d}}}" for a, b, s, d in runs) + "};")
    print(f"\nstatic const el_case_several {name}_SEVERAL[] = {{")
    print(", ".join("{%#x, {%s}}" % (c, ", ".join(f"{x:#x}" for x in to)) for c, to in several) + "};")


def main():
    print(f"/* Made by tools/unicode_tables.py from Unicode {unicodedata.unidata_version}; private to unicode.c. */")
    print("#ifndef EL_TEMPLATE_UNICODE_TABLES_H\n#define EL_TEMPLATE_UNICODE_TABLES_H\n\n#include <stdint.h>\n")
    print("typedef struct el_char_range {\n  uint32_t first, last;\n} el_char_range;\n")
    print("/* first, first + step, ... last become themselves plus distance. */")
    print("typedef struct el_case_range {\n  uint32_t first, last, step;\n  int32_t distance;\n} el_case_range;\n")
    print("typedef struct el_case_several {\n  uint32_t from, to[3]; /* 0: no further one */\n} el_case_several;")
    print_ranges("NOT_PRINTABLE", "What repr() escapes.", lambda c: not c.isprintable())
    print_ranges("ALPHA", "isalpha", str.isalpha)
    print_ranges("DECIMAL", "isdecimal", str.isdecimal)
    print_ranges("DIGIT", "isdigit, and not isdecimal", lambda c: c.isdigit() and not c.isdecimal())
    print_ranges("NUMERIC", "isnumeric, and not isdigit", lambda c: c.isnumeric() and not c.isdigit())
    print_ranges("LOWER", "islower", str.islower)
    print_ranges("UPPER", "isupper, and what is a title's", lambda c: c.isupper() or unicodedata.category(c) == "Lt")
    print_cases("TO_UPPER", str.upper)
    print_cases("TO_LOWER", str.lower)
    print_cases("TO_TITLE", str.title)
    print("\n#endif")


if __name__ == "__main__":
    sys.exit(main())
