"""Which variables does a proof need? Refinement by counterexamples.

A proof on a slice stands whatever the slice leaves out (graph/slicing.py). So begin with
the variables that the claim is made of. If the slice over them violates the claim, its
interleaving is followed, statement by statement, in the slice that leaves nothing out;
the first statement that cannot be taken there has a condition on variables that were
left out: these are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

from cpuhp.engines.clock import now
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.lifting import same_cells
from cpuhp.engines.parametric.sampling import Samples, without_order
from cpuhp.engines.shortening import shortened
from cpuhp.engines.unfolding import unfold
from cpuhp.graph.claim import Thinned
from cpuhp.model.expr import Expr, Param, conjuncts, reads
from cpuhp.model.system import Action, Property, TransitionSystem
from cpuhp.model.verdict import State, Step, Trace, Verdict
from cpuhp.semantics import Machine, apply, holds, initial_states

_STATES = 64  # that one interleaving is followed through at a time
Variables = frozenset[str]


_FEW, _FEW_STATES = (1, 2, 3), 5_000
_SCANTY_SAMPLES = 800, 10  # of a slice that knows little, and so has very many states
_FEW_SAMPLES, _MANY_SAMPLES = (6_000, 50), (40_000, 300)  # states and walks
_SOON = 1.5  # seconds after which a wider slice is tried,
_SMALL = 120  # and so many actions: a proof about more takes longer than a wider slice
_SHALLOW = 104, 12  # and soonest of all with no more actions and variables


@dataclass(frozen=True)
class Narrow:
    """A slice over few variables, which has no violation with few CPUs."""

    only: Variables
    system: TransitionSystem
    prop: Property
    samples: Samples
    seconds: float  # for a proof; more would be better spent on the next one


class Refinement:
    """Slices of one claim (`always`), each over more variables than the one before."""

    def __init__(self, thin: Thinned, until: float):
        self.thin, self.until = thin, until
        self.only: Variables = frozenset()
        self._fine: TransitionSystem | None = None

    def shallow(self) -> Narrow | None:
        """The slice over what is looked at where the claim's variables are written."""
        only = self.thin.shallow()
        system, _ = self.thin.system(only)
        actions, variables = _SHALLOW
        if len(system.actions) > actions or len(system.variables) > variables:
            return None
        return self._over(only, now() + _SOON, _SCANTY_SAMPLES)

    def slices(self) -> Iterator[Narrow]:
        """Slices that are not too coarse as far as samples tell, each with more."""
        left = self.until - now()
        shallow = self.shallow()
        if shallow is not None:
            yield replace(shallow, seconds=min(_SOON, 0.15 * left))
        soon = now() + min(_SOON, 0.15 * left)
        narrow = self._refined(*_FEW_SAMPLES, soon, minimise=True)
        if narrow is not None and len(narrow.system.actions) <= _SMALL:
            yield replace(narrow, seconds=min(_SOON, 0.15 * left))
        near = self.near(now() + 0.3 * left)
        if near is not None:
            yield near
        data = self.data(now() + 0.3 * left)
        if data is not None and (near is None or near.only != data.only):
            yield data
        for states, walks in (_FEW_SAMPLES, _MANY_SAMPLES):
            narrow = self._refined(states, walks, self.until, minimise=False)
            if narrow is not None:
                share = 0.5 if states == _FEW_SAMPLES[0] else 1.0
                yield replace(narrow, seconds=share * narrow.seconds)

    def near(self, until: float) -> Narrow | None:
        """The slice over the data that decide, and on what decides, as far as it takes."""
        for only in self.thin.nearby():
            narrow = self._over(only, until)
            if narrow is not None:
                return narrow
        return None

    def data(self, until: float) -> Narrow | None:
        """The slice over what matters, without locks and shared pointers."""
        return self._over(self.thin.data(), until)

    def _over(
        self,
        only: Variables,
        until: float,
        enough: tuple[int, int] = _FEW_SAMPLES,
    ) -> Narrow | None:
        """The slice over these variables, unless few CPUs violate the claim there."""
        system, prop = self.thin.system(only)
        if self._violation(system, prop) is not None:
            return None
        samples = Samples(system, (prop,))
        if next(samples.collect(*enough, until), None) is not None:
            return None
        return Narrow(only, system, prop, samples, until - now())

    def _refined(
        self, states: int, walks: int, until: float, minimise: bool
    ) -> Narrow | None:
        """The first slice with no violation among so many samples."""
        while now() < until:
            system, prop = self.thin.system(self.only)
            trace = self._violation(system, prop)
            if trace is None and minimise:
                minimise = False
                if self._drop_idle():
                    continue
            if minimise and len(system.actions) > _SMALL:
                return None
            samples = Samples(system, (prop,))
            if trace is None:
                seen = next(samples.collect(states, walks, until), None)
                if seen is not None:
                    trace = shortened(without_order(system), prop, seen.trace)
            if trace is None:
                seconds = until - now()
                return Narrow(self.only, system, prop, samples, seconds)
            more = self._blamed(system, trace)
            if not more:
                return None
            self.only |= more
        return None

    def _drop_idle(self) -> bool:
        """Leave out variables that another one has made superfluous, if that is sure."""
        before = self.only
        for name in sorted(self.only):
            system, prop = self.thin.system(self.only - {name})
            system = without_order(system)
            results = [
                check(system, prop, cpus, 0, Limits(_FEW_STATES, 1.0)).verdict
                for cpus in _FEW
            ]
            if all(verdict is Verdict.PROVED for verdict in results):
                self.only -= {name}
        return self.only != before

    def _violation(self, system: TransitionSystem, prop: Property) -> Trace | None:
        """A short interleaving of few CPUs that violates the claim."""
        system = without_order(system)
        for cpus in _FEW:
            left = max(0.1, min(5.0, self.until - now()))
            found = check(system, prop, cpus, 0, Limits(_FEW_STATES, left))
            if found.trace is not None:
                return found.trace
        return None

    def _blamed(self, system: TransitionSystem, trace: Trace) -> Variables:
        """Variables left out that keep the interleaving from happening."""
        coarse, prop = self.thin.system(self.only, reduced=False)
        coarse = without_order(coarse)
        path = unfold(coarse, prop, without_order(system), trace, until=self.until)
        if path is None:
            return frozenset()
        if self._fine is None:
            self._fine = without_order(self.thin.system(reduced=False)[0])
        known = frozenset(variable.name for variable in coarse.variables)
        return (
            _obstacle(Machine(self._fine, path.cpus, path.boot), coarse, path) - known
        )


def _obstacle(fine: Machine, coarse: TransitionSystem, path: Trace) -> Variables:
    """What the first condition reads that stops the path in the finer system."""
    small = Machine(coarse, path.cpus, path.boot)
    actions = {action.name: action for action in fine.system.actions}
    states = _starts(fine, small, path)
    for step in path.steps:
        action = actions[step.action.name]
        after = dict.fromkeys(
            apply(fine, state, action, tuple(env.values()))
            for state in states
            for env in _choices(fine, action, step)
            if not _missing(fine, action, state, env)
        )
        if not after:
            return _most_missed(fine, action, states, step)
        states = list(islice(after, _STATES))
    return frozenset()


def _starts(fine: Machine, small: Machine, path: Trace) -> list[State]:
    given = {cell: path.initial[other] for cell, other in same_cells(fine, small)}
    return list(islice(initial_states(fine, given), _STATES))


def _choices(fine: Machine, action: Action, step: Step) -> Iterator[dict[Param, int]]:
    """Values of the action's parameters that agree with those of the step."""
    fixed = dict(zip(step.action.params, step.binding))
    domains = [
        (fixed[param],) if param in fixed else tuple(fine.elements(param.sort))
        for param in action.params
    ]
    for values in product(*domains):
        yield dict(zip(action.params, values))


def _missing(
    fine: Machine, action: Action, state: State, env: dict[Param, int]
) -> list[Expr]:
    """The conditions that keep the action from being taken."""
    wanted = [c for choice in action.choices for c in conjuncts(choice.among)]
    wanted += conjuncts(action.guard)
    return [part for part in wanted if not holds(fine, part, state, env)]


def _most_missed(
    fine: Machine, action: Action, states: list[State], step: Step
) -> Variables:
    missed = Counter(
        part
        for state in states
        for env in _choices(fine, action, step)
        for part in _missing(fine, action, state, env)
    )
    found = max(missed, key=lambda part: missed[part], default=None)
    return frozenset() if found is None else reads(found)
