"""Propositional formulas for z3, cheaply: constants are folded before z3 sees them.

z3py's own `And` and `Or` check and convert their arguments, which costs more than the
solving does; these call the C interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import z3

Bit: TypeAlias = "bool | z3.BoolRef"

_context = z3.Context()
_ref = _context.ref()
_numerals: dict[tuple[int, int], z3.BitVecNumRef] = {}


@contextmanager
def apart() -> Iterator[None]:
    """Formulas that are made meanwhile are in a context of their own.

    What z3 finds depends on what else its context holds; so a search finds the same
    whatever was asked before it. None of its formulas may be used afterwards.
    """
    global _context, _ref, _numerals
    kept = _context, _ref, _numerals
    _context = z3.Context()
    _ref, _numerals = _context.ref(), {}
    try:
        yield
    finally:
        _context, _ref, _numerals = kept


def proposition(name: str) -> z3.BoolRef:
    """The bit of this name."""
    return z3.Bool(name, _context)


def vector(name: str, width: int) -> z3.BitVecRef:
    """The bit vector of this name."""
    return z3.BitVec(name, width, _context)


def solver() -> z3.Solver:
    """A solver for finite domains."""
    return z3.SolverFor("QF_FD", _context)


def negate(a: Bit) -> Bit:
    """`not a`."""
    if isinstance(a, bool):
        return not a
    return z3.BoolRef(z3.Z3_mk_not(_ref, a.ast), _context)


def conj(parts: Iterable[Bit]) -> Bit:
    """All of the parts."""
    kept = []
    for part in parts:
        if part is False:
            return False
        if part is not True:
            kept.append(part)
    return _nary(z3.Z3_mk_and, kept, empty=True)


def disj(parts: Iterable[Bit]) -> Bit:
    """Any of the parts."""
    kept = []
    for part in parts:
        if part is True:
            return True
        if part is not False:
            kept.append(part)
    return _nary(z3.Z3_mk_or, kept, empty=False)


def same(a: Bit, b: Bit) -> Bit:
    """Both or neither."""
    if isinstance(a, bool):
        return b if a else negate(b)
    if isinstance(b, bool):
        return a if b else negate(a)
    return z3.BoolRef(z3.Z3_mk_iff(_ref, a.ast, b.ast), _context)


def equals(bits: z3.BitVecRef, width: int, number: int) -> z3.BoolRef:
    """The bit vector of this width is this number."""
    key = width, number
    if key not in _numerals:
        _numerals[key] = z3.BitVecVal(number, width, _context)
    made = z3.Z3_mk_eq(_ref, bits.ast, _numerals[key].ast)
    return z3.BoolRef(made, _context)


def choose(condition: Bit, yes: Bit, no: Bit) -> Bit:
    """`yes` where the condition holds, else `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    return disj((conj((condition, yes)), conj((negate(condition), no))))


def implies(a: Bit, b: Bit) -> Bit:
    """`b` where `a` holds."""
    return disj((negate(a), b))


def require(solver: z3.Solver, bit: Bit) -> None:
    """From now on the formula holds."""
    z3.Z3_solver_assert(solver.ctx.ref(), solver.solver, as_z3(bit).ast)


def check(solver: z3.Solver, assumed: Sequence[z3.BoolRef]) -> z3.CheckSatResult:
    """Can all that is required hold, and these beside it?"""
    asts = (z3.Ast * len(assumed))(*(part.ast for part in assumed))
    context = solver.ctx.ref()
    answer = z3.Z3_solver_check_assumptions(context, solver.solver, len(asts), asts)
    return z3.CheckSatResult(answer)


def as_z3(a: Bit) -> z3.BoolRef:
    """A formula that z3 takes, also where it is a constant."""
    return z3.BoolVal(a, _context) if isinstance(a, bool) else a


def _nary(make: object, kept: list[z3.BoolRef], *, empty: bool) -> Bit:
    if not kept:
        return empty
    if len(kept) == 1:
        return kept[0]
    arguments = (z3.Ast * len(kept))(*(part.ast for part in kept))
    made = make(_ref, len(kept), arguments)  # type: ignore[operator]
    return z3.BoolRef(made, _context)


Values = dict[int, Bit]  # which value under which condition; exactly one holds


def constant(value: int) -> Values:
    """The value, always."""
    return {value: True}


def collect(pairs: Iterable[tuple[int, Bit]]) -> Values:
    """Join the conditions of equal values; drop values that cannot be."""
    found: dict[int, list[Bit]] = {}
    for value, condition in pairs:
        if condition is not False:
            found.setdefault(value, []).append(condition)
    return {value: disj(conditions) for value, conditions in found.items()}


def select(condition: Bit, yes: Values, no: Values) -> Values:
    """The values of `yes` where the condition holds, else those of `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    against = negate(condition)
    pairs = [(v, conj((condition, c))) for v, c in yes.items()]
    pairs += [(v, conj((against, c))) for v, c in no.items()]
    return collect(pairs)


def within(values: Values, wanted: Iterable[int]) -> Bit:
    """The value is one of those wanted."""
    return disj(values[v] for v in wanted if v in values)
