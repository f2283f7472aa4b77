"""What constraints allow, compared with Python's own regular expressions and JSON, and with what GBNF's rules say."""
import json
import os
import random
import re
import subprocess

import pytest

PROGRAM = os.path.join(os.environ.get("EDGELORA_BUILD", os.path.dirname(os.environ.get("EDGELORA_BIN", "build/edgelora"))),
                       "tests", "constraint", "match_constraint")


class Matcher:
    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, kind, source, texts):
        self.process.stdin.write(json.dumps({"type": kind, "source": source, "texts": texts}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the program ended"
        return json.loads(line)

    def allowed(self, kind, source, texts):
        said = self.ask(kind, source, texts)
        assert "allowed" in said, (source, said)
        return said["allowed"]


@pytest.fixture(scope="module")
def matcher():
    m = Matcher()
    yield m
    m.process.stdin.close()
    assert m.process.wait() == 0


# --- regular expressions

PATTERNS = [
    r"abc", r"a*", r"a+b?", r"(a|b)*c", r"[abc]{2,3}", r"[^abc]", r"[a-c0-2]+", r"\d{3}-\d{4}", r"\w+@\w+\.com", r"\s*x\s*",
    r"^abc$", r"(?:ab)+", r"(?P<year>\d{4})-(?P<month>\d\d)", r"a.c", r"[.]", r"\.", r"\*", r"a{0}", r"a{0,0}b", r"a{2}", r"a{2,}",
    r"a{,2}", r"(a{2}){2}", r"", r"a|", r"|a", r"()", r"(|a)b", r"[]a]", r"[^]a]", r"[a-]", r"[-a]", r"[+-]?\d+", r"\x41\u0042",
    r"é+", r"[é-ü]", r"[^é]", r"[\d\-]+", r"[\w.]+", r"[^\d]", r"\D\W\S", r"(a*)*b", r"(a*)+", r"(a|b|)*", r"((a)?b)*", r"a*?b+?c??",
    r"\Aab\Z", r"^(a|b)$", r"(^a|^b)c", r"a{,}", r"{", r"a{x}", r"x{1,2}{", r"[[a]", r"\t\n", r"[😀-😎]{1,2}", r"\]\[", r"a{1,30}b",
    r"(ab|cd){20,40}", r"(x{3,5}y){2,3}", r"[a-z]{5,200}", r"(?:[a-z]{1,60},){2,50}", r"([ab]{0,3}){0,100}c", r"\\", r"/", r"\/",
]

# Python tries all ways, one after the other: with these there are too many for long texts.
SLOW = [r"(a*)*b", r"(a*)+", r"(a|b|)*", r"((a)?b)*", r"([ab]{0,3}){0,100}c"]


def texts_for(pattern, rng):
    """Texts that may match: of characters that the pattern has, and some that it has not."""
    chars = [c for c in pattern if c not in "()|*+?{}[]^$\\"] + list("abc019 .x-é😀\n_@A")
    texts = ["", "a", "b", "ab", "abc", "aab", "axc", "2024-05", "123-4567", "me@x.com", "+12", "é", "ü", "😀😎", "AB", "a{x}", "{"]
    texts += ["a" * n for n in (2, 3, 4, 5, 29, 30, 31, 199, 200, 201)] + ["ab" * n for n in (1, 2, 19, 20, 21, 40, 41)]
    texts += ["a" * n + "b" for n in (1, 29, 30, 31)] + ["xxxyxxxxy", "xxyxxxy", "abc,de,", "c" * 300, "a" * 299 + "c", "abcdabcd" * 10]
    for _ in range(150):
        texts.append("".join(rng.choice(chars) for _ in range(rng.randrange(0, 7))))
    return texts


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_regular_expression_allows_what_pythons_does(matcher, pattern):
    texts = texts_for(pattern, random.Random(pattern))
    if pattern in SLOW:
        texts = [t for t in texts if len(t) <= 16]
    compiled = re.compile(pattern, re.ASCII)
    want = [bool(compiled.fullmatch(t)) for t in texts]
    got = matcher.allowed("regex", pattern, texts)
    assert [t for t, w, g in zip(texts, want, got) if w != g] == []


def random_pattern(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 3)
    if kind == 0:
        return rng.choice("abc")
    if kind == 1:
        return rng.choice(["[ab]", "[^a]", ".", r"\w", "[b-c]", "é"])
    if kind == 2:
        return rng.choice("ab") + rng.choice("abc")
    if kind in (3, 4):
        return random_pattern(rng, depth + 1) + random_pattern(rng, depth + 1)
    if kind == 5:
        return "(" + random_pattern(rng, depth + 1) + "|" + random_pattern(rng, depth + 1) + ")"
    low = rng.randrange(0, 4)
    count = rng.choice(["*", "+", "?", "{%d}" % low, "{%d,}" % low, "{%d,%d}" % (low, low + rng.randrange(0, 40))])
    return "(?:" + random_pattern(rng, depth + 1) + ")" + count


def test_random_regular_expressions_allow_what_pythons_do(matcher):
    rng = random.Random(7)
    for _ in range(400):
        pattern = random_pattern(rng)
        compiled = re.compile(pattern, re.ASCII)
        texts = ["".join(rng.choice("abcé") for _ in range(rng.randrange(0, 9))) for _ in range(40)]
        if pattern.count("{") + pattern.count("*") + pattern.count("+") < 2:
            texts += [rng.choice("abc") * rng.randrange(10, 60) for _ in range(6)]
        want = [bool(compiled.fullmatch(t)) for t in texts]
        got = matcher.allowed("regex", pattern, texts)
        assert [t for t, w, g in zip(texts, want, got) if w != g] == [], pattern


@pytest.mark.parametrize("pattern, said", [
    ("(?=a)b", "lookahead"), ("(?!a)b", "lookahead"), ("(?<=a)b", "lookbehind"), ("(?<!a)b", "lookbehind"), (r"(a)\1", "back reference"),
    (r"(?P<x>a)(?P=x)", "back reference"), (r"\bword", "word boundar"), (r"\p{L}", "Unicode propert"), ("(?i)a", "flag"),
    ("(?>a)", "atomic"), ("a*+", "possessive"), ("a^b", "anchor"), ("a$b", "anchor"), ("(^a)*", "anchor")])
def test_what_a_regular_expression_has_not_is_refused_by_name(matcher, pattern, said):
    answer = matcher.ask("regex", pattern, [])
    assert answer["code"] == "unsupported" and said in answer["error"], answer


@pytest.mark.parametrize("pattern", ["(", ")", "a)", "[", "[a", "*a", "a**", "[b-a]", "\\", r"\q", "a{2,1}", r"\x4", r"\u{110000}", r"\ud800",
                                     "(?<x", "(?P<x"])
def test_a_regular_expression_that_is_none_is_refused_with_its_place(matcher, pattern):
    answer = matcher.ask("regex", pattern, [])
    assert answer["code"] == "invalid" and "line 1, column" in answer["error"], answer


@pytest.mark.parametrize("pattern", ["a" * 5 + "{1048577}", "(" * 300 + "a" + ")" * 300])
def test_a_regular_expression_beyond_a_limit_is_refused(matcher, pattern):
    assert matcher.ask("regex", pattern, [])["code"] == "too_long"


def test_a_large_repetition_costs_no_memory(matcher):
    texts = ["ab" * 999, "ab" * 1000, "ab" * 3000, "ab" * 3001, "ab" * 2000 + "a"]
    assert matcher.allowed("regex", "(ab){1000,3000}", texts) == [False, True, True, False, False]
    texts = ["a" * 5000, "x" * 1000000]
    assert matcher.allowed("regex", ".{0,1000000}", texts) == [True, True]
    assert matcher.allowed("regex", "((a{1,1000}b){1,1000}c){1,1000}", ["aabaaabc", "aabaaab"]) == [True, False]


# --- GBNF

JSON_GBNF = r'''
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
'''

GRAMMARS = [
    ('root ::= "a"', ["a"], ["", "b", "aa"]),
    ('root ::= "a" | "bc"\n', ["a", "bc"], ["b", "ab"]),
    ('root ::= x y\nx ::= "a"*\ny ::= "b"+', ["b", "aab", "abb"], ["a", ""]),
    ('root  ::= (\n "a"\n |\n "b"\n)', ["a", "b"], ["ab"]),
    ('root ::= "a" |\n "b"\n\n# a comment\nother ::= "c" # another', ["a", "b"], ["c"]),
    ('root ::= [a-c] [^a-c] [-x] [x-]', ["azx-", "b--x"], ["aazx", "a"]),
    ('root ::= "\\x41\\u00e9\\U0001F600\\n\\t\\"\\\\\\[\\]"', ["Aé😀\n\t\"\\[]"], ["A"]),
    ('root ::= [\\]\\[\\\\"]+', ["]", "[\\\""], ["a"]),
    ('root ::= .', ["a", "é", "😀", "\n"], ["", "ab"]),
    ('root ::= "a"{3}', ["aaa"], ["aa", "aaaa"]),
    ('root ::= "ab"{2,}', ["abab", "ababab"], ["ab", "aba"]),
    ('root ::= "a"{ 1 , 2 }', ["a", "aa"], ["", "aaa"]),
    ('root ::= "ab"? "c"', ["c", "abc"], ["ac"]),
    ('root ::= "a" x\nx ::= "" | "b" x', ["a", "abbb"], ["b"]),
    ('root ::= "(" root ")" | ""', ["", "()", "((()))"], ["(", "())"]),
    ('root ::= a-b c_d e2\na-b ::= "1"\nc_d ::= "2"\ne2 ::= "3"', ["123"], ["12"]),
    ('root ::= e\ne ::= t ("+" t)*\nt ::= [0-9]+ | "(" e ")"', ["1+2", "(1+(2+3))+4"], ["1+", "(1"]),
    ('root ::= "a" root "a" | "b" root "b" | ""', ["abba", "aabbaa", ""], ["ab", "aba"]),
    ('root ::= x x\nx ::= "a"?', ["", "a", "aa"], ["aaa"]),
    ('root ::= "<" %json {"type": "integer", "maximum": 12} ">" x\nx ::= %until "é;" "!"?', ["<12>é;", "<-3>a é x;é;!"], ["<13>é;", "<1>x;", "<1>é;é;"]),
    ('root ::= (%json {"enum": ["a}", null]} | "-"){2}', ['"a}"null', "--"], ['"a}"']),
    (JSON_GBNF, ['{}', '{"a": [1, 2.5e3, "x\\u00e9", {"b": null}]}', '{"a":true}'], ['[]', '{"a"}', '{"a":01}', '{"a":1,}']),
]


@pytest.mark.parametrize("grammar, good, bad", GRAMMARS)
def test_gbnf_is_read_as_llama_cpp_has_it(matcher, grammar, good, bad):
    assert matcher.allowed("grammar", grammar, good + bad) == [True] * len(good) + [False] * len(bad)


def test_a_text_that_is_begun_can_be_ended(matcher):
    for grammar, good, bad in GRAMMARS:
        for text in good:
            assert all(matcher.ask("grammar", grammar, [text[:n] for n in range(len(text) + 1)])["begins"])


@pytest.mark.parametrize("grammar, code, said", [
    ('', "invalid", "no rule \"root\""), ('x ::= "a"', "invalid", "no rule \"root\""), ('root ::= x', "invalid", "x is used"),
    ('root ::= "a', "invalid", "no end"), ('root ::= [a', "invalid", "no end"), ('root ::= ("a"', "invalid", "parenthesis"),
    ('root ::= "a" )', "invalid", "line 1"), ('root = "a"', "invalid", "::="), ('root ::= "a"{', "invalid", "number"),
    ('root ::= "a"{2,1}', "invalid", "minimum"), ('root ::= "\\q"', "invalid", "escape"), ('root ::= [b-a]', "invalid", "range"),
    ('root ::= root "a" | "b"', "unsupported", "rule root may begin with itself"),
    ('root ::= a\na ::= b "x"\nb ::= "y"? a | "z"', "unsupported", "begin with itself"),
    ('root ::= x root | "a"\nx ::= ""', "unsupported", "begin with itself"),
    ('root ::= root', "invalid", "no text is allowed"), ('root ::= "a" root', "invalid", "no text is allowed"),
    ('root ::= %json', "invalid", "schema"), ('root ::= %json {"a": }', "invalid", "not JSON"), ('root ::= %json {"type": "what"}', "invalid", "type"),
    ('root ::= %until', "invalid", "needs a text"), ('root ::= %until ""', "invalid", "empty"), ('root ::= %until "a', "invalid", "no end"), ('root ::= %x', "invalid", "neither"),
    ('root ::= <think>', "unsupported", "tokens"), ('root ::= "a"\nroot ::= "b"', "invalid", "twice"),
    ('root ::= ' + '(' * 300 + '"a"' + ')' * 300, "too_long", "nested"), ('root ::= "a"{2000000}', "too_long", "repetition"),
])
def test_a_grammar_that_is_none_is_refused_with_the_reason(matcher, grammar, code, said):
    answer = matcher.ask("grammar", grammar, [])
    assert answer.get("code") == code and said in answer["error"], answer


def test_deep_nesting_is_followed_up_to_a_limit(matcher):
    nested = ["(" * n + ")" * n for n in (10, 500, 900)]
    assert matcher.allowed("grammar", 'root ::= "(" root ")" | ""', nested) == [True] * 3
    assert matcher.ask("grammar", 'root ::= "(" root ")" | ""', ["(" * 2000])["begins"] == [False]
    # What is only repeated at the end needs no stack.
    assert matcher.allowed("grammar", 'root ::= "a" root | ""', ["a" * 100000]) == [True]


# --- JSON

def test_any_json_object_is_allowed_and_nothing_else(matcher):
    good = ['{}', '{ }', '{"a":1}', '{"a": -0.5e+10, "b": [1, [], {}], "c": "\\ud83d\\ude00 \\u00e9 \\/ é 😀"}', '{\n  "a": null\n}']
    bad = ['', '[]', '1', '{', '{"a"}', '{"a":1,}', "{'a':1}", '{"a":01}', '{"a":.5}', '{"a":"\\x"}', '{"a":"\n"}', '{"a":"\\ud800"}',
           '{"a":tru}', '{"a":1}}', '{"a":NaN}']
    assert matcher.allowed("json_object", "", good + bad) == [True] * len(good) + [False] * len(bad)
    for text in good:
        json.loads(text)


def test_what_is_allowed_as_json_object_parses_as_one(matcher):
    """Walks at random along what may come next; whatever is whole then parses."""
    rng = random.Random(3)
    alphabet = list('{}[]",:0123456789.-+eE truefalsn\\ubd8c/\n') + ["é", "😀"]
    parsed = 0
    for _ in range(60):
        text = ""
        for _ in range(40):
            said = matcher.ask("json_object", "", [text + c for c in alphabet])
            if any(said["allowed"]):
                whole = text + alphabet[said["allowed"].index(True)]
                assert isinstance(json.loads(whole), dict)
                parsed += 1
            ways = [c for c, begins in zip(alphabet, said["begins"]) if begins]
            if not ways:
                break
            text += rng.choice(ways)
    assert parsed > 50
