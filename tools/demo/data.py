#!/usr/bin/env python3
"""Makes the data of the demo adapters, and proves that training and testing share no entity.

Every sentence is put together from the templates and word lists in tasks/; nothing comes from elsewhere. The same seed
gives the same data on every machine.
"""

import argparse
import json
import random
import re
from pathlib import Path

import bases
import tasks

TRAIN_SEED, TEST_SEED, EXAMPLE_SEED = 1, 2, 3
HELDOUT = 120  # the first half in sentence forms that training uses, the second half in forms it never sees
EXAMPLES = 8
CHECKED = 5000  # training examples that testing is kept apart from; no adapter trains on more of them


def draw(task, seed, count, words, phrasing, avoid=frozenset()):
    """`count` (prompt, completion) pairs with different prompts, none of them in `avoid`, and the entities in them."""
    rng = random.Random(seed)
    pairs, entities = {}, set()
    while len(pairs) < count:
        prompt, completion, used = task.example(rng, words, phrasing)
        if prompt not in pairs and prompt not in avoid:
            pairs[prompt] = completion
            entities |= used
    return list(pairs.items()), entities


def train_set(name, count):
    return draw(tasks.load(name), TRAIN_SEED, count, "train", "train")[0]


def heldout_set(name):
    task = tasks.load(name)
    # A sentence that names no entity reads the same in training and in testing.
    trained = {prompt for prompt, _ in train_set(name, CHECKED)}
    known_form, _ = draw(task, TEST_SEED, HELDOUT // 2, "test", "train", trained)
    new_form, _ = draw(task, TEST_SEED, HELDOUT // 2, "test", "test", trained)
    return known_form + new_form


def words_in(text):
    return set(re.findall(r"[^\W_]+", text.lower()))


def check_disjoint(name):
    """Asserts that no word of a test entity occurs anywhere in the training text."""
    task = tasks.load(name)
    pairs, train_entities = draw(task, TRAIN_SEED, CHECKED, "train", "train")
    seen = set().union(*(words_in(f"{prompt} {completion}") for prompt, completion in pairs))
    seen = seen.union(*map(words_in, train_entities))
    # Far more test examples than the held-out set has, so that every word on the test lists comes up.
    test_entities = draw(task, TEST_SEED, 10 * HELDOUT, "test", "test")[1]
    shared = seen & set().union(*map(words_in, test_entities))
    assert not shared, f"{name}: in training and in testing: {sorted(shared)}"
    return len(train_entities), len(test_entities)


def write_jsonl(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for prompt, completion in pairs:
            file.write(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False) + "\n")


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="the tasks (default: all that the base has an adapter for)")
    parser.add_argument("--heldout", type=Path, default=here / "heldout", help="folder for the held-out test sets")
    parser.add_argument("--base", choices=bases.BASES, default=bases.DEFAULT, help="whose adapters get an examples.jsonl (default: %(default)s)")
    parser.add_argument("--show", type=int, metavar="N", help="print N training examples instead of writing files")
    args = parser.parse_args()

    base = bases.BASES[args.base]
    for name in args.names or base["adapters"]:
        if args.show:
            for prompt, completion in train_set(name, args.show):
                print(f"{prompt}\n    {completion}")
            continue
        train_entities, test_entities = check_disjoint(name)
        write_jsonl(args.heldout / f"{name}.jsonl", heldout_set(name))
        examples, _ = draw(tasks.load(name), EXAMPLE_SEED, EXAMPLES, "train", "train")
        if base["form"]:
            examples = [(base["form"].format(prompt=prompt), completion) for prompt, completion in examples]
        write_jsonl(bases.folder(args.base) / name / "examples.jsonl", examples)
        print(f"{name}: {train_entities} training entities, {test_entities} test entities, none shared")


if __name__ == "__main__":
    main()
