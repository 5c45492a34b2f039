"""Random expressions with types, over one event, from a seed.

Every part has the type that its place needs, so that standard CEL gives most of them a value.
`CONSTRUCTS` names everything that is made; each expression tells which it used.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Final

DEPTH: Final = 4
NOW_MS: Final = 1_785_000_000_000  # 2026-07-25T17:20:00Z

EVENT: Final[dict[str, Any]] = {
    "id": "e-1",
    "name": "shop/order.paid",
    "ts": 1_784_999_999_000,
    "data": {
        "n": 6,
        "f": 5.5,
        "w": 5.0,
        "zero": 0,
        "neg": -3,
        "s": "abc",
        "up": "ÄBC",
        "empty": "",
        "yes": True,
        "no": False,
        "nul": None,
        "numbers": [1, 2, 3.5],
        "words": ["a", "abc", "x"],
        "none": [],
        "object": {"a": 1, "k.x": 2},
        "single": {"key": 1},  # the order of keys is nobody's promise
        "objects": [{"a": 1}, {"a": 2}],
        "at": "2026-01-01T00:00:00Z",
        "json": '{"q": 7}',
        "b64": "aGk=",
    },
}

_SCALARS = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_LISTED = ("bool", "int", "double", "string")

LITERALS: Final = (
    *("int", "hexadecimal", "negative int", "uint", "double", "exponent", "true", "false", "null"),
    *("string", "single quotes", "raw string", "triple quotes", "escape", "bytes", "list", "map"),
)
OPERATORS: Final = (
    *("+", "-", "*", "/", "%", "unary -", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "?:"),
    *("in list", "in map", "[] list", "[] map", "."),
)
FUNCTIONS: Final = (
    *("size", ".size", "int", "uint", "double", "string", "bool", "bytes", "timestamp"),
    *("duration", "type", "dyn", "matches", ".startsWith", ".endsWith", ".contains", ".matches"),
    *("lowercase", "uppercase", "b64decode", "json_parse", "date", "now", "now_plus", "now_minus"),
    *(".getFullYear", ".getMonth", ".getDate", ".getDayOfMonth", ".getDayOfWeek"),
    *(".getDayOfYear", ".getHours", ".getMinutes", ".getSeconds", ".getMilliseconds"),
)
MACROS: Final = ("has", "all", "exists", "exists_one", "filter", "map", "map with a filter")
CONSTRUCTS: Final = (
    *(f"literal {each}" for each in LITERALS),
    *(f"operator {each}" for each in OPERATORS),
    *(f"function {each}" for each in FUNCTIONS),
    *(f"macro {each}" for each in MACROS),
    *(f"type {each}" for each in ("bool", "int", "uint", "double", "string", "bytes")),
    *(f"type {each}" for each in ("list", "map", "null", "timestamp", "duration", "type")),
    "numbers of two types compared",
)


class Program:
    """One expression, and what it is made of."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._bound: list[tuple[str, str]] = []
        self.made: Counter[str] = Counter()
        kinds = (*_SCALARS, "bool", "bool", "bool", "int", "list", "map", "type", "null")
        kind = self._random.choice(kinds)
        self.made[f"type {kind}"] += 1
        self.text = self._of(kind, DEPTH)

    # --- choices ---

    def _of(self, kind: str, depth: int) -> str:
        """An expression of the type, so deep at most."""
        make = getattr(self, f"_{kind}")
        text: str = make(depth - 1)
        return text

    def _chosen(self, made: str, text: str) -> str:
        self.made[made] += 1
        return text

    def _one(self, *weighted: str) -> str:
        return self._random.choice(weighted)

    def _leaf(self, depth: int) -> bool:
        return depth <= 0 or self._random.random() < 0.08

    def _variable(self, kind: str) -> str | None:
        """Something that a macro has bound."""
        names = [name for name, of in self._bound if of == kind]
        return self._random.choice(names) if names and self._random.random() < 0.5 else None

    def _choice(self, kind: str, depth: int) -> str:
        test, yes, no = self._of("bool", depth), self._of(kind, depth), self._of(kind, depth)
        if kind == "map":  # of values of two types, which a checker would refuse
            yes = self._call("dyn", yes)
        return self._chosen("operator ?:", f"({test} ? {yes} : {no})")

    def _infix(self, kind: str, sign: str, depth: int, other: str = "") -> str:
        left, right = self._of(kind, depth), self._of(other or kind, depth)
        return self._chosen(f"operator {sign}", f"({left} {sign} {right})")

    def _call(self, name: str, argument: str) -> str:
        return self._chosen(f"function {name}", f"{name}({argument})")

    def _element(self, kind: str, depth: int) -> str:
        """An element of a list that is made here, mostly one that is there."""
        size = self._random.randint(1, 3)
        items = ", ".join(self._of(kind, depth) for _ in range(size))
        at = self._random.randrange(size if self._random.random() < 0.95 else size + 1)
        self.made["literal list"] += 1
        return self._chosen("operator [] list", f"[{items}][{at}]")

    def _value(self, kind: str, depth: int) -> str:
        """A value of a map that is made here."""
        self.made["literal map"] += 1
        key, value = self._string_literal(), self._of(kind, depth)
        return self._chosen("operator [] map", f"{{{key}: {value}}}[{key}]")

    # --- bool ---

    def _bool(self, depth: int) -> str:
        if self._leaf(depth):
            return self._bool_leaf()
        ways = {
            "equal": 4,
            "order": 4,
            "mixed": 2,
            "logic": 4,
            "not": 2,
            "choice": 1,
            "in": 3,
            "string": 4,
            "macro": 5,
            "convert": 1,
            "element": 1,
            "null": 1,
        }
        way = self._random.choices(list(ways), list(ways.values()))[0]
        match way:
            case "equal":
                sign = self._one("==", "!=")
                if self._random.random() < 0.8:
                    return self._infix(self._one(*_SCALARS, "type"), sign, depth)
                kind = self._one("list", "map")
                left = self._call("dyn", self._of(kind, depth))
                return self._chosen(f"operator {sign}", f"({left} {sign} {self._of(kind, depth)})")
            case "order":
                return self._infix(self._one(*_SCALARS), self._one("<", "<=", ">", ">="), depth)
            case "mixed":
                return self._mixed(depth)
            case "logic":
                return self._infix("bool", self._one("&&", "||"), depth)
            case "not":
                return self._chosen("operator !", f"!{self._of('bool', depth)}")
            case "choice":
                return self._choice("bool", depth)
            case "in":
                return self._membership(depth)
            case "string":
                return self._string_test(depth)
            case "macro":
                return self._quantifier(depth)
            case "convert":
                return self._call("bool", self._one('"true"', '"false"', self._of("bool", depth)))
            case "null":
                sign = self._one("==", "!=")
                self.made["literal null"] += 1
                reference = self._one("event.data.nul", "event.data.s", "dyn(null)", "event.data.n")
                return self._chosen(f"operator {sign}", f"({reference} {sign} null)")
        return self._element("bool", depth)

    def _bool_leaf(self) -> str:
        if (name := self._variable("bool")) is not None:
            return name
        if self._random.random() < 0.3:
            return self._reference("yes", "no")
        if self._random.random() < 0.3:
            field = self._one("s", "n", "nul", "absent", "object.a", "object.absent")
            return self._chosen("macro has", f"has(event.data.{field})")
        word = self._one("true", "false")
        return self._chosen(f"literal {word}", word)

    def _reference(self, *fields: str) -> str:
        return self._chosen("operator .", f"event.data.{self._one(*fields)}")

    def _mixed(self, depth: int) -> str:
        """Numbers of two types, of which one is only known when it is evaluated."""
        left, right = self._random.sample(("int", "uint", "double"), 2)
        sign = self._one("==", "!=", "<", "<=", ">", ">=")
        self.made["numbers of two types compared"] += 1
        self.made["function dyn"] += 1
        first, second = self._of(left, depth), self._of(right, depth)
        return self._chosen(f"operator {sign}", f"(dyn({first}) {sign} {second})")

    def _membership(self, depth: int) -> str:
        kind = self._one(*_LISTED)
        needle = self._of(kind, depth)
        if kind == "string":
            haystack = self._one("event.data.object", self._of("map", depth))
            if self._random.random() < 0.6:
                return self._chosen("operator in map", f"({needle} in {haystack})")
        return self._chosen("operator in list", f"({needle} in {self._list_of(kind, depth)})")

    def _string_test(self, depth: int) -> str:
        text = self._of("string", depth)
        name = self._one(".startsWith", ".endsWith", ".contains", ".matches", "matches")
        if not name.endswith("matches"):
            argument = self._of("string", depth)
            return self._chosen(f"function {name}", f"{text}{name}({argument})")
        pattern = self._one('"^a.c$"', "r'[a-c]+'", '"b|x"', '""', "'^$'", "r'\\d{2}'", "'(?i)ABC'")
        if name == "matches":
            return self._chosen("function matches", f"matches({text}, {pattern})")
        return self._chosen("function .matches", f"{text}.matches({pattern})")

    def _quantifier(self, depth: int) -> str:
        kind = self._one("all", "exists", "exists_one")
        over, name, element = self._range(depth)
        body = self._inside(name, element, "bool", depth)
        return self._chosen(f"macro {kind}", f"{over}.{kind}({name}, {body})")

    def _range(self, depth: int) -> tuple[str, str, str]:
        """A list or a map for a macro, a name, and the type of what it binds."""
        name = "xyzuvw"[len(self._bound)]
        if self._random.random() < 0.1:
            return "event.data.single", name, "string"
        kind = self._one(*_LISTED)
        return self._list_of(kind, depth), name, kind

    def _inside(self, name: str, element: str, kind: str, depth: int) -> str:
        self._bound.append((name, element))
        body = self._of(kind, depth)
        self._bound.pop()
        return body

    # --- numbers ---

    def _int(self, depth: int) -> str:
        if self._leaf(depth):
            return self._variable("int") or self._int_literal()
        ways = (
            "infix",
            "infix",
            "minus",
            "size",
            "convert",
            "part",
            "part",
            "part",
            "choice",
            "[]",
        )
        match self._one(*ways):
            case "infix":
                return self._infix("int", self._one("+", "-", "*", "/", "%"), depth)
            case "minus":
                return self._chosen("operator unary -", f"-({self._of('int', depth)})")
            case "size":
                return self._size(depth)
            case "convert":
                kind = self._one("int", "uint", "double", "timestamp", "text")
                return self._call("int", '"-42"' if kind == "text" else self._of(kind, depth))
            case "part":
                return self._part(depth)
            case "choice":
                return self._choice("int", depth)
        return self._element("int", depth) if depth % 2 else self._value("int", depth)

    def _int_literal(self) -> str:
        match self._random.randrange(5):
            case 0:
                return self._chosen("literal hexadecimal", hex(self._random.randrange(256)))
            case 1:
                return self._chosen("literal negative int", f"-{self._random.randrange(1, 50)}")
            case 2 if self._random.random() < 0.1:
                return self._chosen("literal int", "9223372036854775807")
        return self._chosen("literal int", str(self._random.randrange(12)))

    def _size(self, depth: int) -> str:
        of = self._of(self._one("string", "bytes", "list", "map"), depth)
        if self._random.random() < 0.5:
            return self._chosen("function .size", f"{of}.size()")
        return self._call("size", of)

    def _part(self, depth: int) -> str:
        names = [each for each in FUNCTIONS if each.startswith(".get")]
        if self._random.random() < 0.2:
            name = self._one(".getHours", ".getMinutes", ".getSeconds")
            return self._chosen(f"function {name}", f"{self._of('duration', depth)}{name}()")
        name = self._one(*names)
        zone = self._one("", "", '"+02:30"', '"-08:00"', '"Europe/Paris"')
        return self._chosen(f"function {name}", f"{self._of('timestamp', depth)}{name}({zone})")

    def _uint(self, depth: int) -> str:
        if self._leaf(depth):
            return self._chosen("literal uint", f"{self._random.randrange(12)}u")
        match self._one("infix", "infix", "convert", "choice"):
            case "infix":
                return self._infix("uint", self._one("+", "*", "/", "%", "-"), depth)
            case "convert":
                kind = self._one("int", "double", "text")
                return self._call("uint", '"42"' if kind == "text" else self._of(kind, depth))
        return self._choice("uint", depth)

    def _double(self, depth: int) -> str:
        if self._leaf(depth):
            return self._double_leaf()
        match self._one("infix", "infix", "infix", "minus", "convert", "choice", "[]"):
            case "infix":
                return self._infix("double", self._one("+", "-", "*", "/"), depth)
            case "minus":
                return self._chosen("operator unary -", f"-({self._of('double', depth)})")
            case "convert":
                kind = self._one("int", "uint", "text")
                return self._call("double", '"2.5e1"' if kind == "text" else self._of(kind, depth))
            case "choice":
                return self._choice("double", depth)
        return self._element("double", depth) if depth % 2 else self._value("double", depth)

    def _double_leaf(self) -> str:
        if (name := self._variable("double")) is not None:
            return name
        match self._random.randrange(5):
            case 0:
                return self._chosen("literal exponent", self._one("1e3", "2.5E-2", "1e+2"))
            case 1 | 2:
                return self._chosen("literal double", f"{self._random.randrange(100) / 4}")
            case 3:
                self.made["function json_parse"] += 1
                return self._chosen("operator .", "json_parse(event.data.json).q")
        return self._reference("n", "f", "w", "zero", "neg")

    # --- texts ---

    def _string(self, depth: int) -> str:
        if self._leaf(depth):
            return self._string_leaf()
        match self._one("+", "+", "convert", "case", "choice", "[]"):
            case "+":
                return self._infix("string", "+", depth)
            case "convert":
                return self._call("string", self._shown(depth))
            case "case":
                name = self._one("lowercase", "uppercase")
                return self._call(name, self._of("string", depth))
            case "choice":
                return self._choice("string", depth)
        return self._element("string", depth) if depth % 2 else self._value("string", depth)

    def _shown(self, depth: int) -> str:
        """Something whose text is the same in every implementation."""
        kind = self._one("bool", "int", "uint", "string", "double", "bytes", "timestamp")
        if kind == "double":
            return self._one("event.data.f", "2.5", "-0.25")
        if kind == "timestamp":  # of whole seconds
            self.made["function timestamp"] += 1
            return self._one('timestamp("2024-02-29T12:00:00+05:30")', "timestamp(event.data.at)")
        return self._of(kind, depth)

    def _string_leaf(self) -> str:
        if (name := self._variable("string")) is not None:
            return name
        match self._random.randrange(6):
            case 0 | 1:
                return self._reference("s", "up", "empty")
            case 2:
                return self._call("b64decode", self._one("event.data.b64", '"YWJj"'))
        return self._string_literal()

    def _string_literal(self) -> str:
        match self._random.randrange(7):
            case 0:
                return self._chosen("literal single quotes", self._one("'abc'", "'a\"b'", "''"))
            case 1:
                return self._chosen("literal raw string", self._one(r'r"\n"', r"R'a\d'"))
            case 2:
                return self._chosen("literal triple quotes", self._one('"""a"b"""', "'''x\ny'''"))
            case 3:
                escapes = (r'"\u0061bc"', r'"a\nb"', r'"\x41\102C"', r'"a\"b"', r"'\U0001F600'")
                return self._chosen("literal escape", self._one(*escapes))
        return self._chosen("literal string", self._one('"a"', '"abc"', '"x"', '"é"', '"200"'))

    def _bytes(self, depth: int) -> str:
        if self._leaf(depth):
            literals = ('b"abc"', r'b"\x61\xff"', "b'é'", 'b""', r"br'\n'")
            return self._chosen("literal bytes", self._one(*literals))
        match self._one("+", "convert", "choice"):
            case "+":
                return self._infix("bytes", "+", depth)
            case "convert":
                return self._call("bytes", self._of("string", depth))
        return self._choice("bytes", depth)

    # --- lists and maps ---

    def _list(self, depth: int) -> str:
        return self._list_of(self._one(*_LISTED), depth)

    def _list_of(self, kind: str, depth: int) -> str:
        if self._leaf(depth):
            return self._list_leaf(kind, depth)
        match self._one("+", "filter", "map", "map", "literal", "choice"):
            case "+":
                left, right = self._list_of(kind, depth - 1), self._list_of(kind, depth - 1)
                return self._chosen("operator +", f"({left} + {right})")
            case "filter":
                over, name = self._list_of(kind, depth - 1), "xyzuvw"[len(self._bound)]
                body = self._inside(name, kind, "bool", depth - 1)
                return self._chosen("macro filter", f"{over}.filter({name}, {body})")
            case "map":
                over, name, element = self._range(depth - 1)
                body = self._inside(name, element, kind, depth - 1)
                if self._random.random() < 0.4:
                    test = self._inside(name, element, "bool", depth - 1)
                    made = f"{over}.map({name}, {test}, {body})"
                    return self._chosen("macro map with a filter", made)
                return self._chosen("macro map", f"{over}.map({name}, {body})")
            case "choice":
                test, yes = self._of("bool", depth - 1), self._list_of(kind, depth - 1)
                no = self._list_of(kind, depth - 1)
                return self._chosen("operator ?:", f"({test} ? {yes} : {no})")
        return self._list_leaf(kind, depth)

    def _list_leaf(self, kind: str, depth: int) -> str:
        fields = {"double": ("numbers", "none"), "string": ("words",)}.get(kind)
        if fields and self._random.random() < 0.5:
            return self._reference(*fields)
        size = self._random.randint(0 if depth > 0 else 1, 3)
        items = ", ".join(self._of(kind, min(depth, 1)) for _ in range(size))
        return self._chosen("literal list", f"[{items}{',' if items and depth % 2 else ''}]")

    def _map(self, depth: int) -> str:
        if self._leaf(depth) and self._random.random() < 0.5:
            return self._reference("object")
        if not self._leaf(depth) and self._random.random() < 0.2:
            return self._choice("map", depth)
        kind = self._one(*_SCALARS, "list")
        keys = self._random.sample(('"a"', "'b'", '"abc"', '"k.x"'), self._random.randint(0, 3))
        entries = ", ".join(f"{key}: {self._of(kind, depth)}" for key in keys)
        return self._chosen("literal map", f"{{{entries}}}")

    # --- the others ---

    def _null(self, depth: int) -> str:
        self.made["literal null"] += 1
        return self._one("null", "event.data.nul", "[null][0]", "(true ? null : null)")

    def _timestamp(self, depth: int) -> str:
        if self._leaf(depth):
            return self._timestamp_leaf()
        match self._one("+", "-", "choice", "convert"):
            case "+" | "-" as sign:
                return self._infix("timestamp", sign, depth, other="duration")
            case "convert":
                return self._call("timestamp", self._timestamp_leaf())
        return self._choice("timestamp", depth)

    def _timestamp_leaf(self) -> str:
        match self._random.randrange(6):
            case 0:
                return self._call("now", "")
            case 1:
                name = self._one("now_plus", "now_minus")
                return self._call(name, self._one('"24h"', '"90m"', '"1d12h"'))
            case 2:
                return self._call(
                    "date", self._one("event.data.at", '"2025-06-30"', "1785000000000")
                )
        texts = (
            '"2026-02-28T23:59:59.5Z"',
            '"2024-02-29T12:00:00+05:30"',
            '"1969-12-31T23:00:00Z"',
        )
        return self._call("timestamp", self._one("event.data.at", *texts))

    def _duration(self, depth: int) -> str:
        if self._leaf(depth):
            text = self._one('"1h"', '"30m"', '"1.5s"', '"-90s"', '"1h30m10s"', '"250ms"')
            return self._call("duration", text)
        match self._one("+", "-", "between", "choice"):
            case "+" | "-" as sign:
                return self._infix("duration", sign, depth)
            case "between":
                return self._infix("timestamp", "-", depth)
        return self._choice("duration", depth)

    def _type(self, depth: int) -> str:
        if self._leaf(depth):
            return self._one("int", "uint", "double", "string", "bool", "bytes", "list", "map")
        kind = self._one(*_SCALARS, "list", "map", "null", "type")
        return self._call("type", self._of(kind, depth))
