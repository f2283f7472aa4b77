"""The trades of the demo adapters, one module each.

A task module defines
    TRADE         one line that says what the adapter does
    INSTRUCTION   what the base model is told when it does the same job without an adapter
    normal(text)  the form in which two answers are compared
    example(rng, words, phrasing) -> (prompt, completion, entities)

`words` and `phrasing` are "train" or "test": which half of the word lists and of the sentence templates the example is
made from. `entities` are the words the example took from the word lists.
"""

import importlib

NAMES = ["sql", "sentiment", "shell", "headline", "redact"]


def load(name):
    return importlib.import_module(f"tasks.{name}_task")


def strip_fence(text):
    """The text without the Markdown code fence that chat models like to put around an answer."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("```")]
    return "\n".join(lines).strip()
