#!/usr/bin/env python3
"""Makes tests/golden/kubernetes.json: Kubernetes' own schemas of the kinds that deploy/kubernetes has, strict ones, as kubernetes-validate
packs them (Apache-2.0, from Kubernetes' OpenAPI description), and that of InferencePool from its custom resource definition
(kubernetes-sigs/gateway-api-inference-extension, Apache-2.0). Descriptions are left out.

    tools/golden/kubernetes.py SCHEMAS INFERENCEPOOLS.YAML

SCHEMAS: kubernetes_validate/kubernetes-json-schema/v1.37.0-local-strict of the package kubernetes-validate 1.37.0; INFERENCEPOOLS.YAML:
config/crd/bases/inference.networking.k8s.io_inferencepools.yaml of v1.6.0."""

import json
import pathlib
import sys

import yaml

KINDS = {"Deployment": "deployment-apps-v1", "Service": "service-v1", "PersistentVolumeClaim": "persistentvolumeclaim-v1",
         "PodDisruptionBudget": "poddisruptionbudget-policy-v1", "NetworkPolicy": "networkpolicy-networking-v1"}
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "kubernetes.json"


def bare(x):
    """Without what only people read. A property may be called "description": then its value is no text."""
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items() if not (k in ("description", "$schema") and isinstance(v, str)) and not k.startswith("x-kubernetes")}
    return [bare(v) for v in x] if isinstance(x, list) else x


def references(x):
    if isinstance(x, dict):
        if isinstance(x.get("$ref"), str):
            yield x["$ref"].rsplit("/", 1)[1]
        for v in x.values():
            yield from references(v)
    elif isinstance(x, list):
        for v in x:
            yield from references(v)


def closed(x):
    """An object that names its properties has no others: a server drops them, most often without a word."""
    if isinstance(x, dict):
        x = {k: closed(v) for k, v in x.items()}
        if isinstance(x.get("properties"), dict) and "additionalProperties" not in x:
            x["additionalProperties"] = False
        return x
    return [closed(v) for v in x] if isinstance(x, list) else x


def local(x):
    if isinstance(x, dict):
        return {k: "#/definitions/" + v.rsplit("/", 1)[1] if k == "$ref" and isinstance(v, str) else local(v) for k, v in x.items()}
    return [local(v) for v in x] if isinstance(x, list) else x


def main():
    schemas, crd = map(pathlib.Path, sys.argv[1:])
    everything = json.loads((schemas / "_definitions.json").read_text())["$defs"]
    kinds = {kind: closed(bare(json.loads((schemas / f"{name}.json").read_text()))) for kind, name in KINDS.items()}
    for schema in kinds.values():
        schema["properties"].pop("status", None)
    needed, todo = {}, [r for schema in kinds.values() for r in references(schema)]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed[name] = closed(bare(everything[name]))
            todo += references(needed[name])
    version = next(v for v in yaml.safe_load(crd.read_text())["spec"]["versions"] if v["name"] == "v1")
    pool = closed(bare(version["schema"]["openAPIV3Schema"]))
    pool["properties"]["metadata"] = {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    kinds["InferencePool"] = pool
    OUT.write_text(json.dumps(local({"kinds": kinds, "definitions": needed}), indent=0, sort_keys=True, separators=(",", ":")) + "\n")


main()
