"""Prints 'PASSED FAILED SKIPPED' from what a test runner left behind.

usage: tally.py meson testlog.json | junit FILE.xml | marks FILE

meson: one JSON object a line. A cmocka program says itself how many of its tests passed and failed; one that said nothing,
crashed for example, counts as one. marks: lines that begin with 'pass', 'fail' or 'skip'.
"""

import json
import re
import sys
import xml.etree.ElementTree


def meson(text):
    passed = failed = skipped = 0
    for line in text.splitlines():
        test = json.loads(line)
        output = test.get("stdout", "") + test.get("stderr", "")
        ok, bad, left_out = (sum(map(int, re.findall(rf"^\[  {word}  \] (\d+) test", output, re.MULTILINE)))
                             for word in ("PASSED", "FAILED", "SKIPPED"))
        if test["result"] == "SKIP":
            skipped += 1
        elif test["result"] == "OK":
            passed += max(ok, 1)
        else:
            passed += ok
            failed += max(bad, 1)
        skipped += left_out
    return passed, failed, skipped


def junit(text):
    passed = failed = skipped = 0
    for suite in xml.etree.ElementTree.fromstring(text).iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        left_out = int(suite.get("skipped", 0))
        failed += bad
        skipped += left_out
        passed += int(suite.get("tests", 0)) - bad - left_out
    return passed, failed, skipped


def marks(text):
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    return words.count("pass"), words.count("fail"), words.count("skip")


def main():
    kind, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        print(*{"meson": meson, "junit": junit, "marks": marks}[kind](file.read()))


if __name__ == "__main__":
    main()
