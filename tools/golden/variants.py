#!/usr/bin/env python3
"""Makes tests/golden/variants.json: adapter_config.json as PEFT writes it for every kind of adapter and every variant of LoRA that is not the plain product, and
for those that are (served). The names of PEFT's kinds and of LoraConfig's fields are all there, so that a version of PEFT with more shows in the test.

Needs tools/demo/requirements.txt.
"""

import dataclasses
import json
import pathlib
import tempfile

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

import common

LORA = {
    "mica": {"init_lora_weights": "mica"},
    "pissa": {"init_lora_weights": "pissa"},
    "pissa_niter_16": {"init_lora_weights": "pissa_niter_16"},
    "olora": {"init_lora_weights": "olora"},
    "corda": {"init_lora_weights": "corda"},
    "loftq": {"init_lora_weights": "loftq", "loftq_config": {}},
    "lora_ga": {"init_lora_weights": "lora_ga"},
    "kasa": {"kasa_config": peft.KasaConfig},
    "bdlora": {"use_bdlora": peft.BdLoraConfig},
    "arrow": {"arrow_config": peft.ArrowConfig},
    "monteclora": {"monteclora_config": peft.MontecloraConfig},
    "qalora": {"use_qalora": True},
    "megatron": {"megatron_config": {"hidden_size": 8}},
    "layer_replication": {"layer_replication": [[0, 2], [1, 2]]},
}
PLAIN = {
    "eva": {"init_lora_weights": "eva"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "velora": {"velora_config": peft.VeloraConfig},
}
NEEDED = {  # fields that a configuration has no default for
    "ADALORA": {"total_step": 10},
    "CPT": {"task_type": "CAUSAL_LM"},
    "XLORA": {"hidden_size": 32, "adapters": {"0": "one"}},
}


def saved(config):
    with tempfile.TemporaryDirectory() as folder:
        config.base_model_name_or_path = "base"
        config.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())


def lora(fields):
    fields = {k: v() if isinstance(v, type) else v for k, v in fields.items()}
    init = fields.pop("init_lora_weights", True)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"], **fields)
    config.init_lora_weights = init  # some ask for packages when they are made with it
    return saved(config)


def of_kind(name, cls):
    try:
        return saved(cls(**NEEDED.get(name, {})))
    except ImportError:  # it asks for a package; what counts is there without
        return {"peft_type": name}


def main():
    kinds = {t.value: cls for t, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    assert set(kinds) | {"LORA"} == {t.value for t in peft.PeftType}, set(peft.PeftType) - set(kinds)
    out = {
        "made_by": f"PEFT {peft.__version__}",
        "lora_fields": [f.name for f in dataclasses.fields(peft.LoraConfig)],
        "refused": {name: lora(fields) for name, fields in LORA.items()},
        "served": {name: lora(fields) for name, fields in PLAIN.items()},
        "kinds": {name: of_kind(name, cls) for name, cls in sorted(kinds.items()) if name != "LORA"},
    }
    (common.GOLDEN / "variants.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(len(out["kinds"]), "kinds")


if __name__ == "__main__":
    main()
