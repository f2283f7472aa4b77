"""The training settings of each demo adapter.

They differ on purpose: the adapters are also what the server is tested on, so ranks, target modules, scalings and
tensor types vary between them.
"""

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL_LINEAR = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]

# lora: arguments of peft.LoraConfig; dtype: of the saved tensors; lr: the peak learning rate.
SETTINGS = {
    "sql": {"lora": {"r": 8, "lora_alpha": 16, "target_modules": ATTENTION}, "dtype": "float16", "lr": 2e-3, "steps": 320},
    "sentiment": {"lora": {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}, "dtype": "float16", "lr": 2e-3, "steps": 240},
    "shell": {"lora": {"r": 8, "lora_alpha": 8, "use_rslora": True, "target_modules": ATTENTION}, "dtype": "bfloat16", "lr": 1.5e-3, "steps": 200},
    "headline": {"lora": {"r": 4, "lora_alpha": 8, "target_modules": ALL_LINEAR}, "dtype": "float32", "lr": 1.5e-3, "steps": 160},
    "redact": {
        "lora": {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "v_proj", "o_proj"],
            "rank_pattern": {"v_proj": 8, "layers.29.self_attn.o_proj": 12},
            "alpha_pattern": {"v_proj": 24, "layers.29.self_attn.o_proj": 12},
        },
        "dtype": "float16",
        "lr": 2e-3,
        "steps": 150,
    },
}
# Activated LoRA (arXiv 2504.12397), for the default base: the adapter begins with the tokens that open the answer, and reads the
# keys and values that the base makes of the prompt. Their text, as the chat template writes it.
INVOCATION = "<|im_start|>assistant\n"
ACTIVATED = {
    "sentiment": {"lora": {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "k_proj", "v_proj"]}, "dtype": "float16", "lr": 2e-3, "steps": 240},
}
BATCH = 8  # examples a step; every example is seen once
