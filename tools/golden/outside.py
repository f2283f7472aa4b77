#!/usr/bin/env python3
"""Makes what other programs leave of an adapter of tests/golden/forms:

  forms/plain.gguf, forms/rslora.gguf    by llama.cpp's convert_lora_to_gguf.py, of PEFT's folders
  hub.json                               how huggingface_hub lays out its cache: two revisions of a repository, downloaded from a hub of this script's own

--llama-cpp is a checkout of llama.cpp, or the sources that tools/peer unpacks. Needs tools/demo/requirements.txt, gguf and huggingface_hub.
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import huggingface_hub

import common
import forms

NAMES = ("plain", "rslora")
REVISIONS = ("1" * 40, "2" * 40)
FILES = ("adapter_config.json", "adapter_model.safetensors")


def convert(llama_cpp):
    with tempfile.TemporaryDirectory() as base:
        model = forms.base()
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(base)
        for name in NAMES:
            subprocess.run([sys.executable, llama_cpp / "convert_lora_to_gguf.py", "--base", base, "--outtype", "f32", "--outfile", forms.OUT / f"{name}.gguf",
                            forms.OUT / name], check=True, stdout=subprocess.DEVNULL)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as a download asks for. The second revision has another configuration and the same weights."""

    head = 0

    def content(self, revision, name):
        data = (forms.OUT / "plain" / name).read_bytes()
        return data + b"\n" * REVISIONS.index(revision) if name.endswith(".json") else data

    def reply(self, body, **headers):
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        revision = REVISIONS[Hub.head]
        if re.match(r"/api/models/acme/sql/tree/", self.path):
            tree = [{"type": "file", "path": n, "size": len(self.content(revision, n)), "oid": "0" * 40} for n in FILES]
            self.reply(json.dumps(tree).encode(), Content_Type="application/json")
            return
        if re.match(r"/api/models/acme/sql", self.path):
            siblings = [{"rfilename": n, "blobId": "0" * 40, "size": len(self.content(revision, n))} for n in FILES]
            self.reply(json.dumps({"id": "acme/sql", "modelId": "acme/sql", "sha": revision, "siblings": siblings, "private": False, "tags": [],
                                   "downloads": 0}).encode(), Content_Type="application/json")
            return
        data = self.content(revision, self.path.split("?")[0].rsplit("/", 1)[1])
        self.reply(data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=revision, Accept_Ranges="bytes")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def lay_out():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as cache:
        for Hub.head in range(len(REVISIONS)):
            huggingface_hub.snapshot_download("acme/sql", cache_dir=cache, endpoint=f"http://127.0.0.1:{server.server_port}")
        entries = []
        for path in sorted(pathlib.Path(cache).rglob("*")):
            at = str(path.relative_to(cache))
            if path.is_symlink():
                entries.append({"path": at, "link": os.readlink(path)})
            elif path.is_file():
                data = path.read_bytes()
                same = [n for n in FILES if data.rstrip(b"\n") == (forms.OUT / "plain" / n).read_bytes().rstrip(b"\n")]
                entries.append({"path": at, "file": same[0]} if same else {"path": at, "text": data.decode()})
    made_by = f"huggingface_hub {huggingface_hub.__version__}"
    (common.GOLDEN / "hub.json").write_text(json.dumps({"made_by": made_by, "revisions": REVISIONS, "entries": entries}, indent=1) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    convert(p.parse_args().llama_cpp)
    lay_out()


if __name__ == "__main__":
    main()
