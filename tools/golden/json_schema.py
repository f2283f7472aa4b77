#!/usr/bin/env python3
"""tests/golden/json_schema.json: the cases of the official JSON Schema test suite, drafts 7 and 2020-12, as texts.

They are taken from the source distribution of `jsonschema`, which has the suite under json/ (MIT, (c) Julian Berman):

    pip download --no-deps --no-binary :all: jsonschema==4.23.0
    tools/golden/json_schema.py jsonschema-4.23.0.tar.gz

A case is an instance and whether it is valid. A constraint writes members in the order of the schema, and an integer
without a fraction; so a case has all orders of its members, 24 at most, and in the end the same with 1.0 written as 1. The
first text is the instance as Python writes it.
"""
import itertools
import json
import os
import sys
import tarfile

DRAFTS = {"draft7": "http://json-schema.org/draft-07/schema#", "draft2020-12": None}
MOST = 24


def orders(value):
    if isinstance(value, dict):
        members = [[(k, x) for x in orders(v)] for k, v in value.items()]
        ways = (dict(p) for order in itertools.permutations(members) for p in itertools.product(*order))
    elif isinstance(value, list):
        ways = (list(p) for p in itertools.product(*map(orders, value)))
    else:
        return [value]
    return list(itertools.islice(ways, MOST))


def respelled(value):
    if isinstance(value, float) and value == int(value) and abs(value) < 1e18:
        return int(value)
    if isinstance(value, list):
        return [respelled(x) for x in value]
    return {k: respelled(v) for k, v in value.items()} if isinstance(value, dict) else value


def texts(instance):
    ways = orders(instance)
    all_ways = [json.dumps(x, ensure_ascii=False) for x in ways + [respelled(x) for x in ways]]
    return list(dict.fromkeys(all_ways))


def main():
    groups = []
    with tarfile.open(sys.argv[1]) as tar:
        root = tar.getnames()[0].split("/")[0]
        licence = json.dumps(tar.extractfile(f"{root}/json/LICENSE").read().decode())
        for draft, dialect in DRAFTS.items():
            tests = f"{root}/json/tests/{draft}/"
            names = sorted(n for n in tar.getnames() if n.startswith(tests) and n.endswith(".json"))
            for name in names:
                keyword = os.path.relpath(name, tests)[: -len(".json")]
                if keyword.startswith("optional/") and not keyword.startswith("optional/format/"):
                    continue  # what implementations need not do
                for group in json.load(tar.extractfile(name)):
                    schema = group["schema"]
                    if dialect and isinstance(schema, dict):
                        schema = {"$schema": dialect, **schema}
                    cases = [{"texts": texts(t["data"]), "valid": t["valid"]} for t in group["tests"]]
                    groups.append({"draft": draft, "keyword": keyword, "name": group["description"],
                                   "schema": json.dumps(schema, ensure_ascii=False), "cases": cases})
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../tests/golden/json_schema.json"), "w") as out:
        out.write('{"source": "JSON-Schema-Test-Suite, as in %s", "licence": %s,\n"groups": [\n' % (root, licence))
        out.write(",\n".join(json.dumps(g, ensure_ascii=False, separators=(",", ":")) for g in groups))
        out.write("\n]}\n")


if __name__ == "__main__":
    main()
