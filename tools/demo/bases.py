"""The base models that demo adapters are trained for, by their names for tools/fetch-model.

hub: what PEFT's folder names as its base. served: its name where `make serve` serves it. form: the text of a prompt for a model
without a chat template, whose answer is one line; with a template a prompt is the user's message. adapters: what differs from
settings.py, for each adapter that there is.
"""

import subprocess
from pathlib import Path

from settings import ALL_LINEAR, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "smollm2"

BASES = {
    DEFAULT: {
        "hub": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "served": "SmolLM2-135M-Instruct",
        "form": None,
        "adapters": {name: {} for name in SETTINGS},
    },
    "gemma3-270m": {
        "hub": "google/gemma-3-270m",
        "served": "gemma3-270m",
        "form": "{prompt}\n",
        "adapters": {"sql": {"lora": {"r": 6, "lora_alpha": 12, "target_modules": ALL_LINEAR}, "lr": 1e-3, "steps": 90}},
    },
    "qwen2.5-coder-0.5b": {
        "hub": "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        "served": "qwen2.5-coder-0.5b",
        "form": None,
        "adapters": {"sql": {"lr": 1e-3, "steps": 36}},
    },
}


def settings(base, adapter):
    return {**SETTINGS[adapter], **BASES[base]["adapters"][adapter]}


def folder(base):
    """Where the adapters of a base are."""
    return ROOT / "adapters" if base == DEFAULT else ROOT / "adapters-for" / base


def fetch(base):
    """The model's GGUF file, fetched if it is not there yet."""
    found = subprocess.run([ROOT / "tools" / "fetch-model", base], stdout=subprocess.PIPE, text=True, check=True)
    return Path(found.stdout.strip())


def add_options(parser):
    parser.add_argument("--base", choices=BASES, default=DEFAULT, help="the base model (default: %(default)s)")
    parser.add_argument("--gguf", type=Path, help="its GGUF file (default: as tools/fetch-model has it)")
