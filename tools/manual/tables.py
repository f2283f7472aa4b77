"""The program's tables of commands and options, as `--help=json` prints them."""

import json
import subprocess


def ask(program, *words):
    return json.loads(subprocess.run([program, *words, "--help=json"], capture_output=True, check=True).stdout)


def walk(program):
    """Commands in their order. One that has commands of its own has them in `commands`, and no options."""
    found = []
    for row in ask(program)["commands"]:
        table = ask(program, row["name"])
        if "commands" in table:
            table["commands"] = [ask(program, *c["name"].split()) for c in table["commands"]]
        found.append({**row, **table})
    return found


def leaves(commands):
    return [leaf for c in commands for leaf in c.get("commands", [c])]


def options(command):
    return [o for g in command["groups"] for o in g["options"]]
