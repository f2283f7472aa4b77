"""Text into the mdoc(7) language, in lines that neither mandoc nor groff warns of."""

import re
import textwrap

WIDTH = 78


def escape(text):
    """Options' hyphens are those that a shell understands; a macro's sign at a line's beginning is text."""
    text = text.replace("\\", "\\e")
    text = re.sub(r"(?<![\w\\])-(?=[\w-])|(?<=\s)-(?=\s)", r"\\-", text)
    text = text.replace("\\--", "\\-\\-")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def guard(line):
    return "\\&" + line if line[:1] in (".", "'") else line


def prose(text):
    """A sentence begins a line."""
    lines = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=\S)", " ".join(text.split())):
        lines += textwrap.wrap(escape(sentence), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [guard(line) for line in lines]


def argument(text):
    """As an argument of a macro: quoted where it would be more than one, or mean something."""
    text = escape(text)
    return '"' + text.replace('"', "\\(dq") + '"' if re.search(r'[\s"]', text) or len(text) < 3 else text


ITEM = re.compile(r"^( {0,2})(\S+(?: \S+)*?) {2,}(\S.*)$")


def described(text):
    """Paragraphs that were wrapped by hand, among them lists of a term and, two blanks on, what it means."""
    out, block, term = [], [], None
    in_list = False

    def flush():
        nonlocal block, term, in_list
        if term is not None:
            if not in_list:
                out.append(".Bl -tag -width Ds")
            in_list = True
            out.extend([f".It {argument(term)}", *prose(" ".join(block))])
        elif block:
            if in_list:
                out.append(".El")
            in_list = False
            if out and out[-1] != ".El":
                out.append(".Pp")
            out.extend(prose(" ".join(block)))
        block, term = [], None

    for line in text.split("\n"):
        item = ITEM.match(line)
        if item:
            flush()
            term, block = item[2], [item[3]]
        elif not line.strip():
            flush()
        elif term is not None and not line.startswith("   "):
            flush()
            block = [line]
        else:
            block.append(line)
    flush()
    if in_list:
        out.append(".El")
    return out


def literal(lines):
    """As it stands, less the indentation that all lines share."""
    body = [guard(line.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")) for line in textwrap.dedent("\n".join(lines)).split("\n")]
    return [".Bd -literal -offset indent", *body, ".Ed"]


def flag(option):
    names = ([f"Fl {option['letter']}"] if option.get("letter") else []) + [f"Fl -{option['name']}"]
    value = f" Ar {argument(option['value'])}" if option.get("value") else ""
    return ".It " + " , ".join(names) + value


def listed(options):
    out = [".Bl -tag -width Ds"]
    for option in options:
        out += [flag(option), *prose(option["help"])]
    return [*out, ".El"]
