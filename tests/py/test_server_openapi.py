"""/openapi.json says what there is, and the server does what it says: requests that schemathesis makes of it get answers that it describes, and no 5xx."""

import json
import os
import pathlib
import subprocess
import sys

import httpx
import pytest

from conftest import ROOT
from test_server_bad_input import error_of



def once_each(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]
    return dict(pairs)


SOURCE = (ROOT / "src" / "server" / "openapi" / "openapi.json").read_text()
ABOUT = json.loads(SOURCE)
SCHEMATHESIS = pathlib.Path(sys.executable).parent / "schemathesis"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method"
SLOW = {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ)


def description(server, **kwargs):
    response = server.get("/openapi.json", **kwargs)
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    return response.json()


def operations(document):
    return {f"{method.upper()} {path}": operation for path, item in document["paths"].items() for method, operation in item.items()}


def test_every_endpoint_is_described_and_none_that_is_not_there(fake):
    document = description(fake())
    assert document["openapi"] == "3.1.0" and document["info"]["version"] == "0"
    described, there = set(ABOUT["endpoints"]), set(operations(document))
    assert there - described == set(), "src/server/openapi/openapi.json lacks them"
    assert described - there == set(), "src/server/openapi/openapi.json has them, and the server has not"


def test_nothing_is_described_twice():
    json.loads(SOURCE, object_pairs_hook=once_each)


def test_every_field_that_people_say_more_of_is_one_of_some_body(fake):
    bodies = [o["requestBody"]["content"]["application/json"]["schema"] for o in operations(description(fake())).values() if "requestBody" in o]
    there = {name for body in bodies for name in body.get("properties", {})}
    assert set(ABOUT["fields"]) - there == set()
    chat = operations(description(fake()))["POST /v1/chat/completions"]["requestBody"]["content"]["application/json"]["schema"]
    assert chat["required"] == ["messages"]
    assert chat["properties"]["min_p"] == {"type": ["number", "null"], "minimum": 0, "maximum": 1}, "limits are those of the table"
    assert chat["properties"]["stream"] == {"type": ["boolean", "null"]}


def test_references_lead_somewhere(fake):
    document = description(fake())

    def walk(value):
        if isinstance(value, dict):
            if "$ref" in value:
                at = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    at = at[part]
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    names = [o["operationId"] for o in operations(document).values()]
    assert len(names) == len(set(names))


def test_with_keys_it_needs_one_and_says_so(fake, tmp_path):
    path = tmp_path / "keys"
    path.write_text("sk-operator-0123456\n")
    path.chmod(0o600)
    s = fake(keys=path)
    error_of(s.get("/openapi.json"), 401)
    document = description(s, headers={"Authorization": "Bearer sk-operator-0123456"})
    assert document["security"] == [{"key": []}]
    for name, operation in operations(document).items():
        open_to_all = operation.get("security") == []
        method, path = name.split(" ")
        refused = httpx.request(method, s.url + path.replace("{name}", "x")).status_code == 401
        assert refused != open_to_all, name


def conforms(server, source, folder, examples, *arguments):
    command = [SCHEMATHESIS, "run", source, "--url", server.url, "--phases", "fuzzing", "--checks", CHECKS, "--generation-deterministic", "--max-examples", str(examples), "--workers", "2",
               "--request-timeout", "30", "--no-color", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)  # where it leaves notes of its own
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "passed" in run.stdout and "Tested: " in run.stdout


def test_whatever_is_sent_is_answered_as_described(fake, tmp_path):
    s = fake(router=1, more=3, allow=tmp_path)
    refused = [part for name, about in ABOUT["endpoints"].items() if "501" in about for part in ("--exclude-path", name.split(" ")[1])]
    conforms(s, s.url + "/openapi.json", tmp_path, 2 if SLOW else 8, *refused)
    s.wait_idle(10)


# Fields that go together whatever they are: what is generated of these is answered, not refused.
SIMPLE = ["prompt", "messages", "input", "n", "stop", "seed", "temperature", "top_p", "min_p", "repetition_penalty", "repeat_last_n", "frequency_penalty", "presence_penalty", "stream", "echo", "user"]


def test_what_is_answered_is_as_described(fake, tmp_path):
    s = fake(router=1, more=3)
    document = description(s)
    for operation in operations(document).values():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "model" in body.get("properties", {}):
            body["properties"] = {name: body["properties"][name] for name in SIMPLE if name in body["properties"]}
            body["properties"]["model"] = {"enum": ["auto", "upper", "fake", "more/2"]}
            if "prompt" in body["properties"]:
                body["properties"]["prompt"] = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 1}]}
            if "messages" in body["properties"]:
                body["properties"]["messages"] = {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "object", "required": ["role", "content"], "additionalProperties": False, "properties": {
                    "role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}}}}
            if "input" in body["properties"]:
                body["properties"]["input"] = {"type": "string", "minLength": 1}
            if "n" in body["properties"]:
                body["properties"]["n"] = {"type": "integer", "minimum": 1, "maximum": 3}
            body["required"] = [name for name in ("prompt", "messages", "input") if name in body["properties"]][:1]
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(document))
    conforms(s, source, tmp_path, 5 if SLOW else 20, "--mode", "positive", "--include-path-regex", "^/v1/(completions|chat/completions|responses|messages|route)$")
    s.wait_idle(30)
    assert s.health()["requests"]["done"] >= (5 if SLOW else 20), "most were answered"


@pytest.mark.skipif(bool(SLOW), reason="the same code, and a model to load")
def test_what_is_asked_of_a_server_with_a_model_is_answered_as_described(server, tmp_path):
    conforms(server, server.url + "/openapi.json", tmp_path, 6, "--include-method", "GET")
