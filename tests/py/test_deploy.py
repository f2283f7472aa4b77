"""What deploy/ holds fits what it speaks of: Kubernetes' schemas, the options of `edgelora serve`, the series of /metrics."""

import json
import re
import subprocess

import jsonschema
import pytest
import yaml
from conftest import BINARY, ROOT
from prometheus_client.parser import text_string_to_metric_families

KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMAS = json.loads((ROOT / "tests" / "golden" / "kubernetes.json").read_text())
RESOURCES = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]


def documents():
    return [(name, d) for name in RESOURCES for d in yaml.safe_load_all((KUBERNETES / name).read_text())]


def problems(document):
    schema = {**SCHEMAS["kinds"][document["kind"]], "definitions": SCHEMAS["definitions"]}
    return [e.message for e in jsonschema.Draft7Validator(schema).iter_errors(document)]


def one(kind):
    return next(d for _, d in documents() if d["kind"] == kind)


def container():
    return one("Deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("name, document", documents(), ids=lambda x: x if isinstance(x, str) else x["metadata"]["name"])
def test_manifests_are_what_kubernetes_takes(name, document):
    """Schemas: tools/golden/kubernetes.py."""
    assert not problems(document)


def test_the_schemas_see_mistakes():
    deployment, pool = one("Deployment"), one("InferencePool")
    container_of = deployment["spec"]["template"]["spec"]["containers"][0]
    container_of["readinesProbe"] = container_of.pop("readinessProbe")
    container_of["ports"][0]["containerPort"] = "http"
    pool["spec"]["targetPorts"][0]["number"] = 70_000
    del pool["spec"]["selector"]["matchLabels"]
    assert len(problems(deployment)) == 2 and len(problems(pool)) == 2


def test_every_manifest_is_in_the_kustomization():
    assert {p.name for p in KUBERNETES.glob("*.yaml")} == {*RESOURCES, "kustomization.yaml"}


def test_labels_ports_claims_and_times_fit_each_other():
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for selector in (one("Deployment")["spec"]["selector"]["matchLabels"], one("Service")["spec"]["selector"],
                     one("InferencePool")["spec"]["selector"]["matchLabels"], one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels
    options = dict(a.lstrip("-").partition("=")[::2] for a in container()["args"] if a.startswith("--"))
    port = container()["ports"][0]["containerPort"]
    assert port == int(options["port"]) == one("InferencePool")["spec"]["targetPorts"][0]["number"] == one("Service")["spec"]["ports"][0]["port"]
    pod = one("Deployment")["spec"]["template"]["spec"]
    claims = {d["metadata"]["name"] for _, d in documents() if d["kind"] == "PersistentVolumeClaim"}
    assert {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v} == claims
    assert pod["terminationGracePeriodSeconds"] > int(options["drain-delay"]) + int(options["drain-timeout"])
    probe = container()["readinessProbe"]
    assert int(options["drain-delay"]) > probe["periodSeconds"] * probe["failureThreshold"], "the endpoint is gone before anything is refused"


def test_the_container_s_options_are_the_program_s():
    """It gets as far as the model, which is not there: what it does not know it would have said before."""
    run = subprocess.run([BINARY, *container()["args"]], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "/models/model.gguf" in run.stderr, run.stderr


# ------------------------------------------------------------------ the dashboard

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "edgelora.json").read_text())


def queries():
    found = [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", [])]
    rules = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())
    return found + [r["expr"] for g in rules["groups"] for r in g["rules"]] + [v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]


def series(fake):
    """{name: labels} of what a server says, each histogram's and summary's parts with their own names; Prometheus adds job and instance."""
    s = fake(more=2, resident=2, lora_info=1)
    assert s.completion(model="upper", prompt="a", max_tokens=1).status_code == 200
    found = {}
    for family in text_string_to_metric_families(s.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels, {"job", "instance"})
    return found


def test_the_dashboard_and_the_alerts_ask_for_what_is_there(fake):
    there = {**series(fake), "up": {"job", "instance"}}
    assert len(queries()) > 15
    for query in queries():
        names = re.findall(r"\b(?:edgelora|process|vllm|up)(?:[_:]\w+)?\b", re.sub(r'"[^"]*"', '""', query))
        assert names, query
        for name in names:
            assert name in there, f"{name} of {query}"
        for name, labels in re.findall(r"\b([a-z_:]+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels)) <= there[name], query
        grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}
        assert grouped <= set.union(*(there[name] for name in names)), query


def test_panels_have_a_place_of_their_own_and_a_unit():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"], panel["title"]
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
