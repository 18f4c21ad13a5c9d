"""CEL's optional syntax (``status.?phase.orValue('')``), which Flux allows and the library reads no grammar for.

The library has the values, not the operators, and each operator stands after what it works on. So ``a.?b`` is written
as the method call ``a.optionalField__("b")`` and ``a[?b]`` as ``a.optionalItem__(b)``: that needs only the tokens. As
in cel-go a plain field or index after an optional one is optional, too, up to the next method
(https://github.com/google/cel-spec/wiki/proposal-246). Optional entries of literals (``[?a]``, ``{?"k": a}``) are not
read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import cel

_TOKEN: Final = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      | (?P<space>\s+|//[^\n]*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<number>\d(?:[eE][+-]\d|[\w.])*)
      | (?P<mark>==|!=|<=|>=|&&|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)
_ENDS_A_VALUE: Final = frozenset(")]}")


def plain(expression: str) -> str:
    """Return an expression without the optional syntax; one that has none comes back as it is."""
    if "?" not in expression:
        return expression
    tokens = [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(expression)]
    return _Writer([token for token in tokens if token[0] != "space"]).written() if _used(tokens) else expression


def _used(tokens: Sequence[tuple[str, str]]) -> bool:
    marks = [text for kind, text in tokens if kind != "space"]
    return any(after == "?" and mark in ".[" for mark, after in pairwise(marks))


class _Writer:
    """Writes tokens again, one space between them: nothing in CEL depends on more."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._out: list[str] = []
        self._closing: list[tuple[str, bool]] = []
        """What closes each open bracket, and whether what it closes is optional then."""

    def written(self) -> str:
        optional = False
        while self._at < len(self._tokens):
            optional = self._next(optional=optional)
        return " ".join(self._out)

    def _next(self, *, optional: bool) -> bool:
        """Write what comes next; return whether the value that ends there is an optional one."""
        text = self._tokens[self._at][1]
        if text == "." and self._seen(1) == "?" and self._kind(2) == "name":
            return self._field(2)
        if text == "." and optional and self._kind(1) == "name" and self._seen(2) != "(":
            return self._field(1)
        if text == "[" and self._after_a_value() and (optional or self._seen(1) == "?"):
            self._at += 2 if self._seen(1) == "?" else 1
            self._out += [".", "optionalItem__", "("]
            self._closing.append((")", True))
            return False
        if text in "([{":
            self._closing.append(({"(": ")", "[": "]", "{": "}"}[text], False))
        elif text in _ENDS_A_VALUE and self._closing:
            text, after = self._closing.pop()
            self._put(text)
            return after
        self._put(text)
        return False

    def _put(self, text: str) -> None:
        self._out.append(text)
        self._at += 1

    def _field(self, place: int) -> bool:
        self._out += [".", "optionalField__", "(", f'"{self._seen(place)}"', ")"]
        self._at += place + 1
        return True

    def _seen(self, ahead: int) -> str:
        return self._tokens[self._at + ahead][1] if self._at + ahead < len(self._tokens) else ""

    def _kind(self, ahead: int) -> str:
        return self._tokens[self._at + ahead][0] if self._at + ahead < len(self._tokens) else ""

    def _after_a_value(self) -> bool:
        if self._at == 0:
            return False
        kind, text = self._tokens[self._at - 1]
        return (kind in ("name", "string") and text != "in") or text in _ENDS_A_VALUE


def functions(optional: type[cel.OptionalValue]) -> Mapping[str, Callable[[object, object], object]]:
    """Return the functions that the plain form calls."""

    def step(value: object, key: object) -> object:
        if isinstance(value, optional):
            if not value.has_value():
                return value
            value = value.value()
        if isinstance(value, dict):
            return optional.of(value[key]) if key in value else optional.none()
        if isinstance(value, list) and isinstance(key, int):
            return optional.of(value[key]) if 0 <= key < len(value) else optional.none()
        raise TypeError(f"a {type(value).__name__} has no fields")

    return {"optionalField__": step, "optionalItem__": step}
