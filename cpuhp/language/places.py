"""Which program points a claim can tell from others.

Joining and dropping steps must keep what a claim sees of where a process is. It sees the
points that it compares with; and it sees a process *enter* one of them if a state that it
looks for may be over then (`at(p, end)` under an odd number of negations).
"""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.model.expr import Apply, Const, Expr, Op, Quantified, Quantifier, Read, walk
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Expectation, Property

Points = dict[str, set[int]]  # by location variable


def collect_points(root: Expr, points: Points) -> None:
    """Add the program points that `root` compares with."""
    for part in walk(root):
        if isinstance(part, Const) and isinstance(part.sort, EnumSort):
            if part.sort.name.startswith("at."):
                points.setdefault(part.sort.name, set()).add(part.value)


def observed_points(props: Iterable[Property]) -> Points:
    """The program points that claims compare with."""
    points: Points = {}
    for prop in props:
        collect_points(prop.formula, points)
        collect_points(prop.goal, points)
    return points


def entered_points(props: Iterable[Property]) -> Points:
    """Those that a process may not enter unnoticed.

    Of the others it does no harm to say that they are entered a step too early: a state
    that a claim looks for stays one.
    """
    points: Points = {}
    for prop in props:
        match prop.expectation:
            case Expectation.ALWAYS | Expectation.FINALLY:
                _leaving(prop.formula, False, points)
            case Expectation.SOMETIMES:
                _leaving(prop.formula, True, points)
            case _:
                collect_points(prop.formula, points)
                collect_points(prop.goal, points)
    return points


def _leaving(root: Expr, wanted: bool, points: Points) -> None:
    """Points at which `root` may stop being what is wanted (true or false)."""
    match root:
        case Apply(Op.NOT, (arg,), _):
            _leaving(arg, not wanted, points)
        case Apply(Op.AND | Op.OR, args, _):
            for arg in args:
                _leaving(arg, wanted, points)
        case Quantified(Quantifier.FORALL | Quantifier.EXISTS, _, body):
            _leaving(body, wanted, points)
        case Apply(Op.EQ, (Read(), Const()), _) if wanted:
            pass
        case _:
            collect_points(root, points)


__all__ = ["Points", "collect_points", "entered_points", "observed_points"]
