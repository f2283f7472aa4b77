#!/usr/bin/env python3
"""Writes tests/golden/templates.json: what transformers makes of chat templates.

    python3 tools/golden/templates.py FOLDER

FOLDER holds public templates (*.jinja), such as llama.cpp's models/templates. Their texts are not ours to copy: of each, a digest of the
text and of every result is kept. Those of tests/golden/templates are our own, and one of their results is kept whole.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import pathlib
import sys

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "py"))

import template_cases as cases  # noqa: E402


class Now(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(cases.NOW, tz)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def render(template, context):
    try:
        return chat_template_utils._compile_jinja_template(template).render(**context)
    except Exception:
        return None


def results(template):
    texts = {name: render(template, context) for name, context in cases.contexts()}
    return {name: digest(text) if text is not None else None for name, text in texts.items()}, texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    chat_template_utils.datetime = Now
    golden = {"made_by": [f"{p} {importlib.metadata.version(p)}" for p in ("transformers", "jinja2")], "own": {}, "public": {}}
    for path in sorted((ROOT / "tests" / "golden" / "templates").glob("*.jinja")):
        found, texts = results(path.read_text())
        golden["own"][path.stem] = {"text": texts["keywords, opened"], "results": found}
    for path in sorted(folder.glob("*.jinja")):
        golden["public"][path.stem] = {"template": digest(path.read_text()), "results": results(path.read_text())[0]}
    text = json.dumps(golden, ensure_ascii=False, indent=1)
    (ROOT / "tests" / "golden" / "templates.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
