"""What is proved together is proved: faults planted in the shared proof are noticed.

Claims that their own callbacks decide are proved before anything is shared, so that way
is closed here.
"""

from dataclasses import replace

import pytest

import cpuhp
from cpuhp.api import Settings, load
from cpuhp.engines import joint
from cpuhp.engines.certificate import Rejected, rebuild
from cpuhp.engines.parametric import cases, learner, proof
from cpuhp.graph.claim import Thinned
from cpuhp.model.invariant import Invariant

# `late` needs five CPUs, which no sample has; `all_up` is violated by two.
SPEC = """
scenario spec;
percpu bool up; percpu bool seen; shared bool late; shared bool asked;
process ap(cpu) on aps { wait (asked); up[cpu] = true; seen[cpu] = true; }
process control { asked = true; if (count(c in cpus : up[c]) >= 5) late = true; }
check few {
    always all(c in aps : up[c] => asked);
    never late;
    always all(c in aps : seen[c] => up[c]);
    never exists(c in aps : seen[c]);
    always all(c in aps : seen[c] => asked);
}
"""
CLAIMS = [("few", number) for number in range(5)]
TRUE_OF_ALL = [("few", 0), ("few", 2), ("few", 4)]
# Who is pointed at by eight pointers needs eight seats beside the control CPU.
POINTERS = "abcdefgh"
MANY = """
scenario many;
{declared}
process ap(cpu) on aps {{
    either {{ a = cpu; }} {ways}
}}
check few {{ never {distinct}; }}
""".format(
    declared=" ".join(f"shared atomic cpu? {p};" for p in POINTERS),
    ways=" ".join(f"or {{ {p} = cpu; }}" for p in POINTERS[1:]),
    distinct=" && ".join(
        [f"{p} != none" for p in POINTERS]
        + [f"{p} != {q}" for n, p in enumerate(POINTERS) for q in POINTERS[:n]]
    ),
)


@pytest.fixture(autouse=True)
def nothing_is_proved_alone(monkeypatch):
    monkeypatch.setattr(joint, "_alone", lambda *_: None)


def settled(tmp_path, text=SPEC, claims=tuple(CLAIMS)):
    file = tmp_path / "spec.hp"
    file.write_text(text)
    return load(str(file)).settle(claims, Settings(timeout=20)).answers


def sound(tmp_path):
    """Only what is true of every number of CPUs is proved, and all of that."""
    found = settled(tmp_path)
    texts = {claim: answer.claim for claim, answer in found.items()}
    written = {
        (check, number): prop.text
        for check, number, prop in load(str(tmp_path / "spec.hp")).claims("few")
    }
    return sorted(found) == TRUE_OF_ALL and texts.items() <= written.items()


def shared(tmp_path):
    """Of how many claims the largest group is that was proved together."""
    file = tmp_path / "spec.hp"
    file.write_text(SPEC)
    found = joint.settle(load(str(file)).checker, CLAIMS, Settings(timeout=20))
    return max(len(answer.sliced.together) for answer in found.values())


def certified(tmp_path):
    """Every certificate is accepted when it is read again."""
    try:
        return all(
            outcome.is_accepted
            for answer in settled(tmp_path).values()
            for outcome in cpuhp.certify(
                answer.save_certificate(tmp_path), solvers=["z3"]
            )
        )
    except Rejected:
        return False


def test_what_is_proved_together_is_true(tmp_path):
    assert sound(tmp_path)
    assert certified(tmp_path)


def test_a_lost_claim_that_counts_as_proved_is_noticed(tmp_path, monkeypatch):
    class Forgets(dict):
        def __setitem__(self, prop, reason):
            pass

    begin = learner.Learner.__init__

    def forgetful(self, *args):
        begin(self, *args)
        self.lost = Forgets()

    assert shared(tmp_path) == 4  # all but the one that samples violate
    monkeypatch.setattr(learner.Learner, "__init__", forgetful)
    assert sound(tmp_path)  # for the invariant is checked against all of them at last,
    assert shared(tmp_path) < 4  # and others are tried without it


def test_one_proof_taken_for_all_is_noticed(tmp_path, monkeypatch):
    every = proof.prove_together

    def generous(system, props, **more):
        first, *others = every(system, props, **more)
        results = [replace(first.result, prop=o.result.prop) for o in others]
        return first, *(replace(first, result=result) for result in results)

    monkeypatch.setattr(proof, "prove_together", generous)
    assert not sound(tmp_path)


def test_claims_mistaken_for_each_other_are_noticed(tmp_path, monkeypatch):
    whole = Thinned.together

    def turned(self, only=None, **more):
        system, props = whole(self, only, **more)
        return system, props[1:] + props[:1]

    monkeypatch.setattr(Thinned, "together", turned)
    assert not sound(tmp_path)


def test_a_violated_claim_spoils_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(joint.Samples, "collect", lambda self, *_: iter(()))
    assert sound(tmp_path)


def test_a_certificate_of_another_claim_is_noticed(tmp_path, monkeypatch):
    mine = rebuild._model

    def first(certificate, whole, only):
        other = replace(certificate, check=certificate.together[0][0],
                        number=certificate.together[0][1])  # fmt: skip
        return mine(other, whole, only)

    monkeypatch.setattr(rebuild, "_model", first)
    assert not certified(tmp_path)


def test_a_certificate_of_less_is_rejected(tmp_path, monkeypatch):
    found = settled(tmp_path)
    assert found
    monkeypatch.setattr(rebuild, "Invariant", lambda clauses: Invariant(clauses[:-1]))
    assert not certified(tmp_path)


def never_more_than_seats(tmp_path):
    return not settled(tmp_path, MANY, [("few", 0)])


def test_more_pointers_than_seats_prove_nothing(tmp_path):
    assert never_more_than_seats(tmp_path)


def test_a_seat_that_nobody_pays_for_is_noticed(tmp_path, monkeypatch):
    true_needs = cases._seen_through_pointers

    def free(encoder):
        return (replace(need, seats=0) for need in true_needs(encoder))

    monkeypatch.setattr(cases, "_seen_through_pointers", free)
    assert not never_more_than_seats(tmp_path)
