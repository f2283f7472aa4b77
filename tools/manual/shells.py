"""Completions of a program for bash and zsh: commands, options, and what may follow an option."""

import re

import tables

MADE = "# Made by tools/manual of the program's tables of options: see there."

# What may follow an option whose help names the words. Each word must stand there.
CHOICES = {
    "adapter-type": "q8 q4 f16",
    "api": "openai llama-server",
    "cache-policy": "frequency s3-fifo lru none",
    "cpu-list": "auto",
    "isa": "scalar avx2 avxvnni avx512vnni amx_int8",
    "kv-type": "f16 q8",
    "speculate": "auto off",
    "weights": "keep q8 f16",
}
ADAPTERS = {"use", "default-adapter", "pin"}
FILES = {"FILE", "PATH", "ROUTER"}


def takes(option):
    """What follows an option: nothing (''), 'file', 'dir', 'named', 'adapter', 'words ...', or 'text'."""
    value, name = option.get("value"), option["name"]
    if not value:
        return ""
    if option["kind"] == "choice":
        return "words " + value.replace("|", " ")
    if name in CHOICES and option["kind"] in ("text", "texts"):
        words = CHOICES[name].split()
        assert name == "isa" or all(re.search(rf"\b{re.escape(w)}\b", option["help"] + value) for w in words), option
        return "words " + CHOICES[name]
    if value in FILES:
        return "file"
    return {"DIR": "dir", "NAME=PATH": "named"}.get(value, "adapter" if name in ADAPTERS else "text")


def spellings(option):
    return ([f"-{option['letter']}"] if option.get("letter") else []) + [f"--{option['name']}"]


def cases(commands):
    """Shell patterns COMMAND:OPTION by what follows the option; one for all commands where they agree."""
    seen = {}
    for c in tables.leaves(commands):
        for o in tables.options(c):
            for s in spellings(o):
                seen.setdefault(s, {}).setdefault(takes(o), []).append(c["name"])
    patterns = {}
    for spelling, kinds in seen.items():
        for kind, names in kinds.items():
            for name in ["*"] if len(kinds) == 1 else names:
                patterns.setdefault(kind, []).append(f"{name.replace(' ', '_')}:{spelling}")
    return {kind: sorted(found) for kind, found in sorted(patterns.items()) if kind}


def wrap(words, indent, between, end, width=120):
    lines, line = [], indent
    for i, word in enumerate(words):
        piece = word + (between if i + 1 < len(words) else end)
        if len(line) + len(piece) > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += piece
    return [*lines, line.rstrip()]


BASH_HEAD = """\
{made}
#
# COMP_WORDBREAKS has '=', so --option=value and NAME=PATH come here as three words.

# What follows option $2 of command $1; nothing where none of its options is called so, or it is a flag.
_edgelora_takes() {{
  case $1:$2 in
"""
BASH_MIDDLE = """\
  esac
}}

_edgelora_options() {{
  case $1 in
"""
BASH_TAIL = r"""
  esac
}

# Names of the adapters that the line so far offers: those of --adapter, and what lies in the folders of --adapters.
_edgelora_adapters() {
  local i value path
  for ((i = 1; i < COMP_CWORD; i++)); do
    value=${COMP_WORDS[i + 1]}
    [[ $value != = ]] || value=${COMP_WORDS[i + 2]}
    case ${COMP_WORDS[i]} in
      --adapter) printf '%s\n' "${value%%=*}" ;;
      --adapters)
        for path in "${value/#\~/$HOME}"/*; do
          [[ -d $path ]] && printf '%s\n' "${path##*/}"
          [[ $path == *.gguf && -f $path ]] && path=${path##*/} && printf '%s\n' "${path%.gguf}"
        done
        ;;
    esac
  done
  echo auto
}

_edgelora() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} kind
  COMPREPLY=()
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '@COMMANDS@ help --help --version' -- "$current")
    return
  fi
  case $command in
@FAMILIES@
  esac
  kind=$(_edgelora_takes "$command" "$before")
  if [[ $kind == named && ${COMP_WORDS[COMP_CWORD - 1]} != = && ${COMP_WORDS[COMP_CWORD]} != = ]]; then
    compopt -o nospace
    return
  fi
  # The path of NAME=PATH: the option is two words further in front.
  if [[ -z $kind && $before != -* && $(_edgelora_takes "$command" "${COMP_WORDS[COMP_CWORD - 3]}") == named ]]; then
    kind=named
  fi
  case $kind in
    file | named)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    dir)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    adapter) mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_adapters)" -- "$current") ;;
    words*) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$current") ;;
    text) ;;
    *)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_edgelora_options "$command")" -- "$current")
      else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi
      ;;
  esac
}

complete -F _edgelora @PROGRAM@
"""


def named(program, script):
    """The functions of each program's script have names of their own."""
    return script.replace("_edgelora", "_" + program.replace("-", "_")).replace("@PROGRAM@", program)


def bash(program, commands):
    lines = []
    for kind, patterns in cases(commands).items():
        # A list of patterns has no line ends in it.
        for line in wrap(patterns, "    ", " | ", "", 100):
            lines.append(f"{line.removesuffix(' |')}) echo '{kind}' ;;")
    options = []
    for c in tables.leaves(commands):
        words = [s for o in tables.options(c) for s in spellings(o)] + ["-h", "--help"]
        options += [f"    {c['name'].replace(' ', '_')})", *wrap(words, "      ", " ", "'"), "      ;;"]
        first = options.index(f"    {c['name'].replace(' ', '_')})") + 1
        options[first] = options[first].replace("      ", "      echo '", 1)
    families = []
    for c in commands:
        if "commands" in c:
            names = " ".join(m["name"].split()[1] for m in c["commands"])
            families += [f"    {c['name']})", "      if ((COMP_CWORD == 2)); then",
                         f"        mapfile -t COMPREPLY < <(compgen -W '{names} --help' -- \"$current\")", "        return", "      fi",
                         f"      command={c['name']}_${{COMP_WORDS[2]}}", "      ;;"]
    families += ["    help)", f"      ((COMP_CWORD > 2)) || mapfile -t COMPREPLY < <(compgen -W '{' '.join(c['name'] for c in commands)}' -- \"$current\")",
                 "      return", "      ;;"]
    tail = BASH_TAIL.replace("@COMMANDS@", " ".join(c["name"] for c in commands)).replace("@FAMILIES@", "\n".join(families))
    return named(program, BASH_HEAD.format(made=MADE) + "\n".join(lines) + "\n" + BASH_MIDDLE.format() + "\n".join(options) + tail)


ZSH_HEAD = """\
#compdef @PROGRAM@
{made}

# Names of the adapters that the line so far offers: those of --adapter, and what lies in the folders of --adapters.
_edgelora_adapters() {{
  local -a names=(auto) found
  local i value
  for ((i = 1; i < CURRENT; i++)); do
    case $words[i] in
      --adapter) names+=(${{words[i + 1]%%=*}}) ;;
      --adapter=*) names+=(${{${{words[i]#*=}}%%=*}}) ;;
      --adapters) found=(${{~words[i + 1]}}/*(N/:t) ${{~words[i + 1]}}/*.gguf(N:t:r)) && names+=($found) ;;
      --adapters=*) found=(${{~words[i]#*=}}/*(N/:t) ${{~words[i]#*=}}/*.gguf(N:t:r)) && names+=($found) ;;
    esac
  done
  compadd -a names
}}

_edgelora_named() {{
  if compset -P '*='; then _files; else _message 'NAME=PATH'; fi
}}

"""


def short(text):
    """The help's first clause, as a description in brackets has room for."""
    clause = re.split(r"[;:]|\.(?:\s|$)", text)[0]
    return clause.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("'", "'\\''")


def zsh_spec(option):
    kind, names = takes(option), spellings(option)
    action = {"file": "_files", "dir": "_files -/", "named": "_edgelora_named", "adapter": "_edgelora_adapters"}.get(kind, " ")
    if kind.startswith("words "):
        action = f"({kind[6:]})"
    value = option.get("value", "").replace(":", "\\:")
    text = f"[{short(option['help'])}]" + (f":{value}:{action}" if kind else "")
    if option["kind"] in ("texts", "paths", "named paths"):
        return " ".join(f"'*{n}{'=' if kind and n.startswith('--') else ''}{text}'" for n in names)
    group = f"({' '.join(names)})" if len(names) > 1 else ""
    return " ".join(f"'{group}{n}{'=' if kind and n.startswith('--') else ''}{text}'" for n in names)


def zsh(program, commands):
    out = [ZSH_HEAD.format(made=MADE)]

    def described(rows):
        return [f"    {r['name'].split()[-1]}:'{short(r['summary'])}'" for r in rows]

    for c in tables.leaves(commands):
        specs = [zsh_spec(o) for o in tables.options(c)] + ["'(- *)'{-h,--help}'[tell about it]'", "'*:file:_files'"]
        out.append(f"_edgelora_{c['name'].replace(' ', '_')}() {{\n  _arguments -s -S \\\n" + " \\\n".join(f"    {s}" for s in specs) + "\n}\n\n")
    for c in commands:
        if "commands" in c:
            rows = "\n".join(described(c["commands"]))
            out.append(f"_edgelora_{c['name']}() {{\n  local -a found=(\n{rows}\n  )\n"
                       f"  if ((CURRENT == 2)); then\n    _describe command found\n    return\n  fi\n"
                       f"  local command=_edgelora_{c['name']}_$words[2]\n  shift words\n  ((CURRENT--))\n  (($+functions[$command])) && $command\n}}\n\n")
    rows = "\n".join(described(commands))
    out.append(f"_edgelora() {{\n  local -a found=(\n{rows}\n    help:'tell about a command'\n  )\n"
               "  if ((CURRENT == 2)); then\n    _describe command found\n    _arguments '--help[tell about all commands]' '--version[print the version]'\n    return\n  fi\n"
               "  local command=_edgelora_$words[2]\n  shift words\n  ((CURRENT--))\n  (($+functions[$command])) && $command\n}\n\n_edgelora \"$@\"\n")
    return named(program, "".join(out))
