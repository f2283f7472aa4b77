"""Names from files as text of a page: cleaned, cut and escaped. And numbers as a person writes them."""

import html
import math
import re

NAME_MAX = 120  # characters of a name that are shown; the rest of a longer one becomes "…"
REPLACEMENT = "\ufffd"

# Controls, what changes the direction of the text around it, line separators, halves of surrogates (also what Python makes of bytes in
# arguments that are not UTF-8), and what is no character.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
                    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17)) + "]")


def printable(text):
    """The whole of it, for a message."""
    return _UNFIT.sub(REPLACEMENT, text)


def clean(name):
    """A name that may stand in JSON or, escaped, in a page."""
    return printable(name[:NAME_MAX]) + ("…" if len(name) > NAME_MAX else "")


def escape_html(name):
    """A name as the text or the quoted attribute of HTML and SVG."""
    return html.escape(clean(name), quote=True)


def escape_markdown(name):
    """A name in a cell of a Markdown table, with no meaning left in its signs. Renderers take HTML and entities as they are."""
    return re.sub(r"([\\`*_\[\]#|~$@])", r"\\\1", html.escape(clean(name), quote=False))


def decimals(value):
    """How many decimals show three digits of a number: 0 to 5."""
    return min(max(2 - math.floor(math.log10(abs(value)) + 1e-9), 0), 5) if value else 0


def number(value, places):
    """With commas between thousands; what rounds to 0 has no sign."""
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if not text.strip("-0.") else text
