"""C constant expressions, three-valued: a number, or None where it is not known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"\s*(?:(0[xX][0-9a-fA-F]+|\d+)[uUlL]*|(\w+)|(\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*')"
    r"|(&&|\|\||<<|>>|<=|>=|==|!=|[-+*/%<>&|^!~()?:,]))"
)
_LEVELS: tuple[frozenset[str], ...] = tuple(
    frozenset(level.split())
    for level in ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -")
) + (frozenset("*/%"),)
_MAX_DEPTH = 64

Lookup = Callable[[str, tuple[str, ...] | None], int | None]


class _Malformed(Exception):
    pass


def evaluate(expression: str, lookup: Lookup) -> int | None:
    """The value of `expression`; None if it is malformed or depends on an unknown.

    `lookup(name, None)` values a name and `lookup(name, arguments)` a call such as
    `defined(X)`. `0 && unknown` is 0 and `1 || unknown` is 1.
    """
    try:
        parser = _Parser(_tokens(expression), lookup)
        value = parser.ternary(0)
        return value if parser.done() else None
    except (_Malformed, ZeroDivisionError, ValueError, OverflowError):
        return None


def constant(expression: str, names: Mapping[str, int]) -> int | None:
    """The value of an integer expression over named constants."""
    return evaluate(expression, lambda name, call: None if call else names.get(name))


def _tokens(expression: str) -> list[str]:
    tokens, position = [], 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _Malformed
        tokens.append(match[1] or match[2] or match[3] or match[4])
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[str], lookup: Lookup):
        self._tokens = tokens
        self._at = 0
        self._lookup = lookup

    def done(self) -> bool:
        return self._at == len(self._tokens)

    def ternary(self, depth: int) -> int | None:
        if depth > _MAX_DEPTH:
            raise _Malformed
        value = self._binary(0, depth)
        if not self._accept("?"):
            return value
        yes = self.ternary(depth + 1)
        self._expect(":")
        no = self.ternary(depth + 1)
        if value is None:
            return yes if yes == no else None
        return yes if value else no

    def _binary(self, level: int, depth: int) -> int | None:
        if level == len(_LEVELS):
            return self._unary(depth)
        left = self._binary(level + 1, depth)
        while self._peek() in _LEVELS[level]:
            operator = self._next()
            left = _apply(operator, left, self._binary(level + 1, depth))
        return left

    def _unary(self, depth: int) -> int | None:
        if depth > _MAX_DEPTH:
            raise _Malformed
        token = self._next()
        if token == "(":
            value = self.ternary(depth + 1)
            self._expect(")")
            return value
        if token in ("!", "-", "+", "~"):
            value = self._unary(depth + 1)
            if value is None:
                return None
            return {"!": int(not value), "-": -value, "+": value, "~": ~value}[token]
        if token[0].isdigit():
            octal = len(token) > 1 and token[0] == "0" and token.isdigit()
            return int(token, 8) if octal else int(token, 0)
        if not (token[0].isalpha() or token[0] == "_"):
            raise _Malformed
        return self._lookup(token, self._call(token))

    def _call(self, name: str) -> tuple[str, ...] | None:
        if name == "defined" and self._peek() != "(":
            return (self._next(),)
        if not self._accept("("):
            return None
        arguments: list[str] = []
        depth, piece = 1, ""
        while True:
            token = self._next()
            depth += (token == "(") - (token == ")")
            if depth == 0 or (token == "," and depth == 1):
                arguments.append(piece.strip())
                piece = ""
                if depth == 0:
                    return tuple(arguments)
            else:
                piece += token + " "

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        if self.done():
            raise _Malformed
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise _Malformed


def _apply(operator: str, left: int | None, right: int | None) -> int | None:
    if operator == "&&":
        if left == 0 or right == 0:
            return 0
        return None if left is None or right is None else 1
    if operator == "||":
        if left or right:
            return 1
        return None if left is None or right is None else 0
    if left is None or right is None:
        return None
    if operator in ("<<", ">>") and not 0 <= right < 64:
        return None
    return int(_ARITHMETIC[operator](left, right))


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "&": lambda a, b: a & b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: int(a / b) if abs(a) < 2**53 else a // b,
    "%": lambda a, b: a - b * int(a / b) if abs(a) < 2**53 else a % b,
}
