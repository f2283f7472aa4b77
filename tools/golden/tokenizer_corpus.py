#!/usr/bin/env python3
"""A corpus of 10,000 lines that a tokenizer gets wrong if it can: the same lines everywhere, from a seed.

Uses a random generator of its own and no tables of the Python version at hand (unicodedata, random), so the
lines never change; CORPUS_SHA256 says which lines the golden ids belong to. A "line" is any text: it
may hold line ends. It is valid UTF-8 and has at most about 200 bytes.
"""

import argparse
import hashlib
import json

SEED = 20240607
LINES = 10_000
CORPUS_SHA256 = "869311398e0989e251c6e9778bff8cbd9a9901f31ec384d82f7f4479a08ee599"


class Random:
    """splitmix64: a few lines, and the same numbers in every language and version."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]


# Letters of scripts, all assigned long before Unicode 10, so that tables of any age agree about them.
SCRIPTS = {
    "latin": (0x61, 0x7A), "latin1": (0xE0, 0xF6), "latin-ext": (0x100, 0x17E), "greek": (0x3B1, 0x3C9),
    "cyrillic": (0x410, 0x44F), "hebrew": (0x5D0, 0x5EA), "arabic": (0x621, 0x63A), "devanagari": (0x905, 0x939),
    "bengali": (0x995, 0x9A8), "tamil": (0xBAE, 0xBB9), "thai": (0xE01, 0xE30), "georgian": (0x10D0, 0x10F0),
    "hangul": (0xAC00, 0xD7A3), "hiragana": (0x3041, 0x3093), "katakana": (0x30A1, 0x30F6), "han": (0x4E00, 0x9FA5),
    "han-b": (0x20000, 0x2A6D6), "ethiopic": (0x1208, 0x1246), "runic": (0x16A0, 0x16EA), "gothic": (0x10330, 0x1034A),
    "math": (0x1D400, 0x1D454), "fullwidth": (0xFF21, 0xFF3A),
}
# Vowel signs, viramas, accents, points: category M, which is neither a letter nor a number to a pre-tokenizer.
MARKS = [*range(0x300, 0x330), *range(0x64B, 0x653), *range(0x93E, 0x94E), 0xE31, *range(0xE34, 0xE3B), *range(0xE47, 0xE4F),
         *range(0x5B0, 0x5BA), 0x20DD, 0x20E3, 0xFE0E, 0xFE0F]
DIGITS = [*range(0x30, 0x3A), *range(0x660, 0x66A), *range(0x966, 0x970), *range(0xE50, 0xE5A), *range(0xFF10, 0xFF1A), 0xB2, 0xB3,
          0xB9, 0xBC, 0xBD, 0x2155, *range(0x2160, 0x216C), *range(0x2460, 0x2474), 0x3007, 0x4E00, *range(0x1D7CE, 0x1D7D8)]
SPACES = [0x20, 0x20, 0x20, 0x09, 0x0A, 0x0D, 0x0B, 0x0C, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
          0x205F, 0x3000]
# Looks like space and is none, and the other way round.
NEAR_SPACES = [0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x180E, 0xAD, 0x1C, 0x1D, 0x1E, 0x1F]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§¶·¿–—‘’“”…‹›«»、。「」【】！？；،؛؟।€£¥₹©®™°±×÷≤≥≠∞→⇒√∑"
EMOJI = ["😀", "🍕", "🚀", "❤️", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "1️⃣", "🧑🏿‍🚀", "☕", "✔️", "🤷‍♀️", "🫠"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL", "'D", "’s", "’t", "'x", "''s", "'",
                "'ſ", "'\u212a"]
WORDS = ("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you "
         "were all her she there would their we him been has when who will no more if out so up said what its about than into them "
         "can only other time new some could these two may first then do any like my now over such our man me even most made after "
         "also did many off before must well back through years much where your way down should because long each just state those "
         "people too mr how little good world make very year still see own work men day get here old between both life being under "
         "Internationalization antidisestablishmentarianism HTTP GPU LoRA iPhone McDonald O'Brien naïve façade Zürich Köln São "
         "résumé Ångström œuvre straße Ελλάδα Москва привет мир Київ שלום مرحبا नमस्ते สวัสดี 안녕하세요 こんにちは 東京 北京 "
         "你好世界 Việt Łódź İstanbul ıspanak ǅ ﬁne").split()
CODE = ["int main(int argc, char **argv) {", "for (size_t i = 0; i < n; i++)", "\treturn x->next ? x->next->value : NULL;",
        "if __name__ == '__main__':", "    def __init__(self, *args, **kwargs):", "print(f\"{x!r:>{width}}\")",
        "SELECT a.id, COUNT(*) FROM t1 AS a WHERE b LIKE '%x%';", "const f = async ({a, b}) => await g(a ?? b);",
        "<div class=\"row\" id='x1'>&nbsp;</div>", "#include <stdio.h>\r\n", "std::vector<std::pair<int, float>> v{{1, 2.f}};",
        "grep -rn 'foo\\|bar' --include=*.c . | sort -u", "{\"key\": [1, 2.5e-3, null, true]}", "https://example.org/a/b?c=d&e=%20#f",
        "/* 0xDEADBEEF */ 1'000'000", "fn main() { println!(\"{}\", 1u64 << 63); }", "a+=b;c--;++d;e**=2;f//=3;g!=h;i<=>j", "\\frac{1}{2}",
        "user@example.com", "2024-02-29T23:59:59.999Z", "C:\\Users\\x\\AppData", "$ sudo rm -rf /tmp/*", "@@ -1,3 +1,4 @@",
        "<|im_start|>user", "<|endoftext|>", "[INST] x [/INST]", "<s>", "</s>", "<unk>", "<|im_start|", "|im_end|>"]


def script_word(r, script=None, longest=8):
    low, high = SCRIPTS[script or r.pick(sorted(SCRIPTS))]
    word = "".join(chr(r.between(low, high)) for _ in range(r.between(1, longest)))
    return word.capitalize() if script == "latin" and r.below(4) == 0 else word


def english(r):
    return " ".join(r.pick(WORDS) for _ in range(r.between(1, 18))) + r.pick(["", ".", "!", "?", ",", " …", "\n"])


def scripts(r):
    return r.pick(["", " "]).join(script_word(r) for _ in range(r.between(1, 5)))


def one_script(r):
    script = r.pick(sorted(SCRIPTS))
    return " ".join(script_word(r, script) for _ in range(r.between(1, 4)))


def combining(r):
    text = ""
    for _ in range(r.between(1, 8)):
        text += script_word(r, longest=1) + "".join(chr(r.pick(MARKS)) for _ in range(r.below(3)))
    return r.pick(["", " ", "x"]) + text + r.pick(["", " ", "1"])


def numbers(r):
    text = ""
    for _ in range(r.between(1, 4)):
        text += "".join(chr(r.pick(DIGITS[:10] if r.below(2) else DIGITS)) for _ in range(r.between(1, 9)))
        text += r.pick(["", " ", ".", ",", "  ", "e", "-", "%", "'", " x", "\n"])
    return text


def contractions(r):
    text = ""
    for _ in range(r.between(1, 5)):
        text += r.pick(["", " ", "\n"]) + r.pick(WORDS) + r.pick(CONTRACTIONS) + r.pick(["", "s", " ", "1", "'"])
    return text


def white_space(r):
    text = ""
    for _ in range(r.between(1, 5)):
        text += "".join(chr(r.pick(SPACES)) for _ in range(r.between(0, 5)))
        text += r.pick(["", r.pick(WORDS), chr(r.pick(DIGITS)), r.pick(PUNCTUATION), chr(r.pick(NEAR_SPACES))])
    return text + "".join(chr(r.pick(SPACES)) for _ in range(r.between(0, 4)))


def ascii_space(r):
    """The white space that texts really have, in amounts that they do not."""
    text = ""
    for _ in range(r.between(1, 5)):
        text += r.pick([" ", "\n", "\t", "\r\n"]) * r.between(0, 9) + r.pick(["", r.pick(WORDS), str(r.below(1000)), r.pick(PUNCTUATION)])
    return text + r.pick(["", " ", "\n", "  \n", "\n\n\n", "\t"])


def emoji(r):
    return "".join(r.pick(EMOJI) + r.pick(["", " ", r.pick(WORDS), "\u200d", "\ufe0f"]) for _ in range(r.between(1, 4)))


def code(r):
    return " " * (4 * r.below(4)) + r.pick(CODE) + r.pick(["", " ", "\n", "\n\n"]) + r.pick(["", r.pick(CODE)])


def punctuation(r):
    text = ""
    for _ in range(r.between(1, 6)):
        text += r.pick(["", " ", r.pick(WORDS)]) + "".join(r.pick(PUNCTUATION) for _ in range(r.between(1, 5)))
    return text + r.pick(["", "\n", "\r\n", "\n\n ", " a"])


def runs(r):
    """One character, or two in turn, many times: long runs meet the merge loop's worst case."""
    unit = r.pick(["a", "A", " ", "\n", "0", "9", "=", "-", "*", "é", "和", "ab", " a", "a ", "\t", "\u0301", "😀", "ha", "the", "\r\n", "'s"])
    return r.pick(["", "x", " "]) + unit * max(1, r.between(2, 90) // len(unit.encode())) + r.pick(["", "x", " "])


def control(r):
    return "".join(chr(r.pick([*range(0, 0x20), 0x7F, *range(0x80, 0xA0), 0x41, 0x20, 0xFFFD, 0xE000, 0xFFFE, 0x10FFFF]))
                   for _ in range(r.between(1, 8)))


def mixture(r):
    """Neighbours of every kind: where one class ends and the next begins is what a pre-tokenizer decides."""
    text = ""
    for _ in range(r.between(2, 9)):
        text += r.pick([
            lambda: r.pick(WORDS), lambda: script_word(r, longest=3), lambda: chr(r.pick(DIGITS)), lambda: chr(r.pick(SPACES)),
            lambda: r.pick(PUNCTUATION), lambda: chr(r.pick(MARKS)), lambda: r.pick(CONTRACTIONS), lambda: " ",
            lambda: r.pick(EMOJI), lambda: chr(r.pick(NEAR_SPACES)), lambda: "\n"])()
    return text


def letters(r):
    """Random letters: words that no vocabulary holds."""
    return " ".join(script_word(r, "latin", 14) for _ in range(r.between(1, 4)))


KINDS = [(english, 22), (scripts, 8), (one_script, 10), (combining, 6), (numbers, 8), (contractions, 6), (white_space, 6), (ascii_space, 7),
         (emoji, 4), (code, 5), (punctuation, 6), (runs, 3), (control, 2), (mixture, 10), (letters, 6)]


def lines():
    """The corpus."""
    r = Random(SEED)
    order = [kind for kind, weight in KINDS for _ in range(weight)]
    return ["", " ", "\n"] + [r.pick(order)(r) for _ in range(LINES - 3)]


def digest(corpus):
    return hashlib.sha256("\n".join(json.dumps(line) for line in corpus).encode()).hexdigest()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--digest", action="store_true", help="print the corpus's SHA-256 instead of its lines")
    a = p.parse_args()
    corpus = lines()
    print(digest(corpus) if a.digest else "\n".join(json.dumps(line) for line in corpus))


if __name__ == "__main__":
    main()
