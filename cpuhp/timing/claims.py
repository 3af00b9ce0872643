"""The numbers that the sources claim, held against the models.

A claim names a run: a scenario or one of `systems.MODELS`, costs, number of CPUs. Some
claims fit a parameter: the parameter gets the value with which the model says what the
claim says. All others are predictions. Nothing else knows what is claimed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpuhp.diagnostics import fail
from cpuhp.kernel.tables.order import order_of
from cpuhp.language.library import shipped
from cpuhp.language.link import link
from cpuhp.timing.cost_file import UNITS, find_costs, shipped_costs
from cpuhp.timing.costs import CostTable
from cpuhp.timing.estimate import as_schedule
from cpuhp.timing.simulate import Model, model, simulate
from cpuhp.timing.systems import COUNTS, MODELS

_CLAIMED = re.compile(r"\s*([<>]?)\s*(\d+(?:\.\d+)?)\s*(.*)")
_RUN = (
    "scenario", "model", "costs", "cpus", "params", "options", "constants", "with",
    "measure",
)  # fmt: skip
_ROUNDS = 40
_CLOSE = 1e-9


@dataclass(frozen=True)
class Wanted:
    """One run: of a scenario, or of a model of `systems` with its numbers."""

    scenario: str = ""
    model: str = ""
    costs: str = ""
    cpus: int = 1
    params: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    measure: str = "makespan"  # makespan, control (its busy time) or each (per CPU)


@dataclass(frozen=True)
class Claim:
    """What a source says, and how the model says it.

    The model's value is that of `run`, with that of `plus` added, of `minus` taken
    away, divided by that of `over`. `value` is in seconds if the unit is one of time;
    None if the source gives no number.
    """

    name: str
    text: str
    where: str
    claimed: str
    value: float | None
    unit: str
    bound: str  # "", "<" or ">"
    run: Wanted
    plus: Wanted | None = None
    minus: Wanted | None = None
    over: Wanted | None = None
    fits: str = ""
    contradiction: str = ""

    @property
    def scenarios(self) -> frozenset[str]:
        """Names of the scenarios that are run for it."""
        runs = (self.run, self.plus, self.minus, self.over)
        return frozenset(run.scenario for run in runs if run and run.scenario)


@dataclass(frozen=True)
class Settled:
    """A claim and what the model says; `parameter` is the value that was fitted."""

    claim: Claim
    model: float
    parameter: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.model / self.claim.value if self.claim.value else None


def shipped_claims() -> tuple[Claim, ...]:
    """The claims of specs/costs/claims.toml."""
    path = shipped_costs()["claims"]
    return tuple(
        _claim(entry) for entry in tomllib.loads(path.read_text("utf-8"))["claim"]
    )


def _claim(entry: Mapping[str, Any]) -> Claim:
    match = _CLAIMED.fullmatch(entry["claimed"])
    value, unit, bound = None, "", ""
    if match:
        bound, unit = match[1], match[3]
        value = float(match[2]) * UNITS.get(unit, 1.0)
    run = _wanted(entry, {})
    main = {key: entry[key] for key in _RUN if key in entry}
    others = {
        word: _wanted(entry[word], main) if word in entry else None
        for word in ("plus", "minus", "over")
    }
    return Claim(
        entry["id"], entry["text"], entry["where"], entry["claimed"], value, unit, bound,
        run, others["plus"], others["minus"], others["over"], entry.get("fits", ""),
        entry.get("contradiction", ""),
    )  # fmt: skip


def _wanted(entry: Mapping[str, Any], main: Mapping[str, Any]) -> Wanted:
    data = {**main, **{key: entry[key] for key in _RUN if key in entry}}
    return Wanted(
        data.get("scenario", ""), data.get("model", ""), data.get("costs", ""),
        int(data.get("cpus", 1)), data.get("params", {}), data.get("options", {}),
        data.get("constants", {}), data.get("with", {}), data.get("measure", "makespan"),
    )  # fmt: skip


# -- fitting -----------------------------------------------------------------------


def settle(claims: Sequence[Claim]) -> tuple[Settled, ...]:
    """Fit the parameters, then let every model speak.

    Raises InputError HP940 if a parameter cannot be fitted: the model does not depend
    on it, or two claims pull it apart.
    """
    bench = _Bench()
    fitting = [claim for claim in claims if claim.fits]
    for _ in range(_ROUNDS):
        moved = [bench.fit(claim) for claim in fitting]
        if max(moved, default=0.0) < _CLOSE:
            break
    found = []
    for claim in claims:
        key = (claim.run.costs, claim.fits)
        fitted = bench.fitted.get(key) if claim.fits else None
        found.append(Settled(claim, bench.value(claim), fitted))
    return tuple(found)


@dataclass
class _Bench:
    """Runs models; remembers fitted parameters and what it has compiled."""

    fitted: dict[tuple[str, str], float] = field(default_factory=dict)
    models: dict[tuple[str, tuple[tuple[str, str], ...]], Model] = field(
        default_factory=dict
    )
    declared: dict[str, frozenset[str]] = field(default_factory=dict)  # options
    known: dict[tuple[object, ...], float] = field(default_factory=dict)

    def fit(self, claim: Claim) -> float:
        """One step towards the claim; by how much the parameter moved, as a part."""
        key = (claim.run.costs, claim.fits)
        start = self.fitted.get(key)
        if start is None:
            start = self.costs(claim.run).parameters[claim.fits]
        assert claim.value is not None
        now = start
        for _ in range(_ROUNDS):
            self.fitted[key] = now
            here = self.value(claim)
            if abs(here - claim.value) <= _CLOSE * claim.value:
                break
            step = max(now * 1e-3, 1e-12)
            self.fitted[key] = now + step
            slope = (self.value(claim) - here) / step
            if slope == 0:
                raise fail(
                    "HP940",
                    f"claim {claim.name} cannot settle '{claim.fits}': the model does "
                    "not depend on it",
                )
            now = max(0.0, now + (claim.value - here) / slope)
        self.fitted[key] = now
        return abs(now - start) / max(start, now, 1e-12)

    def value(self, claim: Claim) -> float:
        """What the model says for the claim."""
        found = self.measure(claim.run)
        if claim.plus:
            found += self.measure(claim.plus)
        if claim.minus:
            found -= self.measure(claim.minus)
        if claim.over:
            found /= self.measure(claim.over)
        return found

    def costs(self, run: Wanted) -> CostTable:
        given = {
            name: f"{value!r} s"
            for (costs, name), value in self.fitted.items()
            if costs == run.costs
        }
        return find_costs(run.costs, {**given, **run.params}, run.constants)

    def measure(self, run: Wanted) -> float:
        if run.model in COUNTS:
            return COUNTS[run.model](run.numbers)
        costs = self.costs(run)
        key = (repr(run), tuple(costs.parameters.items()))
        if key not in self.known:
            self.known[key] = self._measured(run, costs)
        return self.known[key]

    def _measured(self, run: Wanted, costs: CostTable) -> float:
        if run.model:
            return MODELS[run.model](costs.parameters, run.numbers).makespan
        found = simulate(self.model(run, costs), run.cpus, costs)
        if run.measure == "control":
            return as_schedule(found).lanes.get("control CPU", 0.0)
        return found.makespan / (run.cpus - 1 if run.measure == "each" else 1)

    def model(self, run: Wanted, costs: CostTable) -> Model:
        unit = shipped().find(run.scenario.replace("-", "_"))
        if run.scenario not in self.declared:
            program = link(unit, shipped(), order_of(unit), {})
            self.declared[run.scenario] = frozenset(program.options)
        declared = self.declared[run.scenario]
        brought = {n: v for n, v in costs.options.items() if n in declared}
        options = {**brought, **run.options}
        key = (run.scenario, tuple(sorted(options.items())))
        if key not in self.models:
            program = link(unit, shipped(), order_of(unit), options)
            self.models[key] = model(program)
        return self.models[key]
