#!/usr/bin/env python3
"""Our greedy continuations of real models beside the peer's, and what each choice lost.

Two engines that multiply with 8-bit activations part at near ties, so equal tokens cannot be asked for. What can: the regret of a
choice, the best log-probability less that of the chosen token, with the exact model (family_reference.py on the file's
dequantised weights) fed with that engine's own tokens. It is 0 where the choice is the exact model's, and small at a near tie.
Prints a row of docs/developing/correctness.md for each model.
"""

import argparse

import numpy as np

import common
import family_reference
import prompts

PLAIN = [(name, text) for name, text, special in prompts.PROMPTS if not special]  # the others have the default model's template


def log_softmax(x):
    x = x.astype(np.float64)
    top = x.max(-1, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(-1, keepdims=True))


def regrets(exact, ids, out, ends):
    """Of each of the tokens out, chosen after ids and those before. -1: any of the tokens that end."""
    logp = log_softmax(exact.logits([*ids, *out[:-1]])[len(ids) - 1 :])
    chosen = [max(row[ends]) if token < 0 else row[token] for row, token in zip(logp, out, strict=True)]
    return logp.max(-1) - chosen


def measure(name, items, tokens, dtype, show):
    path = common.named_model(name)
    asked = common.ask(path, [{"text": text, "add": True, "n": tokens, "top": 1} for _, text in items])
    ids = [a["ids"] for a in asked]
    ours, ends = common.ask_ours(path, [(prompt, tokens) for prompt in ids])
    peer = [[-1 if token in ends else token for token in a["out"]] for a in asked]
    exact = family_reference.Model(path, dtype)
    lost = {"ours": [], "llama.cpp": []}
    gaps = []
    for (label, _), prompt, mine, other in zip(items, ids, ours, peer):
        own = regrets(exact, prompt, mine, ends)
        lost["ours"].append(own)
        lost["llama.cpp"].append(own if mine == other else regrets(exact, prompt, other, ends))
        at = next((i for i, (a, b) in enumerate(zip(mine, other)) if a != b), None)
        if at is not None:  # both chose after the same tokens
            both = [of[-1][at] for of in lost.values()]
            gaps.append(abs(both[0] - both[1]))
            if show:
                print(f"  {label}: part at token {at}: {mine[at]} loses {both[0]:.4f}, llama.cpp's {other[at]} {both[1]:.4f}")
    found = {who: np.concatenate(parts) for who, parts in lost.items()}
    cells = [f"{len(found['ours'])}", f"{len(items) - len(gaps)} of {len(items)}", f"{max(gaps, default=0):.3f}"]
    cells += [f"{100 * (x == 0).mean():.1f}%" for x in found.values()]
    cells += [f"{x.mean():.4f} ± {x.std() / len(x)**0.5:.4f}" for x in found.values()] + [f"{x.max():.3f}" for x in found.values()]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="+", metavar="NAME", help="a model of tools/fetch-model --list")
    p.add_argument("--prompts", type=int, default=len(PLAIN), help="the first N of prompts.py (default: %(default)s)")
    p.add_argument("--tokens", type=int, default=64, help="of each continuation (default: %(default)s)")
    p.add_argument("--float32", action="store_true", help="the exact model in float32: a model of 1.5B takes 7 GB instead of 14")
    p.add_argument("--show", action="store_true", help="print where continuations part")
    a = p.parse_args()
    print("| model | tokens | equal continuations | widest gap where they part | exact choices: ours | llama.cpp | "
          "mean regret: ours | llama.cpp | largest: ours | llama.cpp |\n" + "|---" * 10 + "|")
    for name in a.names:
        measure(name, PLAIN[: a.prompts], a.tokens, np.float32 if a.float32 else np.float64, a.show)


if __name__ == "__main__":
    main()
