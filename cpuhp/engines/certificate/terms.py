"""SMT-LIB 2 terms as text, with the few simplifications that keep it short."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRUE, FALSE = "true", "false"
_SIMPLE = re.compile(r"[A-Za-z~!@$%^&*_+=<>.?/-][A-Za-z0-9~!@$%^&*_+=<>.?/-]*\Z")


def symbol(name: str) -> str:
    """The name as an SMT-LIB symbol, quoted if need be."""
    if _SIMPLE.match(name):
        return name
    return "|" + name.replace("|", "!").replace("\\", "!") + "|"


def neg(a: str) -> str:
    if a in (TRUE, FALSE):
        return FALSE if a == TRUE else TRUE
    if a.startswith("(not "):
        return a[5:-1]
    return f"(not {a})"


def conj(parts: Iterable[str]) -> str:
    return _junction("and", parts, TRUE, FALSE)


def disj(parts: Iterable[str]) -> str:
    return _junction("or", parts, FALSE, TRUE)


def _junction(word: str, parts: Iterable[str], unit: str, zero: str) -> str:
    kept = dict.fromkeys(part for part in parts if part != unit)
    if zero in kept:
        return zero
    if len(kept) < 2:
        return next(iter(kept), unit)
    return f"({word} {' '.join(kept)})"


def implies(a: str, b: str) -> str:
    return disj((neg(a), b))


def ite(condition: str, yes: str, no: str) -> str:
    if yes == no or condition == TRUE:
        return yes
    if condition == FALSE:
        return no
    if yes in (TRUE, FALSE) or no in (TRUE, FALSE):  # of sort Bool
        return disj((conj((condition, yes)), conj((neg(condition), no))))
    return f"(ite {condition} {yes} {no})"


def equal(a: str, b: str) -> str:
    if a == b:
        return TRUE
    if TRUE in (a, b):
        return b if a == TRUE else a
    if FALSE in (a, b):
        return neg(b if a == FALSE else a)
    if is_number(a) and is_number(b):
        return FALSE
    return f"(= {a} {b})"


def number(value: int, width: int) -> str:
    """A bit-vector constant, in two's complement."""
    return f"(_ bv{value % (1 << width)} {width})"


def is_number(text: str) -> bool:
    """Is it a bit-vector constant? Equal numbers are equal texts."""
    return text.startswith("(_ bv")


def integer(value: int) -> str:
    return str(value) if value >= 0 else f"(- {-value})"


def plus(parts: Iterable[str]) -> str:
    kept = [part for part in parts if part != "0"]
    if len(kept) < 2:
        return kept[0] if kept else "0"
    return f"(+ {' '.join(kept)})"


def minus(a: str, b: str) -> str:
    if b == "0":
        return a
    return "0" if a == b else f"(- {a} {b})"


def as_one(bit: str) -> str:
    """1 where the formula holds, else 0."""
    return {TRUE: "1", FALSE: "0"}.get(bit) or f"(ite {bit} 1 0)"
