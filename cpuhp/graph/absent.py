"""Claims about steps that the hotplug table does not have.

A model whose hotplug state is not in the table plays no part: nobody runs it. What a
claim then says of its variables is true or false of no kernel, for a machine without the
step has nothing that the variables stand for.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuhp.graph.relevance import relevant
from cpuhp.language import tree as t
from cpuhp.language.compile import Lowered
from cpuhp.language.program import Program
from cpuhp.language.tree import base_name, nodes_below
from cpuhp.model.system import Property


def absent(whole: Lowered, check: str, prop: Property) -> tuple[str, ...]:
    """The hotplug states that the claim is about and the table does not have.

    So it is if the check requires the component of such a state's callback, and a
    variable that the callback writes matters to the claim.
    """
    program = whole.program
    required = {name.name for name in program.checks[check].requires}
    missing = {
        callback.state: _written(program, callback)
        for unit in program.units
        if unit.name in required
        for callback in unit.items
        if isinstance(callback, t.Callback) and callback in program.unplaced
    }
    if not missing:
        return ()
    matters = relevant(whole, (prop,)).variables
    return tuple(state for state, names in missing.items() if names & matters)


def _written(program: Program, callback: t.Callback) -> set[str]:
    """The variables that the callback, or a function that it calls, may write."""
    return set(_changed(program, callback)) & program.variables.keys()


def _changed(program: Program, callback: t.Callback) -> Iterator[str]:
    called: set[str] = set()
    stack: list[object] = [callback.body]
    while stack:
        for node in nodes_below(stack.pop()):
            match node:
                case t.AssignTo(target, _):
                    yield base_name(target)
                case t.CallStatement(call):
                    yield from map(base_name, call.args)
                case t.Call(name) if name in program.functions and name not in called:
                    called.add(name)
                    stack.append(program.functions[name].body)
