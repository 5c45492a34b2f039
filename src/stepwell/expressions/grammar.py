"""The grammar of expressions: CEL without messages.

`&&` and `||` take any number of operands, so that a long chain of them is not deep.
Source: docs/reference/expressions.md, "operators".
"""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = (
    r"""[bB]?([rR](\"\"\"(.|\n)*?\"\"\"|'''(.|\n)*?'''|"[^"\r\n]*"|'[^'\r\n]*')"""
    r"""|\"\"\"([^\\]|\\(.|\n))*?\"\"\"|'''([^\\]|\\(.|\n))*?'''"""
    r"""|"([^"\\\r\n]|\\.)*"|'([^'\\\r\n]|\\.)*')"""
)
_COMMENT: Final = r"//[^\n]*"

_RULES: Final = r"""
?start: choice

?choice: either ["?" either ":" choice]
?either: both ("||" both)*
?both: relation ("&&" relation)*
?relation: sum | relation (EQUAL | ORDER | IN) sum -> binary
?sum: product | sum (PLUS | MINUS) product -> binary
?product: unary | product (STAR | SLASH | PERCENT) unary -> binary
?unary: member | NOT unary -> negation | MINUS unary -> negation
?member: primary
    | member "." IDENT -> select
    | member "." IDENT LPAR [arguments] ")" -> method
    | member LSQB choice "]" -> index
?primary: "." IDENT -> name
    | IDENT -> name
    | IDENT LPAR [arguments] ")" -> function
    | "(" choice ")"
    | LSQB [items] "]" -> list_of
    | LBRACE [entries] "}" -> map_of
    | (INT | UINT | FLOAT | STRING | TRUE | FALSE | NULL) -> literal
arguments: choice ("," choice)*
items: choice ("," choice)* [","] -> arguments
entries: entry ("," entry)* [","]
entry: choice ":" choice

EQUAL: "==" | "!="
ORDER.1: "<=" | ">=" | "<" | ">"
IN: "in"
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
PERCENT: "%"
NOT: "!"
LPAR: "("
LSQB: "["
LBRACE: "{"
TRUE: "true"
FALSE: "false"
NULL: "null"

FLOAT.4: /[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+/
UINT.3: /(0x[0-9a-fA-F]+|[0-9]+)[uU]/
INT.2: /0x[0-9a-fA-F]+|[0-9]+/
STRING.5: /@STRING@/
IDENT: /[_a-zA-Z][_a-zA-Z0-9]*/

COMMENT.6: /@COMMENT@/
SPACE: /[ \t\r\n\f]+/
%ignore COMMENT
%ignore SPACE
"""

GRAMMAR: Final = _RULES.replace("@STRING@", _STRING).replace(
    "@COMMENT@", _COMMENT.replace("/", r"\/")
)

ROUGH_TOKEN: Final = re.compile(rf"{_COMMENT}|{_STRING}|[\w.]+|\S")
"""Enough to count the tokens of a long text before it is read."""

RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import"),
        *("in", "let", "loop", "package", "namespace", "null", "return", "true", "var", "void"),
        "while",
    }
)
"""Words that name no variable; as fields they are allowed."""

TOKENS: Final = {
    "EQUAL": "an operator",
    "ORDER": "an operator",
    "IN": "an operator",
    "PLUS": "an operator",
    "STAR": "an operator",
    "SLASH": "an operator",
    "PERCENT": "an operator",
    "__ANON_0": "an operator",
    "__ANON_1": "an operator",
    "QMARK": "an operator",
    "INT": "a value",
    "UINT": "a value",
    "FLOAT": "a value",
    "STRING": "a value",
    "TRUE": "a value",
    "FALSE": "a value",
    "NULL": "a value",
    "RPAR": '")"',
    "RSQB": '"]"',
    "RBRACE": '"}"',
    "COLON": '":"',
    "COMMA": '","',
    "$END": "the end",
}
"""What the tokens are called in a message; others are told by these."""
