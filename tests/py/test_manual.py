"""Manual pages and completions: made of the program's own tables, up to date, without a warning of those who read them, and working in a shell."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import BENCH, BINARY, ROOT

if not BINARY.exists():
    pytest.skip("edgelora is not built (EDGELORA_BIN)", allow_module_level=True)

PAGES = sorted((ROOT / "docs/man").iterdir())
PROGRAMS = [BINARY, BENCH]
BASH = [ROOT / "deploy/completions" / f"{p.name}.bash" for p in PROGRAMS]
ZSH = [ROOT / "deploy/completions" / f"_{p.name}" for p in PROGRAMS]


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


def needs(name):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")


def test_pages_and_completions_are_what_the_programs_tables_make():
    checked = run(sys.executable, ROOT / "tools/manual/make.py", "--check", BINARY)
    assert checked.returncode == 0, checked.stderr + "'make manual' makes them anew"


def test_the_tables_are_those_of_the_help():
    table = run(BINARY, "serve", "--help=json").stdout
    names = re.findall(r'"name": "([a-z0-9-]+)",\n +"(?:value|kind)"', table)
    assert len(names) > 30
    assert names == re.findall(r"^  (?:-., |    )--([a-z0-9-]+)", run(BINARY, "serve", "--help").stdout, re.M)


@pytest.mark.parametrize("tool", ["mandoc", "groff"])
def test_no_formatter_warns_of_a_page(tool):
    needs(tool)
    command = {"mandoc": ["mandoc", "-T", "lint"], "groff": ["groff", "-mandoc", "-ww", "-z"]}[tool]
    found = run(*command, *PAGES)
    # That other pages are not installed here is no fault of a page.
    complaints = [line for line in (found.stdout + found.stderr).splitlines() if "referenced manual not found" not in line]
    assert not complaints, "\n".join(complaints)


def complete(cwd, *words):
    """What bash offers behind these words, the last of which is being typed."""
    typed = " ".join(words)
    script = f"""
      source {BASH[0]}
      source {BASH[1]}
      program=$1 function=_${{1//-/_}}
      COMP_LINE={subprocess.list2cmdline([typed])!r}
      COMP_POINT=${{#COMP_LINE}}
      compopt() {{ :; }}  # it is for a completion that runs at a prompt
      COMP_WORDS=("$@")
      COMP_CWORD=$(($# - 1))
      complete -p "$program" | grep -q -- "-F $function " || exit 9
      "$function" "$program"
      printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = run("bash", "-c", script, "bash", *words, cwd=cwd)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path):
    for path in ("adapters/sql", "adapters/shell", "models"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "adapters/upper.gguf").touch()
    (tmp_path / "model.gguf").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["edgelora", "se"], ["serve"]),
        (["edgelora", "router", "tr"], ["train"]),
        (["edgelora-bench", "th"], ["threads"]),
        (["edgelora", "help", "tok"], ["tokenize"]),
        (["edgelora", "serve", "--api"], ["--api-keys"]),
        (["edgelora-bench", "peak", "--li"], ["--limits"]),
        (["edgelora", "serve", "-m", "m"], ["model.gguf", "models"]),
        (["edgelora", "serve", "--model", "=", "model."], ["model.gguf"]),
        (["edgelora", "serve", "--adapters", ""], ["adapters", "models"]),
        (["edgelora", "serve", "--adapter", "a", "=", "adapters/u"], ["adapters/upper.gguf"]),
        (["edgelora", "serve", "--kv-type", ""], ["f16", "q8"]),
        (["edgelora", "serve", "--kv-type", "="], ["f16", "q8"]),
        (["edgelora", "run", "--adapters", "adapters", "-a", ""], ["auto", "shell", "sql", "upper"]),
        (["edgelora", "run", "--adapter", "mine", "=", "adapters/sql", "-a", "m"], ["mine"]),
        (["edgelora", "serve", "--port", ""], []),
        (["edgelora", "inspect", "m"], ["model.gguf", "models"]),
        (["edgelora", "serve", "--metrics-of-nobody"], []),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else None,
)
def test_bash_completes(folder, words, offered):
    assert sorted(complete(folder, *words)) == offered


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_bash_offers_every_option_of_every_command(folder, program):
    script = (ROOT / "deploy/completions" / f"{program.name}.bash").read_text()
    for line in script.split("_options()")[1].split("esac")[0].split(";;"):
        if ")" in line:
            command = line.split(")")[0].split()[-1]
            shown = run(program, *command.split("_", 1), "--help")
            if shown.returncode == 0:
                asked = re.findall(r"^  (?:-., |    )(--[a-z0-9-]+)", shown.stdout, re.M)
                assert set(asked) <= set(complete(folder, program.name, *command.split("_", 1), "--"))


class Zsh:
    """A shell at a pseudo-terminal: completion widgets run nowhere else."""

    def __init__(self, folder):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "ZDOTDIR": str(folder)})
        self.type(f"PS1=; fpath=({ZSH[0].parent} $fpath); autoload -Uz compinit; compinit -u -d {folder}/dump; print REA''DY\n")
        self.until("READY")

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, text, seconds=50):
        """Reads until this is on the screen; bells are no text."""
        shown, end = "", time.monotonic() + seconds
        while text not in shown:
            assert select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], shown
            shown += os.read(self.fd, 4096).decode(errors="replace").replace("\a", "")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_zsh_reads_its_completion_and_completes(folder):
    needs("zsh")
    for script in ZSH:
        assert run("zsh", "-n", script).stderr == ""
    shell = Zsh(folder)
    try:
        for typed, then in [
            ("edgelora ser", "edgelora serve"),
            ("edgelora serve --api-k", "--api-keys="),
            ("edgelora-bench th", "edgelora-bench threads"),
            ("edgelora serve --kv-type=q", "--kv-type=q8"),
            (f"edgelora run --adapters {folder}/adapters -a up", "-a upper"),
            (f"edgelora serve --adapter x={folder}/mod", "model"),
        ]:
            shell.type(typed + "\t")
            shell.until(then)
            shell.type("\x15")  # away with the line
    finally:
        shell.close()
