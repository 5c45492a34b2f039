"""Literals, both ways."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stepwell.expressions import ExpressionError, compile_expression
from stepwell.expressions.literals import bytes_text, number_literal, string_text
from stepwell.expressions.values import Uint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("0xFf", 255),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615u", Uint(2**64 - 1)),
        ("0x10U", Uint(16)),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2.5E-2", 0.025),
        ("true", True),
        ("null", None),
        ("'a'", "a"),
        ('"a\'b"', "a'b"),
        (r'"\a\b\f\n\r\t\v\\\?\"\'\`"', "\a\b\f\n\r\t\v\\?\"'`"),
        (r'"\x41\X42\103\u0044\U00000045"', "ABCDE"),
        (r"r'\n'", r"\n"),
        ('R"a\'b"', "a'b"),
        ('"""a"b\n"""', 'a"b\n'),
        ("'''a''b'''", "a''b"),
        ('""', ""),
        ('""""""', ""),
        ("b'é'", "é".encode()),
        (r'b"\xff\101\n"', b"\xffA\n"),
        (r"br'\n'", rb"\n"),
        ("'é😀'", "é😀"),
    ],
)
def test_a_literal_is_read(text: str, value: Any) -> None:
    found = compile_expression(text).evaluate({}, now_ms=0)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616u",
        "9" * 1_000,
        "0x" + "f" * 17,
        "1e999",
        "1.5.2",
        "1x",
        r"'\q'",
        r"'\ud800'",
        r"'\U00110000'",
        r"'\400'",
        r"b'\u0041'",
        "'a\nb'",
        "'a",
        "rb'a'",
    ],
)
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


@pytest.mark.parametrize(
    "value", ["", "a", 'a"b', "a\\b", "\x00\n\r\t\x1f\x7f\u2028", "é😀", "\\u0041", "'''"]
)
def test_a_written_string_reads_back(value: str) -> None:
    assert compile_expression(string_text(value)).evaluate({}, now_ms=0) == value


def test_written_bytes_read_back() -> None:
    value = bytes(range(256))
    assert compile_expression(bytes_text(value)).evaluate({}, now_ms=0) == value


@pytest.mark.parametrize(
    "value", [0, -5, 2**63 - 1, Uint(7), 0.0, 1.5, -2.0, 1e300, 5e-324, 1e21, math.inf, -math.inf]
)
def test_a_written_number_reads_back_with_its_type(value: float) -> None:
    found = compile_expression(number_literal(value)).evaluate({}, now_ms=0)
    assert found == value
    assert type(found) is type(value)
