"""What the tool says about random programs, against a second reading of them."""

from collections import Counter

import pytest
from program_writer import Writer, declarations, first_states
from second_reading import Thread, TooManyError, Value, reachable

from cpuhp.api import Settings, load
from cpuhp.diagnostics import InputError
from cpuhp.graph import constants
from cpuhp.language import flow, terms, unroll

CPUS = (1, 2, 3)
LARGE = 4  # CPUs: more than are searched where there is a proof
MOST = 20_000  # states: programs with more are passed over
SEEN = Value("seen", lambda s: s["seen"])


class Program:
    """A random program of one process, or of several, and claims about it.

    With `large` they are about machines with that many CPUs or more, so that no search
    with fewer finds what a proof overlooks.
    """

    def __init__(self, seed, parallel, large=None):
        self.parallel = parallel
        self.free = not parallel and large is None
        self.handled = parallel and seed % 3 == 0
        self.everywhere = seed % 2 == 0
        more = {"waits": parallel, "masks": self.handled}
        writers = [Writer(seed, **more)]
        self.bodies = [writers[0].program(*((2, 1) if parallel else (3, 2)))]
        forms = ["process p"]
        if parallel:
            writers.append(Writer(seed + 10_000, prefix="her", **more))
            writers.append(Writer(seed + 20_000, "cpu", "his", **more))
            forms += [
                "process q",
                f"process r(cpu){'' if self.everywhere else ' on aps'}",
            ]
            self.bodies += [writer.program(2, 1) for writer in writers[1:]]
        last = writers[0]
        last.locals, last.named = {}, []
        if self.handled:
            handler = Writer(seed + 30_000, "cpu", "its")
            self.when = handler.test(1)
            self.bodies.append(handler.program(1, 1))
            forms.append(f"interrupt i(cpu) when ({self.when.text})")
        self.claims = [SEEN, *(last.test() for _ in range(2))]
        self.assumed = last.test(1) if seed % 4 == 1 else None
        lines = [f"scenario meaning;\n{declarations(self.free)}"]
        if self.assumed is not None:
            lines.append(f"assume {self.assumed.text};")
        lines += [f"{f} {{ {b.text} }}" for f, b in zip(forms, self.bodies)]
        for number, claim in enumerate(self.claims):
            when = "" if parallel else "at(p, end) && "
            when += f"weight(cpus) >= {large} && " if large else ""
            lines.append(f"check t{number} {{ never {when}{claim.text}; }}")
        self.last = last.test()
        if not self.handled:  # an interrupt may come where nothing else goes on
            lines.append("check t3 { deadlock_free; }")
            lines.append(f"check t4 {{ finally {self.last.text}; }}")
        self.text = "\n".join([*lines, ""])

    def threads(self, cpus):
        alone, *others = [body.nodes for body in self.bodies]
        yield Thread(alone, {})
        if self.parallel:
            yield Thread(others[0], {})
            for cpu in range(0 if self.everywhere else 1, cpus):
                yield Thread(others[1], {"cpu": cpu}, cpu)
        if self.handled:
            for cpu in range(cpus):
                yield Thread((), {"cpu": cpu}, cpu, others[2], self.when)

    def firsts(self, cpus):
        ordered = "first(" in self.text or "for (" in self.text
        every = first_states(cpus, self.free, ordered)
        return [s for s in every if self.assumed is None or self.assumed(s)]

    def happens(self, cpus):
        """For each claim whether what must never be is, by the second reading."""
        found = reachable(self.firsts(cpus), tuple(self.threads(cpus)), MOST)
        looked = found if self.parallel else [r for r in found if r.ended[0]]
        bad = [any(claim(r.shared) for r in looked) for claim in self.claims]
        quiet = [r for r in found if r.quiet]
        ends_badly = any(not self.last(r.shared) for r in quiet)
        return [*bad, any(r.stuck for r in quiet), ends_badly]


def compare(seed, path, parallel=False):
    """How often there is which verdict; none contradicts the second reading."""
    program = Program(seed, parallel)
    path.write_text(program.text)
    loaded = load(str(path))
    try:
        loaded.claims()
    except InputError as error:
        assert "HP507" in str(error)  # what is assumed is never so
        assert not any(program.firsts(cpus) for cpus in CPUS)
        return Counter({"REFUSED": 10})
    try:
        happens = {n: program.happens(n) for n in CPUS}
    except TooManyError:
        return Counter({"SKIPPED": 10})
    verdicts = Counter()
    for number in range(3 if program.handled else 5):
        ((check, which, _),) = loaded.claims(f"t{number}")
        bad = {cpus: found[number] for cpus, found in happens.items()}
        for cpus in (2, None):
            answer = loaded.answer(check, which, Settings(cpus=cpus, timeout=10))
            verdict, at = answer.verdict, answer.cpus
            told = f"seed {seed}, {check}, cpus {at}: {verdict}\n{program.text}"
            if verdict == "PROVED":
                counts = bad if at == "all" else [n for n in bad if n == at]
                assert not any(bad[n] for n in counts), told
            elif verdict == "VIOLATED":
                assert bad.get(at, True), told
            else:
                assert cpus is None, told  # at a fixed number there is an answer
            verdicts[verdict] += 1
    return verdicts


def proofs_about_large_machines(seed, path, parallel):
    """How many there are; none says that what the second reading reaches is not."""
    program = Program(seed, parallel, LARGE)
    path.write_text(program.text)
    loaded = load(str(path))
    try:
        asked = [loaded.claims(f"t{n}")[0] for n in range(len(program.claims))]
        bad = program.happens(LARGE)
    except (InputError, TooManyError):
        return 0
    proofs = 0
    for (check, which, _), happens in zip(asked, bad):
        answer = loaded.answer(check, which, Settings(timeout=10))
        told = f"seed {seed}, {check}: {answer.verdict}\n{program.text}"
        if answer.verdict == "PROVED":
            assert not happens, told
            proofs += answer.cpus == "all"
        elif answer.verdict == "VIOLATED":
            assert happens or answer.cpus > LARGE, told
    return proofs


@pytest.mark.parametrize(
    ("parallel", "seeds", "least"), [(False, 40, 12), (True, 12, 2)]
)
def test_a_proof_is_right_about_machines_that_no_search_has_seen(
    parallel, seeds, least, tmp_path
):
    path = tmp_path / "meaning.hp"
    proofs = [proofs_about_large_machines(s, path, parallel) for s in range(seeds)]
    assert sum(proofs) > least


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_program_does_what_it_says(seed, parallel, tmp_path):
    assert compare(seed, tmp_path / "meaning.hp", parallel).total() >= 6


@pytest.mark.parametrize("parallel", [False, True])
def test_there_are_proofs_and_violations(parallel, tmp_path):
    path = tmp_path / "meaning.hp"
    verdicts = sum((compare(s, path, parallel) for s in range(12)), Counter())
    assert verdicts["SKIPPED"] < 50
    assert verdicts["PROVED"] > 12
    assert verdicts["VIOLATED"] > 12


FAULTS = {
    "what is assigned is not held": (terms, "held", lambda expr, sort: expr),
    "something is written through none": (flow, "may_be_none", lambda index: False),
    "a constant is read through none": (constants, "through_none", lambda read: False),
    "nobody has what is read through none": (
        unroll,
        "through_none",
        lambda read: False,
    ),
    "what was written is not read": (flow, "_after", lambda effects: lambda e: e),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_reading_a_program_is_noticed(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    if fault == "what is assigned is not held":
        monkeypatch.setattr(flow, "held", lambda expr, sort: expr)
    with pytest.raises(AssertionError, match="^seed"):
        for seed in range(80):
            compare(seed, tmp_path / "meaning.hp")
