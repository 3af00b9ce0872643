"""Faults planted in the proof that there is no data race: the programs by hand notice."""

from dataclasses import replace

import pytest
from test_race_proofs import RACE_FREE, RACES, wrong_about, wrong_formula

from cpuhp.engines import ladder
from cpuhp.engines.certificate import rebuild
from cpuhp.engines.races import RaceProofs
from cpuhp.graph import claim, races
from cpuhp.graph.relevance import Relevance
from cpuhp.language import unroll
from cpuhp.model.expr import Apply, Boot, Op, conjuncts, eq, not_, reads
from cpuhp.model.system import Runs

true_narrowed, true_read = Relevance.narrowed, races._read
true_every_access, true_goals = races._every_access, races._goals
true_never = races._never
true_put_together, true_folded = races._put_together, claim.folded
true_proved = ladder.Ladder._proved_apart


def without_conditions(self, props, kept, only, accessed=frozenset()):
    """What is read in a condition may be lost, not what is assigned."""
    stored = {n for step in self._steps for n, used in step.values if used & accessed}
    return true_narrowed(self, props, kept, only | accessed | stored)


def without_assignments(self, props, kept, only, accessed=frozenset()):
    """The other way round."""
    looked = frozenset[str]().union(
        *(
            reads(part)
            for step in self._steps
            for test in (step.edge.guard, *(c.among for c in step.edge.choices))
            for part in conjuncts(test)
            if reads(part) & accessed
        )
    )
    return true_narrowed(self, props, kept, only | accessed | looked)


def only_first_operands(op):
    def read(expr, *rest, **more):
        if isinstance(expr, Apply) and expr.op is op:
            expr = expr.args[0]
        yield from true_read(expr, *rest, **more)

    return read


def accesses_but(left_out):
    def every_access(action):
        yield from (a for a in true_every_access(action) if not left_out(a))

    return every_access


def is_looked_at(access):
    return any(p.name.endswith("looked at") for p in access.params)


def never_the_same_process(one, uses, other, theirs, locations):
    if one.process != other.process:
        yield from true_goals(one, uses, other, theirs, locations)


def once_too(one, uses, other, theirs, locations):
    """A task races with itself."""
    again = replace(one.process, runs=Runs.EVERY_CPU)
    if one.process == other.process and one.process.runs is Runs.ONCE:
        one, other = (replace(place, process=again) for place in (one, other))
    yield from true_goals(one, uses, other, theirs, locations)


def not_on_boot(process, cpu):
    if process.runs is not Runs.ONCE:
        yield not_(eq(cpu, Boot()))


def none_is_nobody(one, when, other, whenever, locations):
    """What may be none is taken to be."""
    if not any(map(races.may_be_none, (*one.indices, *other.indices))):
        yield from true_never(one, when, other, whenever, locations)


def merged_without(ways, subject):
    """One of the values is as good as all of them."""
    merged = true_put_together(ways, subject)
    return [{s: v for s, v in way.items() if s != subject} for way in merged]


def merged_first(ways, subject):
    """Of two values the first one counts."""
    found = {}
    for way in ways:
        rest = frozenset([pair for pair in way.items() if pair[0] != subject])
        found.setdefault(rest, way)
    return list(found.values())


def all_but_one(self, proofs):
    return true_proved(self, proofs[1:])


FAULTS = {
    "what conditions read is forgotten": (Relevance, "narrowed", without_conditions),
    "what is assigned is forgotten": (Relevance, "narrowed", without_assignments),
    "everything but the variables is forgotten":
        (Relevance, "narrowed", lambda self, props, kept, only, accessed:
            true_narrowed(self, props, kept, only | accessed)),
    "a read behind && is dropped": (races, "_read", only_first_operands(Op.AND)),
    "a read behind || is dropped": (races, "_read", only_first_operands(Op.OR)),
    "a read in a branch is dropped": (races, "_read", only_first_operands(Op.ITE)),
    "a write is dropped":
        (races, "_every_access", accesses_but(lambda access: access.writes)),
    "a write of a set is dropped":
        (races, "_every_access", accesses_but(lambda a: a.writes and a.params)),
    "a read is dropped":
        (races, "_every_access", accesses_but(lambda access: not access.writes)),
    "a test of a set is dropped":
        (races, "_every_access",
            accesses_but(lambda a: a.params and not a.writes and not is_looked_at(a))),
    "elements that are not chosen are dropped":
        (races, "_every_access", accesses_but(is_looked_at)),
    "a set is assigned whole": (races, "chosen_among", lambda effect: []),
    "two of the same process never race": (races, "_goals", never_the_same_process),
    "a task races with itself": (races, "_goals", once_too),
    "no process is on the control CPU": (races, "_runs", not_on_boot),
    "every process is on the control CPU": (races, "_runs", lambda process, cpu: ()),
    "who may be none is": (races, "_never", none_is_nobody),
    "none is somebody": (races, "may_be_none", lambda value: False),
    "one value is all": (races, "_put_together", merged_without),
    "one value stands for others": (races, "_put_together", merged_first),
    "a condition is whatever another is":
        (races, "_implies", lambda way, other: way is not other),
    "conditions count for nothing": (races, "_shorter", lambda conditions: races.TRUE),
    "constants decide what is read":
        (claim, "folded", lambda lowered, known, but: true_folded(lowered, known)),
    "local variables decide what is read":
        (unroll, "_looked_at", lambda expr, value_of: ()),
    "some variables are not proved": (ladder.Ladder, "_proved_apart", all_but_one),
    "a certificate need not be about all":
        (rebuild, "_demand_whole_claim", lambda certificate, prop, whole: None),
    "a certificate is of any model": (rebuild, "model_digest", lambda system, prop: "0" * 64),
    "variables that race are taken to be few":
        (rebuild, "plain_variables", lambda whole: []),
    "no proof is looked for": (RaceProofs, "over_data", lambda self, groups: None),
}  # fmt: skip


PROGRAMS = {
    RACE_FREE["two variables"]: False,  # the one that notices most sooner than others
    **dict.fromkeys(RACES.values(), True),
    **dict.fromkeys(RACE_FREE.values(), False),
}


def noticed():
    """Is something wrong about one of the programs?"""
    return any(map(wrong_formula, PROGRAMS)) or any(
        wrong
        for text, has_races in PROGRAMS.items()
        for wrong in wrong_about(text, races=has_races)
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    assert noticed()
