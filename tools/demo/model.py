"""A base model, dequantised from its GGUF file, and the form of its prompts."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging


def load_base(gguf, dtype):
    """The model and the tokenizer of the GGUF file, with every weight unpacked into `dtype`."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": str(Path(gguf).parent), "gguf_file": Path(gguf).name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return model.to(dtype), AutoTokenizer.from_pretrained(**where)


def prompt_tokens(tokenizer, prompt, form=None):
    """The tokens before the answer: `form` with the prompt in it, or the model's own chat template around one user message."""
    if form:
        return tokenizer(form.format(prompt=prompt))["input_ids"]
    text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def answer_tokens(tokenizer, completion):
    """The tokens that training teaches: the answer and the token that ends it."""
    return tokenizer(completion, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
