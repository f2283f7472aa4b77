"""Random templates: expressions of all kinds over a few values, and statements around them.

What they leave out, since Jinja's compiler decides it by what it can compute beforehand, or prints where things are in memory: powers,
slices of constants, a variable that is read inside of a block before the template sets it outside.
"""

import random

VALUES = {
    "s": "Hello World", "e": "", "u": "Grüße ß 你好 ǆ İ ΑΣ", "ml": "a\nb\r\n\n c \t", "sp": "  x y  ", "q": "it's \"q\" <b>&", "num": "12",
    "fl": "3.5", "csv": "a,b,,c", "i": 7, "z": 0, "neg": -3, "f": 2.5, "big": 123456, "t": True, "n": None, "fz": 1e17, "fs": 1e-7,
    "l": [1, 2, 3], "ls": ["b", "A", "c", "a"], "le": [], "lm": [1, "a", None, 2.5, True], "ll": [[1, 2], [3]],
    "d": {"a": 1, "b": "x", "items": 5}, "de": {}, "dn": {"k": {"x": [1, {"y": "z"}]}, "B": 2, "c": None},
    "ms": [{"role": "system", "content": "sys"}, {"role": "user", "content": "hi", "n": 2}, {"role": "assistant", "content": None, "n": 1}],
}
NAMES = [*VALUES, "undef"]
LITERALS = """1 0 2 -1 3.0 0.5 1e3 'a' '' 'l' "x\\n\\"" true false none [] {} [1,'a'] (1,2) {'a':1,'b':[2]} '%s-%s' 'é' 10 1_000 'role' 'user'
'n'""".split() + ["' '", "'a' 'b'"]
FILTERS = """trim upper lower title capitalize length list first last string int float join join(', ') join('-',attribute='role') default('D')
default('D',true) tojson tojson(indent=2) tojson(separators=(',',':')) tojson(ensure_ascii=True) tojson(sort_keys=true)
tojson(indent='\\t') reverse reverse|list sort sort(reverse=true) sort(attribute='n') sort(case_sensitive=true) unique|list items|list
dictsort dictsort(by='value') safe escape e replace('l','L') replace('','-') replace('o','',1) indent indent(2,true)
indent(first=true,blank=true) indent('>') round round(1) round(1,'floor') round(-1) round(method='ceil') abs min max sum
map('upper')|list map(attribute='role')|list map(attribute='zz',default='q')|list select('string')|list select|list reject('none')|list
reject|list selectattr('n')|list selectattr('role','equalto','user')|list rejectattr('n','defined')|list
rejectattr('role','in',['user'])|list batch(2)|list batch(2,'x')|list slice(2)|list slice(2,'f')|list groupby('role')|list count wordcount
urlencode center(20) truncate(8) truncate(7,true) truncate(6,false,'..',0) format(1,2) d(1) attr('role') map('int')|list sum(start=10)
map('trim')|join int(3) int(default=9) float(1.5) forceescape sum(attribute='n') max(attribute='n')
selectattr('role')|map(attribute='content')|list trim('ab') int(base=16) groupby('role') map(attribute='a.b')|list""".split()
METHODS = """upper() lower() strip() strip('lH') lstrip() rstrip('d') split() split(',') split('l',1) rsplit('W',1) rsplit() split(None,1)
rsplit(None,1) splitlines() splitlines(true) startswith('H') endswith(('d','x')) replace('l','') replace('a','bb',1) title() capitalize()
join(['x','y']) join(ls) format(1,a=2) find('l') rfind('l') index('o') count('l') isdigit() isalpha() isalnum() isspace() isupper()
islower() zfill(5) ljust(12)+'|' rjust(12,'*') center(13,'-') partition('l') rpartition('l') removeprefix('He') removesuffix('ld')
get('a') get('zz') get('zz',5) items() keys() values() items()|list keys()|list values()|list copy() append(1) index('a') count(1)
isnumeric() isdecimal() find('l',4) startswith('l',2,4) rsplit('l',2) pop() update({})""".split()
TESTS = """defined undefined none string number integer float boolean mapping iterable sequence true false odd even divisibleby(3) eq(1)
equalto('a') lt(2) lower upper callable escaped filter test""".split() + [
    "divisibleby 2", "in [1,'a']", "ne 1", "gt 1", "ge 2", "le 2", "sameas none", "sameas true"]
SPECIALS = """dict(a=1) dict(d,b=2) namespace(a=1).a namespace(d).a '%(a)s'|format(a=1) '{}{0}' '{:>5}|{:<5}|{:^5}'.format(1,'a',2.5)
'{0[a]}{1.n}'.format(d,ms[1]) '{:,}_{:.2f}_{:05d}_{:x}_{!r}_{:%}'.format(big,f,i,255,s,0.25) '%r%i%e%g%x%o%c%%'%(s,3,f,f,255,8,'z')
'%s'%l '%s'%(l,) '%s_%d_%.2f_%5s|%-5s|%05d'|format(s,3,f,'a','b',42) cycler(1,2).next() joiner('x')()""".split()
ATTRIBUTES = ["role", "content", "a", "b", "items", "k", "x", "n", "0", "zz"]
SLICES = ["1:", "::-1", ":-1", "::2", "-2:", "1:2", "-100:100", "100::-1", ":1:-1", ":"]
SPACES = ["", "\n", " ", "  \n", "\n  ", "x", "\t\n", "a\n b", "\r\n"]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.one = self.r.choice

    def some(self, make, least, most):
        return [make() for _ in range(self.r.randint(least, most))]

    # expressions

    def leaf(self):
        return self.one(NAMES if self.r.random() < 0.6 else LITERALS)

    def operand(self, depth):
        e = self.expression(depth - 1)
        return e if e in NAMES else f"({e})"

    def expression(self, depth):
        if depth <= 0:
            return self.leaf()
        sub = lambda: self.expression(depth - 1)  # noqa: E731
        kind = self.r.random()
        if kind < 0.2:
            return self.leaf()
        if kind < 0.32:
            return f"{self.operand(depth)}|{self.one(FILTERS)}"
        if kind < 0.42:
            return f"{self.operand(depth)}.{self.one(METHODS)}"
        if kind < 0.5:
            return f"{self.operand(depth)} is {self.one(['', '', 'not '])}{self.one(TESTS)}"
        if kind < 0.6:
            return f"({sub()} {self.one(['+', '-', '*', '/', '//', '%', '~', '~', '+'])} {sub()})"
        if kind < 0.68:
            return f"({sub()} {self.one(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or'])} {sub()})"
        if kind < 0.72:
            return f"({self.one(['not ', '-', '+'])}{sub()})"
        if kind < 0.76:
            return f"({sub()} if {sub()}{self.one(['', ' else ' + sub()])})"
        if kind < 0.8:
            return f"{self.operand(depth)}[{self.one(['0', '-1', '1', '5', repr('a'), repr('items'), 's', sub()])}]"
        if kind < 0.84:
            return f"{self.one(NAMES)}[{self.one(SLICES)}]"
        if kind < 0.9:
            return f"{self.operand(depth)}.{self.one(ATTRIBUTES)}"
        if kind < 0.93:
            return "[" + ", ".join(self.some(sub, 0, 3)) + "]"
        if kind < 0.95:
            return "{" + ", ".join(f"{self.one([repr('a'), repr('b'), '1', 's', 'none', 'true'])}: {e}" for e in self.some(sub, 0, 3)) + "}"
        if kind < 0.96:
            return f"({sub()}, {self.one(['', sub()])})"
        if kind < 0.98:
            return f"range({self.one(['3', '1,4', '5,0,-2', 'i', '0'])})" + self.one(["", "|list", "[1]", "|length", "[1:]"])
        return self.one(SPECIALS)

    # statements

    def space(self):
        return self.one(SPACES)

    def output(self, e):
        return "{{" + self.one(["", "", "", "-"]) + f" {e} " + self.one(["", "", "", "-"]) + "}}"

    def tag(self, body):
        return "{%" + self.one(["", "", "", "-", "+"]) + f" {body} " + self.one(["", "", "", "-", "+"]) + "%}"

    def body(self, depth, loop=False):
        return "".join(self.some(lambda: self.space() + self.statement(depth, loop) + self.space(), 1, 3))

    def loop(self, depth, loop):
        over = self.one(["l", "ls", "ms", "range(3)", "d", "d.items()", "dn.items()", "s", "undef", "le", "ms|selectattr('n')", "ll",
                         self.expression(1)])
        target = "x, y" if "items()" in over else self.one(["x", "x", "y"])
        only = self.one(["", "", " if " + self.one(["x", "not x", "x != 2", self.expression(1)])])
        first = self.one(["", *map(self.output, (
            "loop.index ~ loop.index0 ~ loop.first ~ loop.last ~ loop.length ~ loop.revindex ~ loop.revindex0", "loop.previtem",
            "loop.nextitem|default('-')", "loop.cycle('a','b')", "loop.changed(x)", "loop.depth ~ loop.depth0", "x"))])
        jump = self.one(["", "", "", self.tag("if " + self.expression(1)) + self.tag(self.one(["break", "continue"])) + self.tag("endif")])
        otherwise = self.one(["", self.tag("else") + self.body(depth - 1, loop)])
        return self.tag(f"for {target} in {over}{only}") + first + jump + self.body(depth - 1, True) + otherwise + self.tag("endfor")

    def condition(self, depth, loop):
        inside = lambda: self.body(depth - 1, loop)  # noqa: E731
        return (self.tag("if " + self.expression(2)) + inside() + self.one(["", self.tag("elif " + self.expression(1)) + inside()])
                + self.one(["", self.tag("else") + inside()]) + self.tag("endif"))

    def macro(self, depth):
        use = self.one(["", self.output("a"), self.output("kwargs|string ~ varargs"), self.output("caller()")])
        return (self.tag(f"macro m(a, b={self.leaf()})") + use + self.body(depth - 1) + self.tag("endmacro")
                + self.output(self.one(["m()", "m(1)", "m(1,b=2)", "m(b=s,a=l)", "m(1,2,3)", "m(c=3)", "m.name"])))

    def statement(self, depth, loop):
        kind = self.r.random()
        if depth <= 0 or kind < 0.3:
            return self.output(self.expression(2))
        if kind < 0.36:
            return "{#" + self.one(["", "-"]) + " c " + self.one(["", "-"]) + "#}"
        if kind < 0.48:
            return self.condition(depth, loop)
        if kind < 0.64:
            return self.loop(depth, loop)
        if kind < 0.74:
            return self.tag(f"set {self.one('xy')} = {self.expression(2)}")
        if kind < 0.77:
            return self.tag(f"set {self.one('xy')}{self.one(['', ' | upper', ' | trim | length'])}") + self.body(depth - 1) + self.tag("endset")
        if kind < 0.8:
            return self.tag("set ns = namespace(a=1)") + self.tag(f"set ns.a = {self.expression(1)}") + self.output("ns.a")
        if kind < 0.86:
            return self.macro(depth)
        if kind < 0.88:
            return (self.tag("macro c(a)") + "[" + self.output("caller(a)") + "]" + self.tag("endmacro")
                    + self.tag(f"call(v) c({self.expression(1)})") + self.output("v") + self.body(depth - 1) + self.tag("endcall"))
        if kind < 0.91:
            return self.tag("filter " + self.one(["upper", "trim|length", "indent(2)", "replace('a','b')"])) + self.body(depth - 1) + self.tag(
                "endfilter")
        if kind < 0.94:
            return self.tag("with " + self.one(["x = 1", "x = s, y = x", "a = " + self.expression(1)])) + self.body(
                depth - 1, loop) + self.tag("endwith")
        if kind < 0.96:
            return self.tag("raw") + " {{ x }} {% if %}" + self.tag("endraw")
        if kind < 0.98:
            return self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration")
        return self.space()


def template(seed):
    m = Maker(seed)
    depth = m.one([1, 2, 3])
    return "{{ " + m.expression(depth) + " }}" if seed % 2 else m.body(depth)


def has_addresses(text):
    """Objects print where they are in memory, or what Python calls them."""
    return any(mark in text for mark in (" at 0x", " AT 0X", "<generator", "<function", "<bound", "LoopContext", "<reversed", "joiner"))
