"""The prompts of the greedy golden files. Each is (name, text, special): special texts hold chat-template tokens."""

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def chat(*turns, system=SYSTEM):
    """The default model's own template: user and assistant turns in alternation, then the assistant's start."""
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for i, turn in enumerate(turns):
        text += f"<|im_start|>{'assistant' if i % 2 else 'user'}\n{turn}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


LONG = """The lighthouse at the end of the long spit had not been lit for eleven years when the new keeper arrived. \
He came on foot, at low tide, with a canvas bag over his shoulder and a lantern that he did not need, because the \
moon was full and the wet sand shone like metal. In the village they had told him that the stairs were rotten, that \
the lens was cracked, and that the oil had been sold long ago to pay for the repair of the chapel roof. He had \
thanked them for each of these facts, and written them down in a small book. Now he stood below the tower and looked \
up. One window, high on the seaward side, was open. He was quite sure that it had been closed a moment before. He \
put down the bag, took out the book, and wrote: window. Then he took the key from the string around his neck, and \
found that the door was not locked. Inside it smelled of salt, of rope, and, very faintly, of"""

CODE_C = """#include <stdio.h>
#include <stdlib.h>

/* Returns the greatest common divisor of a and b. */
static unsigned gcd(unsigned a, unsigned b)
{
    while (b != 0) {
"""

CODE_PY = '''import re
from collections import Counter


def most_common_words(text, n=10):
    """Return the n most common words of a text, lower-cased, with their counts."""
'''

CODE_SQL = """-- customers(id, name, country), orders(id, customer_id, total, created_at)
-- The ten customers with the highest total in 2023:
SELECT"""

JSON_TEXT = '{"name": "Ada Lovelace", "born": 1815, "fields": ["mathematics", "computing"], "name": "Alan Turing", "born":'

SUMMARY = """Summarize in one sentence: Photosynthesis is the process by which green plants, algae and some bacteria \
turn light into chemical energy. The light is absorbed by chlorophyll in the chloroplasts. With its energy, water is \
split into oxygen, which leaves the leaf as a gas, and hydrogen, which is used to make sugar from carbon dioxide. The \
process is the source of nearly all the oxygen in the air and of nearly all the energy in food."""

PROMPTS = [
    ("one-word", "Hello", False),
    ("capital", "The capital of France is", False),
    ("once", "Once upon a time, in a village by the sea,", False),
    ("water", "Water boils at a temperature of", False),
    ("list", "The planets of the solar system, in order: Mercury, Venus,", False),
    ("numbers", "1, 2, 3, 5, 8, 13, 21,", False),
    ("arithmetic", "12 + 30 = 42\n7 + 8 = 15\n25 + 16 =", False),
    ("newline", "Dear Sir or Madam,\n\n", False),
    ("quote", "“To be, or not to be,", False),
    ("code-c", CODE_C, False),
    ("code-python", CODE_PY, False),
    ("code-sql", CODE_SQL, False),
    ("json", JSON_TEXT, False),
    ("html", '<!DOCTYPE html>\n<html lang="en">\n<head>\n  <meta charset="utf-8">\n  <title>', False),
    ("markdown", "# Installation\n\n1. Download the archive.\n2. Unpack it with `tar -xzf`.\n3.", False),
    ("french", "Le petit prince regarda longtemps les étoiles et", False),
    ("german", "Die Geschichte der Stadt Köln beginnt mit", False),
    ("spanish", "Había una vez un niño que vivía en", False),
    ("russian", "Москва — столица", False),
    ("chinese", "北京是中国的", False),
    ("japanese", "昔々、あるところに", False),
    ("arabic", "القاهرة هي عاصمة", False),
    ("emoji", "I love pizza 🍕 and", False),
    ("spaces", "a    b\t\tc      d\n    e", False),
    ("long", LONG, False),
    ("long-repeat", " ".join(["alpha beta gamma delta"] * 40), False),
    ("chat-gravity", chat("What is gravity?"), True),
    ("chat-haiku", chat("Write a haiku about autumn leaves."), True),
    ("chat-sky", chat("Why is the sky blue? Answer in one sentence."), True),
    ("chat-python", chat("Write a Python function that reverses a string."), True),
    ("chat-two-turns", chat("My name is Maria.", "Nice to meet you, Maria! How can I help?", "What is my name?"), True),
    ("chat-system", chat("Who are you?", system="You are a pirate. You speak like a pirate."), True),
    ("chat-french", chat("Traduis en français : The cat sleeps on the chair."), True),
    ("chat-summary", chat(SUMMARY), True),
]

# Asked of every adapter: what the demo adapters are trained for is known by their names only, so all get the same.
ADAPTER_PROMPTS = [
    ("capital", "The capital of France is", False),
    ("once", "Once upon a time, in a village by the sea,", False),
    ("code-python", CODE_PY, False),
    ("chat-gravity", chat("What is gravity?"), True),
    ("chat-sky", chat("Why is the sky blue? Answer in one sentence."), True),
    ("chat-advice", chat("How do I make a good cup of tea?"), True),
    ("chat-french", chat("Traduis en français : The cat sleeps on the chair."), True),
    ("chat-summary", chat(SUMMARY), True),
]
