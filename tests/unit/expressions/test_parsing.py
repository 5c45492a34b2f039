"""Text to tree: positions, what was expected, and limits."""

from __future__ import annotations

import pytest

from stepwell.errors import WireError
from stepwell.expressions import ExpressionError, compile_expression
from stepwell.expressions.nodes import DEPTH_MAX, NODES_MAX, Binary, Literal, Logic, Name, Select
from stepwell.expressions.parsing import CHARS_MAX, parse


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("event.data.n >", 1, 15, "the text ends here; expected a value"),
        ("event.data.n = 6", 1, 14, '"=" is not expected here; expected an operator or the end'),
        ("event.data.n === 6", 1, 16, '"=" is not expected here; expected a value'),
        ("event.data.m ?? 1", 1, 15, '"?" is not expected here; expected a value'),
        ("event.data.\n  n ==\n  == 1", 3, 3, '"==" is not expected here; expected a value'),
        ("(event.data.n", 1, 14, 'the text ends here; expected ")" or an operator'),
        ("[1, 2", 1, 6, 'the text ends here; expected "," or "]" or an operator'),
        ("event.data. ", 1, 12, "the text ends here; expected a name"),
        ("event.data.a b", 1, 14, '"b" is not expected here; expected an operator or the end'),
        ("event.data.a ? 1", 1, 17, 'the text ends here; expected ":" or an operator'),
        ("{'a' 1}", 1, 6, '"1" is not expected here; expected ":" or an operator'),
        ('event.data.s == "abc', 1, 17, "'\"' is not expected here; expected a value"),
        ("@", 1, 1, '"@" is not expected here; expected a value'),
        ("", 1, 1, "it is empty; expected a value"),
        (" \n ", 1, 1, "it is empty; expected a value"),
        ("// nothing", 1, 11, "the text ends here; expected a value"),
        (r"'a\q'", 1, 3, r"'\\q' is no escape; a backslash is written twice"),
        ("1 + 9223372036854775808", 1, 5, "an integer has 64 bits at most, this one has more"),
        ("if == 1", 1, 1, '"if" is a reserved word, it names no variable'),
        ("has(event)", 1, 1, "has() takes one field, such as has(event.data.id)"),
        (
            "event.data.l.exists(1, true)",
            1,
            14,
            "exists() takes a name and an expression, such as event.data.tags.exists(x, x.ok)",
        ),
    ],
)
def test_a_fault_has_its_place_and_what_was_expected(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    error = caught.value
    assert (error.line, error.column, error.reason) == (line, column, reason)
    assert f"line {line}, column {column}: {reason}" in error.message
    assert isinstance(error, WireError)
    assert (error.code, error.status) == ("expression_invalid", 400)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1 + 2 * 3 == 7", "(1 + (2 * 3)) == 7"),
        ("true || false && false", "true || (false && false)"),
        ("true ? false : true ? 1 : 2", "true ? false : (true ? 1 : 2)"),
        ("-2 + 3", "(-2) + 3"),
        ("!true || true", "(!true) || true"),
        ("10 - 2 - 3", "(10 - 2) - 3"),
        ("1 < 2 == true", "(1 < 2) == true"),
        ("1 // a comment\n + 1", "1 + 1"),
        (".event", "event"),
        ("[1, 2,]", "[1, 2]"),
        ("{'a': 1,}", "{'a': 1}"),
    ],
)
def test_what_binds_how(text: str, same: str) -> None:
    first, second = (compile_expression(each) for each in (text, same))
    variables: dict[str, object] = {"event": {}}
    assert first.evaluate(variables, now_ms=0) == second.evaluate(variables, now_ms=0)


def test_a_chain_of_logic_is_one_node() -> None:
    tree = parse("event && event && event || event")
    assert isinstance(tree, Logic)
    assert tree.operator == "||"
    assert isinstance(tree.operands[0], Logic)
    assert len(tree.operands[0].operands) == 3
    assert tree.depth == 3


def test_reserved_words_are_fields_but_no_variables() -> None:
    tree = parse("event.data.package == event.data.in")
    assert isinstance(tree, Binary)
    assert isinstance(tree.left, Select)
    assert tree.left.field == "package"
    assert parse("inside") == Name(at=0, name="inside")


def test_a_word_that_begins_like_a_keyword_is_a_name() -> None:
    assert parse("nullable") == Name(at=0, name="nullable")
    assert parse("-9223372036854775808") == Literal(at=0, value=-(2**63))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 60_000,
        "!" * 60_000 + "true",
        "[" * 60_000,
        "1" + " + 1" * 15_000,
        "1" + " || 1" * 12_000,
        "[" + "1," * 30_000 + "]",
        "event" + ".a" * 30_000,
        "true ? 1 : " * 5_000 + "2",
        "size(" * 10_000,
        '"' * 60_001,
        '"' + "\\" * 60_000,
        "a" * (CHARS_MAX + 1),
        "// '''\n" + "1 || " * 10_000 + "1 // '''",
    ],
    ids=lambda text: f"{text[:12]}...",
)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


def test_the_limits_themselves_are_allowed() -> None:
    deep = "!" * (DEPTH_MAX - 1) + "true"
    assert parse(deep).depth == DEPTH_MAX
    with pytest.raises(ExpressionError, match="nested 100 deep"):
        parse("!" + deep)
    wide = " || ".join(["true"] * (NODES_MAX - 1))
    assert parse(wide).size == NODES_MAX
    with pytest.raises(ExpressionError, match="at most 2000 parts"):
        parse(f"{wide} || true")
    assert compile_expression(deep).evaluate({}, now_ms=0) is False
    long = f'"{"a" * (CHARS_MAX - 2)}"'
    assert compile_expression(long).evaluate({}, now_ms=0) == "a" * (CHARS_MAX - 2)
