"""A request -> one shell command."""

import tasks
from words import coin, pick

TRADE = "request → one shell command"

INSTRUCTION = (
    "Write the one Linux shell command that does what is asked. Use the usual short options. "
    "Answer with the command alone, in one line, without explanation."
)

WORDS = {
    "train": {
        "f": """report.txt notes.md access.log users.csv main.py backup.sql index.html server.conf photo.jpg deploy.sh
            budget.csv errors.log draft.md setup.py prices.txt query.sql todo.txt sales.csv crash.log menu.html app.conf
            letter.txt parser.py""".split(),
        "d": "docs src images downloads music build archive projects logs scripts website photos tests config".split(),
        "e": "txt log csv py md html conf jpg sh sql".split(),
        "w": "error warning timeout login password TODO failed apple invoice main".split(),
        "u": "alice bob carol dave mike sarah".split(),
        "h": "example.org files.acme.net gateway.home db.internal mail.corp.net".split(),
        "s": "nginx ssh cron mysql docker".split(),
    },
    "test": {
        "f": """summary.json layout.css chart.png thesis.pdf values.yaml engine.cpp feed.xml inventory.json poster.png
            contract.pdf theme.css pipeline.yaml vector.cpp sitemap.xml""".split(),
        "d": "assets vendor videos releases datasets firmware plugins recordings snapshots".split(),
        "e": "json css png pdf yaml cpp xml".split(),
        "w": "panic refused segfault checksum banana deprecated".split(),
        "u": "erika tomas wilma hugo".split(),
        "h": "sensor.plant.io printer.office cache.north.dev vault.bank.eu".split(),
        "s": "postgres redis apache2 bluetooth".split(),
    },
}

# (command, requests asked in training, requests asked only in testing). {f} {g} files, {d} {b} folders, {e} a file
# extension, {w} {x} words to look for, {u} a user, {h} a host, {s} a service, {n} a number.
INTENTS = [
    ("ls -la {d}",
     ["list all files in {d} with details, hidden ones too", "show everything in {d}, including hidden files, in long form",
      "give me a detailed listing of {d} with hidden files"],
     ["show a long listing of {d} that includes hidden files"]),
    ("mkdir -p {d}/{b}",
     ["create the folder {b} inside {d}", "make a directory {b} in {d}", "create a new directory {d}/{b} with its parents"],
     ["make the folder {d}/{b}"]),
    ("rm {f}",
     ["delete {f}", "remove the file {f}", "get rid of {f}"],
     ["erase the file {f}"]),
    ("rm -r {d}",
     ["delete the folder {d} and all that is in it", "remove the directory {d} with its contents", "get rid of the whole folder {d}"],
     ["erase the directory {d} and everything in it"]),
    ("cp {f} {d}/",
     ["copy {f} to the folder {d}", "copy {f} into {d}", "put a copy of {f} in {d}"],
     ["make a copy of {f} in the folder {d}"]),
    ("cp -r {d} {b}",
     ["copy the folder {d} to {b}", "copy the directory {d} with all its contents to {b}", "make a copy of the whole folder {d} named {b}"],
     ["duplicate the folder {d} as {b}"]),
    ("mv {f} {d}/",
     ["move {f} to the folder {d}", "move {f} into {d}", "put {f} into the folder {d}"],
     ["relocate {f} into the folder {d}"]),
    ("mv {f} {g}",
     ["rename {f} to {g}", "change the name of {f} to {g}", "give {f} the new name {g}"],
     ["rename the file {f} so that it is called {g}"]),
    ("cat {f}",
     ["print {f}", "show the contents of {f}", "display the whole file {f}"],
     ["print the contents of the file {f}"]),
    ("head -n {n} {f}",
     ["show the first {n} lines of {f}", "print the top {n} lines of {f}", "display the first {n} lines in {f}"],
     ["give me the first {n} lines of the file {f}"]),
    ("tail -n {n} {f}",
     ["show the last {n} lines of {f}", "print the bottom {n} lines of {f}", "display the last {n} lines in {f}"],
     ["give me the last {n} lines of the file {f}"]),
    ("tail -f {f}",
     ["follow {f} as it grows", "watch new lines in {f}", "keep showing new lines of {f}"],
     ["follow the file {f} and show new lines"]),
    ("wc -l {f}",
     ["count the lines of {f}", "how many lines does {f} have?", "number of lines in {f}"],
     ["how many lines are in {f}?"]),
    ("grep -n '{w}' {f}",
     ["find {w} in {f} with line numbers", "show the lines of {f} that contain {w}, numbered", "search {f} for {w} and print line numbers"],
     ["look for {w} in {f} and show line numbers"]),
    ("grep -ri '{w}' {d}",
     ["search all files in {d} for {w}, ignoring case", "find {w} anywhere under {d}, in any case", "look through the folder {d} for {w} regardless of case"],
     ["search for {w} in the whole folder {d}, ignoring case"]),
    ("grep -c '{w}' {f}",
     ["count the lines of {f} that contain {w}", "how many lines of {f} mention {w}?", "number of lines with {w} in {f}"],
     ["how many lines in {f} contain {w}?"]),
    ("find {d} -name '*.{e}'",
     ["find all {e} files in {d}", "list every {e} file under {d}", "which {e} files are in {d}?"],
     ["locate every {e} file in {d}"]),
    ("find {d} -size +{n}M",
     ["find files in {d} larger than {n} megabytes", "list the files under {d} that are over {n} MB", "which files in {d} are bigger than {n} MB?"],
     ["show files larger than {n} MB in {d}"]),
    ("find {d} -mtime -{n}",
     ["find files in {d} changed in the last {n} days", "list what was modified in {d} in the past {n} days", "which files in {d} changed within {n} days?"],
     ["show files in {d} that were modified in the last {n} days"]),
    ("find {d} -name '*.{e}' -delete",
     ["delete all {e} files in {d}", "remove every {e} file under {d}", "get rid of the {e} files in {d}"],
     ["erase all {e} files in {d}"]),
    ("du -sh {d}",
     ["how big is {d}?", "show the total size of the folder {d}", "how much space does {d} take?"],
     ["what is the total size of {d}?"]),
    ("chmod +x {f}",
     ["make {f} executable", "allow {f} to be run", "set the execute bit on {f}"],
     ["make the file {f} executable"]),
    ("chmod 600 {f}",
     ["let only the owner read and write {f}", "make {f} private to its owner", "restrict {f} to reading and writing by the owner"],
     ["make the file {f} private to the owner"]),
    ("chown {u} {f}",
     ["make {u} the owner of {f}", "give {f} to the user {u}", "change the owner of {f} to {u}"],
     ["set the owner of {f} to {u}"]),
    ("tar czf {d}.tar.gz {d}",
     ["pack {d} into a compressed tar archive", "make a gzipped tarball of {d}", "compress the folder {d} to a tar.gz"],
     ["create a compressed tar archive of {d}"]),
    ("tar xzf {d}.tar.gz",
     ["unpack {d}.tar.gz", "extract the archive {d}.tar.gz", "untar {d}.tar.gz"],
     ["extract everything from {d}.tar.gz"]),
    ("gzip {f}",
     ["compress {f}", "gzip the file {f}", "compress {f} with gzip"],
     ["compress the file {f} with gzip"]),
    ("sort {f}",
     ["sort the lines of {f}", "print {f} in sorted order", "order the lines in {f} alphabetically"],
     ["show the lines of {f} sorted"]),
    ("sort {f} | uniq -c",
     ["count how often each line occurs in {f}", "show every distinct line of {f} with its count", "tally the repeated lines of {f}"],
     ["count how often every line of {f} occurs"]),
    ("sed -i 's/{w}/{x}/g' {f}",
     ["replace {w} with {x} in {f}", "change every {w} to {x} in {f}", "substitute {x} for {w} throughout {f}"],
     ["replace all {w} by {x} in the file {f}"]),
    ("diff {f} {g}",
     ["compare {f} and {g}", "show the differences between {f} and {g}", "how does {f} differ from {g}?"],
     ["what are the differences between {f} and {g}?"]),
    ("ln -s {f} {g}",
     ["make {g} a symbolic link to {f}", "create a symlink to {f} called {g}", "link {g} to {f} symbolically"],
     ["create a symbolic link named {g} to {f}"]),
    ("touch {f}",
     ["create an empty file {f}", "make a new empty file called {f}", "update the timestamp of {f}"],
     ["create the empty file {f}"]),
    ("ping -c {n} {h}",
     ["ping {h} {n} times", "send {n} pings to {h}", "check {h} with {n} pings"],
     ["send exactly {n} pings to the host {h}"]),
    ("ssh {u}@{h}",
     ["log in to {h} as {u}", "open an ssh session on {h} as {u}", "connect to {h} with the user {u}"],
     ["connect to the host {h} as {u}"]),
    ("scp {f} {u}@{h}:",
     ["copy {f} to {h} as {u}", "upload {f} to {h} with the user {u}", "send {f} over ssh to {u} at {h}"],
     ["upload the file {f} to {h} as {u}"]),
    ("curl -O https://{h}/{f}",
     ["download {f} from {h}", "fetch {f} from the site {h}", "get {f} from https://{h}"],
     ["download the file {f} from the site {h}"]),
    ("systemctl restart {s}",
     ["restart {s}", "restart the {s} service", "bounce the service {s}"],
     ["please restart the service {s}"]),
    ("systemctl status {s}",
     ["is {s} running?", "show the status of the {s} service", "check on the service {s}"],
     ["what is the status of {s}?"]),
    ("journalctl -u {s} -n {n}",
     ["show the last {n} log lines of the {s} service", "print {n} lines from the journal of {s}", "last {n} journal entries for {s}"],
     ["give me the last {n} journal lines of {s}"]),
]


def normal(text):
    return " ".join(tasks.strip_fence(text).strip("`").removeprefix("$ ").replace('"', "'").split())


def coin_file(rng):
    return f"{coin(rng)}.{coin(rng)[:3]}"


def coin_host(rng):
    return ".".join(coin(rng) for _ in range(rng.randint(2, 3)))


def example(rng, words, phrasing):
    lists = WORDS[words]
    made_up = {"f": coin_file, "h": coin_host}
    slots = {}
    for slot, kind in zip("fgdbwxeuhs", "ffddwweuhs", strict=True):
        unused = [word for word in lists[kind] if word not in slots.values()]
        slots[slot] = pick(rng, words, unused, made_up.get(kind, coin))
    command, trained, unseen = rng.choice(INTENTS)
    request = rng.choice(trained if phrasing == "train" else unseen)
    used = {slots[key] for key in slots if f"{{{key}}}" in command}
    slots["n"] = rng.choice([rng.randint(2, 30), 10 * rng.randint(4, 50)])
    return request.format(**slots), command.format(**slots), used
