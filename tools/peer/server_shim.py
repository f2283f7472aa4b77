#!/usr/bin/env python3
"""Stands in for llama-server: takes its command line and becomes edgelora serve (EDGELORA_BIN, by default build/edgelora).

What has no counterpart is left out when it changes no answer's form (batch sizes, flash attention, types of the cache);
a few options, such as --embedding, are no options here because the endpoint is always there.
"""

import datetime
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ("--offline --cont-batching --embedding --reranking --metrics --kv-unified --swa-full --slots --no-slots --jinja --no-jinja --verbose --no-ui --context-shift "
         "--no-mmproj --no-cache-idle-slots --ui-mcp-proxy --backend_sampling --no-models-autoload").split()
IGNORED = ("--batch-size --ubatch-size --n-gpu-layers -ctk -ctv -fa --grp-attn-n --grp-attn-w --pooling --tags --slot-save-path --model-draft --spec-type "
           "--spec-draft-n-max --spec-draft-n-min --spec-synth-len --spec-synth-rates --reasoning-format --mmproj-url --media-path --sleep-idle-seconds "
           "--cache-ram --tools --tools-runtime --mcp-servers-config --mcp-servers-json --models-dir --models-max --models-preset --threads").split()
# llama-server answers to any model's name; these are those that its tests use.
NAMES = ("gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "gpt-4.1", "davinci-002", "text-embedding-3-small", "test")
TEMPLATES = {"chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
                       "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
             "command-r": "{% for m in messages %}{{ '<|START_OF_TURN_TOKEN|><|' + {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'}[m['role']] + '_TOKEN|>' "
                          "+ m['content'] + '<|END_OF_TURN_TOKEN|>' }}{% endfor %}"
                          "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"}


def kept(text, name):
    """A file of the shim's, which the server reads while it starts."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="server-shim-")) / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def read(args):
    """Options by name, each a list of its values."""
    found = {}
    i = 0
    while i < len(args):
        name = args[i]
        i += 1
        if name in FLAGS:
            found[name] = [True]
            continue
        if i == len(args):
            sys.exit(f"error: invalid argument: {name}")
        found.setdefault(name, []).append(args[i])
        i += 1
    return found


def template_variables(reasoning):
    """What llama-server gives every template unasked; here the operator says it. Tools are told to a model whose template asks for `functions` in the system
    message, as to any whose template shows no tools."""
    now = datetime.datetime.now()
    return {"enable_thinking": reasoning != "off", "date_string": now.strftime("%d %b %Y"), "datetime": now.strftime("%b %d %Y"), "functions": ""}


def translate(found):
    def last(name, otherwise=None):
        return found.pop(name, [otherwise])[-1]

    # Its router of models starts without one; what is asked of it here needs none in particular.
    model = last("--model") or os.environ["SERVER_TESTS_MODEL"]
    # Pages of all origins may call llama-server, unless it runs tools.
    origins = last("--cors-origins", "localhost" if "--tools" in found else "*")
    wanted = [("--verbose" in found, "--verbose-answers"), ("--no-slots" in found, "--no-slots"), ("--metrics" not in found, "--no-metrics")]
    for name in IGNORED + FLAGS:
        if name not in ("--kv-unified", "--embedding"):
            found.pop(name, None)
    command = ["serve", "--model", model, "--port", last("--port", "8080"), "--host", last("--host", "127.0.0.1").split(",")[0]]
    slots = int(last("--parallel", 4))
    context = int(last("--ctx-size", 4096))
    if not found.pop("--kv-unified", None):
        context //= slots  # which is how llama-server shares it out
    command += ["--slots", str(slots), "--ctx-size", str(context)]
    names = [n for n in last("--alias", "").split(",") if n]
    if names:
        command += ["--model-name", sorted(names)[0]]
        command += [a for n in sorted(names) for a in ("--alias", n)]
    if len(names) < 2:  # else they are what is asked about
        command += [a for n in NAMES if n not in names for a in ("--alias", n)]
    command += [ours for asked, ours in wanted if asked]
    preset = {}
    for option, name, kind in (("--temp", "temperature", float), ("--seed", "seed", int), ("--n-predict", "max_tokens", int)):
        value = last(option)
        if value is not None and not (option == "--n-predict" and int(value) < 0):
            preset[name] = kind(value)
    command += ["--preset", kept(json.dumps(preset), "preset.json")]
    for i, path in enumerate(found.pop("--lora", [])):
        command += ["--adapter", f"lora-{i}={path}"]
    if key := last("--api-key"):
        command += ["--api-keys", kept("".join(k + "\n" for k in key.split(",")), "keys")]
    if template := last("--chat-template"):
        command += ["--chat-template", kept(TEMPLATES.get(template, template), "template.jinja")]
    if path := last("--chat-template-file"):
        command += ["--chat-template", path]
    command += ["--chat-template-kwargs", json.dumps(template_variables(last("--reasoning", "auto")))]
    for origin in origins.split(","):
        if origin and origin != "localhost":
            command += ["--cors-origin", origin]
    found.pop("--embedding", None)
    if found:
        sys.exit(f"error: invalid argument: {' '.join(found)}")
    return [str(a) for a in command]


if __name__ == "__main__":
    binary = os.environ.get("EDGELORA_BIN", str(ROOT / "build" / "edgelora"))
    command = translate(read(sys.argv[1:]))
    os.execv(binary, [binary, *command])
