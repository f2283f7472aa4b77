"""Manual pages: one of the program, one of each command, one of the configuration file."""

import mdoc

DATE = "November 30, 2026"
MADE = '.\\" Made by tools/manual of the tables behind --help: see there.'

EXIT_STATUS = [
    ("0", "What was asked for is done."),
    ("1", "It could not be done; standard error says why."),
    ("2", "It was not asked for rightly."),
    ("130, 143", "A signal ended it: Ctrl-C or SIGTERM. A server ends with 0 after either, once running requests have ended."),
]
ENVIRONMENT = [
    ("XDG_CACHE_HOME", "The folder in which edgelora/ keeps the default model and what is known about adapters; ~/.cache where it is not set."),
    ("EDGELORA_AMX", "1: the instruction set amx_int8 is used, which no machine with such a unit has tested yet."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "Set by systemd for a service: a server tells it when it loads, serves, reloads and ends, and gives signs of life as long as its engine goes round."),
]
FILES = [
    ("/etc/edgelora/edgelora.yaml", "What the service is configured by; see edgelora.yaml(5)."),
    ("/var/lib/edgelora", "Where the service's models and adapters may be: it reads them alone."),
    ("/var/cache/edgelora", "What the service has learnt about adapters. It may be deleted at any time."),
]
ABOUT = """Serves one base language model (GGUF) and many LoRA adapters together, on the processors of one machine.
Requests name an adapter, or let a router choose; sequences of different adapters are computed in the same steps.
Adapters are read when they are asked for, and share a bounded memory with keys and values.

Results go to standard output, everything else to standard error."""


BENCH = """Measures what edgelora does on this machine, what the machine can do at most, and how servers behave under a load.
Nothing else should be running while it measures. Results go to standard output, with --json as one JSON object."""


def page(name, section, summary):
    return [MADE, f".Dd {DATE}", f".Dt {name.upper()} {section}", ".Os", ".Sh NAME", f".Nm {name}", f".Nd {mdoc.escape(summary)}"]


def table(title, rows, macro=""):
    out = [f".Sh {title}", ".Bl -tag -width Ds"]
    for term, meaning in rows:
        out += [f".It {macro}{mdoc.argument(term) if not macro else mdoc.escape(term)}", *mdoc.prose(meaning)]
    return [*out, ".El"]


def see_also(*names):
    return [".Sh SEE ALSO", *[f".Xr {n} {s}" + (" ," if i + 1 < len(names) else "") for i, (n, s) in enumerate(names)]]


def synopsis(program, command):
    return [f".Nm {program} {command['name']}", *mdoc.prose(command["usage"])]


def body(command, heading):
    out = []
    for group in command["groups"]:
        if group["options"]:
            out += [f"{heading} {mdoc.escape(group['title'])}", *mdoc.listed(group["options"])]
    return out


def examples(commands):
    lines = [line for c in commands if c.get("examples") for line in c["examples"].split("\n")]
    return [".Sh EXAMPLES", *mdoc.literal(lines)] if lines else []


def of_program(commands):
    out = page("edgelora", 1, "one base language model and many LoRA adapters, served together")
    out += [".Sh SYNOPSIS", ".Nm", ".Ar COMMAND", ".Op options", ".Nm", ".Fl -help", ".Nm", ".Fl -version"]
    out += [".Sh DESCRIPTION", *mdoc.described(ABOUT), ".Sh COMMANDS", ".Bl -tag -width Ds"]
    for c in commands:
        out += [f".It Xr edgelora-{c['name']} 1", *mdoc.prose(c["summary"][0].upper() + c["summary"][1:] + ".")]
    out += [".El", *table("ENVIRONMENT", ENVIRONMENT), *table("FILES", FILES), *table("EXIT STATUS", EXIT_STATUS)]
    return out + see_also(*((f"edgelora-{n}", 1) for n in sorted(["bench", *(c["name"] for c in commands)])), ("edgelora.yaml", 5))


def of_members(commands):
    """Commands that have no page of their own."""
    out = []
    for c in commands:
        out += [f".Ss {c['name']}", *mdoc.prose(c["summary"][0].upper() + c["summary"][1:] + ".")]
        about = mdoc.described(c["about"])
        out += about if about[0] == ".Bl -tag -width Ds" else [".Pp", *about]
        if any(g["options"] for g in c["groups"]):
            out += [".Pp", "Options:", *mdoc.listed([o for g in c["groups"] for o in g["options"]])]
    return out


def of_bench(commands):
    out = page("edgelora-bench", 1, "measure this machine, edgelora's parts, and servers")
    out.append(".Sh SYNOPSIS")
    for c in commands:
        out += synopsis("edgelora-bench", c)
    out += [".Nm edgelora-bench", ".Fl -version", ".Sh DESCRIPTION", *mdoc.prose(BENCH), *of_members(commands)]
    out += table("EXIT STATUS", EXIT_STATUS) + examples(commands)
    return out + see_also(("edgelora", 1))


def of_command(command):
    members = command.get("commands", [command])
    out = page(f"edgelora-{command['name']}", 1, command["summary"])
    out.append(".Sh SYNOPSIS")
    for c in members:
        out += synopsis("edgelora", c)
    if "commands" in command:
        out += [".Sh DESCRIPTION", *mdoc.prose("It has commands of its own:"), *of_members(members)]
    else:
        out += [".Sh DESCRIPTION", *mdoc.described(command["about"])]
        if any(g["options"] for g in command["groups"]):
            out += [".Sh OPTIONS", *body(command, ".Ss")]
    out += table("EXIT STATUS", EXIT_STATUS) + examples(members)
    return out + see_also(("edgelora", 1), *([("edgelora.yaml", 5)] if command["name"] == "serve" else []))


CONFIGURATION = """One YAML document, a mapping. Its keys are the options of 'edgelora serve' by their long names; what may be given several times is a list.
An option of the command line comes before the same one of the file. Relative paths begin in the file's folder.

Values are scalars, or lists of them. Whether a text is a number is the option's to say: 'off' is a text where one is wanted. A flag is true or false.
Anchors, aliases, tags, further documents, what is nested deeper, keys that are not known and keys that stand there twice are refused, with the line and the key.
A file has 1 MiB at most.

'edgelora serve --config FILE --check' says whether a file is right."""
KINDS = {"flag": "true or false", "integer": "a whole number", "size": "a size, such as 512M or 4G", "number": "a number", "text": "a text",
         "texts": "a list of texts", "integers": "whole numbers with commas between", "choice": "one of", "path": "a path", "paths": "a list of paths",
         "named paths": "a list of NAME=PATH"}
EXAMPLE = """model: /var/lib/edgelora/models/model.gguf
adapters:
  - /var/lib/edgelora/adapters
host: 0.0.0.0
api-keys: keys
memory: 4G"""


def kind(option):
    return KINDS[option["kind"]] + (" " + option["value"].replace("|", ", ") if option["kind"] == "choice" else "")


def of_configuration(serve):
    out = page("edgelora.yaml", 5, "configuration of edgelora serve")
    out += [".Sh SYNOPSIS", ".Nm edgelora serve", ".Fl -config Ar FILE", ".Sh DESCRIPTION", *mdoc.described(CONFIGURATION)]
    out.append(".Sh KEYS")
    for group in serve["groups"]:
        if group["title"] == "Configuration":  # the command line's own
            continue
        out += [f".Ss {mdoc.escape(group['title'])}", ".Bl -tag -width Ds"]
        for o in group["options"]:
            out += [f".It {mdoc.argument(o['name'])} : {mdoc.escape(kind(o))}", *mdoc.prose(o["help"])]
        out.append(".El")
    out += table("FILES", FILES[:1]) + [".Sh EXAMPLES", *mdoc.literal(EXAMPLE.split("\n"))]
    return out + see_also(("edgelora-serve", 1))


def all_pages(commands, benches):
    pages = {"edgelora.1": of_program(commands), "edgelora-bench.1": of_bench(benches)}
    for c in commands:
        pages[f"edgelora-{c['name']}.1"] = of_command(c)
    pages["edgelora.yaml.5"] = of_configuration(next(c for c in commands if c["name"] == "serve"))
    return {name: "\n".join(lines) + "\n" for name, lines in pages.items()}
