"""Variables as the system has them: first values, and which bring others with them."""

from __future__ import annotations

from collections.abc import Mapping

from cpuhp.diagnostics import InputError, fail
from cpuhp.language import tree as t
from cpuhp.language.context import default_of
from cpuhp.language.program import IRQS_OFF, Declared
from cpuhp.language.terms import Terms
from cpuhp.model.expr import Expr, Param, reads
from cpuhp.model.sorts import CounterSort, Sort
from cpuhp.model.system import Role, Variable

Ties = list[tuple[frozenset[str], frozenset[str]]]


def variable(terms: Terms, declared: Declared) -> Variable:
    """A declared variable, in the terms of the system."""
    node = declared.declaration
    sort = terms.sort_of(declared)
    params = tuple(Param(f"{node.name}#{i}", s) for i, s in enumerate(declared.indices))
    return Variable(
        node.name,
        sort,
        declared.indices,
        _initial(terms, declared, sort, params),
        params,
        Role.LOCK if declared.lock else Role.DATA,
        plain=not declared.lock and _is_plain(node),
        constant=node.constant,
        doc=node.doc,
        span=node.span,
    )


def initial_value(terms: Terms, declared: Declared) -> Expr | None:
    """The value of a variable at first, over its own indices; None if it is open."""
    return variable(terms, declared).initial


def ties(terms: Terms) -> Ties:
    """Variables, and those that they bring with them whatever the program does.

    An assumption ties values together. A counter is seen as its difference to a mask.
    """
    program = terms.program
    assumed = [reads(terms.boolean(node.condition, {})) for node in program.assumptions]
    counted = [
        (frozenset({name}), frozenset({declared.sort.mask}))
        for name, declared in program.variables.items()
        if isinstance(declared.sort, CounterSort)
    ]
    return [*((together, together) for together in assumed), *counted]


def with_tied(used: frozenset[str], tied: Ties) -> frozenset[str]:
    """`used` and what is tied to it, though no action speaks of it."""
    while more := [others for some, others in tied if some & used and others - used]:
        used = used.union(*more)
    return used


def _is_plain(node: t.VariableDeclaration) -> bool:
    if node.atomic or node.name == IRQS_OFF:  # that one is a flag of the CPU
        return False
    atomic = ("cpumask", "completion", "atomic_t")
    return not (isinstance(node.type, t.NamedType) and node.type.name in atomic)


def _initial(
    terms: Terms, declared: Declared, sort: Sort, params: tuple[Param, ...]
) -> Expr | None:
    node = declared.declaration
    if node.value is None:
        return None if node.constant else default_of(sort)
    if node.value == t.Name("any", node.value.span):
        return None
    scope: Mapping[str, Expr] = {}
    if params and params[0].sort.name == "cpu":
        scope = {"cpu": params[0]}
    elif params:
        scope = {params[0].sort.name: params[0]}
    is_mask = isinstance(node.type, t.NamedType) and node.type.name == "cpumask"
    if is_mask:
        member = terms.mask(node.value, scope).member(params[-1])
        if reads(member):
            raise _reads_variables(node.value)
        return member
    value = terms.value(node.value, scope, sort)
    if reads(value):
        raise _reads_variables(node.value)
    return value


def _reads_variables(value: t.Term) -> InputError:
    return fail(
        "HP318",
        "an initial value cannot read variables",
        value.span,
        help="let it be `any`, and say with `assume` what it is",
    )
