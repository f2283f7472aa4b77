#!/usr/bin/env python3
"""Runs the fuzz targets in turn until they have taken --inputs inputs together, and keeps what they find interesting.

  make fuzz-long ARGS='--inputs 10000000'

One target at a time, --seconds each: the one that has taken the fewest inputs in all runs, unless it has had twice its share of this run's
time. So a slow target does not stay behind, and does not hold up the others either. FOLDER (by default ~/.cache/edgelora/fuzz) keeps a corpus
for each, the logs, an input that fails, and how many inputs each has taken. Ends with a table; --coverage adds how much of each file the
corpora reach, by the functions that libFuzzer tells. --keep writes the fewest inputs that reach as much as all to tests/fuzz/corpus, which is in
the repository: every run begins with them. Ends with 1 when an input failed.
"""

import argparse
import collections
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMITS = ("-timeout=120", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1")


def targets(build):
    found = {p.name.removeprefix("fuzz_"): p for p in sorted((build / "tests" / "fuzz").glob("fuzz_*")) if p.is_file() and os.access(p, os.X_OK)}
    if not found:
        sys.exit(f"{build} has no fuzz targets: build it with -Dfuzz=true")
    return found


def run(program, name, folder, *options):
    """What it says."""
    corpus, seeds = folder / "corpus" / name, folder / "seeds" / name
    for place in (corpus, seeds, folder / "logs"):
        place.mkdir(parents=True, exist_ok=True)
    dictionary = HERE / f"{name}.dict"
    command = [program, *LIMITS, *options, f"-artifact_prefix={folder}/{name}-", *([f"-dict={dictionary}"] if dictionary.exists() else []), corpus, seeds]
    environment = dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    (folder / "logs" / f"{name}.log").write_text(done.stdout)
    return done.returncode, done.stdout


def read_counts(path):
    counts = collections.Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        name, inputs = line.split()
        counts[name] += int(inputs)
    return counts


def coverage(said):
    """{file: [functions reached, functions]} of what -print_coverage=1 says. Of its edges many are the sanitizers' own, which nothing
    reaches unless something is wrong."""
    files = collections.defaultdict(lambda: [0, 0])
    for kind, file in re.findall(r"^(COVERED|UNCOVERED)_FUNC: hits: \d+ edges: \d+/\d+ \S+ (\S+?):\d+", said, re.M):
        if "/src/" in file:
            file = "src/" + file.rsplit("/src/", 1)[1]
            files[file][0] += kind == "COVERED"
            files[file][1] += 1
    return files


def keep(program, name, folder):
    """The size of the archive."""
    least, archive = folder / "least" / name, HERE / "corpus" / f"{name}.tar.xz"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir(parents=True)
    command = [program, *LIMITS, "-merge=1", least, folder / "corpus" / name, folder / "seeds" / name]
    subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return pack(least, archive)


def pack(least, archive):
    """The same bytes whenever the inputs are the same. Those that are alike stand together."""

    def plain(member):
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o644
        return member

    archive.parent.mkdir(exist_ok=True)
    with lzma.open(archive, "wb", preset=9 | lzma.PRESET_EXTREME) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(least.iterdir(), key=lambda p: (p.stat().st_size, p.name)):
            tar.add(path, path.name, filter=plain)
    return archive.stat().st_size


def next_target(counts, spent, seconds):
    """The name of the target that has taken the fewest inputs, of those that have not had twice their share of the time."""
    share = 2 * sum(spent.values()) / len(spent) + seconds
    return min((name for name in spent if spent[name] < share), key=lambda name: counts[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="a build folder with -Dfuzz=true")
    parser.add_argument("--inputs", type=int, default=10_000_000, help="of all targets together, in this run (default 10,000,000)")
    parser.add_argument("--seconds", type=int, default=60, help="of a target at a time (default 60)")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "edgelora/fuzz")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write tests/fuzz/corpus anew")
    parser.add_argument("names", nargs="*", help="targets (default: all)")
    args = parser.parse_args()

    folder = args.folder.resolve()
    programs = {name: p for name, p in targets(args.build.resolve()).items() if not args.names or name in args.names}
    subprocess.run([sys.executable, HERE / "seeds.py", folder / "seeds"], check=True)
    path, taken, failed, spent = folder / "counts", 0, False, dict.fromkeys(programs, 0.0)
    while taken < args.inputs and not failed:
        name = next_target(read_counts(path), spent, args.seconds)
        began = time.monotonic()
        rc, said = run(programs[name], name, folder, f"-max_total_time={args.seconds}")
        spent[name] += time.monotonic() - began
        n = int((re.findall(r"stat::number_of_executed_units: *(\d+)", said) or re.findall(r"^#(\d+)", said, re.M) or ["0"])[-1])
        with path.open("a") as f:
            f.write(f"{name} {n}\n")
        taken += n
        print(f"{name}: {n} inputs{', FAILED' if rc else ''}; {taken} in all", flush=True)
        if rc:
            failed = True
            print("\n".join(said.splitlines()[-60:]))

    print("\n| target | inputs, of all runs | in the corpus |\n|---|---|---|")
    for name, n in sorted(read_counts(path).items()):
        print(f"| {name} | {n:,} | {len(list((folder / 'corpus' / name).glob('*')))} |")
    if args.coverage:
        files = collections.defaultdict(lambda: [0, 0, ""])
        for name, program in programs.items():
            for file, (reached, functions) in coverage(run(program, name, folder, "-runs=0", "-print_coverage=1")[1]).items():
                if reached >= files[file][0]:  # of several targets the one that goes furthest
                    files[file] = [reached, functions, name]
        print("\n| file | functions reached | by |\n|---|---|---|")
        for file, (reached, functions, name) in sorted(files.items()):
            print(f"| `{file}` | {reached} of {functions} ({100 * reached // functions}%) | {name} |")
    if args.keep and not failed:
        for name, program in programs.items():
            print(f"{name}: {keep(program, name, folder)} bytes are kept")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
