"""Templates and conversations for comparing hone's Jinja engine with PyPI jinja2 as transformers sets it up: the real
chat templates of tests/golden/chat_templates over generated conversations, and small random templates of a grammar.
Used by jinja_golden.py (which writes tests/golden/jinja_cases.jsonl) and tests/python/chat_template_parity_test.py."""

import datetime
import json
import pathlib
import random

import jinja2
from transformers.utils import chat_template_utils

TEMPLATES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "chat_templates"
NOW = datetime.datetime(2024, 7, 26, 14, 5, 6)
SPECIAL = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "</s>"}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FixedTime


def reference(template, variables, mark=False):
    """What transformers' environment makes of it: {"text", "spans"} in code points, or {"kind", "error", "line"}."""
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
    except jinja2.TemplateSyntaxError as e:
        return {"kind": "syntax", "error": e.message, "line": e.lineno}
    except SyntaxError as e:  # the compiled Python: break outside a loop, too deep
        return {"kind": "python", "error": str(e), "line": 0}
    spans = []
    try:
        if mark:
            blocks = []
            with compiled.environment.activate_tracker(blocks, spans):
                for block in compiled.generate(**variables):
                    blocks.append(block)
                text = "".join(blocks)
        else:
            text = compiled.render(**variables)
        text.encode()  # lone surrogates are no text
        return {"text": text, "spans": [list(s) for s in spans]}
    except jinja2.TemplateError as e:
        return {"kind": "runtime", "error": str(e.message), "line": 0}
    except RecursionError:
        return {"kind": "limit", "error": "", "line": 0}
    except Exception as e:  # noqa: BLE001: Python's own, TypeError and the like
        return {"kind": "python", "error": str(e), "line": 0}


def same(expected, got):
    """None when they agree, else what differs. Messages of Python's own errors are not compared."""
    if got.get("error") in ("an integer does not fit 128 bits", "complex numbers are not supported"):  # stated limits
        return None
    if "text" in expected:
        if "text" not in got:
            return f"hone failed: {got}"
        if expected["text"] != got["text"]:
            return f"text {got['text']!r}"
        return None if expected["spans"] == got["spans"] else f"spans {got['spans']}"
    if "text" in got:
        return f"hone rendered {got['text']!r}"
    if expected["kind"] in ("python", "limit"):
        return None
    if (expected["kind"], expected["error"]) != (got["kind"], got["error"]):
        return f"{got['kind']} error {got['error']!r}"
    if expected["kind"] == "syntax" and expected["line"] != got["line"]:
        return f"line {got['line']}"
    return None


def is_comparable(expected):
    """Addresses of objects are nobody's business."""
    text = expected.get("text", "").lower()
    return not any(part in text for part in (" at 0x", "built-in method"))


# ---- conversations ---------------------------------------------------------------------------------------------------

TEXTS = ["", " ", "Hi", "What is 2 + 2?", "Zwei\nZeilen\n", "  spaces around  ", "naïve café 日本語 🙂", "<|im_end|>", "a\tb",
         "{{ not a template }}", "\"quoted\" & <tagged>", "<think>\nhm\n</think>\n\nFour", "<tool_response>x</tool_response>",
         "</think>", "line\r\nbreak", "\u00a0nbsp\u2028", "'single'", "back\\slash", "0", "x" * 300]


def arguments(r):
    return r.choice([{}, {"city": "Paris"}, {"a": 1, "b": [1.5, None, True]}, {"q": {"nested": "é\n"}}, '{"as": "text"}',
                     {"empty": [], "none": {}}, {"big": 12345678901234567890, "tiny": 1e-7, "e": 1e22}])


def tool(r):
    parameters = r.choice([
        {"type": "object", "properties": {"city": {"type": "string", "description": "Where?"}}, "required": ["city"]},
        {"type": "object", "properties": {"xs": {"type": "array", "items": {"type": "integer"}}, "mode": {
            "enum": ["a", "b"], "default": "a"}, "o": {"type": "object", "properties": {"y": {"type": ["string", "null"]}}}}},
        {"type": "object", "properties": {}},
    ])
    return {"type": "function", "function": {"name": r.choice(["get_weather", "zeta", "add two"]),
                                             "description": r.choice(TEXTS), "parameters": parameters}}


def message(r):
    role = r.choice(["user", "assistant"] * 4 + ["system", "tool", "ipython", "skip", "stop", "odd"])
    out = {"role": role, "content": r.choice(TEXTS)}
    if role == "assistant" and r.random() < 0.3:
        out["tool_calls"] = [{"type": "function", "id": r.choice(["abcdefghi", "short"]), "function": {
            "name": "get_weather", "arguments": arguments(r)}} for _ in range(r.randint(0, 2))]
        if r.random() < 0.5:
            out["content"] = None
    if role == "assistant" and r.random() < 0.2:
        out[r.choice(["reasoning_content", "thinking", "reasoning"])] = r.choice(TEXTS)
    if role == "tool":
        out["tool_call_id"] = "abcdefghi"
    if r.random() < 0.06:
        out["content"] = r.choice([[{"type": "text", "text": "part"}, {"type": "image"}, {"type": "text", "text": "é"}],
                                   {"content": "inner"}, 7, 2.5, True])
    if r.random() < 0.03:
        del out[r.choice(list(out))]
    return out


def conversation(r):
    messages = [message(r) for _ in range(r.randint(1, 6))]
    if r.random() < 0.5:  # a well-formed one
        messages = [{"role": ["user", "assistant"][i % 2], "content": r.choice(TEXTS)} for i in range(r.randint(1, 6))]
        if r.random() < 0.5:
            messages.insert(0, {"role": "system", "content": r.choice(TEXTS)})
    out = {"messages": messages}
    if r.random() < 0.4:
        out["tools"] = [tool(r) for _ in range(r.randint(0, 3))]
    if r.random() < 0.5:
        out["add_generation_prompt"] = r.random() < 0.7
    extra = {}
    if r.random() < 0.15:
        extra["enable_thinking"] = r.random() < 0.5
    if r.random() < 0.1:
        extra["tools_in_user_message"] = False
    if r.random() < 0.1:
        extra["builtin_tools"] = ["get_weather", "code_interpreter"]
    if r.random() < 0.1:
        extra["date_string"] = "1 Jan 2025"
    if extra:
        out["variables"] = extra
    return out


def chat_variables(request):
    """What apply_chat_template hands to the template."""
    messages = [{k: v for k, v in m.items() if v is not None} for m in request["messages"]]
    messages = chat_template_utils._alias_reasoning_fields(messages)
    return {**SPECIAL, **request.get("variables", {}), "messages": messages, "tools": request.get("tools"),
            "documents": request.get("documents"), "add_generation_prompt": request.get("add_generation_prompt", False)}


# ---- random templates ------------------------------------------------------------------------------------------------

VARIABLES = {
    "s": "Hello World", "e": "", "u": "naïve ÉCOLE 日本 🙂 ß", "w": "  a, b ,c\n\td  ", "n": 7, "z": 0, "m": -3, "f": 2.5,
    "g": 1e20, "t": True, "nil": None, "xs": [3, 1, 2], "ys": ["b", "A", "c", "a"], "mix": [1, "1", 2.0, None, True, []],
    "d": {"b": 1, "a": "x", "items": [1, 2], "get": 5}, "nest": {"k": {"l": [{"m": "deep"}]}, "xs": [[1, 2], [3, 4]]},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30, "ok": False}],
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo\n"}],
    "tpl": "%s-%05.2f|%x", "fmt": "{0}/{1:>5}/{x}", "big": 12345678901234567890,
}

FILTERS = ["trim", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "tojson(ensure_ascii=true)",
           "length", "count", "default('dflt')", "default('x', true)", "d(0)", "join", "join(', ')", "join('-', attribute='name')",
           "first", "last", "list", "items", "items|list", "dictsort", "dictsort(true)", "dictsort(by='value')", "dictsort(reverse=true)",
           "map('upper')|list", "map(attribute='name')|list", "map(attribute='age', default=0)|list", "map('default', 'q')|list",
           "map('int')|list", "map(attribute='k.l.0.m')|list", "select|list", "select('odd')|list", "select('string')|list",
           "select('gt', 1)|list", "reject('none')|list", "reject|list", "selectattr('age')|list", "selectattr('age', 'equalto', 30)|list",
           "selectattr('ok', 'defined')|list", "rejectattr('tags')|map(attribute='name')|join(',')", "rejectattr('age', 'lt', 30)|list",
           "upper", "lower", "title", "capitalize", "replace('l', 'LL')", "replace('', '.')", "replace('a', '', 1)", "string", "int",
           "int(9)", "int(default=4, base=16)", "float", "float(1.5)", "safe", "escape", "e", "forceescape", "unique|list",
           "unique(true)|list", "unique(attribute='age')|list", "sort", "sort(reverse=true)", "sort(attribute='name')",
           "sort(attribute='age,name')", "sort(case_sensitive=true)", "indent", "indent(2, true)", "indent('> ', blank=true)", "round",
           "round(1)", "round(2, 'floor')", "round(0, 'ceil')", "round(-1)", "abs", "reverse", "reverse|list", "sum", "sum(attribute='age')",
           "sum(start=5)", "min", "max", "min(attribute='age')", "max(case_sensitive=true)", "batch(2)|list", "batch(2, 'z')|list",
           "slice(2)|list", "slice(2, 0)|list", "groupby('age')", "groupby('age')|map('first')|list", "groupby('name')|list",
           "wordcount", "truncate(5)", "truncate(6, true, '~', 0)", "center(9)", "format(1, 2)", "format('q')", "attr('upper')", "attr('zz')",
           "trim('Hd ')", "length|string", "list|length", "list|tojson"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true",
         "false", "odd", "even", "divisibleby(2)", "divisibleby 3", "equalto(7)", "eq 'x'", "== 7", "ne(1)", "gt(2)", "lt 3", "ge(7)",
         "le(7)", "in([1, 7, 'x'])", "in 'Hello'", "sameas(none)", "sameas true", "lower", "upper", "callable", "escaped", "filter",
         "test", "lessthan(4)", "greaterthan 2"]
METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "strip('H d')", "lstrip()", "rstrip('\\n d')",
           "split()", "split(',')", "split(', ', 1)", "split('l', maxsplit=1)", "rsplit('l', 1)", "rsplit()", "split(none, 1)",
           "splitlines()", "splitlines(true)", "partition(' ')", "rpartition('o')", "startswith('He')", "startswith(('a', 'H'))",
           "endswith('d')", "endswith('x', 2)", "find('o')", "find('o', 5)", "rfind('o')", "index('W')", "count('l')", "count('')",
           "replace('l', 'L')", "replace('l', 'L', 1)", "join(['a', 'b'])", "join(ys)", "join(xs)", "format(1, 2, x=3)", "zfill(14)", "center(15)",
           "center(14, '*')", "ljust(13, '.')", "rjust(13)", "isdigit()", "isalpha()", "isspace()", "isupper()", "islower()", "istitle()",
           "isalnum()", "isascii()", "isnumeric()", "isidentifier()", "isprintable()", "removeprefix('He')", "removesuffix('ld')", "expandtabs(4)",
           "casefold()", "get('a')", "get('zz', 3)", "get('items')", "keys()", "keys()|list", "values()|list", "items()", "items()|list",
           "items()|sort", "copy()", "index(1)", "count(1)", "append(1)", "pop()", "update({})", "nonesuch()", "items", "zz", "name", "k.l",
           "real", "__class__", "a", "0", "upper", "bit_length()", "is_integer()"]
NUMBERS = ["0", "1", "2", "7", "-3", "10", "2.5", "0.1", "1e3", "1_000", "0x1f", "0b11", "0o17", "3.0", "100000000000000000000"]
STRINGS = ["''", "'a'", '"b"', "'Hello'", "'é'", "'\\n'", "'\\u00e9\\x41\\t'", "'it\\'s'", '"\\"q\\""', "'\\d'", "'%s'", "'%d items'",
           "'{}'", "'x' 'y'", "'l'", "' '"]


NUMERIC = ("n", "z", "m", "f", "g", "t", "7", "2.675", "'42'", "' 3.9 '", "-2.5", "'x'", "big")
LISTS = ("xs", "ys", "nest.xs", "range(4)", "s", "mix", "[1, 2, 3]", "messages", "(3, 1)", "d")
OPERANDS = {  # what a filter or method is mostly used on
    "people": ("people",), "list": LISTS, "number": NUMERIC, "dict": ("d", "nest", "{'z': 1, 'B': 2}", "messages[0]", "people[2]"),
    "text": ("s", "u", "w", "e", "'a-b c'", "'Ann'", "messages[1].content", "tpl", "fmt", "'x\\ny\\n'")}


def kind_of(use):
    name = use.split("(")[0].split("|")[0]
    if "attribute=" in use or "groupby" in use or name.endswith("attr") and name != "attr":
        return "people"
    if name in ("items", "dictsort", "get", "keys", "values", "copy", "update", "a"):
        return "dict"
    if name in ("round", "abs", "int", "float", "bit_length", "is_integer", "real"):
        return "number"
    lists = ("length count join first last list map select reject unique sort reverse sum min max batch slice append pop".split())
    return "list" if name in lists or use in ("index(1)", "count(1)") else "text"


class Grammar:
    def __init__(self, r):
        self.r = r

    def used(self, uses, separator, depth):
        use = self.pick(*uses)
        suited = self.r.random() < 0.88
        if not suited and self.r.random() < 0.5:
            return f"({self.operand(depth)}|string){separator}{use}"
        return f"{self.pick(*OPERANDS[kind_of(use)]) if suited else self.operand(depth)}{separator}{use}"

    def pick(self, *options):
        return self.r.choice(options)

    def atom(self):
        kind = self.r.random()
        if kind < 0.55:
            return self.pick(*VARIABLES, *VARIABLES, *VARIABLES, "missing", "x", "y")
        if kind < 0.68:
            return self.pick(*NUMBERS)
        if kind < 0.82:
            return self.pick(*STRINGS)
        return self.pick("true", "false", "none", "True", "None", "[]", "{}", "()", "(1,)", "namespace(a=1)", "range(3)", "range(5, 0, -2)",
                         "dict(a=1)", "dict([('k', 2)])", "(1, 'a')")

    def expr(self, depth):
        if depth <= 0:
            return self.atom()
        e = lambda: self.expr(depth - 1)  # noqa: E731
        kind = self.r.randrange(26)
        if kind < 3:
            return self.atom()
        if kind < 8:
            if self.r.random() < 0.004:
                return f"{self.atom()}|nonesuch"
            return self.used(FILTERS, "|", depth)
        if kind < 12:
            return self.used(METHODS, ".", depth)
        if kind == 12:
            return f"{self.pick(*LISTS, *OPERANDS['text'])}[{self.pick(e(), '0', '-1', '1:', ':2', '::-1', '1:-1', '::2', '-2:', 'n:', repr('a'), '5')}]"
        if kind == 13:
            return f"{self.operand(depth)} is {self.pick('', 'not ')}{self.pick(*TESTS)}"
        if kind == 14:
            return f"({e()} if {e()} else {e()})"
        if kind == 15:
            return f"({e()} if {e()})"
        if kind < 19:
            op = self.pick('+', '-', '*', '/', '//', '%', '~', '~', '+', '**', '<', '>=')
            if op == "**":  # Python computes any power, however long that takes
                return f"({self.pick('n', '2', '7', 'f', '0.5', '1', '10')} ** {self.pick('0', '1', '2', '3', '-1', '0.5', 'f')})"
            if self.r.random() < 0.8:
                kind = self.pick("number", "text", "list") if op in "+~*<>=%" else "number"
                return f"({self.pick(*OPERANDS[kind])} {op} {self.pick(*OPERANDS[self.pick(kind, kind, 'number')])})"
            return f"({e()} {op} {e()})"
        if kind == 19:
            return f"({e()} {self.pick('==', '!=', '<', '<=', '>', '>=', 'in', 'not in')} {e()})"
        if kind == 20:
            return f"({e()} {self.pick('and', 'or')} {e()})"
        if kind == 21:
            return f"(not {e()})"
        if kind == 22:
            return f"[{e()}, {e()}]"
        if kind == 23:
            return f"{{{self.pick(*STRINGS)}: {e()}, 'k': {e()}}}"
        if kind == 24:
            return f"({self.pick('-', '+')}{e()})"
        return self.pick(f"(1 < {e()} < 9)", f"({e()}, {e()})", f"f({e()})", f"f({e()}, q={e()})", f"g(*{e()})", f"dict(z={e()})")

    def operand(self, depth):
        return self.atom() if self.r.random() < 0.6 else f"({self.expr(depth - 1)})"

    def tag(self, body):
        left, right = self.pick("", "", "", "-", "+"), self.pick("", "", "", "-", "+")
        return "{%" + left + self.pick(" ", " ", "  ", "\n") + body + self.pick(" ", " ", "\n ") + right + "%}"

    def show(self, e):
        return "{{" + self.pick("", "", "-") + " " + e + " " + self.pick("", "", "-") + "}}"

    def data(self):
        return self.pick("", " ", "\n", "a", "  \n  ", "text", "\n\n", "{ ", "}", "% }", " {# note #} ", "{#- x -#}", "\t", "é\n", "\r\n",
                         "{% raw %} {{ x }} {% endraw %}", "{%- raw -%}\n{% if %}\n{%- endraw %}\n", "{#\n+#}\n")

    def block(self, depth):
        if depth <= 0:
            return self.data() + self.show(self.expr(1))
        return self.data().join(self.statement(depth - 1) for _ in range(self.r.randint(1, 3)))

    def statement(self, depth):
        b = lambda: self.data() + self.block(depth) + self.data()  # noqa: E731
        e = lambda: self.expr(2)  # noqa: E731
        kind = self.r.randrange(22)
        if kind < 8:
            return self.show(self.expr(3))
        if kind < 10:
            return self.tag(f"set {self.pick('x', 'y', 'n', 'x, y', 'ns.a', 'ns')} = {self.pick(e(), e(), 'namespace(a=0, b=[])', f'{self.atom()}, 2')}")
        if kind == 10:
            return self.tag(f"set {self.pick('x', 'ns.a')}{self.pick('', '|upper', '|trim|length')}") + b() + self.tag("endset")
        if kind < 13:
            middle = self.tag(f"elif {e()}") + b() if self.r.random() < 0.4 else ""
            last = self.tag("else") + b() if self.r.random() < 0.5 else ""
            return self.tag(f"if {e()}") + b() + middle + last + self.tag("endif")
        if kind < 17:
            target, source = self.pick(("x", e()), ("x", "xs"), ("m", "messages"), ("k, v", "d.items()"), ("p", "people"), ("c", "s"),
                                       ("k, v", "d|dictsort"), ("i", "range(4)"), ("a, b", "nest.xs"), ("x", "ys|map('upper')"))
            test = f" if {e()}" if self.r.random() < 0.2 else ""
            inside = self.pick("", "", self.show("loop." + self.pick("index", "index0", "first", "last", "length", "revindex", "revindex0",
                                                                   "previtem", "nextitem", "depth", "cycle('a', 'b')", "changed(n)", "zz")),
                               self.tag("if loop.index > 1") + self.tag(self.pick("break", "continue")) + self.tag("endif"),
                               self.tag("set ns.a = ns.a + 1"), self.tag("set y = loop.index"))
            last = self.tag("else") + b() if self.r.random() < 0.2 else ""
            return self.tag(f"for {target} in {source}{test}") + inside + b() + last + self.tag("endfor")
        if kind == 17:
            return self.tag(f"macro {self.pick('f', 'g')}({self.pick('', 'x', 'x, q=2', 'x=n, y=x')})") + b() + self.tag("endmacro")
        if kind == 18:
            return (self.tag("macro h(t)") + "[" + self.show("t") + self.show(self.pick("caller()", "caller(t)", "varargs", "kwargs"))
                    + "]" + self.tag("endmacro") + self.tag(f"call{self.pick('', '(v)')} h({e()})") + b() + self.tag("endcall"))
        if kind == 19:
            return self.tag(f"filter {self.pick('upper', 'trim', 'replace(1, 2)', 'indent(1)|upper', 'title')}") + b() + self.tag("endfilter")
        if kind == 20:
            return self.tag(f"with x = {e()}, y = {e()}") + b() + self.tag("endwith")
        return self.tag("generation") + b() + self.tag("endgeneration")

    def template(self):
        text = "".join(self.data() + self.statement(2) for _ in range(self.r.randint(1, 3))) + self.data()
        if self.r.random() < 0.08 and text:  # something broken
            at = self.r.randrange(len(text))
            text = text[:at] + self.pick("", "%}", "{{", "{%", "'", ")", "}", "|", "endif", "\\") + text[at + self.r.randint(0, 2):]
        return text


def random_template(seed):
    return Grammar(random.Random(seed)).template()


def dump(value):
    return json.dumps(value, ensure_ascii=False)
