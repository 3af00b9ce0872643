"""Toy transition systems, written with few words."""

from itertools import pairwise

from cpuhp.model.expr import (
    TRUE,
    Boot,
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    Read,
    and_,
    arithmetic,
    eq,
    exactly,
    forall,
    implies,
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
    RangeSort,
)
from cpuhp.model.system import (
    Action,
    Assign,
    Choice,
    Expectation,
    Order,
    Process,
    Property,
    Role,
    Runs,
    TransitionSystem,
    Variable,
)

BOOT = Boot()
ME = Param("me", CPU)
NOBODY = none_of(CPU)


def const(sort, value):
    """A value, given as a number or as the name of an enum's value."""
    if isinstance(value, str):
        value = sort.values.index(value)
    return Const(int(value), sort)


def shared(name, sort=BOOL, initial=0, **more):
    value = initial if not isinstance(initial, int | str) else const(sort, initial)
    return Variable(name, sort, (), value, **more)


def percpu(name, sort=BOOL, initial=0, **more):
    """One cell per CPU. `initial` may be a function of the CPU."""
    cpu = Param(f"cpu_of_{name}", CPU)
    if callable(initial):
        value = initial(cpu)
    elif initial is None or not isinstance(initial, int | str):
        value = initial
    else:
        value = const(sort, initial)
    return Variable(name, sort, (CPU,), value, (cpu,), **more)


def lock(name):
    return Variable(name, CPU_OR_NONE, (), NOBODY, role=Role.LOCK)


def rd(variable, *indices):
    return Read(variable.name, indices, variable.sort)


def put(variable, *rest, bound=()):
    """`put(v, i, value)` assigns `value` to `v[i]`."""
    *indices, value = rest
    if isinstance(value, int | str):
        value = const(variable.sort, value)
    return Assign(variable.name, tuple(indices), value, bound)


class Code:
    """A process written as edges between named locations."""

    def __init__(self, name, points, runs=Runs.ONCE, **more):
        self.points = points.split()
        self.sort = EnumSort(f"{name}_at", tuple(self.points))
        each = runs is not Runs.ONCE
        self.location = (percpu if each else shared)(
            f"{name}.at", self.sort, self.points[0], role=Role.LOCATION, owner=name
        )
        self.process = Process(
            name,
            runs,
            self.location.name,
            self.points[0],
            final=frozenset(more.pop("final", self.points[-1]).split()),
            resting=frozenset(more.pop("resting", "").split()),
            **more,
        )
        self.me = (ME,) if each else ()
        self.actions = []

    def at(self, point, *who):
        return eq(rd(self.location, *(who or self.me)), const(self.sort, point))

    def step(self, source, target, guard=TRUE, effects=(), choices=(), name=None):
        self.actions.append(
            Action(
                name or f"{self.process.name}.{len(self.actions)}",
                self.process.name,
                source,
                target,
                actor=ME if self.me else None,
                choices=tuple(choices),
                guard=and_(self.at(source), guard),
                effects=(*effects, put(self.location, *self.me, target)),
            )
        )
        return self


def build(name, codes, variables=(), assumptions=(), sizes=()):
    return TransitionSystem(
        name,
        (*variables, *(code.location for code in codes)),
        tuple(code.process for code in codes),
        tuple(action for code in codes for action in code.actions),
        tuple(assumptions),
        tuple(sizes),
    )


def one_step(variables, guard=TRUE, effects=(), choices=(), runs=Runs.ONCE):
    code = Code("task", "start end", runs)
    code.step("start", "end", guard, effects, choices)
    return build("one_step", [code], variables)


def always(formula):
    return Property("claim", Expectation.ALWAYS, formula)


def sometimes(formula):
    return Property("hope", Expectation.SOMETIMES, formula)


def finally_(formula):
    return Property("end", Expectation.FINALLY, formula)


def leads_to(trigger, goal):
    return Property("progress", Expectation.LEADS_TO, trigger, goal)


DEADLOCK_FREE = Property("no_deadlock", Expectation.DEADLOCK_FREE)
TERMINATES = Property("ends", Expectation.TERMINATES)
RACE_FREE = Property("no_race", Expectation.RACE_FREE)


# --- systems with known answers


def lost_update(atomic=False, runs=Runs.EVERY_CPU):
    """Each CPU counts itself down, in two steps: returns (system, `it went wrong`)."""
    number = RangeSort(0, 9)
    everyone = Quantified(Quantifier.COUNT, Param("c0", CPU), TRUE)
    n = shared("n", number, everyone, plain=not atomic)
    t = percpu("t", number)
    code = Code("down", "load store done", runs)
    one = Const(1, number)
    if atomic:
        less = arithmetic(Op.SUB, rd(n), one, number)
        code.step("load", "done", effects=[put(n, less)])
    else:
        less = arithmetic(Op.SUB, rd(t, ME), one, number)
        code.step("load", "store", effects=[put(t, ME, rd(n))])
        code.step("store", "done", effects=[put(n, less)])
    c = Param("c1", CPU)
    done = forall(c, code.at("done", c))
    return build("lost_update", [code], [n, t]), and_(
        done, not_(eq(rd(n), Const(0, number)))
    )


def critical_section(locked=True):
    """Every CPU enters once: returns (system, `no two are inside`)."""
    mutex, data = lock("mutex"), shared("data", RangeSort(0, 3), plain=True)
    code = Code("user", "out inside leave done", Runs.EVERY_CPU)
    free = eq(rd(mutex), NOBODY) if locked else TRUE
    code.step("out", "inside", free, [put(mutex, ME)])
    code.step("inside", "leave", effects=[put(data, 1)])
    code.step("leave", "done", effects=[put(mutex, NOBODY)])
    a, b = Param("a", CPU), Param("b", CPU)

    def within(c):
        return or_(code.at("inside", c), code.at("leave", c))

    alone = forall(a, forall(b, implies(and_(within(a), within(b)), eq(a, b))))
    return build("critical_section", [code], [mutex, data]), alone


def opposite_locks():
    """Two tasks take two locks in opposite order."""
    left, right = shared("left"), shared("right")
    codes = []
    for name, one, two in (("p", left, right), ("q", right, left)):
        code = Code(name, "start half both done")
        code.step("start", "half", not_(rd(one)), [put(one, 1)])
        code.step("half", "both", not_(rd(two)), [put(two, 1)])
        code.step("both", "done", effects=[put(one, 0), put(two, 0)])
        codes.append(code)
    return build("opposite_locks", codes, [left, right])


def spinner(fair=True):
    """A task spins until a flag is set, by a task or by mere environment."""
    flag = shared("flag")
    waits = Code("waits", "spin done")
    waits.step("spin", "done", rd(flag)).step("spin", "spin", not_(rd(flag)))
    sets = Code("sets", "idle done", environment=not fair)
    sets.step("idle", "done", effects=[put(flag, 1)])
    return build("spinner", [waits, sets], [flag]), leads_to(waits.at("spin"), rd(flag))


def hog(blocking):
    """One task spins; another waits. Returns (system, `the other gets there`).

    With `blocking` the hog holds a lock every other moment, so the other is never
    able to move for long enough; else it always is.
    """
    busy = shared("busy")
    spins = Code("spins", "free held", resting="free", final="held")
    spins.step("free", "held", effects=[put(busy, 1)])
    spins.step("held", "free", effects=[put(busy, 0)])
    waits = Code("waits", "waiting done")
    waits.step("waiting", "done", not_(rd(busy)) if blocking else TRUE)
    goal = leads_to(waits.at("waiting"), waits.at("done"))
    return build("hog", [spins, waits], [busy]), goal


def election(order=Order.ANY):
    """Control picks an online CPU, then each AP goes: tests choice and pointers."""
    online = percpu("online", BOOL, 1)
    chosen = shared("chosen", CPU_OR_NONE, NOBODY)
    c = Param("pick", CPU)
    control = Code("control", "start picked done")
    control.step(
        "start",
        "picked",
        effects=[put(chosen, c)],
        choices=[Choice(c, and_(rd(online, c), not_(eq(c, BOOT))), order)],
    )
    control.step("picked", "done", not_(rd(online, rd(chosen))))
    ap = Code("ap", "up down", Runs.EVERY_AP)
    ap.step("up", "down", effects=[put(online, ME, 0)])
    return build("election", [control, ap], [online, chosen])


def leavers():
    """Each CPU that goes leaves a counter, far from 0, and a number that stays at 0."""
    up = percpu("up", BOOL, 1)
    left, least = (
        shared("left", CounterSort("up"), 150),
        shared("least", RangeSort(0, 3)),
    )
    one, two = (Const(n, RangeSort(n, n)) for n in (1, 2))
    less = arithmetic(Op.SUB, rd(left), one, exactly(Op.SUB, left.sort, one.sort))
    code = Code("ap", "up down", Runs.EVERY_AP).step(
        "up",
        "down",
        effects=[
            put(up, ME, 0),
            put(left, less),
            put(least, arithmetic(Op.SUB, rd(least), two, least.sort)),
        ],
    )
    return build("leavers", [code], [up, left, least]), eq(
        rd(left), Const(149, less.sort)
    )


def chains():
    """Pointers of the CPUs at one another, read and written through each other."""
    follows = percpu("follows", CPU_OR_NONE, None)
    one = rd(follows, ME)
    two = rd(follows, one)
    code = Code("ap", "up down", Runs.EVERY_AP).step(
        "up", "down", effects=[put(follows, one, rd(follows, two))]
    )
    own = forall(ME, implies(eq(rd(follows, two), ME), eq(one, ME)))
    return build("chains", [code], [follows]), own


def buddies():
    """Each AP remembers another AP: per-CPU pointers under symmetry."""
    buddy = percpu("buddy", CPU_OR_NONE, NOBODY)
    tag = percpu("tag", RangeSort(0, 2))
    c = Param("pick", CPU)
    ap = Code("ap", "start has done", Runs.EVERY_AP)
    ap.step(
        "start",
        "has",
        effects=[put(buddy, ME, c)],
        choices=[Choice(c, and_(not_(eq(c, ME)), not_(eq(c, BOOT))))],
    )
    one = arithmetic(Op.ADD, rd(tag, rd(buddy, ME)), Const(1, tag.sort), tag.sort)
    ap.step("has", "done", effects=[put(tag, rd(buddy, ME), one)])
    return build("buddies", [ap], [buddy, tag])


def parallel_shutdown(callbacks=3, stale=False):
    """Three-phase shutdown: returns (system, properties).

    Every AP runs `callbacks` local callbacks; before the last ones it hands over the
    event context, under a mutex, to any CPU that has not done so yet (with `stale`: to
    any that is still marked online, the seeded bug). When all are parked, stop_machine
    turns interrupts off on all; then they die one by one, in any order.
    """
    mutex, context = lock("mutex"), shared("context", CPU, None)
    online = percpu("online", BOOL, 1)
    before_it = callbacks // 2
    first = [f"cb{i}" for i in range(before_it)]
    last = [f"cb{i}" for i in range(before_it, callbacks)]
    points = [*first, "lock", "migrate", *last, "parked", "irqoff", "dying", "dead"]
    ap = Code("ap", " ".join(points), Runs.EVERY_AP)
    control = Code("control", "park stop kill done")
    for source, target in pairwise(points):
        if source.startswith("cb"):
            ap.step(source, target)
    ap.step("lock", "migrate", eq(rd(mutex), NOBODY), [put(mutex, ME)])
    c, other = Param("target", CPU), Param("other", CPU)
    mine = eq(rd(context), ME)
    past = points[points.index("migrate") :]

    def fit(x):
        if stale:
            return and_(rd(online, x), not_(eq(x, ME)))
        busy = [ap.at(point, x) for point in past]
        return and_(not_(eq(x, ME)), or_(eq(x, BOOT), not_(or_(*busy))))

    after = points[points.index("migrate") + 1]
    drop = put(mutex, NOBODY)
    ap.step("migrate", after, not_(mine), [drop])
    ap.step("migrate", after, mine, [put(context, c), drop], [Choice(c, fit(c))])
    ap.step("irqoff", "dying", control.at("kill"), [put(online, ME, 0)])
    ap.step("dying", "dead")
    control.step(
        "park",
        "stop",
        forall(other, or_(eq(other, BOOT), ap.at("parked", other))),
    )
    control.step(
        "stop",
        "kill",
        effects=[
            Assign(
                ap.location.name,
                (other,),
                ite(eq(other, BOOT), rd(ap.location, other), const(ap.sort, "irqoff")),
                (other,),
            )
        ],
    )
    control.step(
        "kill", "done", forall(other, or_(eq(other, BOOT), ap.at("dead", other)))
    )
    kept = always(not_(ap.at("dead", rd(context))))
    away = sometimes(not_(eq(rd(context), BOOT)))
    system = build("parallel_shutdown", [control, ap], [mutex, context, online])
    return system, [kept, away, DEADLOCK_FREE]


def topology():
    """Free initial values: each CPU is a leader or follows one that leads itself."""
    leader = percpu("leader", CPU, None, constant=True)
    seen = shared("seen", CPU_OR_NONE, NOBODY)
    c, d = Param("c", CPU), Param("d", CPU)
    code = Code("look", "start done")
    code.step("start", "done", effects=[put(seen, rd(leader, d))], choices=[Choice(d)])
    rooted = forall(c, eq(rd(leader, rd(leader, c)), rd(leader, c)))
    return build("topology", [code], [leader, seen], [rooted])
