"""Whatever a JSON Schema's constraint lets a model write is valid: random texts of the official suite's schemas, and of
variations of these, judged by the package jsonschema."""

import json
import os
import pathlib
import random
import subprocess

import jsonschema
import pytest

PROGRAM = pathlib.Path(os.environ.get("EDGELORA_BIN", "build/edgelora")).parent / "tests" / "constraint" / "generate_constraint"
SUITE = pathlib.Path(__file__).parents[1] / "golden" / "json_schema.json"
VALIDATORS = {"draft7": jsonschema.Draft7Validator, "draft2020-12": jsonschema.Draft202012Validator}

# What jsonschema sees in its own way: multiples as quotients of doubles, Python's classes of characters, and a format of
# which it knows a part.
OWN_WAY = ("is not a multiple of", "relative-json-pointer", "does not match '^\\\\")

KEYWORDS = {
    "type": ["string", "integer", "number", "array", "object", ["string", "null"]], "minLength": [0, 1, 3], "maxLength": [2, 5],
    "pattern": ["^a*b{1,3}$", "x", "[0-9]+"], "format": ["date", "uuid", "ipv6", "email"], "minimum": [0, -1.5, 7, 1e20],
    "maximum": [0, 99, 12.25], "exclusiveMinimum": [0, 3], "exclusiveMaximum": [10, 0.5], "multipleOf": [3, 25],
    "required": [["a"], ["foo", "bar"]], "additionalProperties": [False, True, {"type": "integer"}], "minItems": [0, 2],
    "maxItems": [1, 4], "minProperties": [1], "maxProperties": [2], "enum": [["a", 1, None, {"a": [1]}], [True]], "const": ["a", 3],
    "items": [{"type": "integer"}, {"enum": [1, 2, 3]}], "not": [{"type": "integer"}, {"const": "a"}, {"required": ["a"]}],
    "if": [{"required": ["a"]}, {"type": "string"}], "then": [{"maxLength": 2}, {"required": ["b"]}], "else": [{"minimum": 3}],
    "anyOf": [[{"type": "string"}, {"minimum": 2}]], "oneOf": [[{"type": "string"}, {"minimum": 2}], [{"required": ["a"]}, {"required": ["b"]}]],
    "allOf": [[{"maxLength": 4}, {"maximum": 50}]], "dependentRequired": [{"a": ["b"]}], "propertyNames": [{"pattern": "^[a-f]+$"}],
    "patternProperties": [{"^f": {"type": "integer"}, "oo": {"type": "string"}}], "contains": [{"const": 2}],
}


def ask(lines):
    said = subprocess.run([PROGRAM], input="\n".join(map(json.dumps, lines)) + "\n", capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.split("\n")[:-1]]


def judge(draft, schema, text):
    """What is wrong; None: nothing."""
    named = any(f'"{word}"' in json.dumps(schema) for word in ("enum", "const"))  # formats are no reason to refuse those
    validator = VALIDATORS[draft](schema, format_checker=None if named else VALIDATORS[draft].FORMAT_CHECKER)
    for error in validator.iter_errors(json.loads(text)):
        if not any(own in str(error.message) for own in OWN_WAY):
            return error.message


def groups():
    return [(g["draft"], json.loads(g["schema"])) for g in json.loads(SUITE.read_text())["groups"]]


def varied(schema, rng):
    """Some of its keywords go, some others come."""
    if not isinstance(schema, dict):
        return schema
    out = {k: varied(v, rng) for k, v in schema.items() if rng.random() > 0.1}
    for key in rng.sample(sorted(KEYWORDS), rng.randrange(4)):
        out.setdefault(key, rng.choice(KEYWORDS[key]))
    return out


def check(cases, n):
    texts, wrong = 0, []
    said = ask({"schema": json.dumps(s), "open": i % 2 == 0, "n": n, "seed": i} for i, (_, s) in enumerate(cases))
    for (draft, schema), answer in zip(cases, said, strict=True):
        for text in answer.get("texts", []):
            texts += 1
            fault = judge(draft, schema, text)
            if fault:
                wrong.append((schema, text, fault))
    assert not wrong, (len(wrong), wrong[:3])
    return texts


def test_texts_of_the_suites_schemas_are_valid():
    assert check(groups(), 8) > 3500


@pytest.mark.parametrize("seed", range(3))
def test_texts_of_varied_schemas_are_valid(seed):
    rng = random.Random(seed)
    cases = []
    for draft, schema in groups():
        other = varied(schema, rng)
        try:
            VALIDATORS[draft].check_schema(other)
        except jsonschema.SchemaError:
            continue
        if "unevaluated" not in json.dumps(other) and "$ref" not in json.dumps(other):
            cases.append((draft, other))
    assert check(cases, 5) > 1000
