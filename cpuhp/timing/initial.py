"""The state in which a simulation begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cpuhp.diagnostics import fail
from cpuhp.model.expr import Expr, reads
from cpuhp.model.sorts import BoolSort, IndexSort, values_of
from cpuhp.model.system import TransitionSystem, Variable
from cpuhp.semantics import default_value
from cpuhp.timing.code import Layout, Writer
from cpuhp.timing.costs import Cpus
from cpuhp.timing.step_code import define


def initial_state(
    system: TransitionSystem, layout: Layout, cpus: int, constants: Mapping[str, Cpus]
) -> list[Any]:
    """The list of values at the start.

    What the spec leaves open (`= any`) gets the first values that its assumptions
    allow, the same for all CPUs but the control CPU; `constants` says more of booleans
    per CPU. Raises InputError HP910 for a constant of another kind, HP911 if the
    assumptions cannot be met in this way.
    """
    work = _Start(system, layout, cpus)
    opened: list[Variable] = []
    for variable in system.variables:
        if variable.initial is not None:
            work.fill(variable, variable.initial)
        elif variable.name in constants:
            work.mark(variable, constants[variable.name])
        else:
            opened.append(variable)
    if not work.settle(opened, list(system.assumptions)):
        names = ", ".join(sorted(v.name for v in opened)) or "nothing"
        raise fail(
            "HP911",
            f"no simple choice of what the spec leaves open meets its assumptions on "
            f"{cpus} CPUs (open: {names})",
            help="say which CPUs have it: [constants] in the cost file",
        )
    return work.state


@dataclass
class _Start:
    system: TransitionSystem
    layout: Layout
    cpus: int
    state: list[Any] = field(init=False)
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.state = [0] * (len(self.layout.variables) + 1)
        self.sizes = {"cpu": self.cpus, **dict(self.system.sizes)}

    def ranges(self, variable: Variable) -> list[range]:
        return [range(self.sizes[s.name]) for s in self.layout.dimensions(variable)]

    def put(self, variable: Variable, values: list[int]) -> None:
        number = self.layout.numbers[variable.name]
        many = bool(self.layout.dimensions(variable))
        self.state[number] = values if many else values[0]

    def function(self, arguments: str, code: str) -> Any:
        text = f"def f({arguments}):\n    return {code}\n"
        return define(compile(text, "<simulation>", "exec"), self.cpus, [])["f"]

    def test(self, formula: Expr) -> Any:
        return self.function("S, c", Writer(self.layout).code(formula, {}))

    def fill(self, variable: Variable, initial: Expr) -> None:
        writer, params = Writer(self.layout), variable.index_params
        ranges = self.ranges(variable)
        names = {p: f"i{n}" for n, p in enumerate(params[: len(ranges)])}
        if self.layout.is_mask(variable):
            code = writer.mask(initial, params[-1], names)
        else:
            code = writer.value(initial, names, variable.sort)
        value = self.function(", ".join(names.values()), code)
        self.put(variable, [int(value(*at)) for at in product(*ranges)])

    def mark(self, variable: Variable, cpus: Cpus) -> None:
        """A yes or no: of each CPU, or one for all, which is that of the control CPU."""
        if not isinstance(variable.sort, BoolSort) or len(variable.indices) > 1:
            raise fail("HP910", f"'{variable.name}' is not a yes or no of each CPU")
        has = [cpus.has(cpu, self.cpus) for cpu in range(self.cpus)]
        if self.layout.is_mask(variable):
            self.put(variable, [sum(yes << cpu for cpu, yes in enumerate(has))])
        elif variable.indices:
            raise fail("HP910", f"'{variable.name}' is not a yes or no of each CPU")
        else:
            self.put(variable, [int(has[0])])

    def uniform(self, variable: Variable, boot: int, others: int) -> None:
        count = 1
        for elements in self.ranges(variable):
            count *= len(elements)
        if self.layout.is_mask(variable):
            mask = ((1 << self.cpus) - 2 if others else 0) | (1 if boot else 0)
            self.put(variable, [mask] * count)
            return
        per_cpu = bool(variable.indices) and variable.indices[-1].name == "cpu"
        self.put(
            variable,
            [others if per_cpu and at % self.cpus else boot for at in range(count)],
        )

    def settle(self, opened: list[Variable], assumptions: list[Expr]) -> bool:
        """Depth first: each variable in turn, each assumption as soon as it is closed."""
        missing = {v.name for v in opened}
        for formula in assumptions:
            if not reads(formula) & missing and not self.test(formula)(self.state, 0):
                return False
        rest = [f for f in assumptions if reads(f) & missing]
        if not opened:
            return True
        for boot, others in self.choices(opened[0]):
            self.uniform(opened[0], boot, others)
            if self.settle(opened[1:], rest):
                return True
        return False

    def choices(self, variable: Variable) -> list[tuple[int, int]]:
        """Values on the control CPU and on the others, the usual ones first."""
        values = list(values_of(variable.sort, self.sizes))
        if isinstance(variable.sort, IndexSort):
            values = values[: 3 if variable.sort.nullable else 2]
        default = default_value(variable.sort)
        values.sort(key=lambda value: value != default)
        pairs = [(v, v) for v in values]
        if variable.indices and variable.indices[-1].name == "cpu":
            pairs += [(a, b) for a in values for b in values if a != b]
        return pairs
