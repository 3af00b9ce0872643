"""Random small transition systems that use every construct, for hypothesis."""

from itertools import count

from builders import (
    BOOT,
    ME,
    NOBODY,
    Code,
    build,
    lock,
    percpu,
    rd,
    shared,
)
from hypothesis import strategies as st

from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    and_,
    arithmetic,
    before,
    compare,
    eq,
    exactly,
    exists,
    forall,
    ite,
    none_of,
    not_,
    or_,
)
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    CPU_OR_NONE,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
)
from cpuhp.model.system import (
    Assign,
    Choice,
    Order,
    Runs,
    Variable,
)

FLAG, MODE = BOOL, EnumSort("mode", ("red", "green", "blue"))
NUMBER, IRQ = RangeSort(-1, 2), IndexSort("irq")
IRQS = 2


def random_systems(ordered=False, per_cpu_pointers=True, counted=True):
    """A hypothesis strategy of small systems that use every construct.

    All of them are finite. `ordered` admits `before`, FIRST and LAST on CPUs, which
    break symmetry; `counted`, sums with numbers of CPUs, and counters.
    """
    return st.composite(_random_system)(ordered, per_cpu_pointers, counted)


def random_formulas(system, ordered=False, counted=True):
    """A hypothesis strategy of closed formulas over the system's variables."""

    @st.composite
    def formula(draw):
        return _Draw(draw, system.variables, ordered, counted).boolean((), 3)

    return formula()


def _random_system(draw, ordered, per_cpu_pointers, counted):
    variables = [
        shared("flag", FLAG, draw(st.integers(0, 1)), plain=True),
        shared("mode", MODE, draw(st.integers(0, 2))),
        shared("level", NUMBER, draw(st.integers(-1, 2))),
        shared("owner", CPU_OR_NONE, draw(st.sampled_from([NOBODY, BOOT]))),
        lock("lock"),
        percpu("mask", FLAG, lambda c: draw(st.sampled_from([TRUE, eq(c, BOOT)]))),
        percpu("depth", NUMBER, draw(st.integers(0, 1)), plain=True),
        Variable("route", CPU_OR_NONE, (IRQ,), NOBODY, (Param("i0", IRQ),)),
        Variable("pending", FLAG, (CPU, IRQ), FALSE, (ME, Param("i1", IRQ))),
    ]
    if counted:
        many = draw(st.integers(0, 2))
        variables.append(shared("many", CounterSort("mask"), many))
    if per_cpu_pointers:
        variables.append(percpu("friend", CPU_OR_NONE, NOBODY))
    kept = draw(st.sets(st.sampled_from([v.name for v in variables]), min_size=2))
    kept |= {"mask"} if "many" in kept else set()
    variables = [v for v in variables if v.name in kept]
    if draw(st.integers(0, 3)) == 3:
        variables.append(percpu("given", FLAG, None, constant=True))
    kinds = draw(st.lists(st.sampled_from(list(Runs)), min_size=1, max_size=2))
    codes = []
    for number, runs in enumerate(kinds):
        codes.append(
            Code(
                f"p{number}",
                "start middle end",
                runs,
                environment=draw(st.integers(0, 3)) == 3,
                resting=draw(st.sampled_from(["", "middle"])),
            )
        )
    known = [*variables, *(code.location for code in codes)]
    for code in codes:
        for number in range(draw(st.integers(2, 4))):
            made = _Draw(draw, known, ordered, counted)
            _random_step(made, code, variables, first=number == 0)
    assumptions = []
    if draw(st.integers(0, 9)) == 9:
        assumptions = [_Draw(draw, known, ordered, counted).boolean((), 2)]
    return build("random", codes, variables, assumptions, [("irq", IRQS)])


def _random_step(made, code, variables, first):
    params, choices = list(code.me), []
    for _ in range(made.number(0, 2) if made.number(0, 2) == 2 else 0):
        sort = made.pick([CPU, CPU, IRQ])
        param = made.fresh(sort)
        order = made.pick(list(Order))
        if sort == CPU and not made.ordered:
            order = Order.ANY
        among = TRUE
        if made.number(0, 1):
            among = made.boolean((*params, param), made.number(0, 2))
        choices.append(Choice(param, among, order))
        params.append(param)
    guard = TRUE
    if not first and made.number(0, 1):
        guard = made.boolean(params, made.number(0, 3))
    effects = []
    for _ in range(made.number(0, 3)):
        variable = made.pick([v for v in variables if not v.constant])
        bound = tuple(made.fresh(s) for s in variable.indices)
        if variable.indices and made.number(0, 3) == 0:
            value = made.value(variable.sort, (*params, *bound), 2)
            effects.append(Assign(variable.name, bound, value, bound))
        else:
            where = tuple(made.value(s, params, 1) for s in variable.indices)
            value = made.value(variable.sort, params, 2)
            effects.append(Assign(variable.name, where, value))
    source = code.points[0] if first else made.pick(code.points[:2])
    target = made.pick(code.points[code.points.index(source) :])
    code.step(source, target, guard, effects, choices)


class _Draw:
    """Draws expressions over some variables."""

    _serial = count()

    def __init__(self, draw, variables, ordered, counted=True):
        self.draw, self.variables = draw, variables
        self.ordered, self.counted = ordered, counted
        self.names = count()
        self.prefix = next(self._serial)

    def pick(self, options):
        return self.draw(st.sampled_from(options))

    def number(self, low, high):
        return self.draw(st.integers(low, high))

    def fresh(self, sort):
        return Param(f"x{self.prefix}_{next(self.names)}", IndexSort(sort.name))

    def value(self, sort, params, depth):
        if sort == BOOL:
            return self.boolean(params, depth)
        if isinstance(sort, CounterSort):
            return self.counter(sort, params, depth)
        leaves = self.leaves(sort, params)
        if depth == 0 or self.number(0, 1):
            return self.read_or_leaf(sort, params, depth, leaves)
        if isinstance(sort, RangeSort) and self.number(0, 1):
            return self.sum(sort, params, depth - 1)
        test = self.boolean(params, depth - 1)
        yes, no = (self.value(sort, params, depth - 1) for _ in range(2))
        return ite(test, yes, no)

    def sum(self, sort, params, depth):
        """A sum or difference, also of numbers of CPUs; with no sort it is exact."""
        op, parts = self.pick([Op.ADD, Op.SUB]), []
        for _ in range(2):
            counts = self.counted and self.number(0, 2) == 0
            kept = [v for v in self.variables if isinstance(v.sort, CounterSort)]
            if counts and kept and self.number(0, 1):
                part = rd(kept[0])
            elif counts:
                part = self.total(params, depth)
            else:
                part = self.value(NUMBER, params, depth)
            parts.append(part)
        return arithmetic(op, *parts, sort or exactly(op, *(p.sort for p in parts)))

    def counter(self, sort, params, depth):
        """What a counter is set to; it does not grow for ever."""
        if depth == 0 or self.number(0, 2) == 0:
            return Const(self.number(0, 2), sort)
        op, few = self.pick([Op.ADD, Op.SUB]), Const(self.number(0, 2), NUMBER)
        return arithmetic(op, self.total(params, depth - 1), few, sort)

    def total(self, params, depth):
        masks = [v for v in self.variables if v.name == "mask"]
        if masks and self.number(0, 1):
            param = self.fresh(CPU)
            return Quantified(Quantifier.COUNT, param, rd(masks[0], param))
        param = self.fresh(CPU)
        return Quantified(
            Quantifier.COUNT, param, self.boolean((*params, param), depth)
        )

    def leaves(self, sort, params):
        if isinstance(sort, IndexSort):
            found = [p for p in params if p.sort.name == sort.name]
            if sort.name == "cpu":
                found += [BOOT]
            if sort.name == "irq":
                found += [Const(i, sort) for i in range(IRQS)]
            return found + ([none_of(sort)] if sort.nullable else [])
        if isinstance(sort, RangeSort):
            return [Const(v, sort) for v in range(sort.low, sort.high + 1)]
        return [Const(v, sort) for v in range(len(sort.values))]

    def read_or_leaf(self, sort, params, depth, leaves):
        readable = [v for v in self.variables if _same(v.sort, sort)]
        if not readable or depth == 0 and self.number(0, 1) or self.number(0, 2) == 0:
            return self.pick(leaves)
        return self.read(self.pick(readable), params, depth)

    def read(self, variable, params, depth):
        where = []
        for sort in variable.indices:
            near = self.leaves(sort, params)
            deep = depth > 0 and self.number(0, 3) == 0
            if deep:
                sort = IndexSort(sort.name, nullable=True)
                where.append(self.value(sort, params, depth - 1))
            else:
                where.append(self.pick(near))
        return rd(variable, *where)

    def boolean(self, params, depth):
        params = tuple(params)
        kind = self.number(0, 9 if depth else 3)
        if kind <= 1:
            flags = [v for v in self.variables if v.sort == BOOL]
            if flags:
                return self.read(self.pick(flags), params, min(depth, 1))
        if kind <= 3:
            return self.comparison(params, max(depth - 1, 0))
        if kind == 4:
            return not_(self.boolean(params, depth - 1))
        if kind <= 6:
            parts = [self.boolean(params, depth - 1) for _ in range(2)]
            return self.pick([and_, or_])(*parts)
        param = self.fresh(self.pick([CPU, IRQ]))
        body = self.boolean((*params, param), depth - 1)
        if kind == 9:
            total = Quantified(Quantifier.COUNT, param, body)
            return compare(self.pick([Op.LT, Op.LE]), total, Const(1, NUMBER))
        return self.pick([forall, exists])(param, body)

    def comparison(self, params, depth):
        cpus = [p for p in params if p.sort.name == "cpu"]
        if self.ordered and cpus and self.number(0, 2) == 0:
            return before(self.pick(cpus), self.value(CPU, params, depth))
        if self.counted and depth and self.number(0, 3) == 0:
            total, few = (
                self.sum(None, params, depth - 1),
                Const(self.number(0, 2), NUMBER),
            )
            return Apply(self.pick([Op.LT, Op.LE, Op.EQ]), (total, few), BOOL)
        sort = self.pick([v.sort for v in self.variables])
        if sort == BOOL:
            sort = CPU_OR_NONE
        a, b = (self.value(sort, params, depth) for _ in range(2))
        if isinstance(sort, CounterSort):
            a = rd(next(v for v in self.variables if v.sort == sort))
        if isinstance(sort, RangeSort | CounterSort):
            return Apply(self.pick([Op.LT, Op.LE, Op.EQ]), (a, b), BOOL)
        return Apply(Op.EQ, (a, b), BOOL)


def _same(have, want):
    if isinstance(have, IndexSort) and isinstance(want, IndexSort):
        return have.name == want.name and (want.nullable or not have.nullable)
    return have == want
