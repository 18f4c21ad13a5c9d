"""The optional syntax, written with method calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.health.cel_optional import plain


@pytest.mark.parametrize(
    "expression",
    [
        "status.phase == 'Ready' ? true : false",
        "has(status.x) ? status.x['a'] >= 1.5e-3 : [1, 2].all(e, e != 0)  // why?",
        "status.text == 'a.?b' || status.text == \"x[?y]\"",
        "r'a\\'.contains('?')",
        "",
    ],
)
def test_an_expression_without_it_stays_as_it_is(expression: str) -> None:
    assert plain(expression) == expression


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("a.?b", 'a.optionalField__("b")'),
        ("a.?b.c.orValue(1)", 'a.optionalField__("b").optionalField__("c").orValue(1)'),
        ("a[?b].c[d]", 'a.optionalItem__(b).optionalField__("c").optionalItem__(d)'),
        ("a[?f(b.?c)[0]]", 'a.optionalItem__(f(b.optionalField__("c"))[0])'),
        ("f(a.?b).c", 'f(a.optionalField__("b")).c'),
        ("a.?b.orValue(c).d[0]", 'a.optionalField__("b").orValue(c).d[0]'),
        ("a.?b in [c] && d <= 1.5e-3", 'a.optionalField__("b") in [c] && d <= 1.5e-3'),
        ("a // why?\n.?b", 'a.optionalField__("b")'),
    ],
)
def test_each_operator_becomes_a_call(expression: str, written: str) -> None:
    assert plain(expression).replace(" ", "") == written.replace(" ", "")


@given(expression=st.text(alphabet="a?.[](){}'\"r\\ 1,/\n&", max_size=40))
def test_any_text_is_written(expression: str) -> None:
    assert isinstance(plain(expression), str)
