"""One text with ``${variables}``, read and filled in as Flux does it.

The expressions are those that Flux documents for `postBuild` (fluxcd/pkg/envsubst): ``${var}``, ``${var-default}``,
``${var:-default}``, ``${var:=default}``, ``${#var}``, ``${var^}``, ``${var^^}``, ``${var,}``, ``${var,,}``,
``${var:offset}``, ``${var:offset:length}``, ``${var#pattern}``, ``${var##pattern}``, ``${var%pattern}``,
``${var%%pattern}``, ``${var/a/b}``, ``${var//a/b}``, ``${var/#a/b}``, ``${var/%a/b}``, and ``$$`` for a dollar sign.
A default and an argument may hold expressions themselves. Lengths and offsets count characters, where Flux counts the
bytes of UTF-8 and can cut a character in two. `felloe.substitute` puts this to work on whole objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from felloe.errors import SubstitutionError

VARIABLE_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*\Z")
"""What Flux accepts as the name of a variable."""

MAX_NESTING: Final = 16
"""How deep expressions may stand in each other's defaults and arguments."""

MAX_FILLED: Final = 2 * 1024 * 1024
"""Characters that a text may become: no API server takes an object that long, and nesting multiplies."""

_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_SHORT: Final = 256
_LONGEST_CUT: Final = 4096
_DEFAULTS: Final = (":-", ":=", "-", "=")
_REFUSED: Final = (":+", ":?", "+", "?")
_PLAIN_ESCAPES: Final = frozenset({"$$"})
_REPLACE_ESCAPES: Final = frozenset({"$$", "\\/", "\\\\"})


@dataclass(frozen=True, slots=True)
class Expression:
    """One ``${…}``: the variable, the operator (empty for a bare one) and its arguments.

    The operator ``#`` without an argument is the length, with one it cuts a prefix.
    """

    name: str
    operator: str = ""
    arguments: tuple[Template, ...] = ()

    @property
    def has_default(self) -> bool:
        """Tell whether it has a value where the variable has none."""
        return self.operator in _DEFAULTS


Template = tuple["str | Expression", ...]
"""A text in its pieces: what stands there as it is, and what is filled in."""


class MissingVariableError(SubstitutionError):
    """A variable without a value and without a default; `variable` is its name."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        super().__init__(f"variable {variable!r} has no value")


class UnreadableExpressionError(SubstitutionError):
    """An expression that is none of Flux'; `unquoted` says why without a word of the text that holds it."""

    def __init__(self, shown: str, why: str) -> None:
        said = f"can't be filled in: {why}; write $${{…}} for a text that begins with ${{"
        self.unquoted = f"an expression in it {said}"
        super().__init__(f"{shown!r} {said}")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with every expression filled in.

    Raise MissingVariableError where a variable has neither value nor default, and SubstitutionError where an
    expression is none of Flux'.
    """
    return _evaluate(parse(text), variables)


def names(text: str) -> Iterator[str]:
    """Yield the name of every variable that `text` uses, those in defaults and arguments too."""
    yield from _names(parse(text))


def has_expressions(text: str) -> bool:
    """Tell whether filling in could change this text at all."""
    return "${" in text or "$$" in text


def parse(text: str) -> Template:
    """Return the pieces of a text. Raise SubstitutionError where an expression is none of Flux'."""
    return _remembered(text) if len(text) <= _SHORT else _parse(text)


def _parse(text: str) -> Template:
    pieces, _ = _Parser(text).template(0, stops="", escapes=_PLAIN_ESCAPES)
    return pieces


# Most texts are short and come again for every object and cluster; a long one would only take a spoke's memory.
_remembered = lru_cache(maxsize=1024)(_parse)


class _Parser:
    """A recursive descent over one text; positions go in and come out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0

    def template(self, at: int, *, stops: str, escapes: frozenset[str]) -> tuple[Template, int]:
        """Return the pieces from `at` to the first of `stops` (or the end), and where that is."""
        pieces: list[str | Expression] = []
        plain: list[str] = []
        text = self._text
        while at < len(text) and text[at] not in stops:
            if text.startswith("${", at):
                if plain:
                    pieces.append("".join(plain))
                    plain = []
                expression, at = self._expression(at)
                pieces.append(expression)
            elif text[at : at + 2] in escapes:
                plain.append(text[at + 1])
                at += 2
            else:
                plain.append(text[at])
                at += 1
        if plain:
            pieces.append("".join(plain))
        return tuple(pieces), at

    def _expression(self, start: int) -> tuple[Expression, int]:
        if self._depth >= MAX_NESTING:
            raise self._error(start, f"expressions nest deeper than {MAX_NESTING} levels")
        self._depth += 1
        expression, at = self._inside(start, start + 2)
        self._depth -= 1
        return expression, at

    def _inside(self, start: int, at: int) -> tuple[Expression, int]:
        length = self._text.startswith("#", at)
        name = _NAME.match(self._text, at + length)
        if name is None:
            raise self._error(start, "it does not begin with the name of a variable")
        at = name.end()
        if length:
            return self._close(start, at, name[0], "#", ())
        operator = self._operator(start, at)
        arguments, at = self._arguments(start, at + len(operator), operator)
        return self._close(start, at, name[0], operator, arguments)

    def _operator(self, start: int, at: int) -> str:
        text = self._text
        if at >= len(text):
            raise self._error(start, "its closing brace is missing")
        if text.startswith(_REFUSED, at):
            raise self._error(start, "Flux has no such operator either")
        for operator in (":-", ":=", "^^", ",,", "##", "%%", "//", "/#", "/%", "-", "=", "^", ",", "#", "%", "/", ":"):
            if text.startswith(operator, at):
                return operator
        return ""

    def _arguments(self, start: int, at: int, operator: str) -> tuple[tuple[Template, ...], int]:
        none: frozenset[str] = frozenset()
        if operator in ("", "^", "^^", ",", ",,"):
            return (), at
        if operator == ":":
            first, at = self.template(at, stops=":}", escapes=none)
            if not self._text.startswith(":", at):
                return (first,), at
            second, at = self.template(at + 1, stops="}", escapes=none)
            return (first, second), at
        if operator.startswith("/"):
            first, at = self.template(at, stops="/", escapes=_REPLACE_ESCAPES)
            if at >= len(self._text):
                raise self._error(start, "a replacement is written ${name/from/to}")
            second, at = self.template(at + 1, stops="}", escapes=_REPLACE_ESCAPES)
            return (first, second), at
        only, at = self.template(at, stops="}", escapes=none)
        return (only,), at

    def _close(
        self, start: int, at: int, name: str, operator: str, arguments: tuple[Template, ...]
    ) -> tuple[Expression, int]:
        if not self._text.startswith("}", at):
            raise self._error(start, "its closing brace is missing or stands too late")
        return Expression(name, operator, arguments), at + 1

    def _error(self, start: int, why: str) -> SubstitutionError:
        shown = self._text[start : start + 40].split("\n", 1)[0]
        return UnreadableExpressionError(shown, why)


def _names(template: Template) -> Iterator[str]:
    for piece in template:
        if isinstance(piece, Expression):
            yield piece.name
            for argument in piece.arguments:
                yield from _names(argument)


def _evaluate(template: Template, variables: Mapping[str, str]) -> str:
    filled: list[str] = []
    size = 0
    for piece in template:
        filled.append(piece if isinstance(piece, str) else _value(piece, variables))
        size += len(filled[-1])
        _check_size(size)
    return "".join(filled)


def _check_size(size: int) -> None:
    if size > MAX_FILLED:
        raise SubstitutionError(f"the text would become {size:,} characters long or more, more than {MAX_FILLED:,}")


def _value(expression: Expression, variables: Mapping[str, str]) -> str:
    value = variables.get(expression.name)
    if expression.has_default:
        # Flux' code takes "=" as it takes ":=", whatever its table says; "-" it documents and does not parse.
        wanting = value is None or (not value and expression.operator != "-")
        return _evaluate(expression.arguments[0], variables) if wanting else value or ""
    if value is None:
        raise MissingVariableError(expression.name)
    return _apply(expression.operator, value, [_evaluate(argument, variables) for argument in expression.arguments])


def _apply(operator: str, value: str, arguments: list[str]) -> str:
    match operator, arguments:
        case "", _:
            return value
        case "#", []:
            return str(len(value))
        case "^", _:
            return value[:1].upper() + value[1:]
        case "^^", _:
            return value.upper()
        case ",", _:
            return value[:1].lower() + value[1:]
        case ",,", _:
            return value.lower()
        case ":", _:
            return _slice(value, arguments)
        case (("#" | "##" | "%" | "%%"), [pattern]):
            return _cut(operator, value, pattern)
        case _:
            return _replace(operator, value, arguments[0], arguments[1])


def _slice(value: str, arguments: list[str]) -> str:
    """Return the part of a value; one that is given no number comes back whole, as in bash and Flux."""
    if not all(re.fullmatch(r"[+-]?[0-9]{1,9}", argument) for argument in arguments):
        return value
    offset, *length = map(int, arguments)
    begin = offset if offset >= 0 else max(0, len(value) + offset)
    if not length:
        return value[begin:]
    end = begin + length[0] if length[0] >= 0 else len(value) + length[0]
    return value[begin:end] if end > begin else ""


def _cut(operator: str, value: str, pattern: str) -> str:
    longest = max(len(value), len(pattern))
    if longest > _LONGEST_CUT:
        raise SubstitutionError(
            f"a value or pattern of {longest:,} characters is too long for {operator}, which takes at most"
            f" {_LONGEST_CUT:,}"
        )
    pieces, from_end = _glob_pieces(pattern), operator[0] == "%"
    sizes = _sizes_matched(pieces[::-1], value[::-1]) if from_end else _sizes_matched(pieces, value)
    if not sizes:
        return value
    size = sizes[-1] if len(operator) == 2 else sizes[0]
    return value[: len(value) - size] if from_end else value[size:]


def _replace(operator: str, value: str, old: str, new: str) -> str:
    match operator:
        case "//":
            _check_size(value.count(old) * len(new) if old else 0)
            return value.replace(old, new) if old else value
        case "/#":
            return new + value[len(old) :] if value.startswith(old) else value
        case "/%":
            return value[: len(value) - len(old)] + new if value.endswith(old) else value
        case _:
            return value.replace(old, new, 1) if old else value


def _sizes_matched(pieces: Sequence[str], text: str) -> list[int]:
    """Return how long the beginnings of a text are, but the empty one, that a shell pattern matches, in pieces.

    All positions in the pattern that a beginning may have come to are bits of one number, so that no pattern is costly.
    """
    pieces = [piece for at, piece in enumerate(pieces) if piece != "*" or at == 0 or pieces[at - 1] != "*"]
    stars = sum(1 << at for at, piece in enumerate(pieces) if piece == "*")
    end = 1 << len(pieces)
    steps: dict[str, int] = {}
    here = 1 | (stars & 1) << 1
    found = []
    for size, character in enumerate(text, 1):
        if character not in steps:
            steps[character] = sum(
                1 << at for at, piece in enumerate(pieces) if piece != "*" and _piece_matches(piece, character)
            )
        here = (here & steps[character]) << 1 | here & stars
        here |= (here & stars) << 1
        if here & end:
            found.append(size)
    return found


def _piece_matches(piece: str, character: str) -> bool:
    if piece == "?":
        return True
    if piece[0] == "\\":
        return character == piece[1]
    negated = piece[1] in "!^"
    members = piece[2 if negated else 1 : -1]
    inside = False
    while members:
        if len(members) > 2 and members[1] == "-":
            inside = inside or members[0] <= character <= members[2]
            members = members[3:]
        else:
            inside = inside or members[0] == character
            members = members[1:]
    return inside != negated


@lru_cache(maxsize=256)
def _glob_pieces(pattern: str) -> tuple[str, ...]:
    """Return a pattern in pieces: ``*``, ``?``, ``[…]``, or a backslash with the character that it stands for."""
    found = re.findall(r"\*|\?|\[[!^]?[^\]]+\]|\\.|.", pattern, re.DOTALL)
    return tuple(
        piece if piece in ("*", "?") or (len(piece) > 1 and piece[0] in "[\\") else "\\" + piece for piece in found
    )
